"""Where data sets are looked for: data.root, then BNEXP_DATA, then the user's cache."""

import pwd
from pathlib import Path

import pytest

from bnexp.config.data import DataSettings
from bnexp.data.machine import data_folder
from bnexp.errors import InputError


def test_order_of_places(tmp_path: Path, shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DataSettings(name="mnist")
    assert data_folder(DataSettings(name="mnist", root=str(tmp_path))) == tmp_path
    assert data_folder(settings) == shared_folder
    monkeypatch.setenv("BNEXP_DATA", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert data_folder(settings) == tmp_path / "xdg" / "bnexp"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert data_folder(settings) == tmp_path / "home" / ".cache" / "bnexp"
    assert data_folder(DataSettings(name="mnist", root="~/data")) == tmp_path / "home" / "data"


@pytest.mark.parametrize("key", ["data.root", "BNEXP_DATA"])
def test_a_home_folder_that_nobody_knows(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = "~nobody-of-that-name/data"
    monkeypatch.setenv("BNEXP_DATA", root)
    with pytest.raises(InputError) as caught:
        data_folder(DataSettings(name="mnist", root=root if key == "data.root" else None))
    assert str(caught.value) == f"{key}: {root}: no home folder is known for it; write the whole path"


def test_a_user_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BNEXP_DATA", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(InputError, match=r"^BNEXP_DATA: ~: no home folder is known for it; write the whole path$"):
        data_folder(DataSettings(name="mnist"))

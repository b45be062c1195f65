"""Where data sets are looked for: data.root, then BNEXP_DATA, then the user's cache."""

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

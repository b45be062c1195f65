"""Event files that say something else than probes.csv are found; without TensorBoard they are not tested."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bnexp.claims.checks import scaling
from bnexp.claims.checks.scaling import gradient_tracking
from bnexp.report import tensorboard
from bnexp.store.reader import RunRecord
from tests.claims.checks.conftest import failing


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return scaling._run(tmp_path_factory.mktemp("run"), 1)


class Changed:
    """A run whose probes are others than those in its folder."""

    def __init__(self, record: Any, probes: pd.DataFrame):
        self._record, self.probes = record, probes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._record, name)


@pytest.mark.parametrize(
    "change",
    [
        lambda probes: probes.assign(value=probes["value"] * (1 + 1e-5)),
        lambda probes: probes[probes["layer"] != "output"],
    ],
    ids=["another value", "a layer missing"],
)
def test_events_that_say_something_else_are_found(
    change: Callable[[pd.DataFrame], pd.DataFrame], trained: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(record: Any, folder: Path) -> int:
        return tensorboard.write_events(Changed(record, change(record.probes)), folder)  # type: ignore[arg-type]

    monkeypatch.setattr(scaling, "write_events", wrong)
    found = failing(scaling._read_back(trained, tmp_path / "events"))
    assert [what[:24] for what in found] == 2 * ["event files against the "]


def test_without_tensorboard_it_says_what_is_not_tested(trained: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "_run", lambda folder, steps: trained)
    monkeypatch.setattr("bnexp.errors.find_spec", lambda name: None)
    *_, last = gradient_tracking(steps=1)
    assert last.found == "not tested: tensorboard is not installed: pip install '.[tensorboard]' in the clone of bnexp"
    assert last.error is None

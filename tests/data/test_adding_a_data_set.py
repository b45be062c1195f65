"""A data set from outside the package is one record and one function, and trains like the package's own."""

from pathlib import Path

import numpy as np
import pytest

from bnexp.config.data import DATASETS, DatasetSpec, DataSettings
from bnexp.data.catalog import DataShape, describe
from bnexp.data.raw import RawImages, RawSplit
from bnexp.errors import InputError
from bnexp.runner.prepare import prepare
from bnexp.runner.run import run
from tests.helpers import experiment

READER = "tests.data.test_adding_a_data_set:read_stripes"


def read_stripes(settings: DataSettings) -> RawImages:
    """Return images whose bright row is their class."""
    labels_N = np.arange(60) % 3
    images_NCHW = np.random.default_rng(0).integers(0, 100, (60, 1, 3, 5), dtype=np.uint8)
    images_NCHW[np.arange(60), 0, labels_N] += 150
    return RawImages(*RawSplit(images_NCHW, labels_N).cut(48), classes=3)


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize(
    "spec", [DatasetSpec(READER, image=(1, 3, 5), classes=3, train=48, test=12), DatasetSpec(READER)]
)
def test_a_record_and_a_function_are_all_it_takes(
    spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DATASETS, "stripes", spec)
    config = experiment(data="stripes", model={"depth": 1}, train={"epochs": 3, "lr": 0.1, "batch_size": 8})
    assert describe(config.data) == DataShape((1, 3, 5), 3, train=44, val=4, test=12)
    record = run(prepare(config, tmp_path, "cpu"))
    assert (record.trials.outcome == "completed").all()
    assert record.trials.final_test_accuracy.min() > 0.9


def test_a_name_without_a_record_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"data\.name: \"stripes\": expected one of digits, mnist, .*, image_folder"):
        experiment(data="stripes")

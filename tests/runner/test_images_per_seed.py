"""A split for each seed: a trial then trains, validates and is tested on the images that its seed draws."""

import re
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bnexp.analysis.misclassified import misclassified
from bnexp.analysis.runs import ComparedRun, compare_study, filtered, study_of
from bnexp.config.data import DataSettings
from bnexp.config.experiment import ExperimentConfig
from bnexp.data.catalog import describe
from bnexp.data.raw import RawSplit, read
from bnexp.engines.local import Local
from bnexp.errors import ConfigError
from bnexp.plan import groups, trials
from bnexp.report.comparison_views import equal_table
from bnexp.runner import run as runner
from bnexp.runner.dry_run import overview
from bnexp.runner.prepare import prepare
from bnexp.store.tables import RESULT_COLUMNS
from tests.helpers import experiment

SEEDS = (0, 3)


def splitting(data: dict[str, Any] | None = None, **raw: Any) -> ExperimentConfig:
    """Two arms of two rates, whose seeds draw their images."""
    data = {"name": "digits", "split": "per_seed", "train_size": 96, "val_size": 40, "test_size": 40} | (data or {})
    small = {"model": {"depth": 1, "width": 8}, "arms": ["none", "before"], "grid": {"train.lr": [0.1, 0.3]}}
    return experiment(**small | {"train": {"epochs": 1, "batch_size": 32}, "seeds": SEEDS} | raw, data=data)


def alone(seed: int) -> ExperimentConfig:
    """The trials of one seed as they are written without the others."""
    return splitting({"split": "fixed", "split_seed": seed}, seeds=[seed])


def trained(config: ExperimentConfig, runs: Path) -> ComparedRun:
    return runner.run(prepare(config, runs, "cpu"))


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> ComparedRun:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "write_report_files", lambda record: None)
        return trained(splitting(), tmp_path_factory.mktemp("together"))


def results(record: ComparedRun, seed: int) -> pd.DataFrame:
    """All that is recorded of a seed's trials but the time that they took."""
    columns = ["arm", "train.lr", "seed", *(name for name in RESULT_COLUMNS if name != "seconds")]
    return record.trials.loc[record.trials["seed"] == seed, columns].reset_index(drop=True)


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_trains_as_it_does_alone_on_the_split_with_its_number(
    tmp_path: Path, together: ComparedRun, seed: int
) -> None:
    pd.testing.assert_frame_equal(results(together, seed), results(trained(alone(seed), tmp_path), seed))


def test_each_seed_has_groups_of_its_own_which_all_its_arms_share_data_with() -> None:
    config = splitting(seeds=3)
    found = groups(trials(config))
    assert [len(group.shared_seeds) for group in found] == [1] * 6  # none and before have different shapes
    for trial in trials(config):
        data = trial.settings.data
        assert (data.split, data.split_seed) == ("fixed", trial.seed)
        assert data.model_copy(update={"split": "per_seed", "split_seed": 0}) == config.data


@pytest.mark.usefixtures("without_report")
def test_trials_are_taken_over_from_and_by_runs_of_one_split(together: ComparedRun) -> None:
    runs = together.path.parent
    (reused,) = prepare(alone(3), runs, "cpu").reusable
    assert len(reused.numbers) == 4
    assert not reused.same_images
    assert prepare(alone(3).model_copy(update={"seeds": (0,)}), runs, "cpu").reusable == ()  # seed 0 drew other images


# Which images are drawn


def whole(split: RawSplit) -> list[bytes]:
    return [image.tobytes() + bytes([label]) for image, label in zip(*split, strict=True)]


def drawn(**settings: Any) -> dict[str, list[bytes]]:
    raw = read(DataSettings(**settings))
    return {name: whole(split) for name, split in raw.splits(raw.cut(DataSettings(**settings))).items()}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Arrays that nobody split, with test rows, and with validation rows, too."""
    x, y = np.arange(90.0).reshape(30, 3), np.arange(30) % 3
    parts = {"train": slice(0, 20), "test": slice(20, 25), "val": slice(25, 30)}
    split = {f"{which}_{name}": rows[part] for name, part in parts.items() for which, rows in (("x", x), ("y", y))}
    kinds = {"whole": {"x": x, "y": y}, "tested": {k: v for k, v in split.items() if "val" not in k}, "split": split}
    for name, arrays in kinds.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    return {name: str(tmp_path / f"{name}.npz") for name in kinds}


@pytest.mark.parametrize(
    ("kind", "redrawn"),
    [("digits", ("val", "test")), ("whole", ("val", "test")), ("tested", ("val",)), ("split", ())],
)
def test_a_split_has_the_same_images_and_draws_those_that_have_no_place_of_their_own(
    files: dict[str, str], kind: str, redrawn: tuple[str, ...]
) -> None:
    place = {"name": "digits"} if kind == "digits" else {"name": "arrays", "root": files[kind]}
    usual, same, other = (drawn(**place, split_seed=seed) for seed in (0, 0, 5))
    assert usual == same
    assert describe(DataSettings(**place)).drawn == redrawn
    for name, images in usual.items():
        assert len(other[name]) == len(images)
        kept = {"val": name not in redrawn, "test": name not in redrawn, "train": not redrawn}[name]
        assert (other[name] == images) == kept
    assert sorted(chain(*other.values())) == sorted(chain(*usual.values()))


def test_nothing_is_drawn_where_there_is_no_validation_image_to_draw(files: dict[str, str]) -> None:
    place = {"name": "arrays", "root": files["tested"], "val_size": 0}
    assert drawn(**place, split_seed=5) == drawn(**place)


@pytest.mark.parametrize(
    ("kind", "val_size", "said"),
    [
        (
            "tested",
            0,
            "data.val_size: 0 leaves no validation images of arrays to draw, and test images are not drawn either; "
            "raise data.val_size, or set fixed",
        ),
        (
            "split",
            None,
            "the data (arrays) have validation and test images of their own, so nothing is drawn; set fixed, or leave "
            "validation images out of the data",
        ),
    ],
)
def test_show_and_run_refuse_a_split_for_each_seed_that_draws_nothing(
    tmp_path: Path, files: dict[str, str], kind: str, val_size: int | None, said: str
) -> None:
    data = {"name": "arrays", "root": files[kind], "train_size": None, "val_size": val_size, "test_size": None}
    config = splitting(data, train={"epochs": 1, "batch_size": 10})
    refused = f"exp.yaml: data.split: per_seed: {said}"
    with pytest.raises(ConfigError, match=f"^{re.escape(refused)}$"):
        overview(config, Local.on("cpu"), "exp.yaml")
    with pytest.raises(ConfigError, match=f"^{re.escape(refused)}$"):
        prepare(config, tmp_path, "cpu", "exp.yaml")


# What is said of them


def test_show_and_comparison_say_that_each_seed_has_a_split_of_its_own(together: ComparedRun) -> None:
    line = "  each seed draws validation and test images of its own (data.split: per_seed)"
    assert line in overview(splitting(), Local.on("cpu")).summary().splitlines()
    comparison = together.comparison
    (note,) = [note for note in equal_table(comparison).notes if "split" in note]
    assert note == (
        "Each seed has a split of its own (data.split: per_seed): intervals are about new seeds and new splits of "
        "these images."
    )
    assert comparison.images is None  # the interval has what other test images would change


def test_a_choice_that_saw_the_test_images_of_other_seeds_is_warned_of(together: ComparedRun) -> None:
    told = [line for line in together.comparison.warnings if line.startswith("data.split")]
    assert told == [
        "data.split: per_seed: images that test one seed are validation images of others, so they also choose. "
        "The accuracy of what was chosen may be a little too high, in every arm"
    ]


@pytest.mark.usefixtures("without_report")
def test_a_fixed_split_and_one_for_each_seed_have_no_pairs(tmp_path: Path) -> None:
    fixed = trained(splitting({"split": "fixed"}, name="a", arms=["none"]), tmp_path)
    own = trained(splitting(name="b", arms=["before"]), tmp_path)
    comparison = compare_study(study_of([fixed, own]))
    assert [(row.arm, row.point["data.split"], row.pairs) for row in comparison.rows if row.arm == "before"] == [
        ("before", "per_seed", 0),
        ("before", "per_seed", 0),
    ]
    assert comparison.best == ()
    assert comparison.data_sets == ("fixed", "per_seed")


def test_no_picture_shows_images_that_only_some_seeds_were_tested_on(tmp_path: Path, together: ComparedRun) -> None:
    assert together.predictions
    assert together.images is None
    assert misclassified(together.study, together.comparison) is None
    fixed = trained(splitting({"split": "fixed"}, name="fixed"), tmp_path)
    joined = study_of([fixed, together])
    for point, kept in (("fixed", True), ("per_seed", False)):
        half = filtered(joined, f"data.split == {point!r}")
        assert (misclassified(half, compare_study(half)) is not None) == kept

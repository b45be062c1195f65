"""Settings that don't fit the images that there are are said before anything is trained."""

from collections.abc import Sequence
from typing import Any

import pytest

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import resolve
from bnexp.data.catalog import DataShape
from bnexp.errors import Problem
from bnexp.plan import Trial, trials
from bnexp.runner.misfits import misfits


def experiment(**raw: Any) -> ExperimentConfig:
    return resolve({"name": "exp", "arms": {"plain": {}}, "seeds": 1} | raw, "exp.yaml")


def planned(norm: Any = "before", family: str = "mlp", **train: Any) -> tuple[Trial, ...]:
    return trials(experiment(model={"norm": norm, "family": family}, train=train, seeds=2))


def found(planned: Sequence[Trial], images: int = 100, side: int = 8) -> list[Problem]:
    return list(misfits(planned, DataShape((1, side, side), 10, images, 10, 0)))


@pytest.mark.parametrize(
    ("train", "images"),
    [
        ({"batch_size": 100}, 100),
        ({"batch_size": 2}, 100),
        ({"batch_size": 33}, 100),
        ({"batch_size": 33, "drop_last": False}, 99),
        ({"batch_size": 33, "drop_last": False}, 101),
        ({"batch_size": 33, "drop_last": False, "sampling": "replacement"}, 100),
    ],
)
def test_batches_that_fit(train: dict[str, Any], images: int) -> None:
    assert found(planned(**train), images) == []


@pytest.mark.parametrize(("images", "there"), [(100, "100 training images"), (1, "1 training image")])
@pytest.mark.parametrize("drop_last", [True, False])
def test_a_batch_larger_than_the_data_is_a_misfit_once(images: int, there: str, drop_last: bool) -> None:
    message = f"101: larger than the {there}; lower it or raise data.train_size"
    misfits = found(planned("batch", batch_size=101, drop_last=drop_last), images)
    assert misfits == [Problem("", "train.batch_size", message)]


def test_every_batch_size_that_does_not_fit_is_a_misfit() -> None:
    sizes = trials(experiment(grid={"train.batch_size": [50, 101, 102]}, seeds=2))
    assert [each.message.split(":")[0] for each in found(sizes)] == ["101", "102"]


OVER_THE_BATCH = ["before", "after", "mean", "variance", "renorm", "whiten", "noisy_batch"]


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("sampling", ["epoch", "replacement", "by_class"])
@pytest.mark.parametrize("norm", OVER_THE_BATCH)
def test_batches_of_one_are_a_misfit_that_only_another_size_helps(norm: str, sampling: str, drop_last: bool) -> None:
    message = "1: batch normalization can't normalise a batch of one image; set 2 or more"
    lone = planned(norm, batch_size=1, sampling=sampling, drop_last=drop_last)
    assert set(found(lone)) == {Problem("", "train.batch_size", message)}
    only_one = Problem("", "train.batch_size", f"{message}, and raise data.train_size")
    assert set(found(lone, images=1)) == {only_one}


@pytest.mark.parametrize("norm", OVER_THE_BATCH)
@pytest.mark.parametrize("batch", [33, 99])
def test_one_image_left_over_is_a_misfit_that_dropping_it_helps(norm: str, batch: int) -> None:
    message = (
        f"{batch}: 100 images leave one over, and batch normalization can't normalise a batch of one image; "
        "set train.drop_last: true, or another batch size"
    )
    left_over = planned(norm, batch_size=batch, drop_last=False)
    assert set(found(left_over)) == {Problem("", "train.batch_size", message)}
    assert found(planned(norm, batch_size=batch, drop_last=True)) == []


@pytest.mark.parametrize("norm", OVER_THE_BATCH)
@pytest.mark.parametrize(("family", "side"), [("vgg", 32), ("resnet", 8), ("resnet", 5)])
def test_a_batch_of_one_is_fine_where_convolutions_leave_several_places(norm: str, family: str, side: int) -> None:

    assert found(planned(norm, family, batch_size=1), side=side) == []


@pytest.mark.parametrize(("family", "side"), [("vgg", 28), ("vgg", 8), ("resnet", 4), ("resnet", 2)])
def test_a_batch_of_one_is_a_misfit_where_convolutions_leave_one_place(family: str, side: int) -> None:
    message = (
        f"1: batch normalization can't normalise a batch of one image where {family} has shrunk its {side}x{side} "
        "pixels to one; set 2 or more"
    )
    assert set(found(planned(family=family, batch_size=1), side=side)) == {Problem("", "train.batch_size", message)}


@pytest.mark.parametrize(("family", "depth", "side"), [("vgg", 11, 28), ("resnet", 20, 4)])
def test_instance_norm_is_a_misfit_where_convolutions_leave_one_place(family: str, depth: int, side: int) -> None:
    message = (
        f"instance: {family} of depth {depth} shrinks the {side}x{side} pixels to one, and it would set every channel "
        "to β there; set group, or another depth"
    )
    assert set(found(planned("instance", family, batch_size=50), side=side)) == {
        Problem("", "model.norm.kind", message)
    }
    assert found(planned("instance", family, batch_size=50), side=32) == []


@pytest.mark.parametrize("norm", OVER_THE_BATCH[2:])
def test_slices_of_one_image_are_a_misfit_where_a_batch_of_one_is(norm: str) -> None:
    slices = {"kind": norm, "over": 1}
    message = "1: batch normalization can't normalise a batch of one image; set 2 or more"
    assert set(found(planned(slices, batch_size=32))) == {Problem("", "model.norm.over", message)}
    assert found(planned(slices, "vgg", batch_size=32), side=32) == []


@pytest.mark.parametrize(
    ("key", "norm", "parts"),
    [("model.norm.over", {"over": 8}, {}), ("train.accumulate", "before", {"accumulate": 8})],
)
def test_a_smaller_last_batch_has_to_be_made_of_parts_of_one_size(key: str, norm: Any, parts: dict[str, int]) -> None:
    message = "8: the last batch of 36, of 100 images, can't be cut into parts of 8; set train.drop_last: true"
    uneven = planned(norm, batch_size=64, drop_last=False, **parts)
    assert set(found(uneven)) == {Problem("", key, message)}
    assert found(uneven, images=104) == found(planned(norm, batch_size=64, **parts)) == []


def test_micro_batches_of_one_image_are_a_misfit_where_a_batch_of_one_is() -> None:
    message = "32: batch normalization can't normalise a batch of one image; lower it"
    lone = {"batch_size": 32, "accumulate": 32}
    assert set(found(planned(**lone))) == {Problem("", "train.accumulate", message)}
    assert found(planned("none", **lone)) == found(planned(family="vgg", **lone), side=32) == []


@pytest.mark.parametrize("norm", ["none", "layer", "rms", {"kind": "group", "groups": 4}])
def test_a_batch_of_one_is_none_where_images_are_normalised_alone(norm: Any) -> None:
    assert found(planned(norm, batch_size=1)) == []


def drops(**train: Any) -> list[Problem]:
    at = {"schedule": "step", "schedule_options": {"step_at": [2, 4]}, "batch_size": 10}
    return found(planned(**at | train))


@pytest.mark.parametrize("train", [{"epochs": 5}, {"steps": 41}, {"epochs": 2, "schedule": "constant"}])
def test_drops_within_the_training_are_fine(train: dict[str, Any]) -> None:
    assert drops(**train) == []


@pytest.mark.parametrize(("train", "budget"), [({"epochs": 4}, "train.epochs: 4"), ({"steps": 40}, "train.steps: 40")])
def test_a_drop_after_the_last_update_is_refused(train: dict[str, Any], budget: str) -> None:
    message = f"4: no update comes after that epoch ({budget}); leave it out, or train longer"
    assert drops(**train) == [Problem("", "train.schedule_options.step_at", message)]


@pytest.mark.parametrize(("drop_last", "epochs"), [(False, [4]), (True, [])])
def test_a_smaller_last_batch_is_an_update_of_its_epoch(drop_last: bool, epochs: list[int]) -> None:
    # Of 100 images: 4 batches, or 3 without the last one; epoch 4 ends with update 16, or 12.
    found = drops(batch_size=30, drop_last=drop_last, steps=14)
    assert [int(problem.message.split(":")[0]) for problem in found] == epochs


@pytest.mark.parametrize(("train", "last"), [({"epochs": 3}, 9), ({"steps": 10}, 10)])
def test_statistics_that_the_training_never_freezes_are_refused(train: dict[str, Any], last: int) -> None:
    def freezing(at: int) -> list[Problem]:
        return found(planned({"freeze_at": at}, batch_size=30, **train)[:1])

    assert freezing(last) == []
    message = f"{last + 1}: the training ends with update {last}; lower it, or train longer"
    assert freezing(last + 1) == [Problem("", "model.norm.freeze_at", message)]
    assert found(planned({"kind": "none", "freeze_at": last + 1}, batch_size=30, **train)) == []


@pytest.mark.parametrize(
    ("train", "records"),
    [
        ({"epochs": 3}, "3 records"),
        ({"steps": 7}, "3 records"),
        ({"record_at": [5]}, "2 records"),
        ({"steps": 3}, "1 record"),
    ],
)
def test_a_patience_that_nothing_could_exhaust_is_refused(train: dict[str, Any], records: str) -> None:
    def waiting(patience: int) -> list[Problem]:
        return found(planned(batch_size=30, patience=patience, **train))

    count = int(records.split()[0])
    none = f"a trial has {records} after its start, so none could stop before its end; lower it, or train longer"
    assert waiting(count) == [Problem("", "train.patience", f"{count}: {none}")]
    assert count == 1 or waiting(count - 1) == []


def test_early_stopping_needs_validation_images() -> None:
    shape = DataShape((1, 8, 8), 10, train=100, val=0, test=10)
    message = "2: there are no validation images to stop by; raise data.val_size, or set null"
    assert [*misfits(planned(patience=2, batch_size=30), shape)] == [Problem("", "train.patience", message)]


@pytest.mark.parametrize(("train", "last"), [({"epochs": 3}, 9), ({"steps": 10}, 10)])
def test_limits_that_the_training_never_relaxes_are_refused(train: dict[str, Any], last: int) -> None:
    def relaxing(at: int, kind: str = "renorm") -> list[Problem]:
        return found(planned({"kind": kind, "relax_at": [at, 99, 99]}, batch_size=30, **train)[:1])

    assert relaxing(last) == relaxing(last + 1, "batch") == []
    message = f"{last + 1}: the training ends with update {last}; lower it, or train longer"
    assert relaxing(last + 1) == [Problem("", "model.norm.relax_at", message)]


@pytest.mark.parametrize("family", ["vgg", "resnet", "rnn"])
def test_rows_of_features_are_for_families_that_take_them(family: str) -> None:
    table = DataShape((5, 1, 1), 3, 200, 0, 0)
    assert list(misfits(planned(), table)) == []
    message = f"{family}: the data are rows of 5 features, no images; set mlp or module"
    assert Problem("", "model.family", message) in misfits(planned(family=family), table)
    message = "flip_crop: the data are rows of 5 features, no images; set none"
    moved = misfits(planned(augment="flip_crop"), table)
    assert list(moved) == [Problem("", "train.augment", message)]

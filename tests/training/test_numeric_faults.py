"""Numbers beyond floats end in an outcome with its step or an error with a name, and reach no neighbour."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from bnexp.data.batches import batch_orders
from bnexp.data.dataset import Dataset, Split
from bnexp.data.normalize import Normalization, fit
from bnexp.plan import TrialGroup
from bnexp.records import DIVERGED_FACTOR, EpochRecord
from bnexp.training import group_state
from bnexp.training.loop import Progress, train
from tests.helpers import (
    EXACT_FLOAT32,
    assert_close,
    crossed,
    experiment,
    finished,
    made_up_data,
    only_group,
    pairwise,
    thinned,
)

KINDS = ["none", "batch", "layer", "group"]
OPTIMIZERS = ["sgd", "adam", "adamw", "nadam", "rmsprop"]
CLIPS: list[dict[str, float]] = [{}, {"value": 0.1}, {"norm_per_tensor": 0.1}, {"norm_global": 0.1}, {"adaptive": 0.1}]
EXTREME_EXAMPLES = 300
"""Trainings with settings at the ends of what a configuration may say."""
PER_EPOCH = 6
"""96 made-up images in batches of 16."""
BRIGHT = 1e38
"""A pixel's factor that leaves byte 0 at 0 and takes byte 255 beyond float32."""

Arrays = dict[str, np.ndarray]


def group(
    model: dict[str, Any] | None = None, zipped: dict[str, Sequence[float]] | None = None, seeds: int = 1, **train: Any
) -> TrialGroup:
    """A small network, by default without norm layers; `zipped` holds what differs from trial to trial."""
    budget = {} if "steps" in train else {"epochs": 2}
    return only_group(
        experiment(
            model={"depth": 2, "width": 4, "activation": "relu", "norm": {"kind": "none"}} | (model or {}),
            arms={"only": {}},
            train={"batch_size": 16} | budget | train,
            zip={key: list(values) for key, values in (zipped or {}).items()},
            seeds=seeds,
        )
    )


def norm(kind: str, **settings: Any) -> dict[str, Any]:
    return {"norm": {"kind": kind, "groups": 2} | settings}


def steps(progress: Sequence[Progress]) -> list[tuple[int | None, ...]]:
    """The diverged steps of every record."""
    return [each.record.diverged_step for each in progress]


def changed(group: TrialGroup, data: Dataset, change: Callable[[Arrays], None]) -> list[Progress]:
    """Train from a start whose numbers were changed."""
    running = train(group, data)
    start = next(running).snapshot()
    change(start.arrays)
    return finished(group, data, start)


def assert_fractions(records: Sequence[EpochRecord]) -> None:
    for record in records:
        for name in ("train_accuracy", "test_accuracy"):
            assert all(0 <= accuracy <= 1 for accuracy in record.measures[name])


# In the inputs


def bright_pixel(group: TrialGroup, split: str, image: int) -> Dataset:
    """Data of which one image of one split has an infinite pixel."""
    data = made_up_data(group, val=8)
    factor_P = torch.full((16,), 1 / 255)
    factor_P[5] = BRIGHT
    splits = {}
    for name in ("train", "val", "test"):
        images_NP = getattr(data, name).images_NP.clone()
        images_NP[:, 5] = 0
        if name == split:
            images_NP[image, 5] = 255
        splits[name] = Split(images_NP, getattr(data, name).labels_N)
    fitted = Normalization(torch.zeros(16), torch.ones(16), factor_P)
    return replace(data, **splits, normalization=fitted)


def image_of_batch(number: int) -> int:
    """A training image that the first epoch of seed 0 shows in this batch."""
    (order_N,) = batch_orders([0], 1, 96, 16, "epoch", True)
    return int(order_N[16 * (number - 1)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_inputs_that_are_no_numbers_diverge_at_the_first_step(kind: str, bad: float) -> None:
    some = group(norm(kind), {"train.lr": [0.0, 0.1]})
    data = made_up_data(some)
    factor_P = torch.ones(16)
    factor_P[5] = bad
    progress = finished(some, replace(data, normalization=replace(data.normalization, factor_P=factor_P)))
    assert steps(progress) == [(None, None), (1, 1), (1, 1)]
    assert_fractions([each.record for each in progress])


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("kind", ["none", "layer", "group"])
def test_one_infinite_image_of_any_split_counts_from_the_first_step(split: str, kind: str) -> None:
    some = group(norm(kind, placement="after"), record_at=[4])
    progress = finished(some, bright_pixel(some, split, image=3))
    assert not math.isfinite(progress[0].record.measures[f"{split}_loss"][0])
    assert steps(progress)[:2] == [(None,), (1,)]
    assert_fractions([each.record for each in progress])


def test_under_running_averages_an_infinite_image_counts_from_its_batch() -> None:
    some = group(norm("batch"))
    assert steps(finished(some, bright_pixel(some, "train", image_of_batch(4)))) == [(None,), (4,), (4,)]


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize(("statistics", "expected"), [("ema", 4), ("population", 1)])
def test_a_loss_of_validation_or_test_alone_counts_too(split: str, statistics: str, expected: int) -> None:
    some = group(norm("batch", statistics=statistics), record_at=[4])
    progress = finished(some, bright_pixel(some, split, image=3))
    assert math.isfinite(progress[-1].record.measures["train_loss"][0])
    assert steps(progress)[:2] == [(None,), (expected,)]


# In the loss


def test_batch_norm_is_not_blamed_for_what_its_first_averages_make_of_a_large_start() -> None:
    scales = [1.0, 1e15]
    large = {"depth": 3, "init": {"scheme": "normal"}}
    with_norm, without = (
        finished(group(large | norm(kind), {"model.init.scale": scales}, lr=0.0)) for kind in ("batch", "none")
    )
    assert not math.isfinite(with_norm[0].record.measures["train_loss"][1])
    assert steps(with_norm) == [(None, None)] * 3
    assert steps(without) == [(None, None), (None, 1), (None, 1)]


# In the gradient


def lopsided(first: float, later: float) -> Callable[[Arrays], None]:
    """Change the start to a tiny first layer and two huge ones: the loss's gradient for the first is about later²."""

    def change(arrays: Arrays) -> None:
        for name, scale in (("hidden.0.linear", first), ("hidden.1.linear", later), ("output", later)):
            weight_KCI = arrays[f"network.{name}.weight"]
            weight_KCI[...] = np.abs(weight_KCI.astype(float)) * scale

    return change


INFINITE, SQUARES_OVERFLOW = lopsided(1e-36, 1e21), lopsided(1e-30, 1e15)
"""Gradients near 1e42 and 1e29 of losses below 1e6."""


@pytest.mark.parametrize(
    ("optimizer", "clip", "budget"), pairwise(OPTIMIZERS, [None, "norm_per_tensor", "norm_global", "adaptive"], [1, 6])
)
def test_an_infinite_gradient_of_a_finite_loss_diverges(optimizer: str, clip: str | None, budget: int) -> None:
    # Seen in the next batch's loss or, where there is none, in the record.
    some = group(optimizer=optimizer, clip={clip: 0.1} if clip else {}, steps=budget)
    progress = changed(some, made_up_data(some), INFINITE)
    assert steps(progress) == [(1 if budget == 1 else 2,)]
    assert_fractions([each.record for each in progress])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "nadam", "rmsprop"])
def test_an_optimizer_that_an_overflown_square_has_stopped_counts_from_the_record(optimizer: str) -> None:
    some = group({"bias": False}, optimizer=optimizer, epochs=1)
    (last,) = changed(some, made_up_data(some), SQUARES_OVERFLOW)
    assert all(math.isfinite(row[0]) for row in last.record.measures.values())
    assert last.record.diverged_step == (PER_EPOCH,)


@pytest.mark.parametrize("kind", ["norm_per_tensor", "norm_global"])
def test_a_finite_gradient_without_a_finite_norm_diverges_only_where_it_is_clipped(kind: str) -> None:
    # A finite gradient times 0 moves nothing; shrunk by an infinite norm it would be 0 at any rate, and nobody told.
    clipped, plain = (group(lr=0.0, clip=clip, epochs=1) for clip in ({kind: 0.1}, {}))
    assert steps(changed(clipped, made_up_data(clipped), SQUARES_OVERFLOW)) == [(2,)]
    assert steps(changed(plain, made_up_data(plain), SQUARES_OVERFLOW)) == [(None,)]


@pytest.mark.parametrize(("optimizer", "clip"), crossed(OPTIMIZERS, CLIPS, fast=4))
def test_a_gradient_of_exactly_zero_moves_nothing(optimizer: str, clip: dict[str, float]) -> None:
    # With one class the loss is 0 whatever the logits; weights of 0 show every move.
    some = group({"init": {"scale": 0.0}}, optimizer=optimizer, clip=clip, momentum=0.5)
    data = made_up_data(some)
    one = [Split(split.images_NP, torch.zeros_like(split.labels_N)) for split in (data.train, data.test)]
    data = replace(data, train=one[0], test=one[1], shape=replace(data.shape, classes=1))
    progress = finished(some, data)
    assert steps(progress) == [(None,)] * 3
    for name, array in progress[-1].snapshot().arrays.items():
        if name.endswith(("weight", "bias")):
            assert not array.any()


# In the running statistics


def test_a_running_variance_that_overflows_counts_though_every_loss_is_finite() -> None:
    huge = {"init": {"scheme": "normal", "scale": 1e25}}
    single, double = (
        finished(group(huge | norm("batch"), precision=precision, lr=0.0)) for precision in ("fp32", "fp64")
    )
    running_var = single[-1].snapshot().arrays["network.hidden.0.norm.running_var"]
    assert np.isinf(running_var).all()
    assert all(math.isfinite(each.record.measures["train_loss"][0]) for each in single[1:])
    assert steps(single) == [(None,), (PER_EPOCH,), (PER_EPOCH,)]
    assert steps(double) == [(None,)] * 3


@pytest.mark.parametrize("name", ["running_mean", "running_var"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_running_statistics_that_are_no_numbers_count_from_the_record(name: str, bad: float) -> None:
    def change(arrays: Arrays) -> None:
        arrays[f"network.hidden.1.norm.{name}"][0, 2] = bad

    some = group(norm("batch"), {"train.lr": [0.1, 0.2]}, record_at=[3])
    progress = changed(some, made_up_data(some), change)
    assert steps(progress)[0] == (3, None)
    assert_fractions([each.record for each in progress])


# Beside the others


@pytest.mark.parametrize(("kind", "optimizer", "clip"), crossed(KINDS, OPTIMIZERS, CLIPS, fast=9))
def test_a_trial_of_no_numbers_changes_no_bit_of_its_neighbours(
    kind: str, optimizer: str, clip: dict[str, float]
) -> None:
    rules = {"momentum": 0.9, "weight_decay": 0.01, "decay_all": True, "epochs": 1}
    some = group(
        norm(kind, input=True) | {"dropout": 0.2},
        {"train.lr": [0.1, 0.2, 0.3]},
        optimizer=optimizer,
        clip=clip,
        **rules,
    )
    data = made_up_data(some)

    def middle(value: float) -> Callable[[Arrays], None]:
        def change(arrays: Arrays) -> None:
            for name, array in arrays.items():
                if name.startswith("network"):
                    array[1] = value

        return change

    (healthy,) = changed(some, data, lambda arrays: None)
    for bad in (math.nan, math.inf, 1e38):
        (poisoned,) = changed(some, data, middle(bad))
        assert poisoned.record.diverged_step[1] == 1
        assert [poisoned.record.diverged_step[k] for k in (0, 2)] == [None, None]
        assert_same_neighbours(poisoned, healthy)


def assert_same_neighbours(one: Progress, other: Progress) -> None:
    """Compare the first and the last of three trials, bit for bit."""
    for name, row in one.record.measures.items():
        assert row[::2] == other.record.measures[name][::2]
    theirs = other.snapshot().arrays
    for name, array in one.snapshot().arrays.items():
        assert array[::2].tobytes() == theirs[name][::2].tobytes(), name


# A batch, a chunk and a class of one or none


@pytest.mark.parametrize("kind", ["none", "layer", "group", "rms"])
@pytest.mark.parametrize("statistics", ["ema", "population"])
def test_batches_of_one_train_without_batch_norm(kind: str, statistics: str) -> None:
    some = group(norm(kind, statistics=statistics), batch_size=1, epochs=1, lr=0.01)
    progress = finished(some, made_up_data(some, train_images=12))
    assert progress[-1].record.step == 12
    assert steps(progress) == [(None,), (None,)]


@pytest.mark.parametrize(
    ("family", "kind", "statistics"),
    thinned(
        pairwise(["vgg", "resnet"], ["batch", "mean", "variance", "whiten", "noisy_batch"], ["ema", "population"]), 2
    ),
)
def test_batches_of_one_train_with_norms_over_the_places_of_images(family: str, kind: str, statistics: str) -> None:
    depth = {"vgg": 5, "resnet": 8}[family]
    model = {"family": family, "depth": depth, "width": 2} | norm(kind, statistics=statistics, input=True)
    some = group(model, batch_size=1, epochs=1, lr=0.01)
    progress = finished(some, made_up_data(some, train_images=12, side=8))
    assert steps(progress) == [(None,), (None,)]
    assert np.isfinite(list(progress[-1].record.measures.values())).all()


@pytest.mark.parametrize("statistics", ["ema", "population"])
@pytest.mark.parametrize("images", [1, 32])
def test_batch_norm_evaluates_single_images(statistics: str, images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    some = group(norm("batch", statistics=statistics, input=True))
    data = made_up_data(some, train_images=33, val=1, test=1)  # a last batch of one is dropped
    whole = finished(some, data)[-1].record.measures
    monkeypatch.setitem(group_state.CHUNK_NUMBERS, "cpu", images * 16)
    pieces = finished(some, data)[-1].record.measures
    assert len(pieces) == 6
    for name, row in whole.items():
        assert_close(pieces[name], row, EXACT_FLOAT32)


# Images without variance


def constant_pictures(group: TrialGroup, images_NP: torch.Tensor) -> Dataset:
    data = made_up_data(group, test=96)
    scaling = fit(images_NP.view(-1, 1, 4, 4), group.settings.data.normalize, {}, torch.device("cpu"), torch.float32)
    train, test = (Split(images_NP, split.labels_N) for split in (data.train, data.test))
    return replace(data, train=train, test=test, normalization=scaling)


@pytest.mark.parametrize(
    ("pictures", "scaling", "kind", "norm_input", "scale"),
    crossed(
        ["all equal", "each constant", "dark corner"],
        ["none", "unit", "standard"],
        KINDS,
        [False, True],
        [0.0, 1.0],
        fast=8,
    ),
)
def test_images_without_variance_train_on_finite_numbers(
    pictures: str, scaling: str, kind: str, norm_input: bool, scale: float
) -> None:
    images_NP = torch.full((96, 16), 37, dtype=torch.uint8)
    if pictures == "each constant":
        images_NP[:] = torch.arange(96, dtype=torch.uint8)[:, None]
    elif pictures == "dark corner":
        images_NP = torch.randint(256, (96, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        images_NP[:, :3] = 0
    some = only_group(
        experiment(
            data={"normalize": scaling},
            model={"depth": 2, "width": 4, "activation": "tanh", "init": {"scale": scale}}
            | norm(kind, input=norm_input),
            arms={"only": {}},
            train={"batch_size": 16, "epochs": 2, "lr": 0.01},
        )
    )
    progress = finished(some, constant_pictures(some, images_NP))
    assert steps(progress) == [(None,)] * 3
    for each in progress:
        assert all(math.isfinite(row[0]) for row in each.record.measures.values())
    assert all(np.isfinite(array).all() for array in progress[-1].snapshot().arrays.values())
    if scale == 0:
        assert_close(progress[0].record.measures["train_loss"], [math.log(3)], EXACT_FLOAT32)


# Anywhere


def numbers(*often: float, top: float) -> st.SearchStrategy[float]:
    return st.one_of(st.sampled_from(often), st.floats(0, top, exclude_max=top == 1))


@st.composite
def extremes(draw: st.DrawFn) -> dict[str, Any]:
    """Valid settings at the ends of their ranges, for three trials that differ in the continuous ones."""
    optimizer = draw(st.sampled_from(OPTIMIZERS))
    momenta = draw(st.lists(numbers(0.0, 0.9, top=1), min_size=3, max_size=3))

    def three(*often: float, top: float) -> list[float]:
        return draw(st.lists(numbers(*often, top=top), min_size=3, max_size=3))

    positive = st.sampled_from([1e-30, 1e-5, 1.0, 1e10])
    return {
        "data": {"normalize": draw(st.sampled_from(["none", "unit", "standard"]))},
        "model": {
            "depth": draw(st.integers(1, 2)),
            "width": draw(st.sampled_from([2, 4])),
            "activation": draw(st.sampled_from(["relu", "selu", "gelu", "tanh", "identity"])),
            "residual": draw(st.booleans()),
            "init": {"scheme": draw(st.sampled_from(["normal", "xavier", "orthogonal"]))},
            "norm": {
                "kind": draw(st.sampled_from(KINDS)),
                "placement": draw(st.sampled_from(["before", "after"])),
                "input": draw(st.booleans()),
                "affine": draw(st.sampled_from(["both", "gamma", "beta", "none"])),
                "momentum": draw(st.sampled_from([1e-30, 0.1, 1.0])),
                "eps": draw(positive),
                "statistics": draw(st.sampled_from(["ema", "population"])),
                "groups": 2,
            },
        },
        "arms": {"only": {}},
        "train": {
            "steps": draw(st.integers(1, 3)),
            "batch_size": draw(st.sampled_from([2, 16, 32])),
            "optimizer": optimizer,
            "momentum": momenta[0],
            "nesterov": optimizer == "sgd" and all(momenta) and draw(st.booleans()),
            "betas": draw(st.lists(numbers(0.0, 0.9, 1 - 1e-16, top=1), min_size=2, max_size=2)),
            "decay_all": draw(st.booleans()),
            "label_smoothing": draw(numbers(0.0, top=1)),
            "schedule": draw(
                st.sampled_from(["constant", "step", "exponential", "cosine", "one_cycle", "warmup_cosine"])
            ),
            "schedule_options": {"factor": draw(st.sampled_from([1e-300, 1e300])), "step_every": 1},
            "clip": {
                name: draw(st.sampled_from([None, 1e-30, 1.0, 1e30]))
                for name in ("value", "norm_per_tensor", "norm_global")
            },
            "precision": draw(st.sampled_from(["fp32", "bf16", "fp64"])),
            "record_at": {"range": [1, 3, 1]},
        },
        "zip": {
            "train.lr": draw(st.lists(numbers(0.0, 0.1, 1e38, 1e300, top=1e38), min_size=3, max_size=3, unique=True)),
            "train.momentum": momenta,
            "train.weight_decay": three(0.0, 1e30, 1e300, top=1e30),
            "model.init.scale": three(0.0, 1.0, 1e30, 1e300, top=1e30),
            "model.dropout": three(0.0, 0.5, 1 - 1e-16, top=1),
        },
        "seeds": 1,
    }


def expected_steps(group: TrialGroup, progress: Sequence[Progress], batch_losses_SK: np.ndarray) -> np.ndarray:
    """The diverged step of each record and trial by the definition, 0 for none, from what can be seen from outside."""
    lost_SK = ~np.isfinite(batch_losses_SK)
    above_SK = batch_losses_SK > DIVERGED_FACTOR * np.maximum(batch_losses_SK[:1], math.log(3))
    norm = group.settings.model.norm
    found = []
    for each in progress:
        step = each.record.step
        if step or norm.kind != "batch" or norm.statistics == "population":
            lost_SK[max(step, 1) - 1] |= ~finite(each)
        diverged_SK = (above_SK | np.logical_or.accumulate(lost_SK))[:step]
        found.append([since(list(diverged_K)) for diverged_K in diverged_SK.T])
    return np.array(found)


def since(diverged: list[bool]) -> int:
    """The step from which on a trial was diverged at every one, 0 if it is not at the last."""
    held = list(takewhile(bool, reversed(diverged)))
    return len(diverged) - len(held) + 1 if held else 0


def finite(progress: Progress) -> np.ndarray:
    """Whether all losses and all numbers of the state of each trial are finite."""
    losses = [row for name, row in progress.record.measures.items() if name.endswith("loss")]
    state = [each for name, each in progress.snapshot().arrays.items() if not name.startswith("divergence")]
    return np.all([np.isfinite(losses).all(0), *(np.isfinite(each.reshape(3, -1)).all(1) for each in state)], axis=0)


@pytest.mark.slow
@given(extremes())
@limits(
    max_examples=EXTREME_EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_extreme_settings_end_in_records_that_say_what_happened(raw: dict[str, Any]) -> None:
    some = only_group(experiment(**raw))
    batch_losses: list[np.ndarray] = []
    losses = group_state.losses

    def overheard(*args: Any) -> torch.Tensor:
        found_KB = losses(*args)
        if torch.is_grad_enabled():  # in an update, not in an evaluation
            batch_losses.append(found_KB.mean(1).detach().numpy())
        return found_KB

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_state, "losses", overheard)
        progress = finished(some, made_up_data(some, train_images=32, val=4, test=8))
    assert len(progress) == 1 + raw["train"]["steps"] == 1 + len(batch_losses)
    for each in progress:
        assert all(type(value) is float for row in each.record.measures.values() for value in row)
        assert all(
            0 <= value <= 1
            for name in each.record.measures
            if "accuracy" in name
            for value in each.record.measures[name]
        )
    said = [[step or 0 for step in each.record.diverged_step] for each in progress]
    assert np.array_equal(said, expected_steps(some, progress, np.array(batch_losses, dtype=float)))

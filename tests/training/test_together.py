"""K trials trained together equal the same K alone, whether they compute at once or in shards one after the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bnexp.config.norm import NORMS
from bnexp.data.dataset import Dataset
from bnexp.plan import TrialGroup, groups, trials
from bnexp.records import EpochRecord
from bnexp.training import work
from bnexp.training.group_state import GroupTrainState
from bnexp.training.loop import train
from bnexp.training.work import shard_sizes
from tests.helpers import (
    FLOAT32,
    TOGETHER_FLOAT64,
    assert_close,
    curve,
    experiment,
    finished,
    made_up_data,
    only_group,
    pairwise,
    rates_group,
    thinned,
)
from tests.nn.plain import takes

KINDS = [*NORMS]
PLACES = ["before", "after"]
AT_ONCE = [1, 2, 3, None]
VGG = {"family": "vgg", "depth": 5}


def trained(group: TrialGroup, data: Dataset, at_once: int | None) -> list[EpochRecord]:
    """The records of a training in which at most so many trials compute at once; None: all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "trials_at_once", lambda *_: at_once)
        return [progress.record for progress in train(group, data)]


@st.composite
def experiments(draw: st.DrawFn) -> dict[str, Any]:
    """Small random experiments with images, whose trials differ in what may differ within a group."""
    family = draw(st.sampled_from(["vgg", "resnet", "mlp", "mlp"]))
    kind = draw(st.sampled_from([kind for kind in KINDS if takes(family, kind)]))
    # On the two features of a convolution's groups, the others turn rounding noise of gradients into drift.
    optimizer = draw(
        st.sampled_from(["sgd", "adam", "adamw", "nadam", "rmsprop"] if family == "mlp" else ["sgd", "adam"])
    )
    residual = family == "mlp" and draw(st.booleans())
    affine = draw(st.sampled_from(["both", "gamma", "beta", "none"]))
    only = draw(st.sampled_from(["all", "all", "norm"])) if kind != "none" and affine != "none" else "all"
    blocks = family == "resnet" or residual
    schemes = ["he", "xavier", "orthogonal", *(["fixup", "skipinit"] * 2 if blocks and kind == "none" else [])]
    size = draw(st.sampled_from([8, 15]))
    return {
        "model": {
            "family": family,
            "depth": {"vgg": 5, "resnet": 8, "mlp": 3}[family],
            "width": 4 if family != "mlp" else 8,
            "activation": draw(st.sampled_from(["relu", "tanh", "gelu"])),
            "residual": residual,
            "weights": draw(st.sampled_from(["plain", "plain", "standardized", "scaled"])),
            # Under Adam a bias that norm cancels drifts by rounding noise.
            "bias": draw(st.sampled_from(["auto", True, False])) if optimizer == "sgd" else "auto",
            "dropout_at": draw(st.sampled_from(["each", "before_norm", "after_norm", "last"])),
            "init": {"scheme": draw(st.sampled_from(schemes)), "scale": 0.8},
            "norm": {
                "kind": kind,
                "placement": draw(st.sampled_from(PLACES)),
                "addition": draw(st.sampled_from(PLACES)),
                "input": draw(st.booleans()) and kind not in ("group", "whiten"),
                "affine": affine,
                "over": draw(st.sampled_from([None, 4])) if "over" in NORMS[kind].options and size == 8 else None,
                "statistics": draw(st.sampled_from(["ema", "population"][: 2 - NORMS[kind].averages_in_training])),
                "groups": 2,
                # Few enough that a batch has more images: else rounding decides about the eigenvectors.
                "group_size": 2,
            },
        },
        "arms": {"only": {}},
        "train": {
            "steps": draw(st.integers(2, 7)),
            "batch_size": size,
            "accumulate": draw(st.sampled_from([1, 2])) if size == 8 else 1,
            "sampling": draw(st.sampled_from(["epoch", "replacement"])),
            "drop_last": draw(st.booleans()),
            "optimizer": optimizer,
            "lr": 0.05 if optimizer == "sgd" else 0.002,
            "momentum": draw(st.sampled_from([0.0, 0.9])),
            "weight_decay": 0.01,
            "schedule": draw(st.sampled_from(["constant", "exponential", "one_cycle", "warmup_cosine", "step"])),
            "label_smoothing": draw(st.sampled_from([0.0, 0.1])),
            "only": only,
            "clip": draw(st.sampled_from([{}, {"norm_global": 0.5}, {"adaptive": 0.02}])),
            "augment": draw(st.sampled_from(["none", "flip_crop", "flip_crop_cutout"])),
            "precision": "fp64",
        },
        "grid": {
            "model.dropout": draw(st.sampled_from([[0.0], [0.2, 0.5]])),
            "train.weight_decay": [0.0, 0.01],
        },
        "seeds": draw(st.sampled_from([[0], [3, 1], [2, 0, 5]])),
    }


@pytest.mark.parametrize(
    ("family", "kind", "placement", "addition"),
    [
        *((scheme, "none", "before", "before") for scheme in ("fixup", "skipinit")),
        *thinned((row for row in pairwise(["mlp", "vgg", "resnet"], KINDS, PLACES, PLACES) if takes(*row[:2])), 3),
    ],
)
def test_shards_equal_the_trial_alone_with_every_norm_everywhere(
    family: str, kind: str, placement: str, addition: str
) -> None:
    norm = {"kind": kind, "placement": placement, "addition": addition, "groups": 2, "group_size": 2}
    network = {"mlp": ("mlp", 2, 8), "vgg": ("vgg", 5, 4)}.get(family, ("resnet", 8, 4))
    whole = only_group(
        experiment(
            model=dict(zip(("family", "depth", "width"), network, strict=True))
            | {"activation": "relu", "init": family if family in ("fixup", "skipinit") else "he", "norm": norm},
            arms={"only": {}},
            train={"steps": 3, "batch_size": 8, "lr": 0.05, "augment": "flip_crop", "precision": "fp64"},
            grid={"model.dropout": [0.0, 0.3]},
            seeds=[4, 1],
        )
    )
    data = made_up_data(whole, train_images=24, test=0, side=8)
    group = whole.only(whole.numbers[1:])  # seeds of one trial and of two, which compute in two shards
    together = trained(group, data, 2 if family == "mlp" else 1)
    at_once = trained(whole, data, None)
    for number in group.numbers:
        assert_close(curve(together, number), curve(at_once, number), TOGETHER_FLOAT64)
    alone = trained(whole.only([group.numbers[-1]]), data, None)
    assert_close(curve(together, group.numbers[-1]), curve(alone, group.numbers[-1]), TOGETHER_FLOAT64)


@pytest.mark.parametrize("examples", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_together_equals_alone_however_many_compute_at_once(examples: int) -> None:
    @given(experiments(), st.sampled_from(AT_ONCE), st.booleans())
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],  # shrinking a failure takes minutes
        suppress_health_check=list(HealthCheck),
    )
    def check(raw: dict[str, Any], at_once: int | None, uneven: bool) -> None:
        whole = only_group(experiment(**raw))
        group = whole.only(whole.numbers[1:]) if uneven else whole
        data = made_up_data(whole, train_images=36, test=8, side=8 if raw["train"]["augment"] != "none" else 5)
        together = trained(group, data, at_once)
        for number in {group.numbers[0], group.numbers[len(group.trials) // 2], group.numbers[-1]}:
            alone = trained(group.only([number]), data, None)
            assert_close(curve(together, number), curve(alone, number), TOGETHER_FLOAT64)

    check()


@pytest.mark.parametrize("count", [1, 2, 257])
def test_any_number_of_trials_in_float32(count: int) -> None:
    rates = list(np.linspace(0.01, 0.2, count))
    group = only_group(
        experiment(model={"depth": 2, "width": 8}, train={"epochs": 2, "batch_size": 16}, grid={"train.lr": rates})
    )
    data = made_up_data(group)
    together = [progress.record for progress in finished(group, data)]
    for trial in (group.trials[0], group.trials[-1]):
        alone = [progress.record for progress in finished(TrialGroup((trial,)), data)]
        assert_close(curve(together, trial.number), curve(alone, trial.number), FLOAT32)


def test_same_start_and_batches_in_every_arm_and_grid_point() -> None:
    config = experiment(
        arms=["none", "before", "after"],
        model={"depth": 3, "width": 8, "bias": True},
        train={"batch_size": 16},
        grid={"train.lr": [0.1, 1.0]},
        seeds=2,
    )
    weights: dict[int, set[bytes]] = {}
    for group in groups(trials(config)):
        train_state = GroupTrainState(group, made_up_data(group))
        linear = {name: t for name, t in train_state.network.named_parameters() if name.endswith("weight")}
        for k, trial in enumerate(group.trials):
            drawn = b"".join(t[k].detach().numpy().tobytes() for t in linear.values())
            weights.setdefault(trial.seed, set()).add(drawn)
    assert {seed: len(drawn) for seed, drawn in weights.items()} == {0: 1, 1: 1}
    assert weights[0] != weights[1]


def test_a_trial_that_leaves_takes_nothing_from_those_in_other_shards() -> None:
    raw = {
        "model": {"family": "vgg", "depth": 5, "width": 4, "activation": "relu", "dropout": 0.2},
        "arms": ["none"],
        "train": {
            "epochs": 3,
            "batch_size": 12,
            "stop_diverged": True,
            "augment": "flip_crop_cutout",
            "precision": "fp64",
        },
        "grid": {"train.lr": [0.1, 1e200, 0.05]},
        "seeds": 2,
    }
    group = only_group(experiment(**raw))
    data = made_up_data(group, train_images=36, side=8)
    # The second epoch starts with four trials of two seeds, in shards of two.
    together, left = trained(group, data, 2), group.only([0, 1, 4, 5])
    assert [record.trials for record in together] == [group.numbers] * 2 + [left.numbers] * 2
    for number in left.numbers:
        alone = trained(group.only([number]), data, None)
        assert_close(curve(together, number), curve(alone, number), TOGETHER_FLOAT64)


def test_the_order_in_which_seeds_are_listed_changes_nothing() -> None:
    model = {"family": "resnet", "depth": 8, "width": 4, "dropout": 0.2, "norm": "noisy_batch"}
    train = {"steps": 3, "batch_size": 12, "augment": "flip_crop", "precision": "fp64"}
    one, other = (
        only_group(experiment(model=model, arms={"only": {}}, train=train, seeds=seeds)) for seeds in ([0, 7], [7, 0])
    )
    data = made_up_data(one, train_images=36, side=8)
    first, second = trained(one, data, 1), trained(other, data, 1)
    for number in (0, 1):
        assert_close(curve(first, number), curve(second, 1 - number), TOGETHER_FLOAT64)


@pytest.mark.parametrize(
    ("at_once", "sizes"),
    [(1, [1] * 6), (2, [1, 2, 1, 2]), (3, [3, 3]), (4, [3, 3]), (6, [6]), (100, [6]), (None, [6])],
)
def test_whole_seeds_compute_at_once_or_some_trials_of_one(
    at_once: int | None, sizes: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "trials_at_once", lambda *_: at_once)
    some = rates_group(3, VGG, 2)
    assert shard_sizes(some, made_up_data(some).shape, torch.device("cpu")) == sizes


def test_the_macs_of_a_pass_are_those_of_the_largest_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    some = rates_group(3, VGG)
    found = []
    for at_once in (1, 2, None):
        monkeypatch.setattr(work, "trials_at_once", lambda *_, most=at_once: most)
        found.append(GroupTrainState(some, made_up_data(some)).macs)
    # 3×3 weights at 4 × 4, 2 × 2, 1 and 1 places, the linear layer's, and a batch of 16
    each = 9 * (8 * 16 + 8 * 16 * 4 + 16 * 32 + 32 * 32) + 3 * 32
    assert found == [16 * each, 2 * 16 * each, 3 * 16 * each]

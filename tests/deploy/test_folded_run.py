"""Folded trials: which there are, the proof that comes with them, and what a wrong one would look like."""

from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from math import inf, nan
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from bnexp.data.dataset import Dataset, load
from bnexp.deploy import folded_run, folding
from bnexp.deploy.folded_run import FoldedRun, fold_run
from bnexp.deploy.folding import FoldedTrial, fold_trial
from bnexp.deploy.timing import Timing
from bnexp.report.table import to_rich
from bnexp.runner.trained import TrainedTrial, trained_trials
from bnexp.store.reader import RunRecord
from bnexp.training.numerics import dtype_of
from tests.deploy.conftest import NUMBERS
from tests.helpers import EXACT_FLOAT32, EXACT_FLOAT64

CPU = torch.device("cpu")


def fold(record: RunRecord, *arms: str, timing: bool = False) -> FoldedRun:
    return fold_run(record, [NUMBERS[arm] for arm in arms] or None, CPU, timing=timing)


def trained(record: RunRecord, arm: str, **data: Any) -> tuple[TrainedTrial, Dataset]:
    """A trial and its data, of which there may be less."""
    (found,) = trained_trials(record, [NUMBERS[arm]])
    settings = found.trial.settings
    return found, load(settings.data.model_copy(update=data), CPU, dtype_of(settings.train.precision))


@pytest.fixture(scope="module")
def everything(record: RunRecord) -> dict[str, FoldedTrial]:
    return {each.trial.arm: each for each in fold(record).trials}


def test_all_trials_are_folded_that_can_be(everything: dict[str, FoldedTrial]) -> None:
    reasons = {arm: each.reason for arm, each in everything.items() if each.reason}
    nothing = "there is no norm layer"
    assert reasons == {
        "none": nothing,
        "fixup": nothing,
        "scaled": nothing,
        "layer": "hidden.0.norm: its statistics are those of each image, so it isn't a fixed map",
        "vgg_after": "stages.0.0.norm: the next convolution pads with zeros, which don't get the shift",
    }
    assert {arm for arm, each in everything.items() if each.proof is None} == set(reasons)


def test_rounding_is_all_that_changes(everything: dict[str, FoldedTrial], record: RunRecord) -> None:
    recorded = dict(zip(record.trials["arm"], record.trials["final_test_accuracy"], strict=True))
    for arm, each in everything.items():
        if proof := each.proof:
            assert proof.exact, arm
            assert proof.float64.relative <= EXACT_FLOAT64, arm
            assert 0 < proof.float32.relative <= 10 * EXACT_FLOAT32, arm
            assert (proof.split, proof.images, proof.same) == ("test", 40, 1.0), arm
            assert proof.accuracy == (recorded[arm], recorded[arm])


def test_parameters_are_those_of_the_network_without_norm_layers(everything: dict[str, FoldedTrial]) -> None:
    without = 64 * 8 + 8 + 8 * 8 + 8 + 8 * 10 + 10
    for arm, more in (("before", 2 * (4 * 8 - 8)), ("after", 2 * 4 * 8)):
        found = everything[arm]
        assert found.parameters == without + more
        assert found.proof
        assert found.proof.parameters == without


@pytest.mark.parametrize(
    ("sizes", "split", "images"),
    [({}, "test", 40), ({"test_size": 0}, "val", 30), ({"test_size": 0, "val_size": 0}, "train", 120)],
)
def test_without_test_images_others_are_the_proof(
    record: RunRecord, sizes: dict[str, int], split: str, images: int
) -> None:
    found, data = trained(record, "before", **sizes)
    proof = fold_trial(found, data, CPU).proof
    assert proof
    assert (proof.split, proof.images) == (split, images)


@pytest.mark.parametrize(
    ("weight", "reason"),
    [(nan, "the weights are not finite"), (inf, "the weights are not finite"), (3e38, "the logits are not finite")],
)
def test_a_trial_that_diverged_is_not_folded(record: RunRecord, weight: float, reason: str) -> None:
    found, data = trained(record, "before")
    arrays = found.weights.arrays | {"output.weight": np.full_like(found.weights.arrays["output.weight"], weight)}
    ended = fold_trial(replace(found, weights=replace(found.weights, arrays=arrays)), data, CPU)
    assert (ended.proof, ended.reason) == (None, reason)


def test_a_network_that_answers_differently_is_no_proof(record: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    right = folding.folded

    def wrong(network: nn.Module) -> nn.Sequential:
        made = right(network)
        made[-1].get_parameter("bias").data[0] += 0.5
        return made

    monkeypatch.setattr(folding, "folded", wrong)
    found = fold(record, "none", "before")
    (proof,) = (each.proof for each in found.trials if each.proof)
    for difference in (proof.float64, proof.float32):
        assert difference.largest == pytest.approx(0.5, rel=EXACT_FLOAT32)
        assert difference.relative == pytest.approx(0.5 / difference.logit, rel=EXACT_FLOAT32)
    assert proof.same < 1
    assert proof.accuracy[0] != proof.accuracy[1]
    assert not proof.exact
    assert found.inexact == [NUMBERS["before"]]


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[nn.Module, nn.Module, Tensor, int]]:
    """What was to be timed, and took no time."""
    asked: list[tuple[nn.Module, nn.Module, Tensor, int]] = []

    def timings(*given: Any) -> Iterator[Timing]:
        asked.append(given)
        yield Timing(1, False, 0.004, 0.002)
        yield Timing(1, True, None, None, "InvalidCxxCompiler: none here")

    monkeypatch.setattr(folded_run, "timings", timings)
    return asked


def test_trials_with_the_same_layers_are_timed_once(
    record: RunRecord, timed: list[tuple[nn.Module, nn.Module, Tensor, int]]
) -> None:
    said: list[str] = []
    arms = ("none", "before", "unit", "pca", "resnet")
    found = fold_run(record, [NUMBERS[arm] for arm in arms], CPU, timing=True, say=said.append)
    alike = ["before", "unit", "pca"]
    assert [([trial.arm for trial in each.alike], each.timing.compiled) for each in found.timed] == [
        (alike, False),
        (alike, True),
        (["resnet"], False),
        (["resnet"], True),
    ]
    first = (NUMBERS["before"], NUMBERS["resnet"])
    assert said == [f"timing trial {number}, as it is and compiled" for number in first]
    before, after, images_BCHW, products = timed[0]
    assert "BatchNorm1d" in str(before)
    assert "BatchNorm1d" not in str(after)
    assert images_BCHW.shape == (120, 1, 8, 8)
    assert products == 64 * 8 + 8 * 8 + 8 * 10


def test_nothing_is_timed_that_was_not_folded_or_where_nobody_asks(
    record: RunRecord, timed: list[tuple[nn.Module, nn.Module, Tensor, int]]
) -> None:
    assert fold(record, "none", "layer", timing=True).timed == ()
    assert fold(record, "before").timed == ()
    assert timed == []


def test_tables_say_what_was_found(record: RunRecord, timed: list[tuple[nn.Module, nn.Module, Tensor, int]]) -> None:
    proofs, times = fold(record, "none", "before", "fixup", timing=True).tables()
    none, before, _ = (dict(zip(proofs.headers, row, strict=True)) for row in proofs.rows)
    assert (none["folded"], none["accuracy"], none["parameters"]) == ("no", "-", "682")
    assert (before["folded"], before["same class"], before["parameters"]) == ("yes", "100.00%", "730 → 682")
    assert proofs.notes == (
        "error: the largest difference between logits before and after, over 40 test images.",
        f"not folded: trials {NUMBERS['none']}, {NUMBERS['fixup']}: there is no norm layer.",
    )
    assert [row[3:] for row in times.rows] == [
        ("1", "eager", "4 ms", "2 ms", "2.00×"),
        ("1", "compiled", "-", "-", "-"),
    ]
    assert times.notes[1:] == ("not compiled: InvalidCxxCompiler: none here",)


def test_in_80_columns_no_number_of_a_large_network_is_broken(record: RunRecord) -> None:
    found = fold(record, "none", "before")
    large = replace(found, trials=tuple(replace(each, parameters=98_765_432) for each in found.trials))
    console = Console(file=StringIO(), width=80)
    console.print(to_rich(large.tables()[0]))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert said.count("98,765,432") == 2
    assert "Left out, since the window is narrow: largest logit." in said

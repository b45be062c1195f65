"""`bnexp fold`: the trials of a run without their norm layers, and how much less time they take."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bnexp.config.origin import naming
from bnexp.config.text import counted
from bnexp.data.dataset import Dataset
from bnexp.deploy.folding import FoldedTrial, Proof, fold_trial, folded
from bnexp.deploy.timing import MOST_ROUNDS, Timing, timings
from bnexp.engines.devices import check_float64, data_key, load_data
from bnexp.nn.plain_layers import to_torch
from bnexp.nn.table import layer_table
from bnexp.plan import Trial
from bnexp.report.columns import number
from bnexp.report.style import short_keys, value_text
from bnexp.report.table import Cell, Column, Table
from bnexp.runner.trained import TrainedTrial, trained_trials
from bnexp.store.files import CONFIG
from bnexp.store.reader import RunRecord
from bnexp.training.numerics import full_precision, numerics

TIMED_IMAGES = 256
"""Training images that are handed to the networks while they are timed."""

Say = Callable[[str], None]
"""Called with a line before anything that takes long."""


@dataclass(frozen=True)
class TimedTrial:
    """How long the networks of a trial take."""

    alike: tuple[Trial, ...]
    """The trial, and others whose networks have the same layers: they take the same time."""
    timing: Timing


@dataclass(frozen=True)
class FoldedRun:
    """Everything that `bnexp fold` shows."""

    run: str
    device: str
    swept: tuple[str, ...]
    """Dotted keys of the grid."""
    trials: tuple[FoldedTrial, ...]
    timed: tuple[TimedTrial, ...]

    @property
    def inexact(self) -> list[int]:
        """Trials whose folded network differs by more than rounding explains: a fault of bnexp."""
        return [each.trial.number for each in self.trials if each.proof and not each.proof.exact]

    def tables(self) -> list[Table]:
        """A table of the folded trials, and one of the times."""
        title = f"{self.run}: norm layers folded into the weights beside them"
        proofs = Table(_columns(self.swept), self.trials, title, tuple(_notes(self.trials)))
        if not self.timed:
            return [proofs]
        how = f"medians of up to {MOST_ROUNDS} repetitions in turn, on {self.device}; ratio: before over after."
        problems = {f"not compiled: {each.timing.problem}" for each in self.timed if each.timing.problem}
        return [proofs, Table(_TIMES, self.timed, "inference time", (how, *problems))]

    def as_json(self) -> dict[str, Any]:
        """The same for scripts."""
        return {
            "run": self.run,
            "device": self.device,
            "torch": torch.__version__,
            "trials": [_trial_json(each) for each in self.trials],
            "timings": [_timing_json(each) for each in self.timed],
        }


def fold_run(
    run: RunRecord, wanted: Sequence[int] | None, device: torch.device, *, timing: bool, say: Say = lambda text: None
) -> FoldedRun:
    """Fold away the norm layers of finished trials, check that nothing else has changed, and time the difference.

    Nothing is written. `wanted` are the numbers of the trials; None takes all that have weights. With `timing`, one
    trial of each set of layers is timed. Compiling takes a while, so `say` gets a line before each.

    Raises:
        InputError: no such trial, it has no weights, or its data can't be had.
    """
    check_float64(device, "bnexp fold")
    found = trained_trials(run, wanted)
    with naming(str(run.path / CONFIG)):
        datasets = load_data([each.group for each in found], device)
    proven, alike = list[FoldedTrial](), dict[str, list[TrainedTrial]]()
    for each in found:
        data = datasets[data_key(each.group)]
        # Under tf32 a GPU's convolutions would differ in the fourth digit, folded or not.
        with numerics(full_precision(each.trial.settings.train), device):
            proven.append(fold_trial(each, data, device))
        if proven[-1].proof:
            alike.setdefault(f"{data.shape.image} {to_torch(each.network(data.shape, device))}", []).append(each)
    timed = list[TimedTrial]()
    for same in alike.values() if timing else ():
        say(f"timing trial {same[0].trial.number}, as it is and compiled")
        times = _times(same[0], datasets[data_key(same[0].group)], device)
        timed += [TimedTrial(tuple(each.trial for each in same), each_time) for each_time in times]
    return FoldedRun(run.path.name, str(device), run.config.swept, tuple(proven), tuple(timed))


def _times(trained: TrainedTrial, data: Dataset, device: torch.device) -> list[Timing]:
    settings = trained.trial.settings
    with numerics(settings.train, device):
        network = trained.network(data.shape, device)
        layers = layer_table(settings.model, data.shape.image, data.shape.classes)
        images_BCHW = data.inputs(data.train.images_NP[:TIMED_IMAGES]).unflatten(1, data.shape.image)
        return list(timings(to_torch(network), folded(network), images_BCHW, sum(layer.macs for layer in layers)))


def _columns(swept: Sequence[str]) -> tuple[Column[FoldedTrial], ...]:
    def point(key: str) -> Callable[[FoldedTrial], str]:
        return lambda row: value_text(row.trial.point[key])

    def proven(write: Callable[[Proof], Cell | str]) -> Callable[[FoldedTrial], Cell | str]:
        return lambda row: write(row.proof) if row.proof else "-"

    def parameters(row: FoldedTrial) -> Cell | str:
        return Cell(f"{row.parameters:,}", f"→ {row.proof.parameters:,}" if row.proof else "")

    return (
        Column("trial", lambda row: str(row.trial.number)),
        *(Column(name, point(key), shared=True) for key, name in short_keys(swept).items()),
        Column("arm", lambda row: row.trial.arm),
        Column("seed", lambda row: str(row.trial.seed)),
        Column("folded", lambda row: "yes" if row.proof else "no"),
        Column("error in float64", proven(lambda proof: number(proof.float64.largest, ".1e"))),
        Column("in float32", proven(lambda proof: number(proof.float32.largest, ".1e")), drop=2),
        Column("largest logit", proven(lambda proof: number(proof.float64.logit)), drop=4),
        Column("accuracy", proven(lambda proof: Cell(f"{proof.accuracy[0]:.3f}", f"→ {proof.accuracy[1]:.3f}"))),
        Column("same class", proven(lambda proof: f"{proof.same:.2%}"), drop=3),
        Column("parameters", parameters, drop=1),
    )


_TIMES: tuple[Column[TimedTrial], ...] = (
    Column("trial", lambda row: str(row.alike[0].number)),
    Column("arm", lambda row: row.alike[0].arm),
    Column("stands for", lambda row: counted(len(row.alike), "trial")),
    Column("batch", lambda row: str(row.timing.batch)),
    Column("mode", lambda row: "compiled" if row.timing.compiled else "eager"),
    Column("as trained", lambda row: _milliseconds(row.timing.before)),
    Column("folded", lambda row: _milliseconds(row.timing.after)),
    Column("ratio", lambda row: "-" if row.timing.ratio is None else f"{row.timing.ratio:.2f}×"),
)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.3g} ms"


def _notes(trials: Sequence[FoldedTrial]) -> Iterator[str]:
    if images := {f"{each.proof.images} {each.proof.split}" for each in trials if each.proof}:
        yield f"error: the largest difference between logits before and after, over {' and '.join(images)} images."
    reasons: dict[str, list[int]] = {}
    for each in trials:
        if not each.proof:
            reasons.setdefault(each.reason, []).append(each.trial.number)
    for reason, numbers in reasons.items():
        yield f"not folded: {'trial' if len(numbers) == 1 else 'trials'} {', '.join(map(str, numbers))}: {reason}."


def _trial_json(each: FoldedTrial) -> dict[str, Any]:
    trial, proof = each.trial, each.proof
    about = {"trial": trial.number, "arm": trial.arm, "seed": trial.seed, "point": trial.point}
    return about | {
        "folded": proof is not None,
        "reason": each.reason or None,
        "split": proof and proof.split,
        "images": proof and proof.images,
        "max_error_float64": proof and proof.float64.largest,
        "relative_error_float64": proof and proof.float64.relative,
        "max_error_float32": proof and proof.float32.largest,
        "relative_error_float32": proof and proof.float32.relative,
        "accuracy_before": proof and proof.accuracy[0],
        "accuracy_after": proof and proof.accuracy[1],
        "same_predictions": proof and proof.same,
        "parameters_before": each.parameters,
        "parameters_after": proof and proof.parameters,
    }


def _timing_json(each: TimedTrial) -> dict[str, Any]:
    timing, first = each.timing, each.alike[0]
    return {
        "trial": first.number,
        "arm": first.arm,
        "trials": [trial.number for trial in each.alike],
        "batch": timing.batch,
        "compiled": timing.compiled,
        "seconds_before": timing.before,
        "seconds_after": timing.after,
        "ratio": timing.ratio,
        "problem": timing.problem or None,
    }

"""Small networks for checks, freshly made or trained on the bundled digits, and how far two arrays are apart."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor, nn

from bnexp.claims.runs import Finding
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import resolve
from bnexp.config.model import ModelSettings
from bnexp.data.dataset import Dataset
from bnexp.engines.devices import data_key, load_data
from bnexp.nn.build import build
from bnexp.nn.norm import BatchNorm
from bnexp.plan import groups, trials
from bnexp.runner.trained import TrainedTrial
from bnexp.store.checkpoints import WEIGHTS
from bnexp.streams import SeedGenerators, TrialRandom
from bnexp.training.loop import train

M = TypeVar("M", bound=nn.Module)

CPU = torch.device("cpu")
DIGIT = 1, 8, 8
"""C, H, W of a digit."""
CLASSES = 10
BIASES = 1_000
"""The first seed of biases."""


def compare(
    what: str, actual: ArrayLike, expected: ArrayLike, tolerance: float, found: str = "relative error {}"
) -> Finding:
    """Compare an array with the expected one; {} in the text stands for the error relative to the largest of these."""
    return within(what, difference(actual, expected), tolerance, found)


def within(what: str, error: float, tolerance: float, found: str) -> Finding:
    """Compare an error with its tolerance; {} in the text stands for the error."""
    return Finding(what, found.format(short(error)), error, tolerance)


def difference(actual: ArrayLike, expected: ArrayLike) -> float:
    """Return the largest difference relative to the largest expected number; if all expected are 0, the difference.

    Arrays of different shapes are infinitely far apart.
    """
    a, b = np.asarray(actual, dtype=float), np.asarray(expected, dtype=float)
    if a.shape != b.shape:
        return float("inf")
    return float(np.abs(a - b).max()) / (float(np.abs(b).max()) or 1.0)


def worst(errors: Iterable[float]) -> float:
    """Return the largest error: 0 without any, and NaN if one is NaN, which max() might miss."""
    return float(np.max([0.0, *errors]))


def short(number: float) -> str:
    """Write a number with one significant digit."""
    return f"{number:.1g}"


@dataclass(frozen=True, eq=False)
class Moment:
    """A trial after some of its steps."""

    arm: str
    step: int
    measures: Mapping[str, float]
    """Loss and accuracy of each split, in evaluation mode, as in curves.csv."""
    data: Dataset
    trained: TrainedTrial

    @property
    def weights(self) -> dict[str, Tensor]:
        """Weights and running statistics by name, without the axis of trials."""
        return {name: torch.from_numpy(array[0]) for name, array in self.trained.weights.arrays.items()}

    def network(self) -> nn.Module:
        """Return the network with its weights, in evaluation mode; every call makes a new one."""
        return self.trained.network(self.data.shape, CPU)

    def test_inputs(self) -> Float[Tensor, "N P"]:
        """Return all test images as network inputs."""
        return self.data.inputs(self.data.test.images_NP)


def small_experiment(**raw: Any) -> ExperimentConfig:
    """Return an experiment on the digits with one seed, from the settings that its file would have."""
    return resolve({"name": "check", "data": {"name": "digits"}, "seeds": 1, "arms": ["before"]} | raw, "check")


def moments(**raw: Any) -> Iterator[Moment]:
    """Train a small experiment, and yield each of its trials at every record; trials of one shape train together."""
    together = groups(trials(small_experiment(**raw)))
    datasets = load_data(together, CPU)
    for group in together:
        data = datasets[data_key(group)]
        for progress in train(group, data):
            record, whole = progress.record, progress.snapshot()
            for k, trial in enumerate(group.trials):
                measures = {name: row[k] for name, row in record.measures.items()}
                own = whole.only([trial.number])
                weights = {name: each for name, each in own.arrays.items() if name.startswith(WEIGHTS)}
                arrays = {name.removeprefix(WEIGHTS): each for name, each in weights.items()}
                trained = TrainedTrial(trial, replace(own, arrays=arrays))
                yield Moment(trial.arm, record.step, measures, data, trained)


def last_moments(**raw: Any) -> dict[str, Moment]:
    """Train a small experiment and return its arms at the end."""
    return {moment.arm: moment for moment in moments(**raw)}


def untrained_network(model: Mapping[str, Any], dtype: torch.dtype = torch.float64) -> nn.Module:
    """Return a network for digits with its initial weights, K = 1, from the settings that a file would have."""
    draws = TrialRandom(SeedGenerators([0], CPU), [0])
    return build([ModelSettings.model_validate(model)], [0], DIGIT, CLASSES, draws, CPU, dtype)


def layers_of(network: nn.Module, kind: type[M]) -> list[M]:
    """Return the layers of a kind, in order from the input."""
    return [layer for layer in network.modules() if isinstance(layer, kind)]


@torch.no_grad()
def randomize_norms(network: nn.Module) -> nn.Module:
    """Give biases and batch norm layers values as after training, none of which would hide a fault."""
    randomize_biases(network)
    for number, norm in enumerate(layers_of(network, BatchNorm)):
        shape = norm.gamma.shape
        norm.gamma.copy_(1 + 0.3 * noise(*shape, seed=4 * number))
        norm.beta.copy_(0.5 * noise(*shape, seed=4 * number + 1))
        norm.running_mean.copy_(noise(*shape, seed=4 * number + 2))
        norm.running_var.copy_(noise(*shape, seed=4 * number + 3).square() + 0.1)
    return network.eval()


@torch.no_grad()
def randomize_biases(network: nn.Module, ending: str = "bias") -> nn.Module:
    """Replace the zeros of biases whose names have this end by normal numbers."""
    biases = (theta for name, theta in network.named_parameters() if name.endswith(ending))
    for number, bias in enumerate(biases):
        bias.copy_(noise(*bias.shape, seed=BIASES + number))
    return network


def noise(*shape: int, seed: int = 0) -> Float[Tensor, "..."]:
    """Return standard normal numbers in float64, the same at every call."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

"""The study that all programs train: configs/init_scale.yaml, as plain numbers and arrays."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import load
from bnexp.data.dataset import Dataset
from bnexp.engines.devices import load_data
from bnexp.plan import TrialGroup, groups, trials
from bnexp.training.work import record_steps

CONFIG = Path(__file__).parents[1] / "configs" / "init_scale.yaml"


@dataclass(frozen=True)
class Study:
    """What a program needs to know; no rival sees anything of bnexp."""

    scales: tuple[float, ...]
    """Standard deviations of the initial weights; each is trained with BN and without."""
    images_NP: Float[Tensor, "N P"]
    """Training images, scaled to [0, 1]; also what is measured."""
    labels_N: Int[Tensor, " N"]
    widths: tuple[int, ...]
    """Features of the image, units of the hidden layers, classes."""
    steps: int
    measured_at: frozenset[int]
    """Steps after which loss and accuracy on the training images are measured; 0 is before the first."""
    batch_size: int
    lr: float
    eps: float
    momentum: float
    """Weight of the new value in BN's running statistics."""

    @property
    def arms(self) -> list[tuple[float, bool]]:
        """Every trial: its scale, and whether it has BN."""
        return [(scale, norm) for norm in (False, True) for scale in self.scales]

    def operations(self) -> float:
        """Floating-point operations of the study's matrix products: the updates, and the measurements."""
        weights = [first * second for first, second in zip(self.widths, self.widths[1:], strict=False)]
        # Forward, the weights' gradients, and the inputs' gradients, which the images don't need.
        update = 2 * self.batch_size * (3 * sum(weights) - weights[0])
        measurement = 2 * len(self.images_NP) * sum(weights)
        return float(len(self.arms) * (self.steps * update + len(self.measured_at) * measurement))


@dataclass(frozen=True)
class Loaded:
    """The study for bnexp itself, and for its rivals."""

    config: ExperimentConfig
    groups: tuple[TrialGroup, ...]
    data: Dataset
    study: Study


def load_study(overrides: list[str], device: torch.device) -> Loaded:
    """Read the configuration and its images.

    Raises:
        InputError: no MNIST in BNEXP_DATA and none to be downloaded.
    """
    config = load(CONFIG, overrides)
    together = groups(trials(config))
    (data,) = load_data(together, device).values()
    model, train = config.model, config.train
    study = Study(
        scales=tuple(point["model.init.scale"] for point in config.points()),
        images_NP=data.inputs(data.train.images_NP),
        labels_N=data.train.labels_N,
        widths=(data.train.images_NP.shape[1], *model.widths, data.shape.classes),
        steps=train.total_steps(0),
        measured_at=frozenset({0, *record_steps(train, len(data.train) // train.batch_size)}),
        batch_size=train.batch_size,
        lr=train.lr,
        eps=model.norm.eps or 1e-5,
        momentum=model.norm.momentum or 0.1,
    )
    return Loaded(config, together, data, study)

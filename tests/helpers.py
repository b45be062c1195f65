"""What the tests share: the tolerances, all of them, and small experiments on made-up images."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.load import resolve
from bnexp.data.catalog import DataShape
from bnexp.data.dataset import Dataset, Split
from bnexp.data.normalize import fit
from bnexp.plan import TrialGroup, groups, trials
from bnexp.records import PREDICTIONS, EpochRecord, Snapshot
from bnexp.store.checkpoints import Checkpoints, KeptImages
from bnexp.store.checksums import checksum_lines, file_entry
from bnexp.store.files import CHECKSUMS
from bnexp.store.reader import RunRecord
from bnexp.training.loop import Progress, train
from bnexp.training.numerics import dtype_of

TOGETHER_FLOAT64 = 1e-8
"""Relative difference allowed between trials trained together and alone over up to 20 steps, in float64."""
PLAIN_FLOAT64 = 1e-8
"""The same against a plain PyTorch program."""
FLOAT32 = 2e-4
"""Relative difference allowed in float32 with SGD over a few dozen steps."""
GPU_FLOAT64 = 1e-7
"""Relative difference allowed between a GPU and the CPU over a few dozen steps, in float64."""
EXACT_FLOAT64 = 1e-12
"""Relative difference allowed between two ways to compute one formula in float64."""


def experiment(**raw: object) -> ExperimentConfig:
    """A configuration from keywords, small unless they say otherwise."""
    return resolve({"name": "test", "seeds": 1, "arms": ["before"]} | raw, "test")


def made_up_data(
    group: TrialGroup, train_images: int = 96, val: int = 0, test: int = 32, side: int = 4, channels: int = 1
) -> Dataset:
    """Random images of side × side pixels in three classes that a network can tell apart."""
    rng = np.random.default_rng(7)
    count = train_images + val + test
    labels_N = torch.from_numpy(rng.integers(0, 3, count))
    images_NCHW = rng.integers(0, 200, (count, channels, side, side))
    images_NCHW[np.arange(count), 0, labels_N.numpy(), 0] += 55
    images_NP = torch.from_numpy(images_NCHW.astype(np.uint8)).flatten(1)
    settings = group.settings
    whole = images_NP[:train_images].view(-1, channels, side, side)
    scaling = fit(
        whole,
        settings.data.normalize,
        settings.data.feature_scale,
        torch.device("cpu"),
        dtype_of(settings.train.precision),
        settings.data.whiten_eps,
    )
    splits = [
        Split(scaling.kept(x), y)
        for x, y in zip(*(t.split([train_images, val, test]) for t in (images_NP, labels_N)), strict=True)
    ]
    return Dataset(DataShape((channels, side, side), 3, train_images, val, test), *splits, normalization=scaling)  # type: ignore[misc]


def crossed(*columns: Sequence[Any], fast: int) -> list[Any]:
    """Every combination, for parametrize; about one in `fast` is for `make test`, spread over all values."""
    combinations = product(*map(enumerate, columns))
    return [
        pytest.param(*values, marks=() if sum(places) % fast == 0 else pytest.mark.slow)
        for places, values in (zip(*each, strict=True) for each in combinations)
    ]


def thinned(rows: Iterable[Sequence[Any]], fast: int) -> list[Any]:
    """Rows for parametrize, of which one in `fast` is for `make test`."""
    return [pytest.param(*row, marks=pytest.mark.slow if number % fast else ()) for number, row in enumerate(rows)]


def pairwise(*columns: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Rows for parametrize in which every two values of different columns meet at least once."""
    values = [list(column) for column in columns]
    cells = [[(place, number) for number in range(len(column))] for place, column in enumerate(values)]
    left = dict.fromkeys(pair for one, other in combinations(cells, 2) for pair in product(one, other))
    rows = []
    while left:
        row = dict(next(iter(left)))
        for place, column in enumerate(cells):
            if place not in row:
                met = [sum(tuple(sorted((cell, each))) in left for each in row.items()) for cell in column]
                row[place] = met.index(max(met))
        for pair in combinations(sorted(row.items()), 2):
            left.pop(pair, None)
        rows.append(tuple(values[place][row[place]] for place in range(len(values))))
    return rows


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def rewrite(path: Path, content: str) -> None:
    """Change a file of a run folder as its writer would, checksum and all."""
    path.write_text(content)
    with (path.parent / CHECKSUMS).open("ab") as file:
        file.write(checksum_lines([file_entry(path.name, content.encode())]))


def keep_predictions(folder: Path, labels: Sequence[int], predicted: Sequence[Sequence[int]]) -> RunRecord:
    """Return the folder of a run in which trials 0, 1, … predict these classes for test images, all of which are kept.

    An image is 4 × 4 pixels as grey as its number.
    """
    (folder / "checkpoints").mkdir(parents=True)
    arrays = {PREDICTIONS: np.array(predicted, dtype=np.uint8)}
    Checkpoints(folder).keep(0, Snapshot(tuple(range(len(predicted))), 1, 10, 0.5, arrays), "predictions")
    numbers = np.arange(len(labels))
    images = numbers[:, None, None, None] * np.ones((1, 1, 4, 4))
    Checkpoints(folder).keep_images(KeptImages(np.array(labels, dtype=np.uint8), numbers, images.astype(np.uint8)))
    return RunRecord(folder)


def leave_out_report(patch: pytest.MonkeyPatch) -> None:
    """Let runs end without tables, pictures and kept images, which take most of the time of a tiny one."""
    patch.setattr("bnexp.runner.run.write_report_files", lambda run: None)
    patch.setattr("bnexp.runner.run.keep_images", lambda run, datasets: None)


def no_batches(trials: int) -> tuple[tuple[None, ...], ...]:
    """The end of an EpochRecord: no trial is diverged, and none has seen a batch."""
    return ((None,) * trials,) * 3


def only_group(config: ExperimentConfig) -> TrialGroup:
    """The group of an experiment whose trials all have one shape."""
    (group,) = groups(trials(config))
    return group


def small_group(
    rates: Sequence[float] = (0.1,), model: dict[str, Any] | None = None, seeds: Any = 1, **train: Any
) -> TrialGroup:
    """A small network with these learning rates as one group; two epochs unless a number of steps is given."""
    return only_group(
        experiment(
            model={"depth": 2, "width": 8} | (model or {}),
            arms={"only": {}},
            train={"batch_size": 16} | ({} if "steps" in train else {"epochs": 2}) | train,
            grid={"train.lr": list(rates)},
            seeds=seeds,
        )
    )


def rates_group(trials: int = 1, model: dict[str, Any] | None = None, seeds: int = 1, **train: Any) -> TrialGroup:
    """The same with so many learning rates."""
    return small_group([0.1 / (1 + i) for i in range(trials)], model, seeds, **train)


def finished(group: TrialGroup, data: Dataset | None = None, *more: Any) -> list[Progress]:
    """Train a group to its end; `more` goes to train. The state of every record can be had afterwards, too."""
    return [_kept(each) for each in train(group, data or made_up_data(group), *more)]


def _kept(progress: Progress) -> Progress:
    snapshot = progress.snapshot()
    return dataclasses.replace(progress, snapshot=lambda: snapshot)


def curve(records: list[EpochRecord], trial: int) -> np.ndarray:
    """All measures of one trial, a row per record."""
    return np.array([[row[record.trials.index(trial)] for row in record.measures.values()] for record in records])


def assert_close(actual: object, expected: object, relative: float) -> None:
    """Compare arrays by their largest difference relative to the largest expected number."""
    a, b = np.asarray(actual, dtype=float), np.asarray(expected, dtype=float)
    assert a.shape == b.shape
    scale = max(float(np.abs(b).max()), 1e-30) if b.size else 1.0
    worst = float(np.abs(a - b).max()) / scale if b.size else 0.0
    assert worst <= relative, f"relative difference {worst:.2e} > {relative:.0e}"


EXACT_FLOAT32 = 2e-6
"""Relative difference allowed between two ways to compute one formula in float32."""
NEAR_FLOAT64 = 1e-9
"""Relative difference allowed against torch.optim over dozens of steps, and against printed digits that are rounded."""
PRINTED_DIGITS = 1e-7
"""Relative difference allowed to a number that a book prints with seven digits."""
SAMPLED_STD = 0.01
"""Relative difference allowed between the standard deviation of 10^5 draws and the true one."""
SAMPLED_SHARE = 0.006
"""Difference allowed between a share counted over 2·10^5 draws and the probability."""
SAMPLED_GAIN = 0.001
"""Relative difference allowed between gains of activations by quadrature, and those that others published by
simulation."""
SAMPLED_MEAN = 0.03
"""Relative difference allowed between a mean over 2·10^5 draws, nine in ten of them zeros, and the true one."""


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal numbers in float64, the same at every call."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def randomized(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Fill a module's parameters with noise, in float64, so that none of them is at a value that hides faults."""
    module.double()
    for number, parameter in enumerate(module.parameters()):
        parameter.data = noise(*parameter.shape, seed=1000 * seed + number)
    return module


COVERED_SHARE = 0.01
"""Difference allowed between the share of 10^4 made-up studies whose 95 % interval holds the truth, and 95 %."""
PICTURE_RMS = 0.5
"""Root mean square over all pixels, each 0 to 255, by which a picture may differ from the stored one. On one version of
Matplotlib nothing differs; the smallest change that the tests make on purpose makes 2.9."""
DIFFERENCES_FLOAT64 = 1e-8
"""Relative difference allowed between a gradient and central differences of step 1e-5, in float64."""
FAR_MEANS_FLOAT64 = 1e-6
"""Relative difference allowed between two batch norms in float64 where means are up to 1e8 standard deviations from 0:
8 of the 16 digits are lost when they are subtracted."""
EXPLOSION = 0.02
"""Relative difference allowed between the growth of gradients a layer in 30 layers of 128 ReLU units with a batch of
128 images, and that in infinitely many and wide ones: over several sizes the difference was 0.2 to 1.6 %."""
LANCZOS = 1e-5
"""Relative difference allowed between an eigenvalue by Lanczos iterations, which are asked for 1e-6, and the true
one."""
RANKED_SHARE = 0.05
"""Difference allowed between the share of a layer's numbers below a percentile of 2,000 of them, and the percentile:
the standard error of 2,000 independent ones is 1.1 %, and neighbouring places of a picture aren't."""

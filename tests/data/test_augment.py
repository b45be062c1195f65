"""Augmented images are those of a slow transcription, spread as the definition says, and the seed's alone."""

import math
from collections.abc import Sequence

import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from bnexp.config.train import Augment
from bnexp.data.augment import training_inputs
from bnexp.data.catalog import DataShape
from bnexp.data.dataset import Dataset, Split
from bnexp.data.normalize import Normalization, fit
from bnexp.streams import SeedGenerators, TrialRandom

CPU = torch.device("cpu")
KINDS: tuple[Augment, ...] = ("flip_crop", "flip_crop_cutout")
SHAPES = [(3, 32, 32), (1, 28, 28), (2, 16, 40), (3, 40, 9), (1, 8, 8), (1, 1, 1), (2, 1, 5), (1, 15, 15)]
UNLIKELY = 1e-3
"""Chance with which a sound count would fail its test; the seeds are fixed, so it never does."""


def dataset(shape: tuple[int, int, int] = (3, 32, 32), images: int = 8, **scale: float) -> Dataset:
    """Random images without a zero byte after normalisation."""
    images_NCHW = torch.randint(256, (images, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    scaling = fit(images_NCHW, "standard", {int(k[1:]): v for k, v in scale.items()}, CPU, torch.float32)
    split = Split(images_NCHW.flatten(1), torch.arange(images) % 3)
    return Dataset(DataShape(shape, 3, images, 0, 0), split, split, split, scaling)


def batch(data: Dataset, seeds: int = 1, size: int = 8) -> torch.Tensor:
    return data.train.images_NP[torch.arange(seeds * size).view(seeds, size) % len(data.train)]


def drawing(seeds: Sequence[int] = (0,), epoch: int = 1) -> tuple[SeedGenerators, TrialRandom]:
    streams = SeedGenerators(seeds, CPU)
    streams.start_epoch(epoch)
    return streams, TrialRandom(streams, seeds)


def steps(data: Dataset, images_SBP: torch.Tensor, kind: Augment, seeds: Sequence[int] = (0,), count: int = 1, epoch=1):
    """The inputs of the first steps of an epoch."""
    streams, draws = drawing(seeds, epoch)
    found = []
    for _ in range(count):
        streams.start_step()
        draws.start_pass()
        found.append(training_inputs(data, images_SBP, kind, draws))
    return found


def slowly(data: Dataset, image_P: torch.Tensor, uniforms: Sequence[float], cutout: bool) -> torch.Tensor:
    """One image, as one would write it down: flip, pad, crop, normalise, cut out."""
    channels, height, width = data.shape.image
    flip, row, column, centre_row, centre_column = uniforms
    pad, side = min(height, width) // 8, min(height, width) // 2
    image_CHW = image_P.view(channels, height, width)
    if flip < 0.5:
        image_CHW = torch.flip(image_CHW, [2])
    padded_CHW = F.pad(image_CHW[None].double(), (pad, pad, pad, pad), mode="reflect")[0] if pad else image_CHW
    top, left = math.floor(row * (2 * pad + 1)), math.floor(column * (2 * pad + 1))
    cropped_CHW = padded_CHW[:, top : top + height, left : left + width]
    inputs_CHW = data.inputs(cropped_CHW.to(torch.uint8).flatten()).view(channels, height, width)
    if cutout:
        top, left = (math.floor(u * n) - side // 2 for u, n in ((centre_row, height), (centre_column, width)))
        inputs_CHW[:, max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = 0
    return inputs_CHW.flatten()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_picture_is_that_of_a_slow_transcription(shape: tuple[int, int, int], kind: Augment) -> None:
    data, seeds = dataset(shape, k0=3.0), (4, 0)
    images_SBP = batch(data, 2, 40)
    (found_SBP,) = steps(data, images_SBP, kind, seeds)
    _, draws = drawing(seeds)
    uniforms_SB5 = draws.uniform("augment", 5, 40).mT.tolist()
    assert found_SBP.shape == images_SBP.shape
    for found_BP, images_BP, uniforms_B5 in zip(found_SBP, images_SBP, uniforms_SB5, strict=True):
        for found_P, image_P, uniforms in zip(found_BP, images_BP, uniforms_B5, strict=True):
            assert torch.equal(found_P, slowly(data, image_P, uniforms, kind == "flip_crop_cutout"))


def test_no_augmentation_gives_the_plain_inputs_and_draws_nothing() -> None:
    data, (streams, draws) = dataset(), drawing()
    images_SBP = batch(data)
    assert torch.equal(training_inputs(data, images_SBP, "none", draws), data.inputs(images_SBP))
    assert streams.generators == []
    assert all(torch.equal(draws.uniform(name, 3), drawing()[1].uniform(name, 3)) for name in ("augment", "dropout"))


@pytest.mark.parametrize("kind", KINDS)
def test_images_that_are_floats_already_are_moved_as_bytes_are(kind: Augment) -> None:
    data = dataset()
    images_SBP = batch(data, 1, 50)
    (expected_SBP,) = steps(data, images_SBP, kind)
    floats_SBP = data.inputs(images_SBP)
    before = floats_SBP.clone()
    assert torch.equal(steps(data, floats_SBP, kind)[0], expected_SBP)
    assert torch.equal(floats_SBP, before)


# Images whose bytes say where they come from, so that the draws can be read off them.


def places(side: int = 16) -> Dataset:
    """A set whose one image has its pixel's number in every place; normalised by nothing."""
    image_NCHW = torch.arange(side * side, dtype=torch.uint8).view(1, 1, side, side)
    split = Split(image_NCHW.flatten(1), torch.zeros(1, dtype=torch.int64))
    none = fit(image_NCHW, "none", {}, CPU, torch.float32)
    return Dataset(DataShape((1, side, side), 3, 1, 0, 0), split, split, split, none)


def moves(seeds: Sequence[int], size: int, kind: Augment = "flip_crop", count: int = 1, epoch: int = 1) -> torch.Tensor:
    """Flip, row offset and column offset of each image: (steps, S, B, 3)."""
    data = places()
    images_SBP = data.train.images_NP[torch.zeros(len(seeds), size, dtype=torch.int64)]
    found = torch.stack(steps(data, images_SBP, kind, seeds, count, epoch)).long().unflatten(-1, (16, 16))
    # In the middle nothing is reflected.
    middle, right = found[..., 8, 8], found[..., 8, 9]
    flip = (right < middle).long()
    column = torch.where(flip == 1, 15 - middle % 16, middle % 16) - 8
    return torch.stack([flip, middle // 16 - 8, column], -1)


def assert_uniform(numbers: torch.Tensor, values: int) -> None:
    counts = torch.bincount(numbers.flatten(), minlength=values)
    assert len(counts) == values
    assert stats.chisquare(counts.numpy()).pvalue > UNLIKELY


def test_flips_and_offsets_are_uniform_together() -> None:
    found = moves(range(4), 5_000).flatten(0, 2)
    flip, row, column = found.unbind(1)
    assert (row.min(), row.max(), column.min(), column.max()) == (-2, 2, -2, 2)
    assert_uniform(flip * 25 + (row + 2) * 5 + column + 2, 50)


def test_a_cutout_s_centre_is_uniform_over_all_pixels() -> None:
    data = dataset(images=1)
    (found_SBP,) = steps(data, batch(data, 1, 20_000), "flip_crop_cutout")
    cut_BHW = (found_SBP.view(-1, 3, 32, 32) == 0).all(1)
    rows, columns = cut_BHW.any(2), cut_BHW.any(1)
    heights, widths = rows.sum(1), columns.sum(1)
    assert torch.equal(cut_BHW.sum((1, 2)), heights * widths)
    assert (heights.min(), heights.max(), widths.min(), widths.max()) == (8, 16, 8, 16)
    # The centre is eight pixels below the square's first row, or above the row after its last, where that is cut off.
    ends = [(lines.long().argmax(1), 32 - lines.flip(1).long().argmax(1)) for lines in (rows, columns)]
    centres = [torch.where(first > 0, first + 8, last - 8) for first, last in ends]
    assert_uniform(centres[0] * 32 + centres[1], 1024)
    assert cut_BHW.float().mean() == pytest.approx((14 / 32) ** 2, rel=0.02)


# Whose images they are.


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_sees_the_same_pictures_in_any_company(kind: Augment) -> None:
    data = dataset()
    images_SBP = batch(data, 3, 32)
    together = steps(data, images_SBP, kind, (5, 0, 9), count=3)
    for row, seed in enumerate((5, 0, 9)):
        alone = steps(data, images_SBP[row : row + 1], kind, (seed,), count=3)
        for step_together, step_alone in zip(together, alone, strict=True):
            assert torch.equal(step_together[row], step_alone[0])


def test_seeds_steps_and_epochs_differ() -> None:
    first = moves((0, 1), 64, count=2)
    second = moves((0, 1), 64, count=2, epoch=2)
    drawn = [*first.flatten(0, 1), *second.flatten(0, 1)]
    assert all(not torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])
    assert torch.equal(first, moves((0, 1), 64, count=2))


def test_the_largest_uniform_stays_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 1 - 2.0**-24  # below 1, float32 has none above it
    for shape in SHAPES:
        data, (_, draws) = dataset(shape), drawing()
        monkeypatch.setattr(draws, "uniform", lambda stream, *size: torch.full((1, *size), largest))
        found_SBP = training_inputs(data, batch(data), "flip_crop_cutout", draws)
        expected_P = slowly(data, data.train.images_NP[0], [largest] * 5, cutout=True)
        assert torch.equal(found_SBP[0, 0], expected_P)


@pytest.mark.parametrize("kind", KINDS)
def test_the_host_reads_nothing_back(kind: Augment, monkeypatch: pytest.MonkeyPatch) -> None:
    data, meta = dataset(), torch.device("meta")  # where there are no numbers to read
    scaling = Normalization(*(torch.empty(3072, device=meta) for _ in range(2)), factor_P=None)  # type: ignore[misc]
    split = Split(data.train.images_NP.to(meta), data.train.labels_N.to(meta))
    _, draws = drawing()
    monkeypatch.setattr(draws, "uniform", lambda stream, *size: torch.empty(1, *size, device=meta))
    there = Dataset(data.shape, split, split, split, scaling)
    found_SBP = training_inputs(there, split.images_NP[None], kind, draws)
    assert (found_SBP.shape, found_SBP.device.type) == ((1, 8, 3072), "meta")


@pytest.mark.parametrize("kind", KINDS)
def test_a_cuda_graph_augments_as_a_gpu_does(kind: Augment, gpu: torch.device) -> None:
    from bnexp.training.graphs import cuda_graph

    data = dataset()
    scaling = fit(data.train.images_NP.view(-1, 3, 32, 32), "standard", {}, gpu, torch.float32)
    split = Split(data.train.images_NP.to(gpu), data.train.labels_N.to(gpu))
    there, images_SBP = Dataset(data.shape, split, split, split, scaling), batch(data, 2, 64).to(gpu)
    streams = SeedGenerators((3, 4), gpu)
    draws, found_SBP = TrialRandom(streams, (3, 4)), torch.zeros(2, 64, 3072, device=gpu)

    def act() -> None:
        streams.start_step()
        draws.start_pass()
        found_SBP.copy_(training_inputs(there, images_SBP, kind, draws))

    repeat = cuda_graph(act, streams)
    streams.start_epoch(1)
    replayed = []
    for _ in range(3):
        repeat()
        replayed.append(found_SBP.clone())
    streams.start_epoch(1)
    for replay_SBP in replayed:
        act()
        assert torch.equal(replay_SBP, found_SBP)
    assert not torch.equal(replayed[0], replayed[1])

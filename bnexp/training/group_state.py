"""A trial group in training: networks, optimiser, what has diverged, and the step that updates them."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest

import torch
from jaxtyping import Bool, Float, Int, Integer, Real
from torch import Tensor, nn

from bnexp.data.augment import training_inputs
from bnexp.data.dataset import Dataset, Split
from bnexp.nn.batch_variants import Relaxation
from bnexp.nn.build import build, train_norms_alone
from bnexp.nn.clipping import Clipping
from bnexp.nn.layers import Dropout, losses
from bnexp.nn.norm import Noise, freeze_statistics, refit_statistics, train_mode
from bnexp.nn.own.surgery import OwnDropout
from bnexp.nn.shards import Matrices, Parameters, Parts, Shard, in_one_buffer, shards
from bnexp.nn.table import layer_table
from bnexp.plan import TrialGroup
from bnexp.streams import SeedGenerators, TrialRandom
from bnexp.training.divergence import Divergence
from bnexp.training.numerics import autocast, dtype_of, totals_dtype
from bnexp.training.optimizers import Rows
from bnexp.training.side_by_side import side_by_side
from bnexp.training.work import (
    between_records,
    branches,
    fused_kernels,
    kept_predictions,
    one_buffer,
    shard_sizes,
    total_steps,
)

CHUNK_NUMBERS = {"cpu": 2**21, "cuda": 2**25, "mps": 2**25}
"""Numbers of one layer's output held at a time over all trials. On a CPU they fit into the caches, and products are
still large enough to be fast (2^17 to 2^21 were tried); on a GPU few launches are needed."""

Forward = Callable[[Float[Tensor, "S B in"]], Float[Tensor, "K B C"]]


@torch.no_grad()
def measure(
    forward: Forward,
    trials: int,
    width: int,
    data: Dataset,
    split: Split,
    predicted_KN: Integer[Tensor, "K N"] | None = None,
) -> Float[Tensor, "2 K"]:
    """Return mean loss and accuracy of each trial, in `totals_dtype` and still on the device.

    Accuracy takes the largest logit, the first NaN where there is one.

    Args:
        forward: the K networks in evaluation mode.
        trials: K.
        width: units of the widest layer; it sets how many images pass at a time.
        data: scales the images.
        split: what to measure on.
        predicted_KN: receives the predicted classes, if they are wanted.
    """
    device = split.labels_N.device
    totals_2K = torch.zeros(2, trials, dtype=totals_dtype(device), device=device)
    size = max(1, CHUNK_NUMBERS[device.type] // max(trials * width, split.images_NP.shape[1]))
    for number, (images_BP, labels_B) in enumerate(chunks(split, size)):
        logits_KBC = forward(data.inputs(images_BP)[None])
        totals_2K[0] += losses(logits_KBC, labels_B[None]).sum(1, dtype=totals_2K.dtype)
        # Not argmax, which took ten times as long here; both give the first of equal logits and the first NaN.
        classes_KB = logits_KBC.mT.max(1).indices
        totals_2K[1] += (classes_KB == labels_B).sum(1)
        if predicted_KN is not None:
            predicted_KN[:, number * size : number * size + len(labels_B)] = classes_KB
    return totals_2K / len(split)


def chunks(split: Split, size: int) -> Iterator[tuple[Real[Tensor, "B P"], Int[Tensor, " B"]]]:
    """Yield a split's images and labels in file order, `size` at a time."""
    yield from zip(split.images_NP.split(size), split.labels_N.split(size), strict=True)


State = Mapping[str, Tensor]


class GroupTrainState:
    """K trials of one shape and everything that their next update depends on besides data and step number.

    Args:
        group: the trials.
        data: the images, on the device that trains.

    Attributes:
        notes: what people should know of how it trains.
        predicted_KN: the classes that the last evaluation predicted for the test images; see kept_predictions.
    """

    def __init__(self, group: TrialGroup, data: Dataset):
        settings = [trial.settings for trial in group.trials]
        self.group, self.data, self._train = group, data, settings[0].train
        self.notes: list[str] = []
        self.device = data.train.labels_N.device
        seeds, models = [trial.seed for trial in group.trials], [each.network for each in settings]
        self.streams = SeedGenerators(seeds, self.device)
        self._picture_draws = TrialRandom(self.streams, group.shared_seeds)
        draws, dtype = TrialRandom(self.streams, seeds), dtype_of(self._train.precision)
        self.network = build(models, seeds, data.shape.image, data.shape.classes, draws, self.device, dtype)
        if self._train.only == "norm":
            train_norms_alone(self.network)
        row = math.gcd(*(theta[0].numel() for theta in self.network.parameters()))
        buffer = in_one_buffer(self.network) if one_buffer(models[0], data.shape, self.device, row) else None
        self.shards = shards(self.network, draws, shard_sizes(group, data.shape, self.device))
        self._networks = [shard.network for shard in self.shards]
        if fused_kernels(self._train, self.device):
            from bnexp.nn.fused import fused  # Triton, which not every torch has

            self._networks = [fused(network) for network in self._networks]
        # Trials of a seed share their draws, so one has to wait for the other.
        self._draws = any(isinstance(layer, Dropout | Noise | OwnDropout) for layer in self.network.modules())
        self._branches = branches(models[0], data.shape, self.device)
        self._relax = Relaxation(self.network, models[0].norm, total_steps(group, data.shape))
        self.layers = layer_table(models[0], data.shape.image, data.shape.classes)
        parameters, rules = Parameters(self.network), [each.train for each in settings]
        thetas = parameters.matrices
        self._optimizer = self._train.optimizer_spec.load()(rules, thetas, parameters.decayed, buffer)
        clips = [train.clip for train in rules]
        self._clips = [Clipping.of(clips[shard.first : shard.end], shard.network) for shard in self.shards]
        tested, smallest = kept_predictions(data.shape)
        self.predicted_KN = torch.zeros(len(group.trials), tested, dtype=smallest, device=self.device)
        noted = between_records(group, data.shape)
        self._divergence = Divergence(len(group.trials), math.log(data.shape.classes), noted, like=thetas[0])

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a forward pass of a micro-batch, over the trials that compute at once."""
        at_once = max(shard_sizes(self.group, self.data.shape, self.device))
        return sum(layer.macs for layer in self.layers) * self._train.micro_batch * at_once

    def update(self, batch_SB: Int[Tensor, "S B"], rate_K1: Float[Tensor, "K 1"], step: Int[Tensor, ""]) -> None:
        """Make one update from a batch of image numbers per seed; the host reads nothing back.

        Args:
            batch_SB: indices into the training images.
            rate_K1: learning rates.
            step: number of this update, from 1; on the device, since a CUDA graph would repeat a number from the host.
        """
        self._relax(step)
        self.streams.start_step()
        images_SBP = self.data.train.images_NP[batch_SB]
        each = len(self.group.trials) // len(batch_SB)
        labels_KB = self.data.train.labels_N[batch_SB[:, None].expand(-1, each, -1)].flatten(0, 1)
        self._picture_draws.start_pass()
        x_SBP = training_inputs(self.data, images_SBP, self._train.augment, self._picture_draws)
        loss_K, gradient = self._backward(x_SBP, labels_KB)
        self._optimizer.update(gradient, rate_K1)
        self._divergence.record(loss_K, step)

    def freeze(self) -> None:
        """Let the running statistics normalise in all updates to come."""
        for shard in self.shards:
            freeze_statistics(shard.network)

    def evaluate(self, step: int | Int[Tensor, ""]) -> Float[Tensor, "M K"]:
        """Return the rows of `Divergence.rows`, and then loss and accuracy on each split with images, one row each.

        What is not finite before training, at step 0, counts as diverged at step 1.
        """
        norm = self.group.settings.model.norm
        acts = [partial(self._evaluate, shard) for shard in self.shards]
        rows_MK = torch.cat(side_by_side(acts, self._branches), dim=1)
        lost_K = ~(rows_MK[::2].isfinite().all(0) & _all_finite(self._numbers().values()))
        at = torch.full((), step, device=self.device) if isinstance(step, int) else step
        # Before the first update running statistics are still (0, 1), so an evaluation with them says nothing about the
        # network.
        if norm.spec.batch_statistics and norm.statistics != "population":
            lost_K &= at > 0
        self._divergence.mark_nonfinite(lost_K, at.clamp(min=1))
        return torch.cat([self._divergence.rows(), rows_MK])

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that training goes on from; every tensor has the trials in front. These are no copies."""
        return self._numbers() | _prefixed("divergence", self._divergence.state())

    def load_state_dict(self, state: State) -> None:
        """Take over a state from `state_dict()` of the same trials."""
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])
        self._divergence.discard()

    def _numbers(self) -> dict[str, Tensor]:
        return _prefixed("network", self.network.state_dict()) | _prefixed("optimizer", self._optimizer.state)

    def _backward(
        self, x_SBP: Float[Tensor, "S B P"], labels_KB: Int[Tensor, "K B"]
    ) -> tuple[Float[Tensor, " K"], Rows]:
        """Return every trial's loss and clipped gradient; a shard's activations are freed before the next computes."""
        if self._train.accumulate == 1:
            loss_K, parts = self._gradients(x_SBP, labels_KB, self._clips)
        else:
            loss_K, parts = self._accumulated(x_SBP, labels_KB)
        return loss_K, self._optimizer.joined(parts)

    def _accumulated(
        self, x_SBP: Float[Tensor, "S B P"], labels_KB: Int[Tensor, "K B"]
    ) -> tuple[Float[Tensor, " K"], Parts]:
        """Return the loss and the gradient over micro-batches, of which each draws for itself."""
        size = self._train.micro_batch
        passes = list(zip(x_SBP.split(size, 1), labels_KB.split(size, 1), strict=True))
        losses_K, sums = list[Tensor](), None
        for each in passes:
            self.streams.start_step()
            loss_K, parts = self._gradients(*each)
            losses_K.append(loss_K)
            sums = parts if sums is None else [_added(*both) for both in zip(sums, parts, strict=True)]
        assert sums is not None
        means = [torch._foreach_mul(list(part), 1 / len(passes)) for part in sums]
        return torch.stack(losses_K).mean(0), [clip(mean) for clip, mean in zip(self._clips, means, strict=True)]

    def _gradients(
        self, x_SBP: Float[Tensor, "S B P"], labels_KB: Int[Tensor, "K B"], clips: Sequence[Clipping] = ()
    ) -> tuple[Float[Tensor, " K"], Parts]:
        """Return every trial's loss on images that pass at once, and every shard's gradient, clipped if asked."""

        def compute(shard: Shard, network: nn.Module, clip: Clipping | None) -> tuple[Float[Tensor, " k"], Matrices]:
            if not shard.network.training:
                train_mode(shard.network)
            shard.draws.start_pass()
            rows = shard.rows(len(x_SBP), len(self.group.trials))
            logits_KBC = self._forward(network, x_SBP[rows])
            labels_kB = labels_KB[shard.first : shard.end]
            loss_K = losses(logits_KBC, labels_kB, self._train.label_smoothing).mean(1)
            gradient = shard.gradient(loss_K.sum())
            return loss_K.detach(), clip(gradient) if clip else gradient

        acts = [partial(compute, *each) for each in zip_longest(self.shards, self._networks, clips)]
        found, parts = zip(*side_by_side(acts, 1 if self._draws else self._branches), strict=True)
        return found[0] if len(found) == 1 else torch.cat(found), parts

    def _evaluate(self, shard: Shard) -> Float[Tensor, "M K"]:
        """Return loss and accuracy of some trials on each split with images, one row each."""
        shard.network.eval()
        if self.group.settings.model.norm.statistics == "population":
            batches = chunks(self.data.train, self._train.batch_size)
            whole = (x for x, _ in batches if len(x) == self._train.batch_size)
            slices = (x for batch in whole for x in batch.split(self.group.settings.norm_batch))
            with autocast(self._train, self.device):
                refit_statistics(shard.network, (self.data.inputs(x)[None] for x in slices))
        predicted_KN = self.predicted_KN[shard.first : shard.end] if self.predicted_KN.numel() else None
        splits = [(self.data.train, None), (self.data.val, None), (self.data.test, predicted_KN)]
        forward, largest = partial(self._forward, shard.network), max(layer.output for layer in self.layers)
        return torch.cat([measure(forward, len(shard), largest, self.data, *each) for each in splits if len(each[0])])

    def _forward(self, network: nn.Module, x_SBP: Float[Tensor, "S B P"]) -> Float[Tensor, "K B C"]:
        with autocast(self._train, self.device):
            logits_KBC: Tensor = network(x_SBP)
        return logits_KBC.to(x_SBP.dtype)


def _added(gradient: Matrices, other: Matrices) -> Matrices:
    return torch._foreach_add(list(gradient), list(other))


def _prefixed(name: str, state: State) -> dict[str, Tensor]:
    return {f"{name}.{key}": tensor for key, tensor in state.items()}


def _all_finite(tensors: Iterable[Tensor]) -> Bool[Tensor, " K"]:
    # Minimum and maximum propagate NaN; isfinite over every number took 20 times as long (320 trials of 78,500
    # weights).
    extremes = [extreme for tensor in tensors for extreme in (tensor.flatten(1).amin(1), tensor.flatten(1).amax(1))]
    return torch.stack(extremes).isfinite().all(0)

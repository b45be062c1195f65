"""K networks for probes to look into: the parameters are those in training, everything else is their own.

Shapes: N samples of a layer, the batch's images or all their places or time steps; S inputs shared by K/S neighbouring
trials each.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from bnexp.nn.layers import Conv2d, Linear, losses
from bnexp.nn.norm import Norm, averages_in_training, running_norms, train_mode
from bnexp.nn.own.calls import ACTIVATION_LAYERS, NORM_LAYERS, WEIGHT_LAYERS
from bnexp.nn.own.networks import OwnNetworks
from bnexp.nn.own.surgery import Placed
from bnexp.nn.shards import Shard, probe_copy, shards
from bnexp.streams import SeedGenerators, TrialRandom

Theta = Mapping[str, Tensor]
"""Learned tensors (K, …) by name."""
Seen = Mapping[str, Sequence[Tensor]]
"""Inputs or outputs of layers by name: one tensor, or several where a layer is passed more than once (time steps)."""


@dataclass(frozen=True)
class Batch:
    """Images that pass at once, and the number that names their random draws: equal numbers give equal draws."""

    x_SBP: Float[Tensor, "S B P"]
    labels_SB: Int[Tensor, "S B"]
    dropout: int
    """The same at every step, so that only the networks change."""
    noise: int
    """Another at every step, since noise that changes is the point of noisy batch norm."""


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass in training mode; layers hand on x_KBC or x_BDHW, of time steps x_KNC."""

    loss_K: Float[Tensor, " K"]
    gradient: Theta
    inputs: Mapping[str, Tensor]
    """Input of each activation and norm layer, by its name."""
    outputs: Mapping[str, Tensor]
    """Output of each activation, norm and weight layer."""
    gradient_at: Mapping[str, Tensor]
    """Gradient of the loss with respect to the outputs of activation layers."""


class Networks:
    """The networks of a shard, to be passed through freely: neither its buffers nor its random streams change.

    Training mode throughout, unless a method says otherwise: batch statistics, dropout and noise as in training,
    but with draws of their own; products in full precision.

    Args:
        shard: the networks in training.
        seeds: of its trials.
        label_smoothing: of their loss.

    Attributes:
        trials: K.
        weights, activations, norms: layers by name, in the order in which data pass them.
        learned: those of the weights that are trained.
    """

    def __init__(self, shard: Shard, seeds: Sequence[int], label_smoothing: float):
        device = next(shard.network.parameters()).device
        self._streams, self._shard, self._seeds = SeedGenerators(seeds, device), shard, tuple(seeds)
        self._draws = TrialRandom(self._streams, seeds)
        self.module = probe_copy(shard, self._draws)
        self._smoothing, self.trials = label_smoothing, len(shard)
        self._running = running_norms(self.module)
        layers = dict(self.module.named_modules())
        if isinstance(self.module, OwnNetworks):
            kinds = WEIGHT_LAYERS, ACTIVATION_LAYERS, (*NORM_LAYERS, Placed)
            self.weights, self.activations, self.norms = map(self.module.layers, kinds)
        else:
            self.weights = {name: layer for name, layer in layers.items() if isinstance(layer, Linear | Conv2d)}
            self.activations = {name: layer for name, layer in layers.items() if name.endswith("activation")}
            self.norms = {name: layer for name, layer in layers.items() if isinstance(layer, Norm)}
        theta = self.theta()
        self.learned = {name: layer for name, layer in self.weights.items() if f"{name}.weight" in theta}

    def theta(self) -> Theta:
        """Return the parameters as they are, in the same memory."""
        return {name: parameter.detach() for name, parameter in self.module.named_parameters()}

    def one_by_one(self) -> Iterator["Networks"]:
        """Yield each trial's network by itself."""
        self.restore()
        for alone, seed in zip(shards(self.module, self._draws, [1] * self.trials), self._seeds, strict=True):
            yield Networks(alone, [seed], self._smoothing)

    def restore(self) -> None:
        """Copy the running statistics from the networks in training, since evaluation needs them."""
        for mine, trained in zip(self.module.buffers(), self._shard.network.buffers(), strict=True):
            mine.copy_(trained)

    def logits(self, theta: Theta, batch: Batch) -> Float[Tensor, "K B C"]:
        """Return the logits in whatever mode the module is in, computed in the type of θ."""
        if self.module.training and any(map(averages_in_training, self._running)):
            self.restore()  # passes change them
        # No epoch of the training has such numbers.
        self._streams.start({"dropout": -1 - batch.dropout, "module": -1 - batch.dropout, "noise": -1 - batch.noise})
        self._draws.start_pass()
        logits_KBC: Tensor = functional_call(self.module, {**theta, **self._buffers(theta)}, (batch.x_SBP,))
        return logits_KBC

    def loss(self, theta: Theta, batch: Batch) -> Float[Tensor, " K"]:
        """Return each trial's mean loss over a batch."""
        train_mode(self.module)
        return losses(self.logits(theta, batch), batch.labels_SB, self._smoothing).mean(1)

    def gradient(self, theta: Theta, batch: Batch) -> tuple[Float[Tensor, " K"], Theta]:
        """Return each trial's loss at some parameters and its gradient there."""
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in theta.items()}
        loss_K = self.loss(leaves, batch)
        gradients = torch.autograd.grad(loss_K.sum(), list(leaves.values()))
        return loss_K.detach(), dict(zip(leaves, gradients, strict=True))

    def look(self, batch: Batch) -> Pass:
        """Pass a batch with the present parameters and keep the layers' outputs."""
        leaves = {name: tensor.requires_grad_() for name, tensor in self.theta().items()}
        with self.watching() as (inputs, outputs):
            loss_K = self.loss(leaves, batch)
        hidden = [tensor for name in self.activations for tensor in outputs[name]]
        found = iter(torch.autograd.grad(loss_K.sum(), [*leaves.values(), *hidden]))
        return Pass(
            loss_K.detach(),
            {name: next(found) for name in leaves},
            {name: self.whole(name, inputs[name]).detach() for name in (*self.activations, *self.norms)},
            {name: self.whole(name, tensors).detach() for name, tensors in outputs.items()},
            {name: self.whole(name, [next(found) for _ in outputs[name]]) for name in self.activations},
        )

    def _buffers(self, theta: Theta) -> Theta:
        """Return replacements for the buffers if θ has another type than the networks."""
        own, asked = (next(iter(each.values())).dtype for each in (self.theta(), theta))
        if own == asked:
            return {}
        return {name: buffer.to(asked) for name, buffer in self.module.named_buffers() if buffer.dtype == own}

    @contextmanager
    def watching(self) -> Iterator[tuple[Seen, Seen]]:
        """Keep the layers' inputs and outputs in the next pass."""
        inputs, outputs = defaultdict[str, list[Tensor]](list), defaultdict[str, list[Tensor]](list)

        def keep(name: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
            def hook(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
                inputs[name].append(given[0])
                outputs[name].append(output)

            return layer.register_forward_hook(hook, prepend=True)  # before an arm's norm layer behind it

        names = (*self.weights, *self.activations, *self.norms)
        handles = [keep(name, self.module.get_submodule(name)) for name in names]
        try:
            yield inputs, outputs
        finally:
            for handle in handles:
                handle.remove()

    def whole(self, layer: str, seen: Sequence[Tensor]) -> Tensor:
        """Return what passed a layer at all time steps, or each time that it was called, as one."""
        if isinstance(self.module, OwnNetworks):
            seen = [self.module.as_activations(layer, each) for each in seen]
        return seen[0] if len(seen) == 1 else torch.cat(tuple(seen), 1)

    def samples(self, x: Tensor) -> Float[Tensor, "K N C"]:
        """Return what passed a layer with a row per sample: per image, or per place or time step of every image.

        Time steps come one after the other, each with the whole batch.
        """
        if x.ndim == 3:
            return x
        x_KNC: Tensor = x.unflatten(1, (self.trials, -1)).permute(1, 0, 3, 4, 2).flatten(1, 3)
        return x_KNC

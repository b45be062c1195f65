"""What the tests of networks share: small networks of K trials, and one trial of them as torch.nn would have it.

The plain networks are written from the papers and the configuration's documentation, a layer at a time: slow, and
with nothing of bnexp.nn in them. They take images (B, C, H, W).
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from bnexp.config.model import FAMILIES, ModelSettings
from bnexp.config.norm import NORMS
from bnexp.nn.build import build
from bnexp.nn.plain_layers import OTHER_NORMS
from bnexp.streams import SeedGenerators, Stream, TrialRandom, stream_seed
from tests.helpers import EXACT_FLOAT32, EXACT_FLOAT64, assert_close, noise

CPU = torch.device("cpu")
EPOCH = 1
MODULES: dict[str, Any] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}
PLAIN_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d, *OTHER_NORMS)
"""Norm layers of exported networks."""
Image = tuple[int, int, int]


def takes(family: str, kind: str) -> bool:
    """Whether a family can have a kind of norm layer."""
    has, spec = FAMILIES[family], NORMS[kind]
    return (spec.in_rnn or not has.recurrent) and not (spec.over_places and has.units)


def seed_draws(seeds: Sequence[int], epoch: int = EPOCH) -> TrialRandom:
    """The draws of K trials at the first step of an epoch."""
    streams = SeedGenerators(seeds, CPU)
    streams.start_epoch(epoch)
    return TrialRandom(streams, seeds)


def network(
    raw: dict[str, Any], seeds: Sequence[int], image: Image, classes: int = 3, draws: TrialRandom | None = None
) -> nn.Module:
    """K networks in float64, each weight as initialised and everything else moved from where it starts."""
    models = [ModelSettings.model_validate(raw)] * len(seeds)
    built = build(models, seeds, image, classes, draws or seed_draws(seeds), CPU, torch.float64)
    for number, (name, parameter) in enumerate(built.named_parameters()):
        if not name.endswith("weight") or not bool(parameter.any()):
            parameter.data += 0.3 * noise(*parameter.shape, seed=number)
    return built


def plain(raw: dict[str, Any], image: Image, classes: int = 3, seed: int = 0) -> nn.Module:
    """One trial of that network, with weights of its own."""
    layers = Layers(ModelSettings.model_validate(raw), seed)
    family = {"mlp": plain_mlp, "vgg": plain_vgg, "resnet": plain_resnet}[layers.model.family]
    made: nn.Module = family(layers, image, classes)
    return made.double()


def generator(seed: int, stream: Stream, epoch: int = EPOCH) -> torch.Generator:
    """A stream as its documentation says."""
    return torch.Generator().manual_seed(stream_seed(seed, stream, epoch))


def take_over(made: nn.Module, built: nn.Module, k: int) -> None:
    """Give a plain network the numbers of trial k; the layers of both stand in the order of the data."""
    targets, sources = list(with_numbers(made)), list(with_numbers(built))
    assert len(targets) == len(sources)
    for target, source in zip(targets, sources, strict=True):
        names = {"weight", "bias", "gain", "factor", "gamma", "beta"} & {name for name, _ in source.named_parameters()}
        for name in names:
            number = source.get_parameter(name)[k].detach().clone()
            mine = target.get_parameter({"gamma": "weight", "beta": "bias"}.get(name, name))
            assert mine.shape == number.shape
            mine.data = number
        if isinstance(target, nn.Linear | nn.Conv2d) and "bias" not in names:
            assert target.bias is not None
            target.bias.data.zero_()
        for name, kept in source.named_buffers():
            if name.startswith("running"):
                target.get_buffer(name).copy_(kept[k])


def has_bias(layer: nn.Module) -> bool:
    """Whether a layer of bnexp has a bias."""
    return "bias" in dict(layer.named_parameters(recurse=False))


def with_numbers(network: nn.Module) -> Iterator[nn.Module]:
    """The layers that learn something, in the order of the data."""
    return (module for module in network.modules() if any(True for _ in module.parameters(recurse=False)))


def assert_equals_plain(raw: dict[str, Any], image: Image, classes: int = 3, batch: int = 6) -> None:
    """Compare a forward pass in training, what it leaves in the running statistics, and one in evaluation."""
    # Noise is computed in the precision in which it is drawn.
    noisy = ModelSettings.model_validate(raw).norm.kind == "noisy_batch"
    tolerance, seeds = EXACT_FLOAT32 if noisy else EXACT_FLOAT64, [0, 0, 3]
    built, made = network(raw, seeds, image, classes), [plain(raw, image, classes, seed) for seed in seeds]
    for k, each in enumerate(made):
        take_over(each, built, k)
    pixels = image[0] * image[1] * image[2]
    for number, training in enumerate((True, False)):
        x_KBP = (1 + number) * noise(len(seeds), batch, pixels, seed=90 + number) - number
        expected = torch.stack([each.train(training)(x_KBP[k].view(-1, *image)) for k, each in enumerate(made)])
        assert_close(built.train(training)(x_KBP).detach(), expected.detach(), tolerance)
        mine, theirs = _running(built), [_running(each) for each in made]
        for index, kept in enumerate(mine):
            assert_close(kept, torch.stack([each[index] for each in theirs]), tolerance)


def _running(network: nn.Module) -> list[torch.Tensor]:
    return [kept for name, kept in network.named_buffers() if name.rpartition(".")[2].startswith("running")]


class PlainWhitening(nn.Module):
    """Decorrelated batch normalization by a singular value decomposition of every group's covariance."""

    running_mean: torch.Tensor
    running_covariance: torch.Tensor

    def __init__(self, features: int, size: int | None = None, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        self.size, self.momentum, self.eps = size or features, momentum, eps
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        groups = features // self.size
        self.register_buffer("running_covariance", torch.stack([torch.eye(self.size)] * groups))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x_NC = x.movedim(1, -1).reshape(-1, x.shape[1])
        samples, white = len(x_NC), []
        for group, start in enumerate(range(0, x_NC.shape[1], self.size)):
            own = slice(start, start + self.size)
            mean, covariance = self.running_mean[own].clone(), self.running_covariance[group].clone()
            if self.training:
                mean = x_NC[:, own].mean(0)
                covariance = torch.stack([torch.outer(row, row) for row in x_NC[:, own] - mean]).sum(0) / samples
                kept, unbiased = 1 - self.momentum, covariance.detach() * samples / (samples - 1)
                self.running_mean[own] = kept * self.running_mean[own] + self.momentum * mean.detach()
                self.running_covariance[group] = kept * self.running_covariance[group] + self.momentum * unbiased
            u, s, _ = torch.linalg.svd(covariance)
            white.append((x_NC[:, own] - mean) @ u @ torch.diag((s + self.eps) ** -0.5) @ u.T)
        y_NC = torch.cat(white, 1) * self.weight + self.bias
        return y_NC.view(*x.movedim(1, -1).shape).movedim(-1, 1)


def quadrature_gain(activation: str) -> float:
    """1/√Var[f(z)] of an activation f of a standard normal z, by Gauss and Legendre on both sides of 0."""
    nodes, weights = np.polynomial.legendre.leggauss(300)
    z = torch.from_numpy(np.concatenate([7.5 * nodes - 7.5, 7.5 * nodes + 7.5]))
    p = torch.from_numpy(np.tile(weights, 2)) * torch.exp(-(z**2) / 2)
    p, f = p / p.sum(), MODULES[activation]()(z)
    return float((p * (f - (p * f).sum()) ** 2).sum() ** -0.5)


class Standardized(nn.Module):
    """Weight standardisation, one unit after the other; scaled by an activation's gain, and a learned one per unit."""

    def standardize(self, activation_gain: float | None) -> None:
        self.activation_gain = activation_gain
        if activation_gain is not None:
            self.gain = nn.Parameter(torch.ones(len(self.get_parameter("weight"))))

    def made(self) -> torch.Tensor:
        units = []
        for number, w in enumerate(self.get_parameter("weight")):
            n, mean = w.numel(), w.mean()
            variance = ((w - mean) ** 2).sum() / n
            if self.activation_gain is None:
                units.append((w - mean) / torch.sqrt(variance + 1e-5))
            else:
                gain = self.gain[number] * self.activation_gain
                units.append(gain * (w - mean) / torch.sqrt(n * variance + 1e-4))
        return torch.stack(units)


class StandardizedLinear(Standardized, nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.made(), self.bias)


class StandardizedConv2d(Standardized, nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.made(), self.bias, self.stride, self.padding)


class PlainMeanNorm(nn.Module):
    """Mean-only batch normalization, a channel at a time."""

    running_mean: torch.Tensor

    def __init__(self, features: int, momentum: float = 0.1):
        super().__init__()
        self.momentum = momentum
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = []
        for c in range(x.shape[1]):
            mean = self.running_mean[c].clone()
            if self.training:
                mean = x[:, c].mean()
                self.running_mean[c] = (1 - self.momentum) * self.running_mean[c] + self.momentum * mean.detach()
            made.append(self.weight[c] * (x[:, c] - mean) + self.bias[c])
        return torch.stack(made, 1)


class PlainVarianceNorm(nn.Module):
    """Division by the deviation around the batch's mean, which stays, a channel at a time."""

    running_var: torch.Tensor

    def __init__(self, features: int, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = []
        for c in range(x.shape[1]):
            var = self.running_var[c].clone()
            if self.training:
                var, unbiased = x[:, c].var(correction=0), x[:, c].detach().var()
                self.running_var[c] = (1 - self.momentum) * self.running_var[c] + self.momentum * unbiased
            made.append(self.weight[c] * x[:, c] / torch.sqrt(var + self.eps) + self.bias[c])
        return torch.stack(made, 1)


class PlainRenorm(nn.Module):
    """Batch renormalization, a channel at a time; algorithm 1 of the paper, line by line."""

    running_mean: torch.Tensor
    running_std: torch.Tensor

    def __init__(self, features: int, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        self.momentum, self.eps, self.r_max, self.d_max = momentum, eps, 1.0, 0.0
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_std", torch.ones(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = []
        for c in range(x.shape[1]):
            mean, std = self.running_mean[c].clone(), self.running_std[c].clone()
            if self.training:
                batch_mean, batch_std = x[:, c].mean(), torch.sqrt(self.eps + x[:, c].var(correction=0))
                r = min(max(float(batch_std.detach() / std), 1 / self.r_max), self.r_max)
                d = min(max(float((batch_mean.detach() - mean) / std), -self.d_max), self.d_max)
                x_hat = (x[:, c] - batch_mean) / batch_std * r + d
                self.running_mean[c] += self.momentum * (batch_mean.detach() - mean)
                self.running_std[c] += self.momentum * (batch_std.detach() - std)
            else:
                x_hat = (x[:, c] - mean) / std
            made.append(self.weight[c] * x_hat + self.bias[c])
        return torch.stack(made, 1)


class PlainRMSNorm(nn.Module):
    """Root mean square layer normalization, an image at a time, with a bias."""

    def __init__(self, features: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        whole = torch.stack([F.rms_norm(one, one.shape, eps=self.eps) for one in x])
        shape = (-1, *(1 for _ in x.shape[2:]))
        return whole * self.weight.view(shape) + self.bias.view(shape)


def in_slices(kind: Any, over: int | None) -> Any:
    """A batch norm of torch that normalises so many images at a time, one part of the batch after the other."""

    class Slices(kind):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            parts = max(1, len(x) // over) if over and self.training else 1
            return torch.cat([kind.forward(self, part) for part in x.chunk(parts)])

    return Slices


class PlainDropout(nn.Module):
    """Inverted dropout; the uniforms of an image lie channels last."""

    def __init__(self, rate: float, uniforms: torch.Generator):
        super().__init__()
        self.rate, self.uniforms = rate, uniforms

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        u = torch.rand(x.movedim(1, -1).shape, generator=self.uniforms, dtype=torch.float32).movedim(-1, 1)
        return torch.where(u < self.rate, 0, x / (1 - self.rate))


class PlainNoise(nn.Module):
    """The noise behind batch norm, an activation at a time, in the documented order of the draws."""

    def __init__(self, draws: torch.Generator):
        super().__init__()
        self.draws = draws

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        x_last = x.movedim(1, -1)
        unit_mean = torch.rand(x_last.shape[-1], generator=self.draws) - 0.5
        unit_scale = 1 + 0.25 * torch.rand(x_last.shape[-1], generator=self.draws)
        own_mean = unit_mean + (torch.rand(x_last.shape, generator=self.draws) - 0.5) / 5
        own_scale = unit_scale + torch.randn(x_last.shape, generator=self.draws) / 10
        return (x_last * own_scale + own_mean).movedim(-1, 1)


class Plus(nn.Module):
    """One learned number, added."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.1**0.5 * self.bias


class Times(nn.Module):
    """One learned number, multiplied with."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (1 + 0.1**0.5 * (self.factor - 1))


class Gate(nn.Module):
    """One learned number that closes a branch at first (De & Smith 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


class Layers:
    """Plain layers for some settings; those that draw share the streams of one seed."""

    def __init__(self, model: ModelSettings, seed: int):
        self.model, self.fixup = model, model.init.scheme == "fixup"
        self.dims = 1 if model.family == "mlp" else 2
        self._uniforms, self._noise = generator(seed, "dropout"), generator(seed, "noise")
        self._made = 0

    def weights(self, features: int, units: int, stride: int = 1) -> nn.Module:
        linear, conv, kind = nn.Linear, nn.Conv2d, self.model.weights
        if kind != "plain":
            linear, conv = StandardizedLinear, StandardizedConv2d
        layer = linear(features, units) if self.dims == 1 else conv(features, units, 3, stride=stride, padding=1)
        if isinstance(layer, Standardized):
            gain = quadrature_gain(self.model.activation) if self._made else 1.0
            layer.standardize(gain if kind == "scaled" else None)
        self._made += 1
        return layer

    def scalar(self) -> list[nn.Module]:
        return [Plus()] if self.fixup else []

    def branch_end(self) -> list[nn.Module]:
        return {"fixup": [Times()], "skipinit": [Gate()]}.get(self.model.init.scheme, [])

    def dropout(self, where: str) -> list[nn.Module]:
        wanted = self.model.dropout > 0 and self.model.dropout_at == where
        return [PlainDropout(self.model.dropout, self._uniforms)] if wanted else []

    def norm(self, features: int) -> list[nn.Module]:
        """A place for a norm layer."""
        settings, layers = self.model.norm, list[nn.Module]()
        batch_norm = in_slices(nn.BatchNorm1d if self.dims == 1 else nn.BatchNorm2d, settings.over)
        match settings.kind:
            case "batch":
                layers = [batch_norm(features, settings.eps, settings.momentum)]
            case "noisy_batch":
                layers = [batch_norm(features, settings.eps, settings.momentum), PlainNoise(self._noise)]
            case "layer":
                layers = [nn.GroupNorm(1, features, settings.eps)]
            case "group":
                layers = [nn.GroupNorm(settings.groups, features, settings.eps)]
            case "instance":
                layers = [nn.InstanceNorm2d(features, settings.eps, affine=True)]
            case "rms":
                layers = [PlainRMSNorm(features, settings.eps)]
            case "mean":
                layers = [PlainMeanNorm(features, settings.momentum)]
            case "variance":
                layers = [PlainVarianceNorm(features, settings.momentum, settings.eps)]
            case "renorm":
                layers = [PlainRenorm(features, settings.momentum, settings.eps)]
            case "whiten":
                layers = [PlainWhitening(features, settings.group_size, settings.momentum, settings.eps)]
        return [*self.dropout("before_norm"), *layers, *self.dropout("after_norm")]

    def before_output(self) -> list[nn.Module]:
        return [*self.dropout("last"), *self.scalar()]

    def input(self, features: int) -> list[nn.Module]:
        return self.norm(features) if self.model.norm.input else []

    def after_weights(self, features: int, *, norm: bool = True) -> list[nn.Module]:
        """An activation with the norm on the side that placement says."""
        around = self.norm(features) if norm else []
        activation = [*self.scalar(), MODULES[self.model.activation]()]
        both = [*around, *activation] if self.model.norm.placement == "before" else [*activation, *around]
        return [*both, *self.dropout("each")]

    def hidden(self, features: int, units: int) -> list[nn.Module]:
        return [self.weights(features, units), *self.after_weights(units)]

    def block(self, features: int, units: int) -> nn.Module:
        """Two layers with a way around them."""
        late = self.model.norm.addition == "after"
        branch = [*self.scalar(), self.weights(features, units, units // features), *self.after_weights(units)]
        branch += [*self.scalar(), self.weights(units, units), *self.branch_end()]
        branch += [] if late else self.norm(units)
        return PlainBlock(nn.Sequential(*branch), nn.Sequential(*self.after_weights(units, norm=late)), features, units)


class PlainBlock(nn.Module):
    """after(x + branch(x)); where the channels grow, x is every second pixel with channels of zeros."""

    def __init__(self, branch: nn.Module, after: nn.Module, features: int, units: int):
        super().__init__()
        self.branch, self.after, self.features, self.units = branch, after, features, units

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = x
        if self.units > self.features:
            skip = x.new_zeros(len(x), self.units, (x.shape[2] + 1) // 2, (x.shape[3] + 1) // 2)
            for row in range(skip.shape[2]):
                for column in range(skip.shape[3]):
                    skip[:, : self.features, row, column] = x[:, :, 2 * row, 2 * column]
        y: torch.Tensor = self.after(skip + self.branch(x))
        return y


class Mean(nn.Module):
    """Every channel's mean over all places."""

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return F.adaptive_avg_pool2d(x_BCHW, 1).flatten(1)


def plain_mlp(layers: Layers, image: Image, classes: int) -> nn.Module:
    model, pixels = layers.model, image[0] * image[1] * image[2]
    made = [nn.Flatten(), *layers.input(pixels)]
    fans = list(pairwise((pixels, *model.widths)))
    while fans:
        if model.residual and len(fans) < len(model.widths) and len(fans) > 1:
            made.append(layers.block(*fans[0]))
            fans = fans[2:]
        else:
            made += layers.hidden(*fans[0])
            fans = fans[1:]
    return nn.Sequential(*made, *layers.before_output(), nn.Linear(model.widths[-1], classes))


def plain_vgg(layers: Layers, image: Image, classes: int) -> nn.Module:
    """Table 1 of the paper, columns A, B, D and E, and a small one; pictures are halved while they can be."""
    stages = {5: "1 1 2", 11: "1 1 2 2 2", 13: "2 2 2 2 2", 16: "2 2 3 3 3", 19: "2 2 4 4 4"}
    features, side, made = image[0], min(image[1:]), layers.input(image[0])
    for times, growth in zip(stages[layers.model.layers].split(), (1, 2, 4, 8, 8), strict=False):
        for _ in range(int(times)):
            units = growth * layers.model.widths[0]
            made += layers.hidden(features, units)
            features = units
        if side >= 2:
            made.append(nn.MaxPool2d(2))
            side //= 2
    return nn.Sequential(*made, Mean(), *layers.before_output(), nn.Linear(features, classes))


def plain_resnet(layers: Layers, image: Image, classes: int) -> nn.Module:
    """Section 4.2 of the paper."""
    width, blocks = layers.model.widths[0], (layers.model.layers - 2) // 6
    made = [*layers.input(image[0]), *layers.hidden(image[0], width)]
    for features, units in ((width, width), (width, 2 * width), (2 * width, 4 * width)):
        made += [layers.block(features, units), *(layers.block(units, units) for _ in range(blocks - 1))]
    return nn.Sequential(*made, Mean(), *layers.before_output(), nn.Linear(4 * width, classes))

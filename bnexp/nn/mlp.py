"""The multi-layer perceptron: hidden layers with a place for a norm layer before or after the activation."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from bnexp.config.model import ModelSettings
from bnexp.nn.activation import ACTIVATIONS
from bnexp.nn.dropout import Dropout, SeedUniforms
from bnexp.nn.linear import Linear
from bnexp.nn.norm import NORMS

Steps = Iterator[tuple[str, nn.Module]]


class MLP(nn.Module):
    """K perceptrons of one shape.

    Args:
        models: settings of each of the K trials; they differ in dropout and init only.
        features: pixels of a flattened image.
        classes: units of the output layer.
        uniforms: dropout draws; None where no trial drops units.
    """

    def __init__(
        self, models: Sequence[ModelSettings], features: int, classes: int, uniforms: SeedUniforms | None = None
    ):
        super().__init__()
        self.trials, self.residual = len(models), models[0].residual
        widths = models[0].widths
        self.input = nn.Sequential(OrderedDict(_input_steps(models, features, uniforms)))
        self.hidden = nn.ModuleList(
            nn.Sequential(OrderedDict(_hidden_steps(models, fan_in, fan_out, uniforms)))
            for fan_in, fan_out in zip((features, *widths[:-1]), widths, strict=True)
        )
        self.output = Linear(len(models), widths[-1], classes)

    def forward(self, x: Float[Tensor, "S B in"]) -> Float[Tensor, "K B classes"]:
        """Return the logits; the input is shared by all trials (S = 1), one per seed, or one per trial."""
        x_KBC = self.input(share_input(x, self.trials)) if len(self.input) else x
        skip = None
        for index, layer in enumerate(self.hidden):
            x_KBC = layer(x_KBC)
            if self.residual and index % 2 == 0:
                # Layers 1, 3, 5, … end a block: layer 1 projects, every later pair is skipped around.
                x_KBC = x_KBC if skip is None else x_KBC + skip
                skip = x_KBC
        logits_KBC: Tensor = self.output(x_KBC)
        return logits_KBC


def share_input(x: Float[Tensor, "S B in"], trials: int) -> Float[Tensor, "K B in"]:
    """Hand S inputs to K trials, K/S neighbours each."""
    shared = len(x)
    if shared in (1, trials):
        return x.expand(trials, -1, -1)
    return x[:, None].expand(-1, trials // shared, -1, -1).flatten(0, 1)


def _input_steps(models: Sequence[ModelSettings], features: int, uniforms: SeedUniforms | None) -> Steps:
    if models[0].norm.input:
        yield from _norm_place(models, features, uniforms)


def _hidden_steps(models: Sequence[ModelSettings], features: int, units: int, uniforms: SeedUniforms | None) -> Steps:
    model = models[0]
    yield "linear", Linear(len(models), features, units, bias=hidden_bias(model))
    if model.norm.placement == "before":
        yield from _norm_place(models, units, uniforms)
    yield "activation", ACTIVATIONS[model.activation]()
    if model.norm.placement == "after":
        yield from _norm_place(models, units, uniforms)
    if model.dropout_at == "each":
        yield from _dropout(models, uniforms)


def _norm_place(models: Sequence[ModelSettings], features: int, uniforms: SeedUniforms | None) -> Steps:
    """Yield what stands where a norm layer belongs, with or without the norm: dropout keeps its place in every arm."""
    model = models[0]
    if model.dropout_at == "before_norm":
        yield from _dropout(models, uniforms)
    if model.norm.kind != "none":
        yield "norm", NORMS[model.norm.kind](len(models), features, model.norm)
    if model.dropout_at == "after_norm":
        yield from _dropout(models, uniforms)


def _dropout(models: Sequence[ModelSettings], uniforms: SeedUniforms | None) -> Steps:
    if uniforms is not None:
        yield "dropout", Dropout([model.dropout for model in models], uniforms)


def hidden_bias(model: ModelSettings) -> bool:
    """Whether hidden layers have a bias: on request, or unless BN comes next and subtracts it again."""
    if model.bias != "auto":
        return bool(model.bias)
    norm = model.norm
    return not (norm.kind == "batch" and norm.placement == "before" and model.dropout_at != "before_norm")

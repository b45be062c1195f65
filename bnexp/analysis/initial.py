"""Whether the initial weights suit the activation where no norm layer makes up for them.

He et al. 2015, arXiv:1502.01852: half of what enters a ReLU is lost, and weights of variance 2/in make up for it; with
Glorot & Bengio's 2/(in + out) or LeCun's 1/in a signal loses a factor √2 in every layer. What passes on the whole
signal (identity, and selu with the constants of Klambauer et al. 2017) asks for 1/in, and with 2/in the signal grows
by √2. Norm layers take any such factor out again.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from bnexp.analysis.study import Study
from bnexp.config.dotted import below
from bnexp.config.model import ModelSettings
from bnexp.words import listed

UNSUITED: dict[str, dict[str, str]] = {
    **{name: {"xavier": "he", "lecun": "he"} for name in ("relu", "leaky_relu", "elu", "gelu", "silu")},
    **{name: {"he": "lecun"} for name in ("identity", "selu")},
}
"""By activation: the schemes that don't suit it, and what does instead.

A tanh works with all of them, and a deep sigmoid with none. Orthogonal weights suit every activation, and the size of
normal ones is for the user to say.
"""
SHALLOW = 2
"""Hidden layers in which a factor of √2 does little."""


def initial_weights(study: Study, baseline: str, others: Sequence[str]) -> Iterator[str]:
    """Yield a warning where the initial weights hold back a deep baseline without norm layers, and no arm with them."""
    model = study.settings[baseline].model
    normed = [arm for arm in others if study.settings[arm].model.norm.kind != "none"]
    # Who sets or sweeps the size of the weights asks about it.
    asked = model.init.scale != 1 or any(below(key, "model.init") for key in study.grid_keys)
    if model.norm.kind != "none" or not normed or asked or not _loses_signal(study, baseline, model):
        return
    scheme, activations = model.init.scheme, _values(study, baseline, "model.activation") or [model.activation]
    if unsuited := [name for name in activations if scheme in UNSUITED.get(name, {})]:
        size, happens = ("large", "grows") if scheme == "he" else ("small", "shrinks")
        remedy = UNSUITED[unsuited[0]][scheme]
        yield (
            f"initial weights: {scheme} is too {size} for {listed(unsuited)}: without norm the signal {happens} in "
            f"every layer, which holds back {baseline} but not {listed(normed)} (model.init: {remedy})"
        )


def _loses_signal(study: Study, baseline: str, model: ModelSettings) -> bool:
    """Whether a factor in every layer adds up: in deep networks without skip connections."""
    depths = [model.layers if depth is None else depth for depth in _values(study, baseline, "model.depth")]
    return model.family in ("mlp", "vgg") and not model.blocks and max(depths, default=model.layers) > SHALLOW


def _values(study: Study, arm: str, key: str) -> list[Any]:
    """Return the values of a swept setting, None for null; nothing where it isn't swept."""
    if key not in study.grid_keys:
        return []
    values = study.trials.loc[study.trials["arm"] == arm, key]
    return [None if pd.isna(value) else value for value in values.unique()]

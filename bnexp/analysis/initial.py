"""Whether the initial weights suit the activation where no norm layer makes up for them.

He et al. 2015, arXiv:1502.01852: half of what enters a ReLU is lost, and weights of variance 2/in make up for it; with
Glorot & Bengio's 2/(in + out) or LeCun's 1/in a signal loses a factor √2 in every layer. What passes on the whole
signal (identity, and selu with the constants of Klambauer et al. 2017) asks for 1/in, and with 2/in the signal grows
by √2. Norm layers take any such factor out again.
"""

from collections.abc import Iterator, Sequence

import pandas as pd

from bnexp.analysis.pairing import point_numbers
from bnexp.analysis.study import Study
from bnexp.analysis.trial_settings import trial_settings
from bnexp.config.dotted import below
from bnexp.config.experiment import ExperimentConfig
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


DECISIVE = tuple(f"model.{name}" for name in ("family", "depth", "width", "activation", "residual", "init", "norm"))
"""Settings that decide whether the signal is held back."""


def initial_weights(study: Study, baseline: str, others: Sequence[str]) -> Iterator[str]:
    """Yield a warning for each arm without norm that is held back by its initial weights and compared to one with norm.

    Args:
        study: the trials.
        baseline: the arm that the others are compared to; it may be the one with norm, too.
        others: all other arms.
    """
    if not study.configs:
        return
    harm, norm = _cells(study)
    held_back: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    for plain, normed in [pair for arm in others for pair in ((baseline, arm), (arm, baseline))]:
        met = harm[(harm["arm"] == plain) & harm["place"].isin(norm.loc[norm["arm"] == normed, "place"])]
        for scheme, here in met.groupby("scheme", sort=False):
            activations, arms = held_back.setdefault((plain, str(scheme)), ([], []))
            activations += [name for name in here["activation"].unique() if name not in activations]
            arms.append(normed)
    for (plain, scheme), (activations, arms) in held_back.items():
        size, happens = ("large", "grows") if scheme == "he" else ("small", "shrinks")
        yield (
            f"initial weights: {scheme} is too {size} for {listed(activations)}: without norm the signal {happens} in "
            f"every layer, which holds back {plain} but not {listed(arms)} "
            f"(model.init: {UNSUITED[activations[0]][scheme]})"
        )


def _cells(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return two tables of arms and grid points: where the signal is held back, and where there is a norm layer."""
    models = [settings.model for settings in trial_settings(study, DECISIVE)]
    asked = {run: _asked(config) for run, config in study.configs.items()}
    told = [asked[run] for run in study.trials["run"]]
    frame = pd.DataFrame(
        {
            "arm": study.trials["arm"],
            "place": point_numbers(study.trials, study.grid_keys),
            "scheme": [model.init.scheme for model in models],
            "activation": [model.activation for model in models],
            "norm": [model.norm.kind != "none" for model in models],
            "harm": [not settled and _held_back(model) for model, settled in zip(models, told, strict=True)],
        }
    ).drop_duplicates()
    return frame[frame["harm"]], frame[frame["norm"]]


def _asked(config: ExperimentConfig) -> bool:
    """Whether an experiment sweeps or tunes the initial weights, and so asks about them."""
    return any(below(key, "model.init") for key in (*config.swept, *config.tune.grid))


def _held_back(model: ModelSettings) -> bool:
    """Whether a network loses its signal: without norm and skip connections, the factors of all layers multiply."""
    plain = model.norm.kind == "none" and model.family in ("mlp", "vgg") and not model.blocks
    unsuited = model.init.scale == 1 and model.init.scheme in UNSUITED.get(model.activation, {})
    return plain and unsuited and model.layers > SHALLOW

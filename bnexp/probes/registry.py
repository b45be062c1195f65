"""Every probe by its name in a configuration."""

from collections.abc import Iterable

from bnexp.config.probes import ProbeSettings
from bnexp.probes.activations import batch_spread, dead_units, rank, saturation
from bnexp.probes.gradients import gradient_noise, gradient_norm, update_ratio
from bnexp.probes.landscape import landscape_slice
from bnexp.probes.line import effective_smoothness, gradient_predictiveness, loss_variation
from bnexp.probes.modes import mode_gap
from bnexp.probes.moment import Measure
from bnexp.probes.sharpness import sharpness
from bnexp.probes.shift import covariate_shift, drift, variance_shift

PROBES: dict[str, Measure] = {
    "gradient_norm": gradient_norm,
    "update_ratio": update_ratio,
    "saturation": saturation,
    "dead_units": dead_units,
    "drift": drift,
    "rank": rank,
    "batch_spread": batch_spread,
    "variance_shift": variance_shift,
    "gradient_noise": gradient_noise,
    "covariate_shift": covariate_shift,
    "loss_variation": loss_variation,
    "gradient_predictiveness": gradient_predictiveness,
    "effective_smoothness": effective_smoothness,
    "sharpness": sharpness,
    "landscape_slice": landscape_slice,
    "mode_gap": mode_gap,
}

KEEPING = ("gradient_norm", "saturation", "dead_units", "drift", "rank")
"""Probes that need everything that layers hand on, of all their batches at once."""


def hessian_batches(probes: Iterable[ProbeSettings]) -> int:
    """Return over how many batches the gradient of one trial is kept in float64, to be derived once more."""
    return max((probe.batches or 1 for probe in probes if probe.name == "sharpness"), default=0)


def kept_passes(probes: Iterable[ProbeSettings]) -> int:
    """Return of how many batches everything that layers hand on is kept at a time."""
    return max((probe.batches or 1 for probe in probes if probe.name in KEEPING), default=0)

"""How large a paired difference is beside its spread, and an interval for it that assumes no normal distribution."""

from math import exp, lgamma, sqrt

import numpy as np

from bnexp.analysis.intervals import Values, bounded, constant

FEWEST_FOR_BOOTSTRAP = 10
"""With fewer pairs a bootstrap interval covers too rarely."""
RESAMPLES = 9_999


def effect_size(differences: Values) -> float | None:
    """Return d_z, the mean difference over the differences' standard deviation, with Hedges' correction.

    The correction J = Γ(m/2) / (√(m/2) Γ((m − 1)/2)), m = n − 1, takes out the bias of small samples
    (Hedges 1981, doi:10.3102/10769986006002107). None below three pairs, where J is 0, where a difference isn't
    finite, or where all differences are equal, up to rounding: there is no spread to measure by.
    """
    sample = np.asarray(differences, dtype=float)
    if sample.size < 3 or not bounded(sample) or constant(sample):
        return None
    return _correction(sample.size - 1) * float(sample.mean()) / float(sample.std(ddof=1))


def bootstrap_interval(differences: Values, level: float = 0.95) -> tuple[float, float] | None:
    """Return the BCa bootstrap interval of the mean difference, the same on every call.

    Bias-corrected and accelerated: Efron 1987, doi:10.1080/01621459.1987.10478410, by scipy.stats.bootstrap. None
    below FEWEST_FOR_BOOTSTRAP pairs, where a difference isn't finite, or where all are equal, up to rounding.
    """
    sample = np.asarray(differences, dtype=float)
    if sample.size < FEWEST_FOR_BOOTSTRAP or not bounded(sample) or constant(sample):
        return None
    from scipy.stats import bootstrap  # slow to import, and seldom needed

    found = bootstrap(
        (sample,), np.mean, confidence_level=level, n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    return float(found.low), float(found.high)


def _correction(freedom: int) -> float:
    return exp(lgamma(freedom / 2) - lgamma((freedom - 1) / 2)) / sqrt(freedom / 2)

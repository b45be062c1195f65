"""How sure a rate is: k of n, with Wilson's interval (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""

from bnexp.analysis.intervals import normal_quantile


def wilson_interval(count: int, n: int, level: float = 0.95) -> tuple[float, float] | None:
    """Return the ends of the interval around the rate count / n, within [0, 1]; None where n is 0.

    Unlike the usual mean ± margin it has a width at 0 of n and n of n too.
    """
    if n == 0:
        return None
    z = normal_quantile(level)
    rate, weight = count / n, 1 / (1 + z * z / n)
    centre = weight * (rate + z * z / (2 * n))
    margin = weight * z * (rate * (1 - rate) / n + z * z / (4 * n * n)) ** 0.5
    # Rounding must not leave a rate of 0 or 1 outside its own interval.
    return (0.0 if count == 0 else centre - margin, 1.0 if count == n else centre + margin)

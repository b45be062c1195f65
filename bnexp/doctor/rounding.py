"""How far rounding alone may take a device's numbers from the exact ones.

A running error analysis: every operation passes on the errors of its inputs and adds its own (Higham 2002, Accuracy and
Stability of Numerical Algorithms, 2nd edition, section 3.3). A sum of n terms may be off by γ = (n − 1)ε/(1 − (n − 1)ε)
times the sum of their magnitudes, in whatever order they are added (section 4.2). Tensor cores take factors of fewer
digits and add up in float32 (Blanchard et al. 2020, doi:10.1137/19M1289546).

ε is one unit in the last place, twice the unit roundoff: tensor cores cut digits off where others round to the nearest
number (Fasi et al. 2021, doi:10.7717/peerj-cs.330).
"""

from dataclasses import dataclass, field
from math import prod

import numpy as np
from jaxtyping import Float64

Array = Float64[np.ndarray, "*shape"]
"""Numbers of any shape that meet by broadcasting."""


@dataclass(frozen=True)
class Precision:
    """The ε of `train.precision`; sums are always float32."""

    factors: float
    """Rounding of the numbers that a product multiplies."""
    results: float
    """Rounding of activations and their gradients."""


SUMS = 2.0**-23
"""ε of float32, with 24 binary digits."""
PRECISIONS = {
    "fp32": Precision(SUMS, SUMS),
    "tf32": Precision(2.0**-10, SUMS),
    "bf16": Precision(2.0**-7, 2.0**-7),
}
"""float32 has 24 digits, tf32 11 and bfloat16 8."""
INVERSE_ROOT = 2
"""Units in the last place by which a square root's inverse may be off, as that of CUDA
(https://docs.nvidia.com/cuda/cuda-c-programming-guide/#mathematical-functions)."""


def sum_error(terms: int | Array) -> float | Array:
    """Return γ of a sum: the share of its terms' magnitudes by which it may be off."""
    roundings = (terms - 1) * SUMS
    return roundings / (1 - roundings)


@dataclass(frozen=True, eq=False)
class Rounded:
    """Exact numbers, and how far off a device may be that computes them in float32."""

    exact: Array
    error: Array = field(default_factory=lambda: np.zeros(()))

    def __add__(self, other: "Rounded | float") -> "Rounded":
        other = _rounded(other)
        return _computed(self.exact + other.exact, self.error + other.error)

    def __mul__(self, other: "Rounded | float") -> "Rounded":
        other = _rounded(other)
        mine, others = abs(self.exact) * other.error, abs(other.exact) * self.error
        return _computed(self.exact * other.exact, mine + others + self.error * other.error)

    def __sub__(self, other: "Rounded") -> "Rounded":
        return self + Rounded(-other.exact, other.error)

    def sum(self, axes: tuple[int, ...]) -> "Rounded":
        """Return the sum over axes, which are kept with length 1."""
        error = np.broadcast_to(self.error, self.exact.shape)
        passed, terms = error.sum(axes, keepdims=True), (abs(self.exact) + error).sum(axes, keepdims=True)
        return Rounded(self.exact.sum(axes, keepdims=True), passed + sum_error(self._count(axes)) * terms)

    def mean(self, axes: tuple[int, ...]) -> "Rounded":
        """Return the mean over axes, which are kept with length 1."""
        return self.sum(axes) * (1 / self._count(axes))

    def _count(self, axes: tuple[int, ...]) -> int:
        return prod(self.exact.shape[axis] for axis in axes)

    def inverse_root(self) -> "Rounded":
        """Return 1/√x of numbers that are above 0 whatever their error."""
        exact = 1 / np.sqrt(self.exact)
        return Rounded(exact, (1 + INVERSE_ROOT * SUMS) / np.sqrt(self.exact - self.error) - exact)

    def kept(self, precision: Precision) -> "Rounded":
        """Return the numbers after they were stored as activations."""
        return Rounded(self.exact, self.error + precision.results * (abs(self.exact) + self.error))


def _rounded(number: Rounded | float) -> Rounded:
    return number if isinstance(number, Rounded) else Rounded(np.asarray(number, dtype=np.float64))


def _computed(exact: Array, error: Array) -> Rounded:
    return Rounded(exact, error + SUMS * (abs(exact) + error))

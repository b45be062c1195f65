"""Batch norm in evaluation: running statistics in place of the batch's, so that no sample's output hangs on another's.

y = γ (x − μ)/√(σ² + ε) + β with constant μ and σ² (Ioffe & Szegedy 2015, algorithm 2) is a line for each
feature, of slope γ/√(σ² + ε) for every sample: the two terms that the statistics add to dx in training are gone.

Shapes as in the package.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Real

from bnexp.reference.graph import Gradients
from bnexp.reference.rows import Activations, from_rows, per_feature, rows_like, to_rows
from bnexp.reference.running import RunningStatistics


@dataclass(frozen=True, eq=False)
class EvaluationCache:
    """What backward needs of the forward pass."""

    shape: tuple[int, ...]
    """Of x and y."""
    gamma_C: Float64[np.ndarray, " C"]
    inverse_C: Float64[np.ndarray, " C"]
    """1/√(σ² + ε)."""
    normalised_NC: Float64[np.ndarray, "N C"]
    """(x − μ)/√(σ² + ε)."""


def forward_evaluation(
    x: Activations,
    gamma_C: Real[np.ndarray, " C"],
    beta_C: Real[np.ndarray, " C"],
    running: RunningStatistics,
    eps: float = 1e-5,
) -> tuple[Activations, EvaluationCache]:
    """Return y in the shape of x, and what backward_evaluation needs; a batch of one will do.

    >>> running = RunningStatistics(mean_C=np.array([3.0]), variance_C=np.array([4.0]))
    >>> y, cache = forward_evaluation(np.array([[7.0]]), np.array([10.0]), np.array([1.0]), running, eps=0)
    >>> y
    array([[21.]])

    Raises:
        ValueError: x is neither (B, C) nor (B, C, H, W), or γ, β or a running statistic hasn't C numbers.
    """
    x_NC = to_rows(x)
    features = x_NC.shape[1]
    gamma_C, beta_C = per_feature(gamma_C, features, "gamma"), per_feature(beta_C, features, "beta")
    mean_C = per_feature(running.mean_C, features, "running mean")
    variance_C = per_feature(running.variance_C, features, "running variance")
    inverse_C = 1 / np.sqrt(variance_C + eps)
    normalised_NC = (x_NC - mean_C) * inverse_C
    y = from_rows(gamma_C * normalised_NC + beta_C, np.shape(x))
    return y, EvaluationCache(np.shape(x), gamma_C, inverse_C, normalised_NC)


def backward_evaluation(dy: Activations, cache: EvaluationCache) -> Gradients:
    """Return dx = γ dy/√(σ² + ε), dγ and dβ from dy, which has y's shape.

    >>> running = RunningStatistics(mean_C=np.array([3.0]), variance_C=np.array([4.0]))
    >>> y, cache = forward_evaluation(np.array([[7.0]]), np.array([10.0]), np.array([1.0]), running, eps=0)
    >>> backward_evaluation(np.array([[1.0]]), cache)
    Gradients(dx=array([[5.]]), dgamma_C=array([2.]), dbeta_C=array([1.]))

    Raises:
        ValueError: dy hasn't the shape of y.
    """
    dy_NC = rows_like(dy, cache.shape)
    dx = from_rows(cache.gamma_C * cache.inverse_C * dy_NC, cache.shape)
    return Gradients(dx, (dy_NC * cache.normalised_NC).sum(axis=0), dy_NC.sum(axis=0))

"""Batch norm in evaluation: with running statistics, so that the output of a sample depends on no other sample.

y = γ (x − μ)/√(σ² + ε) + β with constant μ and σ² (Ioffe & Szegedy 2015, algorithm 2) is a line for each feature, of
slope γ/√(σ² + ε) for every sample: the two terms that the statistics add to dx in training are gone.

running ← kept · running + (1 − kept) · batch. PyTorch calls 1 − kept the momentum, Keras and Deep Learning from
Scratch call kept so. All normalise the batch itself with the biased variance; PyTorch alone, as Ioffe & Szegedy 2015,
stores the unbiased one. Where the old weighs 0.99, evaluation lags some hundred steps behind training.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Real

from bnexp.reference.graph import Cache, Gradients
from bnexp.reference.nodes import Activations, from_rows, per_feature, rows_like, to_rows


@dataclass(frozen=True, eq=False)
class RunningStatistics:
    """Mean and variance that evaluation normalises with."""

    mean_C: Float64[np.ndarray, " C"]
    variance_C: Float64[np.ndarray, " C"]


@dataclass(frozen=True)
class Convention:
    """How statistics are averaged over batches; the mean always starts at 0."""

    kept: float
    """Weight of the old value; the batch's has the rest to 1."""
    unbiased: bool
    """True if the variance that is stored is divided by N − 1, not by N."""
    first_variance: float
    """Before the first batch."""
    eps: float
    """ε that the source adds to variances, in both modes; forward and forward_evaluation take it."""


CONVENTIONS = {
    "pytorch": Convention(kept=0.9, unbiased=True, first_variance=1.0, eps=1e-5),
    "keras": Convention(kept=0.99, unbiased=False, first_variance=1.0, eps=1e-3),
    "deep_learning_from_scratch": Convention(kept=0.9, unbiased=False, first_variance=0.0, eps=1e-6),
}
"""The defaults of torch.nn.BatchNorm2d (momentum 0.1), of keras.layers.BatchNormalization (momentum 0.99), and of the
class BatchNormalization in Saitoh's Deep Learning from Scratch, chapter 6 (momentum 0.9, ε written 10e-7)."""


def start(features: int, convention: Convention = CONVENTIONS["pytorch"]) -> RunningStatistics:
    """Return the statistics before the first batch.

    >>> start(2)
    RunningStatistics(mean_C=array([0., 0.]), variance_C=array([1., 1.]))
    """
    return RunningStatistics(np.zeros(features), np.full(features, convention.first_variance))


def update(
    running: RunningStatistics, cache: Cache, convention: Convention = CONVENTIONS["pytorch"]
) -> RunningStatistics:
    """Return the statistics after one more batch, whose cache forward has given.

    >>> from bnexp.reference.graph import forward
    >>> y, cache = forward(np.array([[1.0], [5.0]]), np.array([1.0]), np.array([0.0]))
    >>> cache.mean_C, cache.variance_C
    (array([3.]), array([4.]))
    >>> update(start(1), cache)  # 0.9 · 0 + 0.1 · 3, and 0.9 · 1 + 0.1 · 4 · 2/(2 − 1)
    RunningStatistics(mean_C=array([0.3]), variance_C=array([1.7]))
    """
    count, features = cache.centred_NC.shape
    mean_C = per_feature(running.mean_C, features, "running mean")
    variance_C = per_feature(running.variance_C, features, "running variance")
    correction = count / (count - 1) if convention.unbiased else 1.0
    kept, new = convention.kept, 1 - convention.kept
    return RunningStatistics(
        kept * mean_C + new * cache.mean_C, kept * variance_C + new * correction * cache.variance_C
    )


@dataclass(frozen=True, eq=False)
class EvaluationCache:
    """Values of the forward pass that backward needs."""

    shape: tuple[int, ...]
    """Shape of x and y."""
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
    """
    dy_NC = rows_like(dy, cache.shape)
    dx = from_rows(cache.gamma_C * cache.inverse_C * dy_NC, cache.shape)
    return Gradients(dx, (dy_NC * cache.normalised_NC).sum(axis=0), dy_NC.sum(axis=0))

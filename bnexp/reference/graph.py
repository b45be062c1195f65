"""Batch norm in training: forward through the graph with every value kept, backward node by node, and in one line.

Forward (Ioffe & Szegedy 2015, algorithm 1), in the order of Cache's fields:

    x ─┬───────── − ──┬── centred ─────────────── × ── normalised ── × γ ── scaled ── + β ── y
       └── mean ──┘   └── ² ── mean ── √(· + ε) ── 1/·

Shapes as in the package.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Real

from bnexp.reference.nodes import (
    Activations,
    addition_backward,
    from_rows,
    inverse_backward,
    mean_backward,
    per_feature,
    product_backward,
    repeat,
    repeat_backward,
    rows_like,
    square_backward,
    square_root_backward,
    subtraction_backward,
    to_rows,
)


@dataclass(frozen=True, eq=False)
class Cache:
    """Every value of the forward pass between x and y."""

    shape: tuple[int, ...]
    """Shape of x and y."""
    gamma_C: Float64[np.ndarray, " C"]
    mean_C: Float64[np.ndarray, " C"]
    """μ."""
    centred_NC: Float64[np.ndarray, "N C"]
    """x − μ."""
    squared_NC: Float64[np.ndarray, "N C"]
    """(x − μ)²."""
    variance_C: Float64[np.ndarray, " C"]
    """σ², the biased variance: the mean of the squares, divided by N."""
    root_C: Float64[np.ndarray, " C"]
    """√(σ² + ε)."""
    inverse_C: Float64[np.ndarray, " C"]
    """1/√(σ² + ε)."""
    normalised_NC: Float64[np.ndarray, "N C"]
    """x̂ = (x − μ)/√(σ² + ε)."""
    scaled_NC: Float64[np.ndarray, "N C"]
    """γ x̂."""


@dataclass(frozen=True, eq=False)
class Gradients:
    """The gradients of the loss with respect to x, γ and β."""

    dx: Activations
    """In the shape of x."""
    dgamma_C: Float64[np.ndarray, " C"]
    dbeta_C: Float64[np.ndarray, " C"]


@dataclass(frozen=True, eq=False)
class GraphGradients(Gradients):
    """These and the gradients of all values in between, in the order in which backward finds them."""

    dscaled_NC: Float64[np.ndarray, "N C"]
    dnormalised_NC: Float64[np.ndarray, "N C"]
    dinverse_C: Float64[np.ndarray, " C"]
    droot_C: Float64[np.ndarray, " C"]
    dvariance_C: Float64[np.ndarray, " C"]
    dsquared_NC: Float64[np.ndarray, "N C"]
    dcentred_product_NC: Float64[np.ndarray, "N C"]
    """Gradient of x − μ from its product with the inverse."""
    dcentred_square_NC: Float64[np.ndarray, "N C"]
    """Gradient of x − μ from its square, by way of the variance."""
    dcentred_NC: Float64[np.ndarray, "N C"]
    """The sum of both."""
    dmean_C: Float64[np.ndarray, " C"]
    dx_centred_NC: Float64[np.ndarray, "N C"]
    """Gradient of x from x − μ."""
    dx_mean_NC: Float64[np.ndarray, "N C"]
    """Gradient of x from μ; dx is the sum of both."""


def forward(
    x: Activations, gamma_C: Real[np.ndarray, " C"], beta_C: Real[np.ndarray, " C"], eps: float = 1e-5
) -> tuple[Activations, Cache]:
    """Return y = γ (x − μ)/√(σ² + ε) + β in the shape of x, and what backward needs.

    μ and σ² are those of each feature over the batch and all places of images; eps is ε, in the unit of a variance.

    >>> y, cache = forward(np.array([[1.0], [5.0]]), gamma_C=np.array([10.0]), beta_C=np.array([3.0]), eps=0)
    >>> y
    array([[-7.],
           [13.]])
    >>> cache.mean_C, cache.variance_C
    (array([3.]), array([4.]))

    Raises:
        ValueError: x is neither (B, C) nor (B, C, H, W), γ or β hasn't C numbers, or a feature hasn't two values.
    """
    x_NC = to_rows(x)
    count, features = x_NC.shape
    if count < 2:
        raise ValueError(f"x: shape {np.shape(x)}: expected 2 or more values for each feature, found {count}")
    gamma_C, beta_C = per_feature(gamma_C, features, "gamma"), per_feature(beta_C, features, "beta")
    mean_C = x_NC.mean(axis=0)
    centred_NC = x_NC - mean_C
    squared_NC = centred_NC**2
    variance_C = squared_NC.mean(axis=0)
    root_C = np.sqrt(variance_C + eps)
    inverse_C = 1 / root_C
    normalised_NC = centred_NC * inverse_C
    scaled_NC = gamma_C * normalised_NC
    y = from_rows(scaled_NC + beta_C, np.shape(x))
    return y, Cache(
        np.shape(x), gamma_C, mean_C, centred_NC, squared_NC, variance_C, root_C, inverse_C, normalised_NC, scaled_NC
    )


def backward(dy: Activations, cache: Cache) -> GraphGradients:
    """Return the gradient of every value, from that of y, which has y's shape: one node after the other, last first.

    A value that goes two ways, as x and x − μ do, gets the sum of what comes back from both.

    >>> y, cache = forward(np.array([[1.0], [5.0], [6.0]]), np.array([10.0]), np.array([3.0]))
    >>> gradients = backward(np.array([[1.0], [2.0], [6.0]]), cache)
    >>> gradients.dbeta_C
    array([9.])
    >>> bool(abs(gradients.dx.sum()) < 1e-12)  # moving all of x together changes nothing
    True
    """
    dy_NC = rows_like(dy, cache.shape)
    count = len(dy_NC)
    dscaled_NC, dshift_NC = addition_backward(dy_NC)
    dbeta_C = repeat_backward(dshift_NC)
    dscale_NC, dnormalised_NC = product_backward(dscaled_NC, repeat(cache.gamma_C, count), cache.normalised_NC)
    dgamma_C = repeat_backward(dscale_NC)
    dcentred_product_NC, dinverse_NC = product_backward(
        dnormalised_NC, cache.centred_NC, repeat(cache.inverse_C, count)
    )
    dinverse_C = repeat_backward(dinverse_NC)
    droot_C = inverse_backward(dinverse_C, cache.inverse_C)
    dvariance_C = square_root_backward(droot_C, cache.root_C)
    dsquared_NC = mean_backward(dvariance_C, count)
    dcentred_square_NC = square_backward(dsquared_NC, cache.centred_NC)
    dcentred_NC = dcentred_product_NC + dcentred_square_NC
    dx_centred_NC, dsubtracted_NC = subtraction_backward(dcentred_NC)
    dmean_C = repeat_backward(dsubtracted_NC)
    dx_mean_NC = mean_backward(dmean_C, count)
    dx = from_rows(dx_centred_NC + dx_mean_NC, cache.shape)
    to_inverse = (dscaled_NC, dnormalised_NC, dinverse_C, droot_C, dvariance_C, dsquared_NC)
    to_x = (dcentred_product_NC, dcentred_square_NC, dcentred_NC, dmean_C, dx_centred_NC, dx_mean_NC)
    return GraphGradients(dx, dgamma_C, dbeta_C, *to_inverse, *to_x)


def backward_closed_form(dy: Activations, cache: Cache) -> Gradients:
    """Return the same dx, dγ and dβ at once, with the steps multiplied out (Ioffe & Szegedy 2015, section 3).

    dx = γ/√(σ² + ε) (dy − mean(dy) − x̂ mean(dy x̂)): dy without its parts along the two directions in which x can
    move and leave y, but for ε, as it is: all values together (1), and all away from their mean (x̂).

    >>> y, cache = forward(np.array([[1.0], [5.0], [6.0]]), np.array([10.0]), np.array([3.0]))
    >>> dy = np.array([[1.0], [2.0], [6.0]])
    >>> np.allclose(backward_closed_form(dy, cache).dx, backward(dy, cache).dx)
    True
    """
    dy_NC, normalised_NC = rows_like(dy, cache.shape), cache.normalised_NC
    along_C = (dy_NC * normalised_NC).mean(axis=0)
    dx_NC = cache.gamma_C * cache.inverse_C * (dy_NC - dy_NC.mean(axis=0) - normalised_NC * along_C)
    return Gradients(from_rows(dx_NC, cache.shape), (dy_NC * normalised_NC).sum(axis=0), dy_NC.sum(axis=0))

"""Rows (N, C): what features and images have in common once the channels come last, and the checks of shapes."""

import numpy as np
from jaxtyping import Float64, Real

Activations = Real[np.ndarray, "B C"] | Real[np.ndarray, "B C H W"]
"""What is normalised: features, or images; any real numbers, taken as float64."""


def to_rows(x: Activations) -> Float64[np.ndarray, "N C"]:
    """Return features as they are, and of images every place as a row of its channels.

    >>> to_rows(np.arange(8).reshape(1, 2, 2, 2))
    array([[0., 4.],
           [1., 5.],
           [2., 6.],
           [3., 7.]])
    """
    if np.ndim(x) not in (2, 4):
        raise ValueError(f"x: shape {np.shape(x)}: expected (batch, features) or (batch, channels, height, width)")
    x_BxC = np.moveaxis(np.asarray(x, dtype=np.float64), 1, -1)
    return x_BxC.reshape(-1, x_BxC.shape[-1])


def from_rows(x_NC: Float64[np.ndarray, "N C"], shape: tuple[int, ...]) -> Activations:
    """Return rows in the shape that to_rows had them from.

    >>> from_rows(np.array([[0.0, 4.0], [1.0, 5.0]]), (1, 2, 1, 2)).tolist()
    [[[[0.0, 1.0]], [[4.0, 5.0]]]]
    """
    batch, channels, *places = shape
    return np.moveaxis(x_NC.reshape(batch, *places, channels), -1, 1)


def rows_like(dy: Activations, shape: tuple[int, ...]) -> Float64[np.ndarray, "N C"]:
    """Return the rows of a gradient with respect to y.

    >>> rows_like(np.ones((1, 2)), (1, 2))
    array([[1., 1.]])
    """
    if np.shape(dy) != shape:
        raise ValueError(f"dy: shape {np.shape(dy)}: expected {shape}, the shape of y")
    return to_rows(dy)


def per_feature(values_C: Real[np.ndarray, " C"], features: int, name: str) -> Float64[np.ndarray, " C"]:
    """Return one number for each feature.

    >>> per_feature(np.array([1, 2]), 2, "gamma")
    array([1., 2.])
    """
    if np.shape(values_C) != (features,):
        raise ValueError(f"{name}: shape {np.shape(values_C)}: expected ({features},), a number for each feature of x")
    # A copy, which the cache keeps: training changes γ in place.
    return np.array(values_C, dtype=np.float64)

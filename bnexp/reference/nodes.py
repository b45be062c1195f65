"""The nodes of batch norm's computational graph, each with its backward, and the rows that they work on.

dz stands for ∂L/∂z, L the loss. Every backward is the chain rule through one operation: it takes the gradient of what
the operation gives, and returns that of what it takes. `graph.backward` only composes them. Backpropagation:
Rumelhart, Hinton & Williams 1986, doi:10.1038/323533a0.
"""

import numpy as np
from jaxtyping import Float64, Real

Values = Float64[np.ndarray, "*shape"]
"""Numbers of any shape, the same for all of one function."""


def repeat(value_C: Float64[np.ndarray, " C"], count: int) -> Float64[np.ndarray, "N C"]:
    """Return a row so many times, one under the other; NumPy's broadcasting does it without being asked.

    >>> repeat(np.array([1.0, 2.0]), 3)
    array([[1., 2.],
           [1., 2.],
           [1., 2.]])
    """
    return np.repeat(value_C[None], count, axis=0)


def repeat_backward(drepeated_NC: Float64[np.ndarray, "N C"]) -> Float64[np.ndarray, " C"]:
    """Backward of repeat: a sum, since a value that is used N times gets N gradients.

    >>> repeat_backward(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """
    dvalue_C: Float64[np.ndarray, " C"] = drepeated_NC.sum(axis=0)
    return dvalue_C


def sum_backward(dsum_C: Float64[np.ndarray, " C"], count: int) -> Float64[np.ndarray, "N C"]:
    """Backward of a sum over so many rows: repeat, since each of them moves the sum as much as it moves itself.

    >>> sum_backward(np.array([1.0, 2.0]), 2)
    array([[1., 2.],
           [1., 2.]])
    """
    return repeat(dsum_C, count)


def mean_backward(dmean_C: Float64[np.ndarray, " C"], count: int) -> Float64[np.ndarray, "N C"]:
    """Backward of the mean over so many rows, a sum divided by their number.

    >>> mean_backward(np.array([4.0, 8.0]), 2)
    array([[2., 4.],
           [2., 4.]])
    """
    return sum_backward(dmean_C / count, count)


def square_backward(dsquare: Values, value: Values) -> Values:
    """Backward of z = a²: da = 2 a dz.

    >>> square_backward(np.array([1.0, 10.0]), value=np.array([3.0, 4.0]))
    array([ 6., 80.])
    """
    dvalue: Values = 2 * value * dsquare
    return dvalue


def square_root_backward(droot: Values, root: Values) -> Values:
    """Backward of z = √a: da = dz / (2 z), with the root that the forward pass found.

    >>> square_root_backward(np.array([1.0, 12.0]), root=np.array([2.0, 3.0]))
    array([0.25, 2.  ])
    """
    dvalue: Values = droot / (2 * root)
    return dvalue


def inverse_backward(dinverse: Values, inverse: Values) -> Values:
    """Backward of z = 1/a: da = −dz z², with the inverse that the forward pass found.

    A division b/a is the product of b and this node.

    >>> inverse_backward(np.array([1.0, 8.0]), inverse=np.array([2.0, 0.5]))
    array([-4., -2.])
    """
    dvalue: Values = -dinverse * inverse**2
    return dvalue


def product_backward(dproduct: Values, left: Values, right: Values) -> tuple[Values, Values]:
    """Backward of z = a b: da = dz b and db = dz a, each factor weighted by the other.

    >>> product_backward(np.array([10.0]), left=np.array([2.0]), right=np.array([3.0]))
    (array([30.]), array([20.]))
    """
    return dproduct * right, dproduct * left


def addition_backward(dtotal: Values) -> tuple[Values, Values]:
    """Backward of z = a + b: da = dz and db = dz.

    >>> addition_backward(np.array([7.0]))
    (array([7.]), array([7.]))
    """
    return dtotal.copy(), dtotal.copy()


def subtraction_backward(ddifference: Values) -> tuple[Values, Values]:
    """Backward of z = a − b: da = dz and db = −dz.

    >>> subtraction_backward(np.array([7.0]))
    (array([7.]), array([-7.]))
    """
    return ddifference.copy(), -ddifference


Activations = Real[np.ndarray, "B C"] | Real[np.ndarray, "B C H W"]
"""Features or images to normalise; any real numbers, taken as float64."""


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

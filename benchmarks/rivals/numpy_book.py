"""The study in NumPy and float64, from the formulas: linear layers, BN and ReLU forward and backward by hand."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.study import Study

Array = NDArray[np.float64]


class Linear:
    """x W + b."""

    def __init__(self, rng: np.random.Generator, fan_in: int, fan_out: int, scale: float):
        self.parameters = [scale * rng.standard_normal((fan_in, fan_out)), np.zeros(fan_out)]

    def forward(self, x: Array, training: bool) -> Array:
        self.x = x
        y: Array = x @ self.parameters[0] + self.parameters[1]
        return y

    def backward(self, grad: Array) -> Array:
        self.gradients = [self.x.T @ grad, grad.sum(axis=0)]
        earlier: Array = grad @ self.parameters[0].T
        return earlier


class BatchNorm:
    """γ (x − μ)/√(σ² + ε) + β; running statistics in evaluation; backward through the forward's steps one by one."""

    def __init__(self, features: int, eps: float, momentum: float):
        self.parameters = [np.ones(features), np.zeros(features)]
        self.eps, self.momentum = eps, momentum
        self.running_mean, self.running_var = np.zeros(features), np.ones(features)

    def forward(self, x: Array, training: bool) -> Array:
        gamma, beta = self.parameters
        if not training:
            y: Array = gamma * (x - self.running_mean) / np.sqrt(self.running_var + self.eps) + beta
            return y
        mean = x.mean(axis=0)
        self.centred = x - mean
        variance = (self.centred**2).mean(axis=0)
        self.std = np.sqrt(variance + self.eps)
        self.normalized = self.centred / self.std
        kept = 1 - self.momentum
        self.running_mean = kept * self.running_mean + self.momentum * mean
        self.running_var = kept * self.running_var + self.momentum * variance * len(x) / (len(x) - 1)
        scaled: Array = gamma * self.normalized + beta
        return scaled

    def backward(self, grad: Array) -> Array:
        self.gradients = [(grad * self.normalized).sum(axis=0), grad.sum(axis=0)]
        grad_normalized = self.parameters[0] * grad
        grad_std = -(grad_normalized * self.centred / self.std**2).sum(axis=0)
        grad_variance = grad_std / (2 * self.std)
        grad_centred = grad_normalized / self.std + 2 * self.centred * grad_variance / len(grad)
        earlier: Array = grad_centred - grad_centred.sum(axis=0) / len(grad)
        return earlier


class ReLU:
    """max(x, 0)."""

    def __init__(self) -> None:
        self.parameters: list[Array] = []
        self.gradients: list[Array] = []

    def forward(self, x: Array, training: bool) -> Array:
        self.negative = x <= 0
        y = x.copy()
        y[self.negative] = 0
        return y

    def backward(self, grad: Array) -> Array:
        grad = grad.copy()
        grad[self.negative] = 0
        return grad


@np.errstate(all="ignore")
def train(study: Study, scale: float, norm: bool) -> float:
    """Train one network; at the largest scales the numbers overflow, as they do in every program."""
    rng = np.random.default_rng(0)
    x_NP, y_N = study.images_NP.double().cpu().numpy(), study.labels_N.cpu().numpy()
    layers: list[Linear | BatchNorm | ReLU] = []
    for fan_in, fan_out in zip(study.widths[:-2], study.widths[1:-1], strict=True):
        layers += [Linear(rng, fan_in, fan_out, scale)]
        layers += [BatchNorm(fan_out, study.eps, study.momentum)] if norm else []
        layers += [ReLU()]
    layers += [Linear(rng, study.widths[-2], study.widths[-1], scale)]

    def logits(x: Array, training: bool) -> Array:
        for layer in layers:
            x = layer.forward(x, training)
        return x

    def probabilities(z: Array) -> Array:
        powers = np.exp(z - z.max(axis=1, keepdims=True))
        y: Array = powers / powers.sum(axis=1, keepdims=True)
        return y

    def loss(y: Array, labels: NDArray[np.int64]) -> float:
        return float(-np.log(y[np.arange(len(labels)), labels] + 1e-7).mean())

    def measure() -> float:
        y = probabilities(logits(x_NP, training=False))
        loss(y, y_N)
        return float((y.argmax(1) == y_N).mean())

    accuracy = measure()
    for step in range(1, study.steps + 1):
        batch = rng.integers(len(y_N), size=study.batch_size)
        grad = probabilities(logits(x_NP[batch], training=True))
        loss(grad, y_N[batch])
        grad[np.arange(len(batch)), y_N[batch]] -= 1
        grad /= len(batch)
        for layer in reversed(layers):
            grad = layer.backward(grad)
        for layer in layers:
            for parameter, gradient in zip(layer.parameters, layer.gradients, strict=True):
                parameter -= study.lr * gradient
        if step in study.measured_at:
            accuracy = measure()
    return accuracy

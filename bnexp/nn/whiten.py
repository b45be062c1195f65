"""Whitening of a layer's batch, of which batch norm is the cheap part.

Decorrelated batch normalization (Huang et al. 2018, arXiv:1804.08450) in ZCA form, by an eigendecomposition whose
gradient is written so that equal eigenvalues are harmless. Shapes: G groups of g features, N = B or B·H·W samples.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bnexp.config.norm import NormSettings
from bnexp.nn.norm import RunningNorm
from bnexp.nn.plain_layers import Converter, Whitening, layer_from_state


class Whiten(RunningNorm):
    """Gives the features of a batch mean 0 and, within each group, the identity as covariance; then applies γ and β.

    In evaluation with the running mean and covariance (the unbiased one is averaged). The symmetric root (ZCA) keeps
    the features as near to what they were as can be.

    Attributes:
        running_mean: (K, C), starting at 0.
        running_covariance: (K, G, g, g), starting at the identity.
    """

    starts: ClassVar = {"running_mean": 0.0}
    running_mean: Tensor
    running_covariance: Tensor

    def __init__(self, trials: int, features: int, settings: NormSettings):
        super().__init__(trials, features, settings)
        size = settings.group_size or features
        self._root: tuple[tuple[int, int], Tensor] | None = None
        identity = torch.eye(size).expand(trials, features // size, size, size).clone()
        self.register_buffer("running_covariance", identity)

    def reset_running_stats(self) -> None:
        super().reset_running_stats()
        self.running_covariance.zero_().diagonal(dim1=-2, dim2=-1).fill_(1)

    def features(self, x_KBC: Float[Tensor, "K B C"]) -> Float[Tensor, "K B C"]:
        return self._whiten(x_KBC.mT).mT

    def images(self, x_BDHW: Float[Tensor, "B D H W"]) -> Float[Tensor, "B D H W"]:
        batch, _, height, width = x_BDHW.shape
        x_DBHW = x_BDHW.transpose(0, 1)
        y_KCN = self._whiten(x_DBHW.reshape(*self.gamma.shape, -1))
        y_BDHW = y_KCN.reshape(-1, batch, height, width).transpose(0, 1)
        return y_BDHW.contiguous(memory_format=torch.channels_last)

    def _whiten(self, x_KCN: Float[Tensor, "K C N"]) -> Float[Tensor, "K C N"]:
        # Not in bfloat16, whose products are too rough for a covariance that can be inverted.
        with torch.autocast("cuda" if x_KCN.is_cuda else "cpu", enabled=False):
            whole_KCN = x_KCN.to(self.gamma.dtype)
            mean_KC = whole_KCN.mean(-1) if self.training else self.running_mean
            centred_KGgN = (whole_KCN - mean_KC[..., None]).unflatten(1, self.running_covariance.shape[1:3])
            root_KGgg = self._batch_root(mean_KC, centred_KGgN) if self.training else self._running_root()
            white_KCN = (root_KGgg @ centred_KGgN).flatten(1, 2)
            return torch.addcmul(self.beta[..., None], white_KCN, self.gamma[..., None]).to(x_KCN.dtype)

    def _batch_root(
        self, mean_KC: Float[Tensor, "K C"], centred_KGgN: Float[Tensor, "K G g N"]
    ) -> Float[Tensor, "K G g g"]:
        """Return the matrix that whitens the batch, and update the running statistics."""
        samples = centred_KGgN.shape[-1]
        if samples == 1:
            raise ValueError("whitening needs more than one sample in training")
        covariance_KGgg = centred_KGgN @ centred_KGgN.mT / samples
        with torch.no_grad():
            self.running_mean.lerp_(mean_KC, self.momentum)
            self.running_covariance.lerp_(covariance_KGgg * (samples / (samples - 1)), self.momentum)
        return inverse_root(covariance_KGgg, self.eps)

    def _running_root(self) -> Float[Tensor, "K G g g"]:
        """Return the matrix that whitens in evaluation; decompose again only if the running covariance has changed."""
        state = self.running_covariance.data_ptr(), self.running_covariance._version
        if self._root is None or self._root[0] != state:
            self._root = state, inverse_root(self.running_covariance, self.eps)
        return self._root[1]

    def to_torch(self, to: Converter) -> Iterator[nn.Module]:
        roots_Ggg = inverse_root(self.running_covariance[0], self.eps)
        matrix_CC = self.gamma[0, :, None] * torch.block_diag(*roots_Ggg)
        state = {"weight": matrix_CC, "bias": self.beta[0], "mean": self.running_mean[0]}
        yield layer_from_state(Whitening, state, len(self.beta[0]))


def inverse_root(covariance: Float[Tensor, "*batch g g"], eps: float) -> Float[Tensor, "*batch g g"]:
    """Return (Σ + ε)^(−1/2) of symmetric matrices; a matrix with a number that is not finite becomes NaN."""
    finite = covariance.isfinite().all(-1).all(-1)[..., None, None]
    # The decomposition refuses all matrices if one of them is bad.
    root: Tensor = _InverseRoot.apply(torch.where(finite, covariance, torch.ones_like(covariance)), eps)
    return torch.where(finite, root, torch.nan)


class _InverseRoot(torch.autograd.Function):
    """U (Λ + ε)^(−1/2) Uᵀ, with the derivative of Daleckii and Krein (Bhatia 1997, theorem V.3.3).

    In U's basis the derivative multiplies by the divided differences of λ^(−1/2), which are
    −1 / (r_i r_j (r_i + r_j)) with r = √(λ + ε): nothing is divided by λ_i − λ_j, as in the derivative of U alone.
    """

    @staticmethod
    def forward(ctx: Any, covariance: Tensor, eps: float) -> Tensor:
        values, vectors = torch.linalg.eigh(covariance)
        roots = (values.clamp(min=0) + eps).sqrt()  # rounding may leave an eigenvalue of 0 below it
        ctx.save_for_backward(roots, vectors)
        root: Tensor = (vectors / roots[..., None, :]) @ vectors.mT
        return root

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        roots, vectors = ctx.saved_tensors
        rows, columns = roots[..., :, None], roots[..., None, :]
        inner = vectors.mT @ grads[0] @ vectors / -(rows * columns * (rows + columns))
        return vectors @ inner @ vectors.mT, None

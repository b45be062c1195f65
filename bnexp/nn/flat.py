"""All parameters of K networks as one matrix (K, P): what optimisers, clipping and checkpoints work on."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class FlatParameters:
    """One row of P numbers per trial; the model's own parameters become views into the matrix.

    Attributes:
        values_KP: the parameters; writing here changes the model.
        sizes: numbers per trial of each tensor, in the model's order.
        decayed_P: which columns are weights of linear layers, not biases or norm parameters.
    """

    def __init__(self, model: nn.Module):
        named = list(model.named_parameters())
        self._parameters = [parameter for _, parameter in named]
        self.sizes = [parameter[0].numel() for parameter in self._parameters]
        self.values_KP: Float[Tensor, "K P"] = torch.cat([p.detach().flatten(1) for p in self._parameters], dim=1)
        for parameter, columns in zip(self._parameters, self.values_KP.split(self.sizes, dim=1), strict=True):
            parameter.data = columns.view(parameter.shape)
        flags = [
            torch.full((size,), name.endswith("weight")) for (name, _), size in zip(named, self.sizes, strict=True)
        ]
        self.decayed_P: Bool[Tensor, " P"] = torch.cat(flags).to(self.values_KP.device)

    def gradient(self, loss: Float[Tensor, ""]) -> Float[Tensor, "K P"]:
        """Return the gradient of a loss summed over the trials: row k is the gradient of trial k alone."""
        return torch.cat([g.flatten(1) for g in torch.autograd.grad(loss, self._parameters)], dim=1)

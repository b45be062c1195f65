"""The learned tensors of K networks as matrices with a row per trial: what optimisers and clipping work on."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

Matrices = Sequence[Float[Tensor, "K _"]]
"""One matrix per learned tensor, in the model's order."""


class Parameters:
    """A model's learned tensors, each seen as a matrix (K, numbers per trial).

    Attributes:
        matrices: views of the parameters; writing here changes the model.
        decayed: which of them are weights of layers, not biases, scalars or norm parameters.
    """

    def __init__(self, model: nn.Module):
        named = list(model.named_parameters())
        self.matrices: Matrices = [parameter.detach().view(len(parameter), -1) for _, parameter in named]
        self.decayed = [name.endswith("weight") for name, _ in named]

    def __len__(self) -> int:
        """Numbers that each trial learns."""
        return sum(matrix.shape[1] for matrix in self.matrices)

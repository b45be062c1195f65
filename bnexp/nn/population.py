"""Population statistics: means and variances over the training images instead of a running average."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bnexp.nn.norm import RunningNorm


@torch.no_grad()
def refit_statistics(model: nn.Module, batches: Iterable[Float[Tensor, "S B in"]]) -> None:
    """Replace the running statistics by averages over batches (Ioffe & Szegedy 2015, algorithm 2, line 10).

    Every batch passes in training mode but without dropout or noise; means and unbiased variances (the factor
    m/(m−1)) are averaged over the batches, which should be of one size. The model is left in
    evaluation mode.
    """
    norms = [module for module in model.modules() if isinstance(module, RunningNorm)]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.train()
        # The first batch weighs 1, but 0 times an old NaN or infinity would still be NaN.
        norm.forget()
    for count, batch in enumerate(batches, start=1):
        for norm in norms:
            norm.momentum = 1 / count  # a running average with this momentum is the mean so far
        model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()

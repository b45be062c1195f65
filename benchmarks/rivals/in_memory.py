"""A plain PyTorch loop over tensors in memory, as a careful user writes it."""

import torch
from torch.nn import functional as F

from benchmarks.rivals.network import network
from benchmarks.study import Study


def train(study: Study, scale: float, norm: bool) -> float:
    """Train one network on the device that holds the images."""
    images_NP, labels_N = study.images_NP, study.labels_N
    model = network(study, scale, norm).to(images_NP.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=study.lr)

    @torch.no_grad()
    def measure() -> float:
        model.eval()
        logits_NC = model(images_NP)
        F.cross_entropy(logits_NC, labels_N).item()
        model.train()
        return float((logits_NC.argmax(1) == labels_N).double().mean())

    accuracy = measure()
    for step in range(1, study.steps + 1):
        batch_B = torch.randint(len(images_NP), (study.batch_size,), device=images_NP.device)
        loss = F.cross_entropy(model(images_NP[batch_B]), labels_N[batch_B])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in study.measured_at:
            accuracy = measure()
    return accuracy

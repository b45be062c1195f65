"""A plain PyTorch loop over torchvision's MNIST and a DataLoader, as most tutorials write it."""

import os

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, RandomSampler, Subset

from benchmarks.rivals.network import network
from benchmarks.study import Study


def loaders(study: Study) -> tuple[DataLoader[tuple[torch.Tensor, ...]], DataLoader[tuple[torch.Tensor, ...]]]:
    """Return loaders of an epoch's batches, drawn with replacement, and of all training images."""
    from torchvision.datasets import MNIST  # takes seconds, which the other benchmarks do without
    from torchvision.transforms import ToTensor

    images = Subset(MNIST(os.environ["BNEXP_DATA"], transform=ToTensor()), range(len(study.labels_N)))
    return (
        DataLoader(images, study.batch_size, sampler=RandomSampler(images, replacement=True)),
        DataLoader(images, 1000),
    )


def train(study: Study, scale: float, norm: bool) -> float:
    """Train one network."""
    batches, everything = loaders(study)
    model = network(study, scale, norm)
    optimizer = torch.optim.SGD(model.parameters(), lr=study.lr)

    @torch.no_grad()
    def measure() -> float:
        model.eval()
        right, loss = 0, 0.0
        for x, y in everything:
            logits = model(x.flatten(1))
            loss += F.cross_entropy(logits, y, reduction="sum").item()
            right += int((logits.argmax(1) == y).sum().item())
        model.train()
        return right / len(study.labels_N)

    accuracy, step = measure(), 0
    while step < study.steps:
        for x, y in batches:
            loss = F.cross_entropy(model(x.flatten(1)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step in study.measured_at:
                accuracy = measure()
            if step == study.steps:
                break
    return accuracy

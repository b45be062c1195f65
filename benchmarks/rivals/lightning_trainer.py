"""Lightning's Trainer with a DataLoader: as it comes, or with everything that writes or draws turned off."""

import contextlib
import logging
import os
import tempfile
import warnings
from typing import Any

import lightning
import torch
from torch.nn import functional as F

from benchmarks.rivals.loader import loaders
from benchmarks.rivals.network import network
from benchmarks.study import Study


class Classifier(lightning.LightningModule):
    """The study's network with its loss, its optimiser, and accuracy on the training images."""

    def __init__(self, study: Study, scale: float, norm: bool):
        super().__init__()
        self.model, self.lr = network(study, scale, norm), study.lr

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        x, y = batch
        loss = F.cross_entropy(self.model(x.flatten(1)), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        x, y = batch
        logits = self.model(x.flatten(1))
        self.log("loss", F.cross_entropy(logits, y))
        self.log("accuracy", (logits.argmax(1) == y).double().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def train(study: Study, scale: float, norm: bool, bare: bool = False) -> float:
    """Train one network; measured once an epoch of ten steps, which is as often as in the other programs."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    batches, everything = loaders(study)
    off: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nothing:
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            accelerator="cpu", max_steps=study.steps, default_root_dir=folder, **(off if bare else {})
        )
        with contextlib.redirect_stdout(nothing):
            trainer.fit(Classifier(study, scale, norm), batches, everything)
    return float(trainer.callback_metrics["accuracy"])

"""Accuracies in the three modes against plain PyTorch, and against what the training records."""

from typing import Any

import numpy as np
import pytest
import torch

from bnexp.training.loop import train
from tests.helpers import EXACT_FLOAT64, assert_close, made_up_data, rates_group
from tests.probes.looking import MODELS, Plain, in_training, probe, prober, rates, values

MEASURES = ("batch", "running", "population")


def trained(name: str, images: int = 77) -> tuple[Any, dict[str, np.ndarray]]:
    """A group after three updates, whose running statistics still lag, and what the probe finds."""
    group = rates_group(2, MODELS[name], precision="fp64", batch_size=16)
    train_state = in_training(group, made_up_data(group, test=images))
    for step in range(1, 4):
        train_state.update(torch.arange(16)[None] + 16 * step, rates(train_state)[:, None], torch.tensor(step))
    taking = prober(train_state, "mode_gap")
    found = values(taking.measure(taking.due(3, True), 0, 3, rates(train_state)))
    return train_state, {name.removeprefix("mode_gap."): row for (_, name), row in found.items()}


def plain_predictions(made: Plain, images: torch.Tensor, mode: str, ends: list[int]) -> np.ndarray:
    """The likeliest class of every image, in batches."""
    made.network.eval()
    if mode == "population":
        for norm in made.norms:
            norm.train().reset_running_stats()  # type: ignore[operator]
            norm.momentum = None  # torch's way to average over all batches
        for i in range(6):
            made.network(made.images(made.batch(i)))
        made.network.eval()
    for norm in made.norms:
        norm.train(mode == "batch")
    pieces = zip([0, *ends], ends, strict=False)
    with torch.no_grad():
        return torch.cat([made.network(images[first:end]).argmax(1) for first, end in pieces]).numpy()


@pytest.mark.parametrize(("images", "ends"), [(77, [16, 32, 48, 64, 77]), (65, [16, 32, 48, 65]), (9, [9])])
@pytest.mark.parametrize("name", ["mlp, norm after, dropout", "vgg, dropout"])
def test_accuracies_are_those_of_plain_pytorch_in_three_modes(name: str, images: int, ends: list[int]) -> None:
    train_state, found = trained(name, images)
    data = train_state.data
    inputs, labels = data.inputs(data.test.images_NP).view(-1, *data.shape.image), data.test.labels_N.numpy()
    for k in range(2):
        each = {mode: plain_predictions(Plain(train_state, k), inputs, mode, ends) for mode in MEASURES}
        for mode, predicted in each.items():
            assert_close(found[mode][k], (predicted == labels).mean(), EXACT_FLOAT64)
            if mode != "running":
                agreement = (predicted == each["running"]).mean()
                assert_close(found[f"{mode}_agreement"][k], agreement, EXACT_FLOAT64)


def test_modes_do_differ_here() -> None:
    # Or the test above could not tell them apart.
    _, found = trained("mlp, norm after, dropout")
    assert len({tuple(found[mode]) for mode in MEASURES}) == 3


@pytest.mark.parametrize("name", ["mlp", "vgg, dropout"])
@pytest.mark.parametrize(("statistics", "mode"), [("ema", "running"), ("population", "population")])
def test_one_mode_is_what_the_training_records(name: str, statistics: str, mode: str) -> None:
    group = rates_group(2, MODELS[name] | {"norm": {"statistics": statistics}}, epochs=1)
    *_, last = train(group, made_up_data(group, test=100), probes=[probe("mode_gap")])
    (found,) = last.probes
    assert found.values["", f"mode_gap.{mode}"] == last.record.measures["test_accuracy"]


def test_without_statistics_all_modes_are_one() -> None:
    _, found = trained("mlp, groups")
    assert found["batch"].tolist() == found["running"].tolist() == found["population"].tolist()
    assert found["batch_agreement"].tolist() == found["population_agreement"].tolist() == [1, 1]


@pytest.mark.parametrize(("val", "test", "split"), [(20, 12, "test"), (20, 0, "val"), (20, 1, "val"), (0, 0, "train")])
def test_it_takes_test_images_else_validation_images_else_training_images(val: int, test: int, split: str) -> None:
    group = rates_group(1, {"norm": "none"}, epochs=1)
    data = made_up_data(group, val=val, test=test)
    *_, last = train(group, data, probes=[probe("mode_gap")])
    assert last.probes[0].values["", "mode_gap.batch"] == last.record.measures[f"{split}_accuracy"]

"""The same training on a GPU: same start and batches, curves to float tolerance."""

import pytest
import torch

from bnexp.plan import groups, trials
from bnexp.training.trainee import Trainee
from tests.helpers import GPU_FLOAT64, assert_close, curve, experiment, finished, made_up_data, on_device

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "nadam", "rmsprop"])
def test_a_group_trains_on_the_gpu_as_on_the_cpu(optimizer: str) -> None:
    config = experiment(
        model={"depth": 3, "width": 8, "activation": "tanh"},
        arms=["none", "before", "after"],
        train={"epochs": 3, "batch_size": 16, "optimizer": optimizer, "lr": 0.01, "precision": "fp64"},
        grid={"train.lr": [0.01, 0.003]},
        seeds=2,
    )
    for group in groups(trials(config)):
        data = made_up_data(group)
        there = on_device(data, torch.device("cuda"))
        on_cpu = [each.record for each in finished(group, data)]
        on_gpu = [each.record for each in finished(group, there)]
        for number in group.numbers:
            assert_close(curve(on_gpu, number), curve(on_cpu, number), GPU_FLOAT64)


def test_initial_weights_are_the_cpus_exactly() -> None:
    (group,) = groups(trials(experiment(model={"depth": 2, "width": 8}, seeds=2)))
    data = made_up_data(group)
    here, there = Trainee(group, data), Trainee(group, on_device(data, torch.device("cuda")))
    for one, other in zip(here.network.parameters(), there.network.parameters(), strict=True):
        assert torch.equal(one, other.cpu())

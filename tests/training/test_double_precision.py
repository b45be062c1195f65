"""Under fp64 no setting is rounded to float32 on its way: a change too small for float32 changes the training."""

from typing import Any

import numpy as np
import pytest
import torch

from bnexp.config.keys import put
from bnexp.config.trial import TrialSettings
from bnexp.nn.norm import Norm
from bnexp.training.group_state import GroupTrainState
from tests.helpers import crossed, curve, experiment, finished, made_up_data, only_group

VALUE = 0.3
ROUNDED = float(np.float32(VALUE))
SETTINGS: dict[str, dict[str, Any]] = {
    "data.feature_scale": {},
    "data.whiten_eps": {"data.normalize": "zca_whiten"},
    "model.dropout": {},
    "model.init.scale": {},
    "model.norm.gamma": {},
    "model.norm.momentum": {},
    "model.norm.eps": {},
    "train.lr": {},
    "train.momentum": {},
    "train.betas": {"train.optimizer": "adam", "train.lr": 0.01},
    "train.weight_decay": {},
    "train.label_smoothing": {},
    "train.schedule_options.factor": {"train.schedule": "step", "train.schedule_options.step_every": 1},
    "train.schedule_options.floor": {"train.schedule": "cosine"},
    "train.schedule_options.start": {"train.schedule": "one_cycle"},
    "train.clip.value": {},
    "train.clip.norm_per_tensor": {},
    "train.clip.norm_global": {},
    "train.clip.adaptive": {},
}
"""What is rounded, and the settings that it takes to have an effect."""
IN_OTHER_SHAPES = {"data.feature_scale": lambda value: {0: value}, "train.betas": lambda value: [value, 0.9]}


def trained(key: str, value: float, **company: Any) -> np.ndarray:
    """All measures of a small training in float64 with large weights and gradients, so that clipping acts."""
    raw: dict[str, Any] = {}
    base = {"model.depth": 2, "model.width": 4, "model.init.scale": 4, "train.epochs": 2, "train.precision": "fp64"}
    whole = IN_OTHER_SHAPES[key](value) if key in IN_OTHER_SHAPES else value
    for name, each in (base | company | {"train.batch_size": 32, key: whole}).items():
        put(raw, name, each, TrialSettings)
    group = only_group(experiment(**raw))
    return curve([each.record for each in finished(group, made_up_data(group, test=0))], 0)


@pytest.mark.parametrize("key", crossed(list(SETTINGS), fast=2))
def test_a_setting_keeps_all_its_digits(key: str) -> None:
    assert ROUNDED != VALUE
    exact, rounded = (trained(key, value, **SETTINGS[key]) for value in (VALUE, ROUNDED))
    assert not np.array_equal(exact, rounded)


@pytest.mark.parametrize("family", ["mlp", "rnn"])
@pytest.mark.parametrize("kind", ["batch", "group"])
@pytest.mark.parametrize("affine", ["both", "beta"])
def test_gamma_starts_at_what_is_asked_for_learned_or_not(family: str, kind: str, affine: str) -> None:
    norm = {"kind": kind, "gamma": VALUE, "affine": affine}
    for precision, dtype in (("fp64", torch.float64), ("fp32", torch.float32)):
        group = only_group(
            experiment(
                model={"family": family, "depth": 1, "width": 8, "norm": norm},
                arms={"only": {}},
                train={"precision": precision},
            )
        )
        network = GroupTrainState(group, made_up_data(group, 200)).network
        norms = [module for module in network.modules() if isinstance(module, Norm)]
        assert norms
        assert all(torch.equal(each.gamma, torch.full_like(each.gamma, VALUE, dtype=dtype)) for each in norms)

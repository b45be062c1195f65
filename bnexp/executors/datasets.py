"""The data sets that groups train on, each loaded once."""

from collections.abc import Mapping, Sequence

import torch

from bnexp.data.dataset import Dataset, load
from bnexp.plan import TrialGroup
from bnexp.training.numerics import dtype_of

Datasets = Mapping[str, Dataset]
"""Loaded data sets by `data_key`."""


def load_data(groups: Sequence[TrialGroup], device: torch.device) -> Datasets:
    """Load every data set that the groups train on, once.

    Raises:
        InputError: a data set can't be had as asked for.
    """
    wanted = {data_key(group): group.settings for group in groups}
    return {key: load(each.data, device, dtype_of(each.train.precision)) for key, each in wanted.items()}


def data_key(group: TrialGroup) -> str:
    """Name the data that a group trains on: equal for groups that can share them in memory."""
    settings = group.settings
    return f"{settings.data.model_dump_json()} {dtype_of(settings.train.precision)}"

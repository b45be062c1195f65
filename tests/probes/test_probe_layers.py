"""Names of layers that no network has."""

from typing import Any

import pytest

from bnexp.probes.context import unknown_layers
from tests.helpers import made_up_data, rates_group
from tests.probes.looking import probe


def lines(*patterns: str, **model: Any) -> list[str]:
    groups = [rates_group(1, model), rates_group(1, {"family": "vgg", "depth": 5, "width": 2})]
    settings = [probe("drift"), probe({"name": "rank", "layers": list(patterns)})]
    return [str(each) for each in unknown_layers(groups, lambda group: made_up_data(group).shape, settings, "exp.yaml")]


@pytest.mark.parametrize("pattern", ["hidden.0.linear", "*", "hidden.?.norm", "stages.0.*", "output"])
def test_names_and_patterns_of_any_network_are_fine(pattern: str) -> None:
    assert lines(pattern) == []


def test_others_are_refused_with_the_nearest_name() -> None:
    (line,) = lines("hidden.0.norm", "hidden.0.liner")
    assert line == (
        "exp.yaml: probes.1.layers: hidden.0.liner: no layer has this name (nearest: hidden.0.linear); "
        "bnexp show lists them"
    )
    (line,) = lines("zzz*")
    assert line.startswith("exp.yaml: probes.1.layers: zzz*: no layer has this name (there are ")

"""The probes section: short forms, what stands for several, and what is refused in which words."""

from collections.abc import Callable
from typing import Any

import pytest

from bnexp.config.load import resolve
from bnexp.config.probes import PROBES, default_probes

NAMES = ", ".join(["default", *PROBES])


def resolved(written: Any) -> list[dict[str, Any]]:
    probes = resolve({"name": "exp", "probes": written}, "exp.yaml").probes
    return [each.model_dump(exclude_defaults=True) for each in probes]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([], []),
        ("rank", [{"name": "rank"}]),
        ({"name": "rank"}, [{"name": "rank"}]),
        (["rank", {"name": "drift", "every": 10}], [{"name": "rank"}, {"name": "drift", "every": 10}]),
        ("default", [{"name": name} for name in default_probes()]),
        (["mode_gap", "default"], [{"name": name} for name in ("mode_gap", *default_probes())]),
        ([{"name": "rank", "at": [4, 0]}], [{"name": "rank", "at": (0, 4)}]),
        ([{"name": "rank", "at": {"range": [0, 9, 4]}}], [{"name": "rank", "at": (0, 4, 8)}]),
        ([{"name": "rank", "layers": ["hidden.*"]}], [{"name": "rank", "layers": ("hidden.*",)}]),
        (
            [{"name": "landscape_slice", "range": [-0.5, 0.5], "points": 5, "batches": 2}],
            [{"name": "landscape_slice", "range": (-0.5, 0.5), "points": 5, "batches": 2}],
        ),
    ],
)
def test_what_is_written_stands_for(written: Any, expected: list[dict[str, Any]]) -> None:
    assert resolved(written) == expected


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (3, "probes: 3: expected a list of names of probes, or of mappings with a name"),
        (["rank", "ranks"], f'probes: ["rank", "ranks"]: ranks: expected one of {NAMES} (nearest: rank)'),
        (["rank", "rank"], 'probes: ["rank", "rank"]: rank is listed twice'),
        ([3], "probes.0: 3: expected a mapping of keys"),
        ([{"name": "rank", "every": 3, "at": [3]}], "probes.0: every and at exclude each other: give one of them"),
        ([{"name": "rank", "every": 0}], "probes.0.every: 0: expected a number greater than or equal to 1"),
        ([{"name": "rank", "at": [-1]}], "probes.0.at: [-1]: expected a list or range of steps counted from 0"),
        (
            [{"name": "landscape_slice", "range": [1, 1]}],
            "probes.0: range: expected the lower end first, and at least 1e-06 between the ends",
        ),
        (
            [{"name": "gradient_noise", "batches": 1}],
            "probes.0: batches: gradient_noise is about how batches differ and takes at least 2",
        ),
        ([{"name": "rank", "points": 5}], "probes.0: points: rank has no use for it; leave it out"),
        ([{"name": "sharpness", "range": [0, 1]}], "probes.0: range: sharpness has no use for it; leave it out"),
        ([{"name": "update_ratio", "batches": 3}], "probes.0: batches: update_ratio has no use for it; leave it out"),
        ([{"name": "mode_gap", "layers": ["x"]}], "probes.0: layers: mode_gap has no use for it; leave it out"),
        (
            [{"name": "loss_variation", "range": [0, 1]}],
            "probes.0: range: expected multiples of the learning rate above 0",
        ),
        ([{"name": "sharpness", "points": 102}], "probes.0.points: 102: expected a number less than or equal to 101"),
    ],
)
def test_what_is_refused_is_refused_in_words(refused: Callable[..., list[str]], written: Any, line: str) -> None:
    (found,) = refused({"probes": written})
    assert found == f"exp.yaml: {line}"


@pytest.mark.parametrize(
    ("written", "start"),
    [
        ({"name": "rank", "evry": 3}, "probes.0.evry: unknown key"),
        ({"every": 3}, "probes.0.name: "),
        ({"name": "rank", "layers": []}, "probes.0.layers: []: "),
    ],
)
def test_an_unknown_key_a_missing_name_and_an_empty_list_are_refused_where_they_stand(
    refused: Callable[..., list[str]], written: dict[str, Any], start: str
) -> None:
    (found,) = refused({"probes": [written]})
    assert found.startswith(f"exp.yaml: {start}")

"""The probes section: short forms, and what stands for several."""

from typing import Any

import pytest

from bnexp.config.load import resolve
from bnexp.config.probes import default_probes


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

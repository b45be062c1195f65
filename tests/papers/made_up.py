"""A lesson of one's own, in a file."""

from pathlib import Path
from typing import Any

from bnexp.config.yaml import to_yaml

PUBLISHED: dict[str, Any] = {
    "metric": "test_accuracy",
    "step": 20,
    "where": {"train.lr": 1},
    "values": {"none": 0.1, "before": [0.9, 0.8]},
}
LESSON: dict[str, Any] = {
    "title": "A lesson | about BN",
    "source": "Somebody's notebook.",
    "found": "BN helps.",
    "same": "The digits.",
    "differs": ["The seeds."],
    "same_setting": ["small", "full"],
    "experiment": {
        "data": {"name": "digits", "train_size": 300, "val_size": 0, "test_size": 100},
        "model": {"depth": 2, "width": 8},
        "train": {"batch_size": 30, "steps": 20, "record_at": [20]},
        "grid": {"train.lr": [0.1, 1]},
        "seeds": 2,
    },
    "tiers": {"small": {}, "full": {"train.steps": 40}},
    "published": [PUBLISHED, PUBLISHED | {"where": {"train.lr": 0.1}, "step": 40, "unverified": True}],
    "remarks": "Why they differ is open.",
}


def written(folder: Path, **changes: Any) -> Path:
    """The lesson's file with changes; what is None is left out."""
    path = folder / "lesson.yaml"
    path.write_text(to_yaml({key: value for key, value in (LESSON | changes).items() if value is not None}))
    return path

"""All that decides one trial besides its seed, and what sweeps and arms may change of it."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bnexp.config.base import Settings
from bnexp.config.data import DataSettings
from bnexp.config.dotted import check_key, put
from bnexp.config.model import ModelSettings
from bnexp.config.train import TrainSettings


class TrialSettings(Settings):
    """All that decides a trial besides its seed."""

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()

    @model_validator(mode="after")
    def _only_pictures_are_augmented(self) -> Self:
        if self.data.normalize == "pca_whiten" and self.train.augment != "none":
            raise ValueError(
                f"train.augment: {self.train.augment} moves pixels, and data.normalize: pca_whiten leaves none; "
                "use zca_whiten, or augment: none"
            )
        return self


def with_changes(base: TrialSettings, changes: Mapping[str, Any]) -> TrialSettings:
    """Return settings with others in their place.

    Args:
        base: the settings.
        changes: values by dotted key.

    Raises:
        pydantic.ValidationError: the values don't go together.
        ValueError: something that is no section stands in the way.
    """
    raw = base.model_dump()
    for key, value in changes.items():
        put(raw, key, value, TrialSettings)
    return TrialSettings.model_validate(raw)


def _trial_key(key: str) -> str:
    check_key(TrialSettings, key)
    return key


def _plain(value: Any) -> Any:
    # As JSON would have it, so that a value reads the same from every file.
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=100)]
"""What an experiment or an arm is called, and a folder after it."""
TrialKey = Annotated[str, AfterValidator(_trial_key)]
"""Dotted key of a setting, or of a section of them."""
Value = Annotated[Any, BeforeValidator(_plain)]

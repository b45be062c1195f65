"""One value at one setting, checked without what else a configuration says."""

from collections.abc import Iterator
from functools import reduce
from typing import Any

from pydantic import ValidationError

from bnexp.config.dotted import is_key, put
from bnexp.config.problems import explain
from bnexp.config.trial import TrialSettings


def faults(key: Any, value: Any) -> Iterator[str]:
    """Yield what is wrong with a value at a setting; nothing where it is possible, if only with other settings."""
    if not is_key(TrialSettings, str(key)):
        return  # said already, for the key
    try:
        _alone(key, value)
    except ValidationError as error:
        # What only fails against other settings' defaults is left to the check of whole combinations.
        yield from (message for found, message in explain(error) if found.startswith(key))
    except ValueError as error:
        yield str(error)


def typed(key: str, value: Any) -> Any:
    """Return a value as the setting holds it; as it is where it is possible with other settings only."""
    try:
        return reduce(getattr, key.split("."), _alone(key, value))
    except ValidationError:
        return value


def _alone(key: str, value: Any) -> TrialSettings:
    raw: dict[str, Any] = {}
    put(raw, key, value, TrialSettings)
    return TrialSettings.model_validate(raw)

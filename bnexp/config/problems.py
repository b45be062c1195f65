"""What pydantic found wrong, said for the person who wrote the configuration."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from bnexp.config.base import Settings
from bnexp.config.dotted import nearest_key
from bnexp.config.experiment import ExperimentConfig
from bnexp.config.synonyms import nearest_value
from bnexp.config.trial import TrialSettings

Finding = tuple[str, str]
"""A dotted key, and what is wrong with its value."""

KEYS = "expected text as a key; write numbers with a decimal point (0.1), and several values in brackets ([0.1, 1])"
WORDS = (
    ("Value error, ", ""),
    ("Input should be", "expected"),
    ("String should have", "expected"),
    ("Keys should be strings", "expected text as a key"),
    ("a valid ", "a "),
    ("a tuple", "a list"),
    ("Field required", "missing"),
    ("a integer", "an integer"),
    (", unable to parse string as a number", ""),
    (", unable to parse string as an integer", ""),
    ("expected greater", "expected a number greater"),
    ("expected less", "expected a number less"),
)
"""From pydantic's way of putting things to ours."""


def explain(error: ValidationError, section: type[Settings] = ExperimentConfig) -> Iterator[Finding]:
    """Yield everything that the validation of a section found."""
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"] if part != "[key]")
        yield key, _message(item, key, section)


def _message(item: Mapping[str, Any], key: str, section: type[Settings]) -> str:
    if item["type"] == "extra_forbidden":
        return f"unknown key{nearest_key(section, key)}"
    if item["type"] == "unknown_key":
        return f"unknown key{nearest_key(TrialSettings, item['input'])}"
    expected = _expected(item, key)
    # A check across keys names them in its own words, and a wrong key is named already: no value then.
    if isinstance(item["input"], Mapping) or "[key]" in item["loc"] or not key:
        return expected
    shown = json.dumps(item["input"], default=str, ensure_ascii=False)
    return f"{shown if len(shown) <= 60 else shown[:57] + '…'}: {expected}"


def _expected(item: Mapping[str, Any], key: str) -> str:
    kind, message = item["type"], item["msg"]
    if kind == "invalid_key" and isinstance(item["input"], int | float) and not isinstance(item["input"], bool):
        return KEYS
    if kind == "value_error":
        return str(item["ctx"]["error"])
    if kind == "string_pattern_mismatch":
        return "expected letters, digits and _ . + - only, beginning with a letter or digit"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "expected a mapping of keys"
    if kind == "literal_error":
        known = [name.strip("'") for name in item["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return f"expected one of {', '.join(known)}{nearest_value(key, item['input'], known)}"
    return in_our_words(message)


def in_our_words(message: str) -> str:
    """Return what pydantic says, put as everything else is."""
    for theirs, ours in WORDS:
        message = message.replace(theirs, ours)
    return message

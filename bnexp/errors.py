"""The errors of bnexp, with their exit codes."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec


class BnexpError(Exception):
    """The machine failed: a message for the user, never a traceback."""

    exit_code = 1


class InputError(BnexpError):
    """The request can't be carried out as written; nothing has been changed on disk."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a configuration."""

    source: str
    """The file it is in, or "command line"."""
    key: str
    """Dotted key; empty where the file as a whole is meant."""
    message: str
    """The value, what was expected, and the nearest known name."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.source, self.key, self.message) if part)


class ConfigError(InputError):
    """A configuration that can't be run; lists every problem at once."""

    def __init__(self, problems: Sequence[Problem]):
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__("\n".join(map(str, self.problems)))


def refuse_twice(named: Iterable[tuple[object, Hashable]]) -> None:
    """Refuse a command that names one thing twice: that has no effect, so it must be a slip.

    Args:
        named: what was written, and what it stands for.

    Raises:
        InputError: two names stand for the same.
    """
    first: dict[Hashable, object] = {}
    for name, thing in named:
        if thing in first:
            again = "named twice" if first[thing] == name else f"the same as {first[thing]}"
            raise InputError(f"{name}: {again}; name it once")
        first[thing] = name


EXTRAS = {
    "mlflow": ("mlflow",),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "ray": ("ray",),
    "tensorboard": ("tensorboard",),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
"""Packages that bnexp can do without, by the extra in pyproject.toml that installs them."""


def not_installed(extra: str) -> str:
    """Return which package of an extra is missing, and how to install it; empty if none is."""
    missing = [package for package in EXTRAS[extra] if find_spec(package) is None]
    return f"{missing[0]} is not installed: pip install '.[{extra}]' in the clone of bnexp" if missing else ""


def check_installed(extra: str) -> None:
    """Do nothing if an extra is installed.

    Raises:
        InputError: it is not.
    """
    if missing := not_installed(extra):
        raise InputError(missing)


def nearest(name: object, known: Sequence[str] | Mapping[str, str]) -> str:
    """Return " (nearest: …)" for the known name closest to a misspelt one, or what it is mapped to; or nothing.

    For a word that isn't short, the first name that contains it is the closest.
    """
    shown = known.values() if isinstance(known, Mapping) else known
    spelled = {bare(each): what for each, what in reversed(list(zip(known, shown, strict=True)))}
    word = bare(str(name))
    longer = [each for each in reversed(spelled) if word in each] if len(word) > SHORT_WORD else []
    close = longer or get_close_matches(word, list(spelled), n=1)
    return f" (nearest: {spelled[close[0]]})" if close else ""


SHORT_WORD = 4
"""The length up to which many names contain a word by chance."""


def bare(name: str) -> str:
    """Return a name without what people write differently: capitals, hyphens and underscores."""
    return name.lower().replace("_", "").replace("-", "")

"""bnexp: what does batch normalization do here? Paired, seeded, honest comparisons from one YAML file.

run = bnexp.run("quickstart", {"seeds": 6, "train.lr": 0.1})
run.curves
run.compare(metric="final_test_accuracy")
run.plot("curves")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnexp.api import Comparison, Run, compare, describe, load_config, load_run, run
    from bnexp.errors import BnexpError, ConfigError, InputError

__version__ = "0.3.0"

__all__ = [
    "BnexpError",
    "Comparison",
    "ConfigError",
    "InputError",
    "Run",
    "compare",
    "describe",
    "load_config",
    "load_run",
    "run",
]

_ERRORS = ("BnexpError", "ConfigError", "InputError")


def __getattr__(name: str) -> Any:
    # On first use: pandas and pydantic take half a second, torch several.
    if name not in __all__:
        raise AttributeError(f"module 'bnexp' has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module("bnexp.errors" if name in _ERRORS else "bnexp.api"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

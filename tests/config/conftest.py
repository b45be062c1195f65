"""What the configuration tests share: resolving raw settings, and the lines in which they are refused."""

from collections.abc import Callable
from typing import Any

import pytest

from bnexp.config.load import resolve
from bnexp.errors import ConfigError

SOURCE = "exp.yaml"


def _refused(raw: dict[str, Any], *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        resolve({"name": "exp"} | raw, SOURCE, overrides)
    return str(caught.value).splitlines()


@pytest.fixture
def refused() -> Callable[..., list[str]]:
    """A function from raw settings (of exp.yaml) and overrides to the lines of the refusal."""
    return _refused

"""Where settings were given: in a file, on the command line, or as overrides from Python. Messages name that place."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bnexp.config.keys import below
from bnexp.errors import ConfigError, InputError

COMMAND_LINE, OVERRIDES = "command line", "overrides"
"""Where overrides come from, in messages: the second from Python."""
_KEYED = re.compile(r"^(?=((?:data|model|train|probes)\.[\w.]+): )", re.MULTILINE)
"""Where a line begins with a setting."""


@dataclass(frozen=True)
class Origin:
    """Overrides of a configuration, and where they come from."""

    overrides: tuple[str, ...] = ()
    """"key=value" each; one for each key."""
    given: str = COMMAND_LINE
    """Where they come from."""

    def then(self, overrides: Iterable[str], given: str) -> "Origin":
        """Return the origin after more overrides, the last of each key counts; where these come from names all."""
        by_key = {each.partition("=")[0]: each for each in (*self.overrides, *overrides)}
        return Origin(tuple(by_key.values()), given)

    def of(self, key: str, source: str) -> str:
        """Return the place where a setting was given; `source` names the configuration."""
        return self.given if any(below(key, each.partition("=")[0]) for each in self.overrides) else source


@contextmanager
def naming(source: str, origin: Origin | None = None) -> Iterator[None]:
    """Put the place on problems that were found where it isn't known, and on errors that begin with a setting."""
    origin = origin or Origin()
    try:
        yield
    except ConfigError as error:
        problems = [replace(each, source=each.source or origin.of(each.key, source)) for each in error.problems]
        raise ConfigError(problems) from None
    except InputError as error:
        raise InputError(_KEYED.sub(lambda found: _before(origin.of(found[1], source)), str(error))) from error


def _before(place: str) -> str:
    return f"{place}: " if place else ""

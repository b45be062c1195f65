"""The user's own network by its source: `my_net.py:Net`, a file beside the configuration, or `package.module:name`.

A checked configuration tells which code it means: `FOLDER/my_net.py:Net#1a2b3c4d5e6f` ends in a digest of the file and
of the modules beside it that it imports; `torchvision.models:resnet18#0.26.0` ends in the package's version. The folder
has no effect on what is trained, so names of run folders and the configurations in them leave it out.

Nothing here runs the code.
"""

import ast
import hashlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field

from bnexp.errors import InputError

_SOURCE = re.compile(r"(?P<place>.+):(?P<name>[A-Za-z_][\w.]*)(?:#(?P<digest>[\w.+!-]+))?")
AS_WRITTEN = Field(
    json_schema_extra={
        "pattern": r"^.+:[A-Za-z_]",  # not all editors know the letters that may follow
        "patternErrorMessage": "Expected FILE.py:NAME or MODULE:NAME.",
    }
)
"""Annotates the setting."""
_FOLDER = re.compile(r"^.*[/\\](?=[^/\\]+\.py:[\w.]+#)")


@dataclass(frozen=True)
class NetworkSource:
    """A class or function that makes a network, and where it is defined."""

    place: str
    """A file ending in .py, or a module's dotted name."""
    name: str
    """The class or function in it; `Outer.Inner` for a class within a class."""
    digest: str
    """Which state of the code is meant; empty where that isn't settled yet."""

    @property
    def path(self) -> Path | None:
        """The file, unless it is a module on the import path."""
        return Path(self.place) if self.place.endswith(".py") else None

    def __str__(self) -> str:
        return f"{os.path.basename(self.place)}:{self.name}"

    @classmethod
    def parse(cls, written: str) -> "NetworkSource":
        """Read FILE.py:NAME or MODULE:NAME, with or without #DIGEST.

        Raises:
            ValueError: it is neither.
        """
        match = _SOURCE.fullmatch(written)
        if match is None or not (match["place"].endswith(".py") or re.fullmatch(r"[\w.]+", match["place"])):
            examples = "my_net.py:Net or torchvision.models:resnet18"
            raise ValueError(f"expected FILE.py:NAME or MODULE:NAME, such as {examples}")
        return cls(match["place"], match["name"], match["digest"] or "")


def without_folder(written: str | None) -> str | None:
    """Return a source without the folder of its file."""
    return written and _FOLDER.sub("", written)


def change_sources(raw: Any, change: Callable[[str], Any], key: str = "") -> Any:
    """Return plain settings in which every network's source is changed, also in arms and grids.

    Args:
        raw: settings, or some of them.
        change: from a source to another.
        key: dotted key of `raw`.
    """
    if isinstance(raw, dict):
        return {name: change_sources(value, change, f"{key}.{name}") for name, value in raw.items()}
    if isinstance(raw, list | tuple) and key.endswith(".model.source"):
        return [change_sources(value, change, key) for value in raw]
    return change(raw) if isinstance(raw, str) and key.endswith(".model.source") else raw


def sources_in(raw: Any) -> list[NetworkSource]:
    """Return the sources of all networks in plain settings, each once."""
    found: list[str] = []
    change_sources(raw, found.append)
    return list(map(NetworkSource.parse, dict.fromkeys(found)))


def settled(written: str, folder: Path) -> str:
    """Return a source with its folder and the digest of its code, unless it has that already.

    Args:
        written: the source as a user writes it.
        folder: where a file is looked for first; then in the working directory.

    Raises:
        InputError: no such file or package, or the file isn't Python.
    """
    source = NetworkSource.parse(written)
    if source.digest:
        return written
    if source.path is None:
        beside = folder / f"{source.place}.py"
        hint = f"write {beside.name}:{source.name}" if beside.is_file() else "install it, or write FILE.py:NAME"
        return f"{written}#{_version(source.place, hint)}"
    for path in (folder / source.path, source.path.absolute()):
        if path.is_file():
            return f"{path.resolve()}:{source.name}#{digest(path)}"
    here = "" if folder.absolute() == Path.cwd() else f", nor in {Path.cwd()}"
    remedy = "put it beside the YAML file, or write its path"
    raise InputError(f"model.source: {source.place}: no such file in {folder.absolute()}{here}; {remedy}")


def _version(module: str, hint: str) -> str:
    """Return the version of a package on the import path, or a digest where it has none."""
    top = module.partition(".")[0]
    found = find_spec(top)
    if found is None:
        raise InputError(f"model.source: {module}: no such module is installed; {hint}")
    try:
        return version(top)
    except PackageNotFoundError:
        origin = Path(found.origin or ".")
        if origin.suffix != ".py":
            other = "isn't written in Python; name a class or a function that makes a torch.nn.Module"
            raise InputError(f"model.source: {module} {other}") from None
        return digest(*(origin.parent.rglob("*.py") if origin.name == "__init__.py" else [origin]))


def placed_in(folder: Path) -> Callable[[str], str]:
    """Return a function that points a source to the copy of its file in a run folder; others stay as they are."""

    def place(written: str) -> str:
        source = NetworkSource.parse(written)
        return (
            f"{folder.resolve() / source.digest / source.path.name}:{source.name}#{source.digest}"
            if source.path and not source.path.is_absolute()
            else written
        )

    return place


def digest(*paths: Path) -> str:
    """Return twelve digits of a hash of Python files and of the files beside them that they import.

    Line ends don't count: Git writes others on Windows.

    Raises:
        InputError: one can't be read, or isn't Python.
    """
    files = {path.name: path.read_bytes().replace(b"\r\n", b"\n") for root in paths for path in code_files(root)}
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:12]


def code_files(path: Path) -> list[Path]:
    """Return a Python file and the files in its folder that it imports, and those import in turn.

    Raises:
        InputError: one can't be read, or isn't Python.
    """
    found = [path]
    for each in found:
        found += [beside for beside in dict.fromkeys(_imported(each)) if beside not in found]
    return found


def _imported(path: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(path.read_bytes())
    except OSError as error:
        raise InputError(f"model.source: {path}: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}:{line}" if line else str(path)
        raise InputError(f"model.source: {where}: {getattr(error, 'msg', error)}") from error
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        yield from (file for name in names if (file := path.parent / f"{name}.py").is_file())


class TrainsNow(BaseException):
    """A file that is imported for its network has come to where it trains that; the network is there by then."""


importing: set[str] = set()
"""The modules of networks that are being imported at this moment."""


def source_of(network: Callable[..., Any]) -> str:
    """Return the source of a class or function of this process, whose module then counts as imported already.

    One that was typed into a notebook or an interpreter has no file: other processes can't make it.

    Raises:
        InputError: it has no name by which others could find it.
        TrainsNow: its file is being imported.
    """
    if network.__module__ in importing:
        raise TrainsNow
    module, name = sys.modules[network.__module__], getattr(network, "__qualname__", "<lambda>")
    if "<" in name:
        raise InputError(f"network: {name} can't be found by name; define a class or a function outside of functions")
    try:
        file, code = Path(inspect.getfile(network)).resolve(), inspect.getsource(network)
    except (OSError, TypeError):
        raise InputError(f"network: the code of {name} can't be read; write it into a file") from None
    known = file.is_file() and file.suffix == ".py"
    state = digest(file) if known else hashlib.sha256(code.encode()).hexdigest()[:12]
    sys.modules.setdefault(module_name(state), module)
    return f"{file if known else 'notebook.py'}:{name}#{state}"


def module_name(state: str) -> str:
    """Return the name under which Python knows the module of a file by its digest."""
    return f"bnexp_network_{state}"

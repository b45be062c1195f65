"""Runs the user's code: imports its file, calls the class or function, and says where it failed."""

import inspect
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from bnexp.config.model import ModelSettings
from bnexp.config.source import NetworkSource, TrainsNow, digest, importing, module_name
from bnexp.config.text import listed
from bnexp.errors import InputError, nearest
from bnexp.nn.own.calls import global_generators

ON_THE_DEVICE = (
    "leave out .cuda() and .to(device), since bnexp moves network and images to the device itself; tensors that the "
    "code makes belong on x.device"
)


def make(model: ModelSettings, seed: int) -> nn.Module:
    """Return a new network as it is written, on the CPU, with the initial weights that its code draws.

    Args:
        model: its source and arguments.
        seed: for the global generators while the code runs; afterwards they are as they were.

    Raises:
        InputError: the code can't be had, fails, or makes something that bnexp can't train; names file and line.
    """
    source = NetworkSource.parse(model.source or "")
    call = _callable(source)
    _check_arguments(call, model.arguments, source)
    with failures(source), global_generators(seed):
        network = call(**model.arguments)
    if not isinstance(network, nn.Module):
        raise InputError(f"model.source: {source} returns {type(network).__name__}; expected a torch.nn.Module")
    _check_parameters(network, source)
    return network


def _check_arguments(call: Any, given: Mapping[str, Any], source: NetworkSource) -> None:
    """Raise InputError for arguments that the call lacks or doesn't take."""
    try:
        known = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):  # code that isn't written in Python has no signature
        return
    named = [each for each in known if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    takes = [each.name for each in named]
    unknown = [name for name in given if name not in takes]
    if unknown and not any(each.kind is each.VAR_KEYWORD for each in known):
        close, there = nearest(unknown[0], takes), f"it takes {listed(takes)}" if takes else "it takes none"
        raise InputError(f"model.arguments.{unknown[0]}: {source} has no such argument{close}; {there}")
    if lacking := [each.name for each in named if each.default is each.empty and each.name not in given]:
        remedy = f"give it under model.arguments, e.g. {{{lacking[0]}: …}}"
        raise InputError(f"model.source: {source} needs the argument {lacking[0]}; {remedy}")


@contextmanager
def failures(source: NetworkSource) -> Iterator[None]:
    """Turn whatever the user's code raises into an InputError that names the last line in their file."""
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # whatever code of others raises
        raise InputError(f"model.source: {place(error, source)}: {_message(error)}") from error


def place(error: BaseException, source: NetworkSource) -> str:
    """Return the last line of the traceback in the user's file, and in which function; else the source."""
    frames = traceback.extract_tb(error.__traceback__) if source.path else ()
    own = [frame for frame in frames if source.path and _within(frame.filename, source.path.parent)]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}: in {own[-1].name}" if own else str(source)


def _within(filename: str, folder: Path) -> bool:
    return Path(filename).parent == folder


def _message(error: BaseException) -> str:
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    said = f"{type(error).__name__}: {first[:300]}".removesuffix(": ")
    elsewhere = re.search(r"CUDA|cuda|NVIDIA|same device|device type", first)
    return f"{said}; {ON_THE_DEVICE}" if elsewhere else said


def _callable(source: NetworkSource) -> Any:
    with failures(source):
        module = _module(source)
    found: Any = module
    for name in source.name.split("."):
        if not hasattr(found, name):
            made = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
            own = [each for each in made if getattr(vars(module)[each], "__module__", "") == module.__name__]
            there = f"; there are {', '.join(own[:10])}" if own else ""
            raise InputError(f"model.source: {source.place} has no {name}{nearest(name, own or made)}{there}")
        found = getattr(found, name)
    if not callable(found):
        raise InputError(f"model.source: {source} is of type {type(found).__name__}; expected a class or a function")
    return found


TRAINS = "trains when it is imported"
"""Attribute of a module whose file does."""


def trains_when_imported(source: NetworkSource) -> bool:
    """Return whether the file of a source was found to train the network that it defines."""
    return hasattr(sys.modules.get(module_name(source.digest)), TRAINS)


def _module(source: NetworkSource) -> ModuleType:
    """Import the module of a source; a file by its digest, so that two states of it are two modules."""
    path, name = source.path, module_name(source.digest)
    if path is None:
        return import_module(source.place)
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise InputError(f"model.source: {path}: no such file any more")
    if (now := digest(path)) != source.digest:
        raise InputError(f"model.source: {path} has changed since the configuration was read ({now}); read it again")
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"model.source: {path} can't be imported as Python")
    module, before = module_from_spec(spec), set(sys.modules)
    sys.modules[name] = module
    importing.add(name)
    sys.path.insert(0, str(path.parent))
    # Python would reuse bytecode of a file of the same size that was changed within the same second.
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except TrainsNow:
        setattr(module, TRAINS, True)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.dont_write_bytecode = written
        sys.path.remove(str(path.parent))
        importing.discard(name)
        # Helpers beside the file may differ in another state of it: each state imports its own.
        for helper in set(sys.modules) - before - {name}:
            file = getattr(sys.modules[helper], "__file__", None)
            if file and _within(file, path.parent):
                del sys.modules[helper]
    return module


def _check_parameters(network: nn.Module, source: NetworkSource) -> None:
    named = list(network.named_parameters(remove_duplicate=False))
    if lazy := [name for name, parameter in [*named, *network.named_buffers()] if is_lazy(parameter)]:
        raise InputError(f"model.source: {source}: {lazy[0]} has no shape yet (a lazy module); give it its sizes")
    if away := [name for name, parameter in named if parameter.device.type != "cpu"]:
        raise InputError(f"model.source: {source}: {away[0]} is on {dict(named)[away[0]].device}; {ON_THE_DEVICE}")
    first: dict[int, str] = {}
    for name, parameter in named:
        if id(parameter) in first:
            both = f"{first[id(parameter)]} and {name}"
            raise InputError(f"model.source: {source}: {both} share a parameter, which bnexp can't train")
        first[id(parameter)] = name
    if not any(parameter.requires_grad for _, parameter in named):
        raise InputError(f"model.source: {source} has no parameters that learn")

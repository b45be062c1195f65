"""Types and shapes, checked once for each combination of them: every time, it was half of the time of a training."""

import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import cache, partial, update_wrapper, wraps
from types import CodeType, FunctionType
from typing import Any

import jaxtyping
import numpy as np
import torch

Function = Callable[..., Any]


def once(jaxtyped: Function) -> Function:
    """Return a decorator that checks as `jaxtyping.jaxtyped` does, but nothing of a kind that it has seen."""
    if jaxtyping.config.jaxtyping_disable:
        return jaxtyped
    checks: dict[CodeType, _Check] = {}  # a function in a function has one code, though each call makes a new function

    def decorate(function: Any = None, *, typechecker: Function) -> Any:
        if function is None:
            return partial(decorate, typechecker=typechecker)
        if not inspect.isfunction(function):  # a class
            return jaxtyped(function, typechecker=typechecker)
        check = checks.setdefault(function.__code__, _Check(partial(jaxtyped, typechecker=typechecker)))

        @wraps(function)
        def checked(*args: Any, **named: Any) -> Any:
            return check(function, args, named)

        return checked

    return decorate


class _Check:
    """Checks what a function is given and returns."""

    def __init__(self, jaxtyped: Function):
        self._jaxtyped = jaxtyped
        self._seen: dict[Hashable, set[Hashable]] = {}
        """Kinds of results by those of the arguments."""
        self._checked: Function | None = None  # made when it is needed: most functions are in no test of a file
        self._next: list[Function] = []

    def __call__(self, function: Function, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        given = _kinds(args), kind(named) if named else None
        try:
            new = given not in self._seen
        except TypeError:  # sizes that stand for any, in a network that is traced, can't be remembered
            return self._in_full(function, function)(*args, **named)
        result = (self._in_full(function, function) if new else function)(*args, **named)
        made = self._seen.setdefault(given, set())
        if (of_result := kind(result)) not in made:
            if not new:
                self._in_full(function, lambda *args, **named: result)(*args, **named)
            made.add(of_result)
        return result

    def _in_full(self, function: Function, called: Function) -> Function:
        """Return a function that checks arguments as a function declares them, calls another, and checks the result."""
        if not self._checked:

            def call(*args: Any, **named: Any) -> Any:
                return self._next.pop()(*args, **named)

            # The globals are where jaxtyping looks for names in annotations.
            made: Any = FunctionType(call.__code__, function.__globals__, closure=call.__closure__)
            self._checked = self._jaxtyped(update_wrapper(made, function))
        self._next.append(called)
        return self._checked


def kind(value: object) -> Hashable:
    """Return all that a check depends on: types and shapes, and the values that an annotation may list."""
    return _how(type(value))(value)


def _kinds(values: Iterable[object]) -> tuple[Hashable, ...]:
    return tuple([_how(type(value))(value) for value in values])


@cache
def _how(of: type) -> Callable[[Any], Hashable]:
    """Return the function from values of a type to their kind."""
    if issubclass(of, torch.Tensor | np.ndarray):
        return lambda value: (of, value.dtype, value.shape)
    if issubclass(of, tuple | list | set | frozenset):
        return lambda value: (of, _kinds(value))
    if issubclass(of, Mapping):
        return lambda value: (of, *value, _kinds(value.values()))
    if issubclass(of, str | type):
        return lambda value: value
    return type

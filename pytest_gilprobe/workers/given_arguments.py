"""Name the arguments of a call, and make the same call with other arguments in their place.

The call is a `Given`: a function and its arguments. The object of a bound method counts as an argument, too, and so do
the variables that a nested function takes from the function around it.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from typing import Any

from pytest_gilprobe.workers.naming import Given, given_first

OBJECT = "its object"
"""Name that `named` gives to the object of a bound method, or to a callable object that is called itself."""


def named(given: Given) -> dict[str, Any]:
    """Return the arguments of the call ``given`` by name, such as ``argument rows``.

    A bound method's object, or a callable object itself, is named `OBJECT`. A variable that a nested function takes
    from around it is called ``variable rows``, for example. The function must not be a `functools.partial`.
    """
    owner = given_first(given.func)
    own = {OBJECT: owner} if owner is not None and not isinstance(owner, type) else {}
    around = {f"variable {name}": value for name, value in _closure(given.func).items()}
    positional = zip(_positions(given), given.args, strict=True)
    keywords = {f"argument {name}": value for name, value in given.kwargs.items()}
    return {**{f"argument {name}": value for name, value in positional}, **keywords, **own, **around}


def replaced(given: Given, values: Mapping[str, Any]) -> Given:
    """Return a call of the same function as ``given``, but with the arguments in ``values``.

    ``values`` has the same names as the result of `named`, such as ``argument rows``.
    """
    func: Any = given.func
    cells = {name: values[f"variable {name}"] for name in _closure(func)}
    if cells:
        func = _with_closure(func, cells)
    if OBJECT in values:
        func = _bound_anew(func, values[OBJECT])
    args = tuple(values[f"argument {name}"] for name in _positions(given))
    return Given(func=func, args=args, kwargs={name: values[f"argument {name}"] for name in given.kwargs})


def _positions(given: Given) -> tuple[str, ...]:
    """Return the names of the parameters that take the positional arguments; their numbers where these are unknown."""
    try:
        kinds = inspect.signature(given.func).parameters.values()
    except (TypeError, ValueError):
        kinds = {}.values()
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [one.name for one in kinds if one.kind in by_position]
    return tuple(names[at] if at < len(names) else str(at + 1) for at in range(len(given.args)))


def _bound_anew(func: Any, owner: Any) -> Any:
    """Return a bound method with another object, or that object itself in the place of a callable object."""
    if getattr(func, "__self__", None) is None:
        return owner
    return func.__func__.__get__(owner) if inspect.ismethod(func) else getattr(owner, func.__name__)


def _closure(func: Any) -> dict[str, Any]:
    """Return the variables that a nested function or a lambda takes from around it, by name."""
    if not inspect.isfunction(func):
        return {}
    found = {}
    for name, cell in zip(func.__code__.co_freevars, func.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not set yet: the call cannot use it before it sets it
            return {}
    return found


def _with_closure(func: Any, values: Mapping[str, Any]) -> Any:
    cells = tuple(types.CellType(values[name]) for name in func.__code__.co_freevars)
    made = types.FunctionType(func.__code__, func.__globals__, func.__name__, func.__defaults__, cells)
    made.__kwdefaults__ = func.__kwdefaults__
    return made

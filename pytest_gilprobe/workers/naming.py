"""Which function a call calls, and what it is given, as another module would write it."""

from __future__ import annotations

import inspect
import keyword
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

from pytest_gilprobe.model import Callee


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A function with the arguments of one call, as the user gave them."""

    func: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any]

    def call(self) -> Any:
        """Make one call."""
        return self.func(*self.args, **self.kwargs)


def callee(given: Given) -> Callee:
    """Name the function that was given, and what one call of it is given.

    A partial is the function inside it with all of its arguments; a method or an object that can be called is its
    class's function, given the object first.
    """
    given = without_partials(given)
    target, owner = _target(given.func)
    module, known = _home(target)
    parameters = _parameters(given)
    if owner is not None:
        own = type(owner).__name__.lower()
        parameters = ("self" if own in parameters or keyword.iskeyword(own) else own, *parameters)
    return Callee(
        module="__main__" if module == "__mp_main__" else module,
        name="lambda" if "<lambda>" in known else known.rpartition("<locals>.")[2],
        parameters=parameters,
        importable=_leads_to(module, known, target),
    )


def given_first(func: Any) -> object:
    """Return what must be handed over before the arguments to call something elsewhere, or None.

    That is the object of a bound method, or an object that can be called itself.
    """
    owner = owner_of(func)
    return owner if owner is not None else _target(func)[1]


def without_partials(given: Given) -> Given:
    """Return the same call without any partial."""
    func: Any = given.func
    args, kwargs = given.args, given.kwargs
    while isinstance(func, partial):
        func, args, kwargs = func.func, (*func.args, *args), {**func.keywords, **kwargs}
    return Given(func=func, args=args, kwargs=kwargs)


def _target(func: Any) -> tuple[Any, object]:
    """Return what another module can name, and the object that it must be given first, or None."""
    owner = owner_of(func)
    if owner is None:
        named = hasattr(func, "__qualname__") or _leads_to(*_home(func), func)
        return (func, None) if named else (type(func).__call__, func)
    if isinstance(owner, type):
        return func, None
    return getattr(type(owner), func.__name__, func), owner


def _home(target: Any) -> tuple[str, str]:
    """Return the module in which something is found, and its name there."""
    owner = owner_of(target)
    if isinstance(owner, type):
        return owner.__module__, f"{owner.__qualname__}.{target.__name__}"
    home = getattr(target, "__objclass__", target)
    name = getattr(target, "__qualname__", None) or getattr(target, "__name__", None) or type(target).__qualname__
    return getattr(home, "__module__", None) or "builtins", name


def _leads_to(module: str, name: str, target: object) -> bool:
    """Tell whether a name in a module is that very thing: then any process finds it."""
    try:
        found = reduce(getattr, name.split("."), sys.modules[module])
    except (KeyError, AttributeError):
        return False
    return found is target or ((inspect.ismethod(found) or inspect.isbuiltin(found)) and found == target)


def _parameters(given: Given) -> tuple[str, ...]:
    """Name what a call is given, in order; a name with ``=`` behind it can only be given by name."""
    try:
        known = inspect.signature(given.func).parameters
        bound = inspect.signature(given.func).bind(*given.args, **given.kwargs).arguments
    except (TypeError, ValueError):
        return (*(f"argument_{at}" for at in range(1, len(given.args) + 1)), *(f"{name}=" for name in given.kwargs))
    found: list[str] = []
    for name, value in bound.items():
        kind = known[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            found += [f"{name}_{at}" for at in range(1, len(value) + 1)]
        elif kind is inspect.Parameter.VAR_KEYWORD:
            found += [f"{inner}=" for inner in value]
        else:
            found.append(f"{name}=" if kind is inspect.Parameter.KEYWORD_ONLY else name)
    return tuple(found)


def owner_of(func: object) -> object:
    """Return the object that a bound method travels with; a built-in function's is its module, which stays."""
    owner = getattr(func, "__self__", None)
    return None if inspect.ismodule(owner) else owner

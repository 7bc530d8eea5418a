"""Find how code in another module would name the function of a call, and the parameters that the call passes to it."""

from __future__ import annotations

import inspect
import keyword
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from importlib import import_module
from typing import Any

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.results import Callee
from pytest_gilprobe.workers.event_loops import is_awaited


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A function with the arguments of one call, as passed to the `gilprobe` fixture or to `pytest_gilprobe.probe`.

    ``make`` returns new arguments for each further call; it is ``None`` if all calls have the same arguments.
    """

    func: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    make: Callable[[], object] | None = None

    def call(self) -> Any:
        """Call the function once and return its result."""
        return self.func(*self.args, **self.kwargs)


def resolved(text: str) -> Any:
    """Import and return the object that ``text`` names as ``MODULE:NAME``, such as ``shop.images:Image.resize``.

    Raises `GilprobeError` if the text is malformed, the module cannot be imported or the object does not exist.
    """
    module, colon, name = text.partition(":")
    if not (module and colon and name):
        msg = f"found {text!r}, allowed: MODULE:FUNCTION, such as shop.images:resize"
        raise GilprobeError(msg)
    try:
        return reduce(getattr, name.split("."), import_module(module))
    except AttributeError as error:
        msg = f"{text}: {error}"
    except Exception as error:  # noqa: BLE001 - whatever the user's module raises when it is imported
        kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        msg = f"{text}: {module} cannot be imported: {kind}{error}"
    raise GilprobeError(msg)


def arguments_made(make: Callable[[], object]) -> tuple[Any, ...]:
    """Call ``make``, and return its result as positional arguments: a tuple as it is, anything else as the only one."""
    made = make()
    return made if isinstance(made, tuple) else (made,)


def unfit_maker(func: Callable[..., Any], make: object) -> str | None:
    """Return why ``make`` cannot be used to make the arguments of ``func``; ``None`` if it can.

    ``make`` must be callable, and may be a coroutine function only if the calls of ``func`` are awaited.
    """
    if not callable(make):
        return f"{make!r} as make, allowed: a function that returns the arguments"
    if is_awaited(make) and not is_awaited(func):
        return "a coroutine function as make, allowed: that only where func is a coroutine function, too"
    return None


async def with_arguments(given: Given) -> Given:
    """Return ``given`` with arguments newly made by ``given.make()``; without a ``make``, return ``given`` unchanged.

    ``given.make`` is awaited if it is a coroutine function.
    """
    return given if given.make is None else replace(given, args=await arguments_awaited(given.make))


async def arguments_awaited(make: Callable[[], object]) -> tuple[Any, ...]:
    """Call ``make``, await it if it is a coroutine function, and return its result as positional arguments.

    A tuple is returned as it is; anything else is the only argument.
    """
    if not is_awaited(make):
        return arguments_made(make)
    made: object = await make()  # type: ignore[misc]  # a coroutine function, as was asked
    return made if isinstance(made, tuple) else (made,)


def callee(given: Given) -> Callee:
    """Describe the function of a call: its module, its name, and the parameters that the call passes.

    A `functools.partial` counts as the function inside it, called with the partial's and the call's arguments. A bound
    method, or a callable object, counts as the function of its class, with the object as the first argument.
    """
    given = without_partials(given)
    target, owner = _target(given.func)
    module, known = _home(target)
    parameters = _parameters(given)
    if owner is not None:
        own = type(owner).__name__.lower()
        taken = keyword.iskeyword(own) or own in {one.rstrip("=") for one in parameters}
        parameters = ("self" if taken else own, *parameters)
    return Callee(
        module="__main__" if module == "__mp_main__" else module,
        name="lambda" if "<lambda>" in known else known.rpartition("<locals>.")[2],
        parameters=parameters,
        importable=_leads_to(module, known, target),
    )


def given_first(func: Any) -> object:
    """Return the object that a call of ``func`` in another process needs beside its arguments, or ``None``.

    That is the object of a bound method (the class, for a class method), or a callable object itself; a plain function
    needs none.
    """
    owner = _bound_to(func)
    return owner if owner is not None else _target(func)[1]


def without_partials(given: Given) -> Given:
    """Return the same call with every `functools.partial` replaced by its function and arguments."""
    func: Any = given.func
    args, kwargs = given.args, given.kwargs
    while isinstance(func, partial):
        func, args, kwargs = func.func, (*func.args, *args), {**func.keywords, **kwargs}
    return Given(func=func, args=args, kwargs=kwargs)


def _target(func: Any) -> tuple[Any, object]:
    """Return what another module can name, and the object that is its first argument, or ``None``."""
    owner = _bound_to(func)
    if owner is None:
        named = hasattr(func, "__qualname__") or _leads_to(*_home(func), func)
        return (func, None) if named else (type(func).__call__, func)
    if isinstance(owner, type):
        return func, None
    return getattr(type(owner), func.__name__, func), owner


def _home(target: Any) -> tuple[str, str]:
    """Return the module in which something can be found, and its name there."""
    owner = _bound_to(target)
    if isinstance(owner, type):
        return owner.__module__, f"{owner.__qualname__}.{target.__name__}"
    home = getattr(target, "__objclass__", target)
    name = getattr(target, "__qualname__", None) or getattr(target, "__name__", None) or type(target).__qualname__
    return getattr(home, "__module__", None) or "builtins", name


def _leads_to(module: str, name: str, target: object) -> bool:
    """Return whether a name in a module refers to just that object, so that any process finds it."""
    try:
        found = reduce(getattr, name.split("."), sys.modules[module])
    except (KeyError, AttributeError):
        return False
    return found is target or ((inspect.ismethod(found) or inspect.isbuiltin(found)) and found == target)


def _parameters(given: Given) -> tuple[str, ...]:
    """Name a call's arguments, in order; those that can be given by keyword only end in ``=``."""
    try:
        known = inspect.signature(given.func).parameters.values()
        bound = inspect.signature(given.func).bind(*given.args, **given.kwargs).arguments
    except (TypeError, ValueError):
        return (*(f"argument_{at}" for at in range(1, len(given.args) + 1)), *(f"{name}=" for name in given.kwargs))
    found: list[str] = []
    by_name = False
    for parameter in known:
        name, kind = parameter.name, parameter.kind
        if name not in bound:  # left to its default: what comes after it cannot be given by position
            by_name = True
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            found += [f"{name}_{at}" for at in range(1, len(bound[name]) + 1)]
        elif kind is inspect.Parameter.VAR_KEYWORD:
            found += [f"{inner}=" for inner in bound[name]]
        else:
            found.append(f"{name}=" if by_name or kind is inspect.Parameter.KEYWORD_ONLY else name)
    return tuple(found)


def _bound_to(func: object) -> object:
    """Return the object of a bound method, else ``None``; a built-in function is bound to its module, which is none."""
    owner = getattr(func, "__self__", None)
    return None if inspect.ismodule(owner) else owner

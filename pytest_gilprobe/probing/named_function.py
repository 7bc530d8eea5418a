"""Find the arguments of the call that ``gilprobe run`` makes, and check that the function accepts them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.workers.event_loops import is_awaited
from pytest_gilprobe.workers.naming import arguments_awaited, arguments_made, resolved

if TYPE_CHECKING:
    from collections.abc import Callable


def arguments_from(text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Call the function that ``text`` names as ``MODULE:NAME``; return the arguments that it returns.

    The result has the positional arguments and the keyword arguments. ``text`` is the value of the option
    ``--args-from``. Raises `GilprobeError` if it does not name a function, or if the function raises an exception.
    """
    return arguments_of(_called("--args-from", text, source_from("--args-from", text)))


def source_from(flag: str, text: str) -> Callable[..., Any]:
    """Return the function that ``text`` names in the form ``MODULE:NAME``.

    ``flag`` is the option that ``text`` was given for, such as ``--fresh``; an error message quotes it. Raises
    `GilprobeError` if ``text`` is malformed, the module cannot be imported, or the object does not exist or cannot be
    called.
    """
    source: object = resolved(text)
    if not callable(source):
        msg = f"{flag}={text}: found {type(source).__name__}, allowed: a function that returns the arguments"
        raise GilprobeError(msg)
    return source


def fresh_from(text: str) -> tuple[Callable[[], Any], tuple[Any, ...]]:
    """Return the function that ``text`` names as ``MODULE:NAME``, and the arguments that one call of it returned.

    They are positional arguments. ``text`` is the value of the option ``--fresh``. Raises `GilprobeError` if it does
    not name a function, or if the function raises an exception.
    """
    make = source_from("--fresh", text)
    args: tuple[Any, ...] = _called("--fresh", text, lambda: _made_once(make))
    return make, args


def _made_once(make: Callable[[], Any]) -> tuple[Any, ...]:
    if not is_awaited(make):
        return arguments_made(make)
    import asyncio  # noqa: PLC0415 - heavy, and few such functions are coroutine functions

    return asyncio.run(arguments_awaited(make))


def _called(flag: str, text: str, source: Callable[..., Any]) -> Any:
    try:
        return source()
    except Exception as error:
        msg = f"{flag}={text} raised {type(error).__name__}: {error}"
        raise GilprobeError(msg) from error


def arguments_of(value: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Convert the return value of an ``--args-from`` function to positional and keyword arguments.

    A tuple has the positional arguments; a dict with strings as keys has the keyword arguments. Any other value is the
    only positional argument.
    """
    if isinstance(value, tuple):
        return value, {}
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return (), value
    return (value,), {}


def fit(text: str, function: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    """Check that ``function`` accepts ``args`` and ``keywords``; do nothing if its signature is unknown.

    Raises `GilprobeError` if it does not. The message says which argument is missing or superfluous, and how to pass
    arguments; ``text`` is the function's name in it.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args, **keywords)
    except TypeError as error:
        msg = f"{text}{signature}: {error}; --args-from=MODULE:FUNCTION names a function that returns its arguments, "
        msg += "and --fresh=MODULE:MAKE one that returns new ones for each call"
        raise GilprobeError(msg) from None

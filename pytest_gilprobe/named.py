"""What ``MODULE:FUNCTION`` on a command line names, and the arguments that such a function returns."""

from __future__ import annotations

import functools
import importlib
import inspect
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model import GilprobeError

if TYPE_CHECKING:
    from collections.abc import Callable


def resolve(text: str) -> Any:
    """Import what ``MODULE:NAME`` names; the name may have dots.

    Raises `GilprobeError` saying what is not there.
    """
    module, colon, name = text.partition(":")
    if not (module and colon and name):
        msg = f"found {text!r}, allowed: MODULE:FUNCTION, such as shop.images:resize"
        raise GilprobeError(msg)
    try:
        return functools.reduce(getattr, name.split("."), importlib.import_module(module))
    except AttributeError as error:
        msg = f"{text}: {error}"
    except Exception as error:  # noqa: BLE001 - whatever the user's module raises when it is imported
        kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        msg = f"{text}: {module} cannot be imported: {kind}{error}"
    raise GilprobeError(msg)


def arguments_from(text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Call the function that ``--args-from`` names for its arguments.

    Raises `GilprobeError` where it is none, or raises.
    """
    source = resolve(text)
    if not callable(source):
        msg = f"--args-from={text}: found {type(source).__name__}, allowed: a function that returns the arguments"
        raise GilprobeError(msg)
    try:
        value = source()
    except Exception as error:
        msg = f"--args-from={text} raised {type(error).__name__}: {error}"
        raise GilprobeError(msg) from error
    return arguments_of(value)


def arguments_of(value: object) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Take what a function for ``--args-from`` returned.

    A tuple is the positional arguments, a dict with names for keys the named ones, anything else the only one.
    """
    if isinstance(value, tuple):
        return value, {}
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return (), value
    return (value,), {}


def fit(text: str, function: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    """Check that the function takes these arguments, where its signature is known.

    Raises `GilprobeError` saying what is missing or too much, and how arguments are given.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args, **keywords)
    except TypeError as error:
        msg = f"{text}{signature}: {error}; --args-from=MODULE:FUNCTION names a function that returns its arguments"
        raise GilprobeError(msg) from None

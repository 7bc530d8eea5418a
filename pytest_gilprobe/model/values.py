"""Validate the values of settings, and refuse a wrong value with a description of the allowed ones.

Flags and ini keys supply text; marker keywords and the Python API supply any object. `pytest_gilprobe.model.words`
takes long to import, so a function imports it only when a value needs it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enum import StrEnum

    from pytest_gilprobe.model.words import Bound, FailOn

MOST_WORKERS = 256
"""The largest number of workers (threads, processes ...) that a setting may ask for: a typing error cannot start
thousands of processes."""
MOST_AUTOMATIC = 4
"""The largest number of workers that the setting ``auto`` chooses: more workers would make every probe slower."""
_EXECUTOR = re.compile("[a-z][a-z0-9_-]*")
START_METHODS = ("fork", "forkserver", "spawn")


class RefusedError(ValueError):
    """Raised if the value of a setting is not allowed; the message describes the allowed values."""


def seconds(value: object) -> float:
    """Return a time in seconds, a number or text, as a float; raise `RefusedError` unless it is finite and above 0."""
    msg = "a number of seconds above 0"
    if isinstance(value, bool):
        raise RefusedError(msg)
    try:
        found = float(value)  # type: ignore[arg-type]  # what is no number raises, as wanted
    except (TypeError, ValueError):
        raise RefusedError(msg) from None
    if not (math.isfinite(found) and found > 0):
        raise RefusedError(msg)
    return found


def switch(value: object) -> bool:
    """Return ``value`` if it is ``True`` or ``False``; raise `RefusedError` for any other value."""
    if isinstance(value, bool):
        return value
    msg = "True or False"
    raise RefusedError(msg)


def workers(value: object) -> int | None:
    """Return a setting as a number of workers, or ``None`` for ``auto``.

    ``value`` is ``auto``, or a whole number from 2 to `MOST_WORKERS`, which may be text. Anything else raises
    `RefusedError`.
    """
    if value == "auto":
        return None
    msg = f"'auto' or a whole number from 2 to {MOST_WORKERS} (with one worker there is nothing to compare)"
    try:
        number = int(value) if isinstance(value, int | str) and not isinstance(value, bool) else 0
    except ValueError:
        raise RefusedError(msg) from None
    if not 2 <= number <= MOST_WORKERS:  # noqa: PLR2004 - the contract's least number
        raise RefusedError(msg)
    return number


def scale(value: object) -> tuple[int, ...] | None:
    """Return the numbers of workers with which throughput is to be measured, each once, the fewest first.

    ``value`` is text with commas between the numbers, or a list, tuple or set. ``True`` and ``auto`` give an empty
    tuple: the numbers are chosen later. ``False`` and ``off`` give ``None``: no such measurement is wanted.
    Raises `RefusedError` unless there are two or more different numbers from 1 to `MOST_WORKERS`.
    """
    if value is False or value == "off":
        return None
    if value is True or value == "auto":
        return ()
    found = _listed(value) if isinstance(value, str) else value
    msg = f"'auto', or two or more numbers of workers from 1 to {MOST_WORKERS}, such as 1,2,4,8"
    if not isinstance(found, list | tuple | set | frozenset) or any(isinstance(one, bool) for one in found):
        raise RefusedError(msg)
    try:
        numbers = sorted({int(one) for one in found})
    except (TypeError, ValueError):
        raise RefusedError(msg) from None
    if len(numbers) < 2 or not 1 <= numbers[0] <= numbers[-1] <= MOST_WORKERS:  # noqa: PLR2004 - a curve has two points
        raise RefusedError(msg)
    return tuple(numbers)


def scales_to(value: object) -> int:
    """Return ``value``, the number of workers up to which throughput is expected to grow.

    Raises `RefusedError` unless ``value`` is a whole number from 2 to `MOST_WORKERS`, not text.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 2 <= value <= MOST_WORKERS:  # noqa: PLR2004 - a doubling
        msg = f"a whole number from 2 to {MOST_WORKERS}"
        raise RefusedError(msg)
    return value


def doublings(most: int, cpus: int = 1) -> tuple[int, ...]:
    """Return the numbers of workers 1, 2, 4, 8 ... up to ``most`` in ascending order; 1 and 2 are always among them.

    ``cpus``, the number of CPUs, is also among them if it is at most ``most``: calls that compute usually gain most
    with one worker for each CPU.
    """
    found = {2**power for power in range(max(2, most).bit_length())}
    return tuple(sorted(found | {cpus} if cpus <= most else found))


def doublings_to(most: int) -> tuple[int, ...]:
    """Return 1, 2, 4, 8 ... as far as they are below ``most``, and then ``most``, which must be 2 or more."""
    return (*(2**power for power in range((most - 1).bit_length())), most)


def automatic_workers(cpus: int) -> int:
    """Return the number of workers, 2 to `MOST_AUTOMATIC`, that ``auto`` stands for with ``cpus`` usable CPUs."""
    return min(MOST_AUTOMATIC, max(2, cpus))


def start_method(value: object, available: Iterable[str]) -> str:
    """Return ``value``, a start method of worker processes, if it is in both `START_METHODS` and ``available``.

    Raises `RefusedError` for any other value.
    """
    return _one_of(value, [method for method in START_METHODS if method in available])


def path(value: object) -> Path:
    """Return the path of a file or folder; raise `RefusedError` unless ``value`` is text that is not blank."""
    if isinstance(value, str) and value.strip():
        return Path(value)
    msg = "a path"
    raise RefusedError(msg)


def fail_on(text: str) -> frozenset[FailOn]:
    """Return the `FailOn` words in a comma-separated text; raise `RefusedError` for any other word."""
    from pytest_gilprobe.model.words import FailOn  # noqa: PLC0415 - heavy, and a scan needs none of it

    return frozenset(FailOn(word) for word in _some_of(_listed(text), _words(FailOn)))


def listed_strategies(text: str) -> tuple[str, ...]:
    """Split a comma-separated text into strategy names, which are not checked; raise `RefusedError` if it has none."""
    found = _listed(text)
    if not found:
        msg = "names of strategies, with commas between"
        raise RefusedError(msg)
    return tuple(found)


def executors(texts: list[str]) -> tuple[str, ...]:
    """Return settings of executors, each of the form ``NAME=MODULE:FACTORY``, without blanks around them.

    Raises `RefusedError` for a text of another form, and for a name that is used twice.
    """
    found = tuple(text.strip() for text in texts)
    split = [text.partition("=") for text in found]
    if not all(_EXECUTOR.fullmatch(name) and all(factory.partition(":")) for name, _, factory in split):
        msg = "NAME=MODULE:FACTORY, such as dask=shop.pools:make; a name has small letters, digits, - and _"
        raise RefusedError(msg)
    if len({name for name, _, _ in split}) < len(split):
        msg = "a name only once"
        raise RefusedError(msg)
    return found


def strategies(value: object, names: Iterable[str]) -> frozenset[str]:
    """Return the strategy names in ``value`` as a set: a string is one name; a list, tuple or set has several.

    Raises `RefusedError` for any other value, for an empty one, or for a name that is not in ``names``.
    """
    found = (value,) if isinstance(value, str) else value
    if not isinstance(found, list | tuple | set | frozenset) or not found:
        found = (None,)
    return frozenset(_some_of(found, list(names)))


def bound(value: object) -> Bound:
    """Return the expected `Bound` of a call; raise `RefusedError` unless the value is ``io``, ``cpu`` or ``mixed``."""
    from pytest_gilprobe.model.words import Bound  # noqa: PLC0415 - heavy, and a scan needs none of it

    return Bound(_one_of(value, [word for word in _words(Bound) if word != Bound.INCONCLUSIVE]))


def factor(value: object) -> float:
    """Return a speed-up as a float; raise `RefusedError` unless the value is a finite number above 0, not text."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        msg = "a number above 0, such as 1.5"
        raise RefusedError(msg)
    return float(value)


def share(value: object) -> float:
    """Return a share as a float; raise `RefusedError` unless the value is a number from 0 to 1, not text."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        msg = "a number from 0 to 1, such as 0.2"
        raise RefusedError(msg)
    return float(value)


def on_or_off(text: str) -> bool:
    """Return ``True`` for the text ``on`` and ``False`` for ``off``; raise `RefusedError` for any other text."""
    return _one_of(text, ["on", "off"]) == "on"


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _words(enum: type[StrEnum]) -> list[str]:
    return [str(member) for member in enum]


def _one_of(value: object, allowed: list[str]) -> str:
    if isinstance(value, str) and value in allowed:
        return value
    msg = f"one of {', '.join(map(repr, allowed))}"
    raise RefusedError(msg)


def _some_of(found: Iterable[Any], allowed: list[str]) -> list[str]:
    words = list(found)
    if all(word in allowed for word in words):
        return words
    msg = f"one or more of {', '.join(map(repr, allowed))}"
    raise RefusedError(msg)


def check(name: str, reads: Callable[..., Any], value: object, *allowed: Any) -> Any:
    """Return ``reads(value, *allowed)``: validate a setting that Python code supplied.

    ``reads`` is a function of this module that returns a valid value or raises `RefusedError`, and ``allowed`` are its
    further arguments. In place of `RefusedError`, a `GilprobeError` is raised, with the setting's ``name``, its value
    and the values allowed.
    """
    try:
        return reads(value, *allowed)
    except RefusedError as refused:
        from pytest_gilprobe.model.errors import GilprobeError  # noqa: PLC0415 - heavy, and a scan needs none of it

        msg = f"{name}: found {value!r}, allowed: {refused}"
        raise GilprobeError(msg) from None

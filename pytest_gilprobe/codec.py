"""Records to and from plain JSON values, read off their fields and type hints.

A field added to a record of `pytest_gilprobe.model` is written, read and checked without a line changed here.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from pytest_gilprobe.model import JsonObject

_FOUND_LIMIT = 60
_SCALARS = frozenset({str, int, float, bool, type(None)})
_Decode = Callable[[Any], Any]


class WrongError(Exception):
    """A value that does not fit; collects its path while it passes outwards through the decoders."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.path: list[str] = []

    def where(self) -> str:
        """Give the path collected so far: ``workloads[3].serial.calls``, or nothing."""
        return join(self.path)


def plain(value: Any) -> Any:
    """Turn records into dictionaries and tuples into lists; string enums stay, JSON writes them as text."""
    kind = type(value)
    if kind is tuple:
        return [plain(item) for item in value]
    if is_dataclass(kind):
        return {name: item if type(item := getattr(value, name)) in _SCALARS else plain(item) for name in names(kind)}
    return value


@cache
def names(kind: type[Any]) -> tuple[str, ...]:
    """Name a record's fields, in order."""
    return tuple(field.name for field in fields(kind))


def not_finite(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, float]]:
    """Find numbers that JSON cannot hold in a plain value, each with its path."""
    if isinstance(value, float) and not math.isfinite(value):
        yield join(path), value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from not_finite(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from not_finite(item, (*path, f"[{index}]"))


def member(mapping: JsonObject, key: str, hint: Any) -> Any:
    """Check and convert one member of an object that has to be there; the error's path starts with its key."""
    if key not in mapping:
        raise _missing(key)
    try:
        return decoder(hint)(mapping[key])
    except WrongError as wrong:
        wrong.path.insert(0, key)
        raise


def join(path: Iterable[str]) -> str:
    """Join keys and ``[index]`` parts to one path."""
    return "".join(part if part.startswith("[") else f".{part}" for part in path).lstrip(".")


def one_line(thing: object) -> str:
    """Make text fit for a one-line message: what would break the line or the terminal is escaped."""
    text = str(thing)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def found(value: Any) -> str:
    """Say what was found, as short JSON: a container by its kind only."""
    if type(value) in (dict, list):
        return "an object" if type(value) is dict else "a list"
    said = json.dumps(value)
    return said if len(said) <= _FOUND_LIMIT else f"{said[:_FOUND_LIMIT]}..."


@cache
def decoder(hint: Any) -> _Decode:
    """Compile a type hint into the function that checks and converts a JSON value, or raises `WrongError`."""
    scalars: dict[Any, _Decode] = {str: _text, bool: _flag, int: _whole, float: _number, dict: _object}
    if hint in scalars:
        return scalars[hint]
    if get_origin(hint) is tuple:
        return _tuple_decoder(decoder(get_args(hint)[0]))
    if get_origin(hint) in (types.UnionType, Union):
        return _optional_decoder(hint)
    if is_dataclass(hint):
        return _record_decoder(cast("type[Any]", hint))
    return _enum_decoder(hint)


def _tuple_decoder(decode: _Decode) -> _Decode:
    def decode_tuple(value: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _wrong(value, "a list")
        items: list[Any] = []
        try:
            for item in value:
                items.append(decode(item))  # noqa: PERF401 the length tells which item was wrong
        except WrongError as wrong:
            wrong.path.insert(0, f"[{len(items)}]")
            raise
        return tuple(items)

    return decode_tuple


def _optional_decoder(hint: Any) -> _Decode:
    (inner,) = (part for part in get_args(hint) if part is not type(None))
    decode = decoder(inner)
    return lambda value: None if value is None else decode(value)


def _enum_decoder(kind: type[Enum]) -> _Decode:
    members = {member.value: member for member in kind}
    allowed = ", ".join(map(str, members))

    def decode_enum(value: Any) -> Enum:
        member = members.get(value) if isinstance(value, str) else None
        if member is None:
            raise _wrong(value, f"one of {allowed}")
        return member

    return decode_enum


def _record_decoder(kind: type[Any]) -> _Decode:
    hints = get_type_hints(kind)
    members = [(field.name, decoder(hints[field.name]), field.default is MISSING) for field in fields(kind)]

    def decode_record(value: Any) -> Any:
        mapping, values, name = _object(value), {}, ""
        try:
            for name, decode, required in members:
                if name in mapping:
                    values[name] = decode(mapping[name])
                elif required:
                    raise _missing(name)
        except WrongError as wrong:
            if name in mapping:
                wrong.path.insert(0, name)
            raise
        try:
            return kind(**values)
        except ValueError as error:
            raise WrongError(one_line(error)) from None

    return decode_record


def _object(value: Any) -> Any:
    if type(value) is not dict:
        raise _wrong(value, "an object")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise _wrong(value, "text")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise _wrong(value, "true or false")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise _wrong(value, "a whole number")
    return value


def _number(value: Any) -> float:
    if type(value) not in (float, int):
        raise _wrong(value, "a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _wrong(value, "a finite number")
    return number


def _missing(key: str) -> WrongError:
    return WrongError(f"the key {json.dumps(key)} is missing")


def _wrong(value: Any, allowed: str) -> WrongError:
    return WrongError(f"found {found(value)}, allowed: {allowed}")

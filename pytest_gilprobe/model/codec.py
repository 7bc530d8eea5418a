"""Convert records to plain JSON values and back, following the records' fields and type hints.

A field added to a record of `pytest_gilprobe.model` is written, read and checked without a change to this module.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from itertools import repeat
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from pytest_gilprobe.model.safe_text import ERROR_LIMIT, safe_line

JsonObject = dict[str, Any]
"""A JSON object as `json.loads` returns it: a dictionary."""
_FOUND_LIMIT = 60
_SCALARS = frozenset({str, int, float, bool, type(None)})
_Decode = Callable[[Any], Any]


class WrongError(Exception):
    """Raised for a JSON value that does not fit the type expected there.

    ``path`` has the keys that lead to the value, the outermost first. It is empty at first: while the error passes
    through the decoders of the enclosing objects and lists, each puts its own key in front.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.path: list[str] = []

    def where(self) -> str:
        """Return the wrong value's path, such as ``workloads[3].strategies.serial.calls``; empty at the top level."""
        return join(self.path)


def plain(value: Any) -> Any:
    """Convert a value to one that `json.dumps` can write, together with all values within it.

    Records (dataclass instances) and mappings become dictionaries, tuples become lists, and frozensets become sorted
    lists. Any other value is returned unchanged.
    """
    kind = type(value)
    if kind is tuple:
        return [item if type(item) in _SCALARS else plain(item) for item in value]
    if kind is frozenset:
        return sorted(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if is_dataclass(kind):
        return {name: item if type(item := getattr(value, name)) in _SCALARS else plain(item) for name in names(kind)}
    return value


@cache
def names(kind: type[Any]) -> tuple[str, ...]:
    """Return the names of a record class's fields, in order."""
    return tuple(field.name for field in fields(kind))


def not_finite(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, float]]:
    """Yield each NaN or infinity within ``value``, as a pair: its path, such as ``workloads[3].calls``, and the number.

    ``value`` is a value that `json.loads` could return. ``path`` has the keys that lead to ``value`` itself; they begin
    each path that is yielded.
    """
    if isinstance(value, float) and not math.isfinite(value):
        yield join(path), value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from not_finite(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from not_finite(item, (*path, f"[{index}]"))


def join(path: Iterable[str]) -> str:
    """Join keys and ``[index]`` parts into a path such as ``workloads[3].calls``.

    Line ends and control characters become escapes, and a very long path loses its middle, so that it fits a message of
    one line.
    """
    return in_one_line("".join(part if part.startswith("[") else f".{part}" for part in path).lstrip("."))


def in_one_line(thing: object) -> str:
    """Return ``str(thing)`` as one line for a message: line ends become escapes, a very long text loses its middle."""
    return safe_line(str(thing), limit=ERROR_LIMIT)


def found(value: Any) -> str:
    """Describe a JSON value for an error message: ``an object``, ``a list``, or JSON text cut after 60 characters."""
    if type(value) in (dict, list):
        return "an object" if type(value) is dict else "a list"
    said = json.dumps(value)
    return said if len(said) <= _FOUND_LIMIT else f"{said[:_FOUND_LIMIT]}..."


@cache
def decoder(hint: Any) -> _Decode:
    """Return a function that converts a JSON value to the type ``hint``, or raises `WrongError` if it cannot.

    ``hint`` is ``str``, ``int``, ``float``, ``bool``, ``dict``, an enum, a dataclass, a tuple, frozenset or mapping of
    such types, or such a type ``| None``.
    """
    scalars: dict[Any, _Decode] = {str: _text, bool: _flag, int: _whole, float: _number, dict: _object}
    if hint in scalars:
        return scalars[hint]
    makers = {tuple: _tuple_decoder, frozenset: _set_decoder, Mapping: _mapping_decoder}
    if get_origin(hint) in makers:
        return makers[get_origin(hint)](get_args(hint))
    if get_origin(hint) in (types.UnionType, Union):
        return _optional_decoder(hint)
    if is_dataclass(hint):
        return _record_decoder(cast("type[Any]", hint))
    return _enum_decoder(hint)


def _tuple_decoder(kinds: tuple[Any, ...]) -> _Decode:
    """Decode ``tuple[X, ...]``, or a tuple with a fixed number of items, each of its own type."""
    decoders = [decoder(kind) for kind in kinds if kind is not ...]
    is_open = kinds[-1] is ...

    def decode_tuple(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or not (is_open or len(value) == len(decoders)):
            raise _wrong(value, "a list" if is_open else f"a list of {len(decoders)}")
        items: list[Any] = []
        try:
            for decode, item in zip(repeat(decoders[0]) if is_open else decoders, value, strict=False):
                items.append(decode(item))
        except WrongError as wrong:
            wrong.path.insert(0, f"[{len(items)}]")
            raise
        return tuple(items)

    return decode_tuple


def _set_decoder(kinds: tuple[Any, ...]) -> _Decode:
    decode = _tuple_decoder((*kinds, ...))
    return lambda value: frozenset(decode(value))


def _mapping_decoder(kinds: tuple[Any, ...]) -> _Decode:
    decode = decoder(kinds[1])

    def decode_mapping(value: Any) -> dict[str, Any]:
        mapping, values, key = _object(value), {}, ""
        try:
            for key, item in mapping.items():
                values[key] = decode(item)
        except WrongError as wrong:
            wrong.path.insert(0, key)
            raise
        return values

    return decode_mapping


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
    members = [
        (field.name, decoder(hints[field.name]), field.default is MISSING and field.default_factory is MISSING)
        for field in fields(kind)
    ]

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
            raise WrongError(in_one_line(error)) from None

    return decode_record


def _of_type(kind: type[Any], words: str) -> _Decode:
    def decode_scalar(value: Any) -> Any:
        if type(value) is not kind:
            raise _wrong(value, words)
        return value

    return decode_scalar


_object = _of_type(dict, "an object")
_text = _of_type(str, "text")
_flag = _of_type(bool, "true or false")
_whole = _of_type(int, "a whole number")


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

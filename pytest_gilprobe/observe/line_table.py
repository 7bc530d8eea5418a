"""Decode a code object's line table: the lines and columns of the source text that each instruction stands for.

*Source:* PEP 657 and ``Objects/locations.md`` of CPython (3.11 to 3.15), which describe the format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_NONE: Final = 15
_LONG: Final = 14
_NO_COLUMNS: Final = 13
_ONE_LINE: Final = 10
_UNIT_BYTES: Final = 2


class Position(NamedTuple):
    """A part of the source text; a field is ``None`` if it is unknown.

    ``line`` and ``end_line`` are the first and the last line, counted from 1. ``column`` and ``end_column`` count the
    bytes of UTF-8 text from 0; the part ends before ``end_column``.
    """

    line: int | None
    end_line: int | None
    column: int | None
    end_column: int | None


UNKNOWN: Final = Position(None, None, None, None)


def position_at(table: bytes, first_line: int, instruction: int) -> Position:
    """Return the part of the source text that an instruction of a code object stands for.

    Args:
        table: The code object's line table, as ``co_linetable`` returns it.
        first_line: The first line of the code object, ``co_firstlineno``.
        instruction: The instruction's offset in the bytecode, in bytes. A negative offset counts as 0.

    Returns:
        The position; `UNKNOWN` if the table has none for this instruction, or is damaged.
    """
    line, end, numbers = first_line, 0, iter(table)
    try:
        for entry in numbers:
            kind, end = (entry >> 3) & 15, end + ((entry & 7) + 1) * _UNIT_BYTES
            position, line = _entry(kind, line, numbers)
            if instruction < end:
                return position
    except (StopIteration, RuntimeError):
        return UNKNOWN
    return UNKNOWN


def _entry(kind: int, line: int, numbers: Iterator[int]) -> tuple[Position, int]:
    """Return the position that an entry describes, and the line that the next entry counts from."""
    if kind == _NONE:
        return UNKNOWN, line
    if kind == _LONG:
        line += _signed(numbers)
        end_line = line + _number(numbers)
        column, end_column = _number(numbers) - 1, _number(numbers) - 1
        return Position(line, end_line, *((column, end_column) if min(column, end_column) >= 0 else (None, None))), line
    if kind == _NO_COLUMNS:
        line += _signed(numbers)
        return Position(line, line, None, None), line
    if kind >= _ONE_LINE:
        line += kind - _ONE_LINE
        column = next(numbers)
        return Position(line, line, column, next(numbers)), line
    both = next(numbers)
    column = (kind << 3) | (both >> 4)
    return Position(line, line, column, column + (both & 15)), line


def _number(numbers: Iterator[int]) -> int:
    """Read a number of six bits a byte, the lowest first; bit 6 says that another byte follows."""
    byte = next(numbers)
    found, shift = byte & 63, 0
    while byte & 64:
        byte, shift = next(numbers), shift + 6
        found |= (byte & 63) << shift
    return found


def _signed(numbers: Iterator[int]) -> int:
    found = _number(numbers)
    return -(found >> 1) if found & 1 else found >> 1

"""The records of where in the code the GIL is held: expressions with their shares, and whole stacks."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """One place in the code that holds the GIL, and its ``share`` of the time for which the GIL is held.

    ``code`` is the source text of an expression, or of a whole line. ``native`` is the function that holds the GIL, as
    its caller names it, if it is not written in Python. ``library`` is the library function that the user's code calls
    here: its file and its name. ``None`` if unknown, or if there is none.
    """

    share: Estimate
    function: str
    file: str | None = None
    line: int | None = None
    code: str | None = None
    native: str | None = None
    library: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePlace:
    """A line of a function, as part of a stack."""

    function: str
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldStack:
    """A stack that held the GIL, the outermost function first, and its share of the time that the GIL was held."""

    share: float
    frames: tuple[CodePlace, ...]

"""The records of where in the code the GIL is held: expressions with their shares, and whole stacks."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """One place in the code that holds the GIL.

    A field is ``None`` if it is unknown, or if there is no such thing.

    Attributes:
        share: the place's share of the time for which the GIL is held, from 0 to 1.
        function: the qualified name of the function.
        file: the function's file.
        line: the line in the file, from 1.
        code: the source text of the expression, or of the whole line.
        native: the function that holds the GIL, as its caller names it, if it is not written in Python.
        library: the library function that the user's code calls here: its file and its name.
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
    """A ``line`` of a ``function``, as part of a stack; ``file`` and ``line`` are ``None`` if unknown."""

    function: str
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldStack:
    """A stack of a thread that held the GIL.

    ``share`` is the stack's share of the time for which the GIL was held, from 0 to 1. ``frames`` are its functions,
    the outermost first.
    """

    share: float
    frames: tuple[CodePlace, ...]

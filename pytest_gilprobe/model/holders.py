"""The records of where in the code the GIL is held: expressions with their shares, and whole stacks."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """One place in the code at which a thread holds the GIL.

    A field is ``None`` if it is unknown, or if there is no such thing.

    Attributes:
        share: the place's share of the time for which the GIL is held, from 0 to 1.
        function: the qualified name of the Python function at this place.
        file: the function's file.
        line: the line in the file, from 1.
        code: the source text of the expression that holds the GIL, or of the whole line.
        native: the name of the function, not written in Python, that is called at this place and holds the GIL.
        library: the library function that the user's code calls here, as ``file: name``.
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
    """One place in the code: a line of a function. ``file`` and ``line`` are ``None`` if they are unknown."""

    function: str
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldStack:
    """The stack of a thread that held the GIL.

    Of all the time for which the GIL was held, ``share`` is the part with this stack, from 0 to 1. ``frames`` are the
    stack's functions, the outermost first.
    """

    share: float
    frames: tuple[CodePlace, ...]

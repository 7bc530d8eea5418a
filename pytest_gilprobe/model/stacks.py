"""The records of sampled stacks of Python frames: of threads that hold the GIL, or that run an event loop."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame of a stack: a function, and the part of its source text that it executes.

    Attributes:
        function: the qualified name.
        file: the file as the code object names it, such as ``<string>`` for code made at run time.
        line: the number of the line that is executed, from 1; ``None`` if unknown.
        code: the source text of the expression or statement, on one line; ``None`` if it is not known.
        statement: the source line, without indentation; ``None`` if it is not known.
        own: whether the file is the user's own: neither Python's nor an installed package's.
        is_async: whether the function is written as ``async def``.
        package: the installed package that the file belongs to, such as ``pandas``; ``None`` if it belongs to none.
    """

    function: str
    file: str
    line: int | None
    code: str | None = None
    statement: str | None = None
    own: bool = False
    is_async: bool = False
    package: str | None = None


Stack = tuple[Frame, ...]
"""The frames of one thread, the innermost first."""

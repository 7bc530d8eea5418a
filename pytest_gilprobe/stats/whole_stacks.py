"""Add missing callers to sampled call stacks: a generator expression has no caller at the moment at which it yields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gilprobe.model.stacks import Frame, Stack

GENERATOR: Final = "<genexpr>"
"""The end of the qualified name of every generator expression's function."""


class _Line(NamedTuple):
    function: str
    file: str
    line: int | None


class WholeStacks:
    """The stacks of some samples, used to complete other samples' stacks.

    The stack of a generator expression may lack its callers. Such a stack is replaced by the first stack that includes
    callers and whose innermost frame is at the same line.
    """

    def __init__(self, stacks: Iterable[Stack]) -> None:
        """Remember, for each line of a generator expression, the first stack in ``stacks`` that includes callers."""
        self._whole: dict[_Line, Stack] = {}
        for stack in stacks:
            if len(stack) > 1 and stack[0].function.endswith(GENERATOR):
                self._whole.setdefault(_line(stack[0]), stack)

    def of(self, stack: Stack) -> Stack:
        """Return ``stack`` as it is, or with callers if it is a lone generator expression whose callers are known."""
        lacks = len(stack) == 1 and stack[0].function.endswith(GENERATOR)
        return self._whole.get(_line(stack[0]), stack) if lacks else stack


def _line(frame: Frame) -> _Line:
    return _Line(frame.function, frame.file, frame.line)

"""Define the records from which every output format draws where in the code the GIL is held."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderView:
    """A place in the code that holds the GIL, as texts.

    Attributes:
        share: the place's share of the time for which the GIL is held, in percent.
        interval: the confidence interval of ``share``.
        code: the source text of the place; the function's name if the source text is not known.
        where: the file and line; empty if not known.
        function: the name of the function that contains the place.
        calls: the library function and the native function that the code calls there; empty if there are none.
    """

    share: str
    interval: str
    code: str
    where: str
    function: str
    calls: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IcicleCell:
    """One function in an icicle, a drawing of call stacks in which each function lies below its caller.

    ``depth`` is the function's row, from 0 at the top. ``start`` is its left end and ``width`` its width, both in
    percent of the icicle's width, which stands for the time for which the GIL is held. ``label`` is the function's
    name; ``said`` has its name, file and share of that time.
    """

    depth: int
    start: float
    width: float
    label: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WhereView:
    """Where in the code one workload holds the GIL; all fields are empty if that is not known.

    ``holders`` are the places in the code, those that hold it for longest first. ``icicle`` has the cells of a drawing
    of call stacks, in which each function lies below its caller. ``follows`` says what speed-up threads could reach if
    the first place ran without the GIL; it is empty if threads would gain little, or if the speed-up is not known.
    """

    holders: tuple[HolderView, ...] = ()
    icicle: tuple[IcicleCell, ...] = ()
    follows: str = ""

    @property
    def depth(self) -> int:
        """The number of rows in the drawing of call stacks: 0 if it has no cells."""
        return 1 + max((cell.depth for cell in self.icicle), default=-1)

"""The records of where in the code the GIL is held, that every output format draws from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderView:
    """A place in the code that holds the GIL, as texts.

    Attributes:
        share: the place's share of the time that the GIL is held, in percent.
        interval: the confidence interval of ``share``.
        code: the source text of the place, or the function's name if that is not known.
        where: the file and line; empty if not known.
        function: the name of the function around the place.
        calls: the library and the native function that run there; empty if not known.
    """

    share: str
    interval: str
    code: str
    where: str
    function: str
    calls: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IcicleCell:
    """One function of the icicle (the drawing of call stacks, in which a function lies below its caller).

    ``depth`` is the row, from 0. ``start`` is the left end and ``width`` the width, in percent of the held time.
    ``label`` is the function's name; ``said`` also has the file and the share.
    """

    depth: int
    start: float
    width: float
    label: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WhereView:
    """Where in the code one workload holds the GIL; all fields are empty if that is not known.

    ``holders`` are the places, the largest share first. ``icicle`` has the cells of the drawing of the call stacks.
    ``follows`` says what speed-up threads could reach if the largest holder ran without the GIL; it is empty if threads
    would gain little, or if that is not known.
    """

    holders: tuple[HolderView, ...] = ()
    icicle: tuple[IcicleCell, ...] = ()
    follows: str = ""

    @property
    def depth(self) -> int:
        """The number of rows of the icicle."""
        return 1 + max((cell.depth for cell in self.icicle), default=-1)

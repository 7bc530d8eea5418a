"""The records of where in the code the GIL is held, that every output format draws from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderView:
    """A place that holds the GIL; ``share`` and ``interval`` are percentages, ``calls`` is what it calls, if known."""

    share: str
    interval: str
    code: str
    where: str
    function: str
    calls: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IcicleCell:
    """One function of the icicle: its depth from 0, and its left end and width in percent of the held time."""

    depth: int
    start: float
    width: float
    label: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WhereView:
    """Where in the code one workload holds the GIL; ``follows`` says what to expect if the largest holder did not."""

    holders: tuple[HolderView, ...] = ()
    icicle: tuple[IcicleCell, ...] = ()
    follows: str = ""

    @property
    def depth(self) -> int:
        """The number of rows of the icicle."""
        return 1 + max((cell.depth for cell in self.icicle), default=-1)

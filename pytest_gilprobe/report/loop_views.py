"""Define the records from which every output format draws what blocks an event loop."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.report.geometry import Slice
from pytest_gilprobe.report.holder_views import HolderView


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockerView(HolderView):
    """A place in the code that blocks the event loop, as texts.

    ``share`` is the place's share of the time for which the loop is blocked, in percent; ``interval`` is the 95 %
    confidence interval of that share. ``code`` is the place's source text, or else the function's name; ``where`` is
    its file and line, and ``function`` the function that contains it. ``calls`` names the library function and the
    native function that the code calls there. ``does`` says what happens there for most of the place's time:
    ``computing``, ``asleep`` or ``holding the GIL in another thread``.
    """

    does: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopView:
    """How a workload's calls block their event loop; all fields are empty if no event loop was seen.

    ``blocked`` says in words for which share of a call's time the loop is blocked. ``slices`` are the parts of a bar
    that shows how the loop spends its time. ``blockers`` are the places in the code that block it. ``follows`` says
    what to do about these places; it is empty if the loop is hardly blocked, if no remedy is known, or if a caution (a
    warning on the workload) names the remedy.
    """

    blocked: str = ""
    slices: tuple[Slice, ...] = ()
    blockers: tuple[BlockerView, ...] = ()
    follows: str = ""

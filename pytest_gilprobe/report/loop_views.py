"""The records of what blocks an event loop, that every output format draws from."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.report.geometry import Slice
from pytest_gilprobe.report.holder_views import HolderView


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockerView(HolderView):
    """A place in the code that blocks the event loop, as texts.

    ``share`` is its share of the time for which the loop is blocked. ``does`` is what happens there for most of that
    time: ``computing``, ``asleep`` or ``holding the GIL in another thread``.
    """

    does: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopView:
    """How calls block their event loop; all fields are empty if that is not known, or calls are not awaited.

    ``blocked`` says in words for which share of a call's time the loop is blocked. ``slices`` are the parts of the
    loop's time, and ``blockers`` the places that block the loop. ``follows`` says what to do about the places; it is
    empty if the loop is hardly blocked, if a caution says what to do, or if that is not known.
    """

    blocked: str = ""
    slices: tuple[Slice, ...] = ()
    blockers: tuple[BlockerView, ...] = ()
    follows: str = ""

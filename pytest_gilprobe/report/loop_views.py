"""The records of what blocks an event loop, that every output format draws from."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.report.geometry import Slice
from pytest_gilprobe.report.holder_views import HolderView


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockerView(HolderView):
    """A place that blocks the loop, with its share of that time; ``does`` says whether it computes, sleeps or waits."""

    does: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopView:
    """An event loop: ``blocked`` in words, its time as slices, the places that block it, and what follows."""

    blocked: str = ""
    slices: tuple[Slice, ...] = ()
    blockers: tuple[BlockerView, ...] = ()
    follows: str = ""

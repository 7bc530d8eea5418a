"""Messages that have a worker process watch the GIL of its parent, pytest's own process; see `workers.protocol`."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.readings import GilSamples
from pytest_gilprobe.observe.frame_layout import FrameLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchParent:
    """Sample the GIL of the parent, process ``pid``, until the next question; this question gets no answer.

    ``gil_address`` is the address of the parent's GIL. ``frames`` is where the parent keeps its Python frames; ``None``
    if that is not known, or frames are not to be read.
    """

    pid: int
    gil_address: int
    frames: FrameLayout | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndWatch:
    """Ask for the samples that `WatchParent` took; the answer is `ParentWatched`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentWatched:
    """The ``samples`` of the parent's GIL; ``None`` if there was nothing to watch, or it could not be watched."""

    samples: GilSamples | None = None

"""Messages that ask a worker process to watch the GIL of its parent, pytest's own process; see `workers.protocol`."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.readings import GilSamples
from pytest_gilprobe.observe.frame_layout import FrameLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchParent:
    """Asks a worker process to sample whether the GIL of its parent (pytest's own process) is held; gets no answer.

    The worker takes samples until the next question. ``pid`` is the parent's process id, and ``gil_address`` the
    address of its GIL. ``frames`` is where the parent keeps its Python frames; ``None`` if that is not known, or if
    frames are not to be read.
    """

    pid: int
    gil_address: int
    frames: FrameLayout | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndWatch:
    """Asks a worker process for the samples of its parent's GIL that `WatchParent` made it take, and ends the sampling.

    The answer is `ParentWatched`.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentWatched:
    """The answer to `EndWatch`: ``samples`` of the GIL of pytest's own process; ``None`` if none could be taken."""

    samples: GilSamples | None = None

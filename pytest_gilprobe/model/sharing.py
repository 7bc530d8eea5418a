"""The records of what it costs threads to share objects: timings with shared and with copied objects, and results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_gilprobe.model.estimate import Estimate

ALONE = "alone"
"""Key in `SharingReading.rounds` of the seconds per call of a single thread. Keys for objects, such as
``argument rows (a list)``, are always different."""
SHARED = "shared"
"""Key in each mapping of `SharingReading.rounds`. Its value is the wall seconds that each of several threads takes per
call, if all make calls at the same time and share every object of the call (except for a ``tmp_path``)."""
ALL = "all of them"
"""Key in `SharingReading.rounds` of the seconds per call of several threads that each have their own copies of all
objects of the call. Only objects that cannot be copied stay shared."""
CONTROL = "control"
"""Key in `SharingReading.rounds` of the seconds per call of several threads that run the control at the same time. The
control is plain Python code that shares nothing: it shows what threads can gain at best."""
CONTROL_ALONE = "control alone"
"""Key in `SharingReading.rounds` of the seconds per call of a single thread that runs the control: plain Python code
that shares nothing, to show what threads can gain at best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A module-level or class-level object, shared by all threads, that the called code locks or writes to.

    ``name`` is the object's name. ``file`` and ``line`` are those of the statement that locks it or writes to it. Of
    all the time for which the GIL is held, ``held_share`` is the part in this statement, from 0 to 1; a ``with``
    statement includes its body. ``held_share`` is ``None`` if no stack of a thread that held the GIL was read.
    """

    name: str
    file: str
    line: int
    held_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingReading:
    """Timings of a call in several threads that share its objects, or that have copies of their own.

    A lane is one of these threads.

    Attributes:
        lanes: how many lanes made calls at the same time.
        rounds: for each round (every timing made once), a mapping from the name of a timing to the wall seconds per
            call of one lane. The names are `ALONE` (one lane alone), `SHARED` (lanes share every object), `ALL` (each
            lane has a copy of every object that can be copied), and the names of objects (each lane has a copy of the
            named one). Without a GIL, `CONTROL` and `CONTROL_ALONE` are plain Python code that shares nothing, in all
            lanes and in one.
        not_copied: the objects that cannot be copied, each with the reason.
        not_tried: the objects that can be copied, but were not tried one by one, since there are too many.
        suspects: module-level and class-level objects that the call locks or writes to, as its source code shows; first
            those in statements that hold the GIL for longest.
    """

    lanes: int
    rounds: tuple[Mapping[str, float], ...] = ()
    not_copied: Mapping[str, str] = field(default_factory=dict)
    not_tried: tuple[str, ...] = ()
    suspects: tuple[Suspect, ...] = ()

    @property
    def tells(self) -> bool:
        """Whether the reading says anything: it has rounds, objects not copied, objects not tried, or suspects."""
        return bool(self.rounds or self.not_copied or self.not_tried or self.suspects)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCopy:
    """What lanes (threads that make calls at the same time) gain if each has its own copy of an object.

    ``name`` is the object's name, or `ALL` if each lane has copies of all objects that can be copied. ``speedup`` is
    the speed-up of these lanes over one lane alone, ``gain`` their speed-up over as many lanes that share every object.
    """

    name: str
    speedup: Estimate
    gain: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """What threads share that costs them speed.

    Attributes:
        lanes: how many lanes (threads) made calls at the same time.
        rounds: the number of rounds (a round makes every timing once) from which speed-ups are estimated; 0 if too few
            were made.
        speedup: the speed-up of lanes that share every object, over one lane alone; ``None`` without rounds.
        copies: what lanes gain with copies of their own, the greatest gain first; empty without rounds.
        best: the speed-up of all lanes over one lane if they run the control (plain Python that shares nothing): the
            most that this Python and machine gave to lanes that compute. ``None`` with a GIL, or without rounds.
        of_best: the speed-up of lanes that have copies of all that can be copied, as a share of ``best``; ``None`` if
            either is unknown.
        costly: the names of the objects whose sharing costs speed for certain; the most costly first.
        not_copied: the objects that cannot be copied, each with the reason.
        not_tried: the objects that can be copied, but were not tried one by one, since there are too many.
        suspects: module-level and class-level objects that the call locks or writes to, as its source code shows; no
            copy of them was tried. First those in statements that hold the GIL for longest.
    """

    lanes: int
    rounds: int = 0
    speedup: Estimate | None = None
    copies: tuple[OwnCopy, ...] = ()
    best: Estimate | None = None
    of_best: Estimate | None = None
    costly: tuple[str, ...] = ()
    not_copied: Mapping[str, str] = field(default_factory=dict)
    not_tried: tuple[str, ...] = ()
    suspects: tuple[Suspect, ...] = ()

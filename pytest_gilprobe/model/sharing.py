"""The records of what threads share: timings with objects of their own for each thread, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_gilprobe.model.estimate import Estimate

ALONE = "alone"
"""Names the timing of one lane alone; no object's name is like it."""
SHARED = "shared"
"""Names the timing of lanes that share every object."""
ALL = "all of them"
"""Names the timing of lanes each of which has a copy of every object that can be copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A module-level or class-level object that a call locks or writes to in this line: all threads share it."""

    name: str
    file: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingReading:
    """Timings of a call whose lanes share its objects, or have copies of their own.

    Attributes:
        lanes: how many lanes (threads) made calls at the same time.
        rounds: for each round the wall seconds per call of one lane, by `ALONE`, `SHARED`, `ALL`, or the name of the
            one object of which each lane had its own copy.
        not_copied: the objects that cannot be copied, each with the reason.
        not_tried: the objects that can be copied, but are too many to be tried one by one.
        suspects: module-level and class-level objects that the call locks or writes to, by its source.
    """

    lanes: int
    rounds: tuple[Mapping[str, float], ...] = ()
    not_copied: Mapping[str, str] = field(default_factory=dict)
    not_tried: tuple[str, ...] = ()
    suspects: tuple[Suspect, ...] = ()

    @property
    def tells(self) -> bool:
        """Whether there was anything to copy, or to suspect."""
        return bool(self.rounds or self.not_copied or self.not_tried or self.suspects)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCopy:
    """What lanes gain if each has a copy of one object, or of all.

    ``speedup`` is theirs over one lane alone, ``gain`` that over lanes that share the object.
    """

    name: str
    speedup: Estimate
    gain: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """What threads share that costs them speed.

    Attributes:
        lanes: how many lanes (threads) made calls at the same time.
        rounds: from how many interleaved rounds the estimates are; 0 if there was nothing to copy, or no time.
        speedup: that of lanes that share every object, over one lane alone; ``None`` without rounds.
        copies: what lanes gain with an object of their own; the greatest gain first.
        costly: the names of the objects whose sharing costs speed for certain; the most costly first.
        not_copied: the objects that cannot be copied, each with the reason.
        not_tried: the objects that were too many to be tried one by one.
        suspects: module-level and class-level objects that the call locks or writes to, by its source; no copy of
            them was tried.
    """

    lanes: int
    rounds: int = 0
    speedup: Estimate | None = None
    copies: tuple[OwnCopy, ...] = ()
    costly: tuple[str, ...] = ()
    not_copied: Mapping[str, str] = field(default_factory=dict)
    not_tried: tuple[str, ...] = ()
    suspects: tuple[Suspect, ...] = ()

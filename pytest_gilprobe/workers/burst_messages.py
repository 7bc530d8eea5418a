"""Messages that ask a worker process to make bursts, which are very short batches (calls timed together)."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.readings import WorkerReading


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeBursts:
    """Message that asks a worker process to make ``number`` bursts (very short batches of calls), one after the other.

    In each burst, ``lanes`` threads make ``calls`` calls each, side by side. Before each burst of all threads, one of
    them makes a burst alone. ``strategy`` is the name of the strategy that makes the calls.
    """

    strategy: str
    calls: int
    lanes: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstPair:
    """The readings of two very short batches of calls: one by one thread (``alone``), one by all (``together``)."""

    alone: WorkerReading
    together: WorkerReading


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstsMade:
    """The answer to `MakeBursts`: each of ``pairs`` has the readings of a burst by one thread and of one by all.

    A burst is a very short batch (calls timed together). A pair is left out if not all threads began side by side.
    """

    pairs: tuple[BurstPair, ...]

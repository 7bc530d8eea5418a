"""Messages that have a worker process make bursts, very short batches; see `workers.protocol`."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.readings import WorkerReading


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeBursts:
    """Make ``number`` bursts, one after the other: very short batches of ``calls`` calls in each of ``lanes`` lanes.

    A lane is a thread that makes calls. Before each burst of all lanes, one of them makes a burst alone. ``strategy``
    is the name of the strategy that makes the calls.
    """

    strategy: str
    calls: int
    lanes: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstPair:
    """The clocks of a burst that one lane (thread) made ``alone``, and of the next one, made by all ``together``."""

    alone: WorkerReading
    together: WorkerReading


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstsMade:
    """The answer to `MakeBursts`: the ``pairs`` of bursts in which all lanes (threads) began side by side."""

    pairs: tuple[BurstPair, ...]

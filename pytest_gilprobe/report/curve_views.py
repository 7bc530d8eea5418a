"""The records of curves, throughput over the number of workers, that every output format draws from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One number of workers: its throughput in words, as a number with its interval, and as a multiple of one worker.

    ``margin`` is how far the interval reaches, as a share of the throughput. ``gain`` is empty if one worker was not
    measured. ``is_enough`` is whether this number is the one recommended. ``machine`` is what the machine gave to so
    many threads that compute without a GIL, as a multiple of one; empty if calls hardly compute, or that is unknown.
    """

    workers: int
    rate: str
    gain: str
    margin: str = ""
    machine: str = ""
    value: float
    low: float
    high: float
    is_enough: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveView:
    """How one strategy's throughput grows; ``said`` is what follows, ``law`` the fitted law in words, or empty.

    ``name`` is the strategy's, or in a picture of one strategy in several reports the report's.

    ``roofs`` are the throughputs that the strategy cannot exceed, by what limits it: the GIL, the event
    loop, the machine's CPUs. ``machine`` is what the machine would give to calls that compute, by number of workers.
    """

    name: str
    color: str
    said: str
    points: tuple[CurvePoint, ...] = ()
    law: str = ""
    roofs: tuple[tuple[str, float], ...] = ()
    machine: tuple[tuple[int, float], ...] = ()

    @property
    def alone(self) -> float | None:
        """The throughput of one worker, in calls per second; ``None`` if it was not measured."""
        return next((point.value for point in self.points if point.workers == 1), None)

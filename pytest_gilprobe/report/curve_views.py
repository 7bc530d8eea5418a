"""The records of curves, throughput over the number of workers, that every output format draws from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The throughput with one number of workers.

    Attributes:
        workers: the number of workers.
        rate: the throughput in calls per second, as text.
        gain: the throughput as a multiple of one worker's, such as ``1.9x``; empty if one worker was not measured.
        margin: how far the confidence interval reaches above or below the throughput, as a share of the throughput,
            such as ``3 %``.
        machine: the throughput of as many threads that compute without a GIL on this machine, as a multiple of one such
            thread's; empty if the calls hardly compute, or if that is unknown.
        value: the throughput in calls per second; ``low`` and ``high`` are the ends of its interval.
        is_enough: whether this number of workers is the recommended one.
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
    """How one strategy's throughput grows with the number of workers.

    Attributes:
        name: the name of the strategy, or of the report in a picture of one strategy in several reports.
        color: the color of the strategy or of the report.
        said: in words how many workers are enough, and what limits them.
        points: the throughput with each number of workers.
        law: the fitted law in words; empty if none fits.
        roofs: names of limits (the GIL, the event loop, the machine's CPUs), each with the throughput, in calls per
            second, that the strategy cannot exceed because of this limit.
        machine: numbers of workers, each with the throughput, in calls per second, that the machine would allow if
            calls did not hinder each other.
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

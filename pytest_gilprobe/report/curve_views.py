"""Define the records from which every output format draws curves: throughput by number of workers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One point of a curve of throughput by number of workers (threads or processes), as texts and as numbers.

    Attributes:
        workers: the number of workers.
        rate: the throughput in calls per second, as text.
        gain: the throughput divided by that of one worker, at most ``workers``, such as ``1.9x``; empty if unknown.
        margin: the larger distance from the throughput to an end of its confidence interval, in percent of the
            throughput, such as ``3 %``.
        machine: the speed-up that the machine allows, such as ``1.9x``: that of ``workers`` threads (at most one for
            each CPU) that only compute and need no GIL. Empty if it is unknown, or if the calls hardly compute.
        value: the throughput in calls per second.
        low: the lower end of the throughput's confidence interval, in calls per second.
        high: the upper end of this interval, in calls per second.
        is_enough: whether this is the smallest number of workers that gives 90 % of the highest throughput.
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
    """A curve to draw: the throughput of one strategy (such as threads) for one workload, by number of workers.

    Attributes:
        name: the name of the strategy; in a picture that compares several reports, the name of the report.
        color: the color in which the curve is drawn.
        said: a sentence that says how many workers are enough, and what limits the throughput.
        points: the throughput with each number of workers that was measured.
        law: the mathematical law that fits the points, in words; empty if none fits.
        roofs: pairs of a limit's name (the GIL, the event loop, the machine's CPUs) and the throughput, in calls per
            second, that the strategy cannot exceed because of it.
        machine: pairs of a number of workers and the throughput, in calls per second, that the machine would allow
            with this number of workers if calls did not hinder each other.
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

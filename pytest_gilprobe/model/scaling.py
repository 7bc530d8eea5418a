"""The records of how a strategy's throughput grows with the number of workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.words import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPoint:
    """Throughput of one strategy, in calls per second, with ``workers`` workers.

    ``rss_bytes`` is the peak resident memory of all their processes together, of a process that has more workers than
    these their part; ``None`` if unknown. ``machine_gain`` is
    how much more than one thread that computes without a GIL the machine gave to so many, or to one for each CPU if
    those are fewer, at about the same time; ``None`` if that was not measured.
    """

    workers: int
    throughput: Estimate
    rss_bytes: int | None = None
    machine_gain: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How one strategy's throughput grows with its number of workers.

    Attributes:
        points: one for each number of workers that was measured, the fewest first; empty if ``error`` says why.
        model: the model that fits the points (``linear``, ``usl`` or ``capped``); ``None`` if none does.
        parameters: those of the model, each followed by its standard error under its name with ``_se``.
        best_workers: the fewest workers whose throughput cannot be told from the highest one.
        enough_workers: the fewest that give 90 % of the highest throughput.
        limit: what limits the throughput, as a phrase; ``None`` if that is unknown.
        open_because: why the readings decide nothing, as on a busy machine; then the three above are ``None``.
        failed_at: the number of workers with which calls failed, hung or crashed (``outcome``); ``None`` if never.
        error: how they failed, or why nothing was measured.
        complete: whether no time was missing for more workers; they may still not have been asked for, or gain nothing.
        start_up_s: seconds to start one more worker; ``None`` for threads and tasks, and if unknown.
    """

    points: tuple[ScalingPoint, ...]
    model: str | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    best_workers: int | None = None
    enough_workers: int | None = None
    limit: str | None = None
    open_because: str | None = None
    failed_at: int | None = None
    outcome: Outcome | None = None
    error: str | None = None
    complete: bool = True
    start_up_s: float | None = None

    def at(self, workers: int | None) -> ScalingPoint | None:
        """Return the point of so many workers; ``None`` if there is none."""
        return next((point for point in self.points if point.workers == workers), None)

"""The records of how a strategy's throughput grows with the number of workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.words import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPoint:
    """Throughput of one strategy, in calls per second, with ``workers`` workers.

    ``rss_bytes`` is the peak resident memory of all worker processes together; ``None`` if unknown. Memory that
    a process takes for idle subinterpreters is left out.

    ``machine_gain`` is the speed-up that the machine itself allowed at about the same time: the throughput of N threads
    that compute without a GIL, divided by that of one such thread. N is ``workers``, or the number of CPUs if that is
    smaller. ``machine_gain`` is at most N; it is ``None`` if it was not measured.
    """

    workers: int
    throughput: Estimate
    rss_bytes: int | None = None
    machine_gain: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """The curve of one strategy: how its throughput grows with its number of workers.

    Attributes:
        points: one for each number of workers that was measured, the fewest first; empty if none was.
        model: the model that fits the points: ``linear``, ``capped`` (linear up to a limit) or ``usl`` (the Universal
            Scalability Law); ``None`` if none does.
        parameters: the model's parameters by name; ``NAME_se`` is the standard error of the parameter ``NAME``.
        best_workers: the fewest workers whose throughput does not differ significantly from the highest throughput;
            ``None`` if unknown.
        enough_workers: the fewest workers that give 90 % of the highest throughput; ``None`` if unknown.
        limit: what limits the throughput, as a phrase; ``None`` if that is unknown.
        open_because: why nothing can be concluded from the points, such as other programs that disturbed them; ``None``
            if conclusions are possible. If it is set, ``model``, ``best_workers``, ``enough_workers`` and ``limit`` are
            ``None``.
        failed_at: the number of workers with which calls failed, hung or crashed; ``None`` if they never did.
        outcome: whether the calls with ``failed_at`` workers failed, hung or crashed; ``None`` if no calls did.
        error: the error of the calls with ``failed_at`` workers, or why nothing was measured; ``None`` if all went
            well.
        complete: false if time ran out before all planned numbers of workers were tried.
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
        """Return the point with this number of ``workers``; ``None`` if there is none."""
        return next((point for point in self.points if point.workers == workers), None)

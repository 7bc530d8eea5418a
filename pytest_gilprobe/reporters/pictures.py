"""The geometry of the pictures: where bars, marks and slices lie, as percentages of a picture's width."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_gilprobe.model import Environment, Estimate, Outcome, TimeShares, WorkloadResult
from pytest_gilprobe.reporters import numbers

_HEADROOM = 1.12
_LARGEST = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A line across the bars: ``kind`` is ``one``, ``workers`` or ``ceiling``; ``at`` is a percentage from the left."""

    kind: str
    label: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The axis of one workload's speed-ups, from 0 to ``top``, and the marks on it."""

    top: float
    marks: tuple[Mark, ...]

    def at(self, factor: float) -> float:
        """Place a speed-up on the axis: a percentage, 0 to 100; what lies beyond an end is put on it."""
        return round(min(max(factor / self.top, 0.0), 1.0) * 100, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A speed-up as a bar from 0 to ``end``, with its interval from ``low`` to ``high``; all percentages."""

    end: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A part of where a strategy's time goes: ``start`` and ``width`` are percentages, the slices fill 100."""

    kind: str
    label: str
    share: str
    start: float
    width: float


def scale_for(result: WorkloadResult, environment: Environment | None) -> Scale:
    """Choose an axis that holds the bars, 1x, the worker count and the machine's ceiling."""
    marks = [("one", "1x", 1.0)]
    if result.workers:  # a scan tries none
        marks.append(("workers", numbers.count(result.workers, "worker"), float(result.workers)))
    if environment and environment.scaling_ceiling is not None and environment.ceiling_workers == result.workers:
        marks.append(("ceiling", f"ceiling {numbers.times(environment.scaling_ceiling)}", environment.scaling_ceiling))
    shown = [at for _, _, at in marks]
    shown += [part.speedup.high for part in (result.threads, result.processes) if _has_bar(part.outcome, part.speedup)]  # type: ignore[union-attr]
    top = min(max(1.0, *shown) * _HEADROOM, _LARGEST)
    scale = Scale(top=top, marks=())
    return Scale(top=top, marks=tuple(Mark(kind=kind, label=label, at=scale.at(at)) for kind, label, at in marks))


def _has_bar(outcome: Outcome, speedup: Estimate | None) -> bool:
    return outcome is Outcome.OK and speedup is not None


def bar(speedup: Estimate | None, scale: Scale) -> Bar:
    """Place a speed-up on its axis; ``None`` is the serial bar, 1x by definition."""
    if speedup is None:
        return Bar(end=scale.at(1), low=scale.at(1), high=scale.at(1))
    return Bar(end=scale.at(speedup.value), low=scale.at(speedup.low), high=scale.at(speedup.high))


def slices(shares: TimeShares | None) -> tuple[Slice, ...]:
    """Lay out where the time goes, left to right: on the CPU, waiting for the GIL, blocked, in the run queue."""
    if shares is None:
        return ()
    parts = [(kind, label, share) for kind, label, share in _parts(shares) if share > 0 and math.isfinite(share)]
    total = sum(share for _, _, share in parts)
    if not parts or not math.isfinite(total):
        return ()
    placed, start = [], 0.0
    for kind, label, share in parts:
        width = share / total * 100
        placed.append(
            Slice(kind=kind, label=label, share=numbers.percent(share), start=round(start, 1), width=round(width, 1))
        )
        start += width
    return tuple(placed)


def _parts(shares: TimeShares) -> list[tuple[str, str, float]]:
    wait = shares.gil_wait or 0.0
    if shares.cpu_with_gil is None or shares.cpu_without_gil is None:
        on_cpu = [("cpu", "on the CPU", shares.cpu)]
    else:
        on_cpu = [
            ("held", "on the CPU, holding the GIL", shares.cpu_with_gil),
            ("free", "on the CPU, without the GIL", shares.cpu_without_gil),
        ]
    return [
        *on_cpu,
        ("wait", "waiting for the GIL", wait),
        ("blocked", "blocked", shares.blocked - wait),
        ("queue", "in the run queue", shares.run_queue or 0.0),
    ]

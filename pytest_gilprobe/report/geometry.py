"""Compute where the HTML page's pictures have their bars, marks and slices, in percent of a picture's width."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from pytest_gilprobe.model import gains, numbers
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.report import Environment
from pytest_gilprobe.model.results import TimeShares, WorkloadResult
from pytest_gilprobe.model.words import Outcome

_HEADROOM = 1.12
_LARGEST = 1e6
SLICE_KINDS = {
    "held": "on the CPU, holding the GIL",
    "free": "on the CPU, without the GIL",
    "cpu": "on the CPU, GIL unknown",
    "wait": "waiting for the GIL",
    "blocked": "blocked",
    "queue": "in the run queue",
    "events": "event loop: free",
    "asleep": "event loop: asleep in a call",
}
"""The kinds of slices into which a bar splits a strategy's time, and their labels, in the order from left to right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A vertical line with a ``label`` that crosses the bars of a workload's speed-ups.

    ``kind`` says at which speed-up it stands: ``one`` (1x), ``workers`` (as much as the number of workers) or
    ``ceiling`` (as much as the machine allows). ``at`` is its position in percent of the axis.
    """

    kind: str
    label: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The axis of one workload's speed-ups, from 0 to ``top``; ``marks`` are lines at speed-ups to compare with."""

    top: float
    marks: tuple[Mark, ...]

    def at(self, factor: float) -> float:
        """Return where the speed-up ``factor`` lies on the axis, in percent: 0 or 100 if it is beyond an end."""
        return round(min(max(factor / self.top, 0.0), 1.0) * 100, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The bar of one speed-up, from 0 to ``end``, with its confidence interval from ``low`` to ``high``.

    All three are positions on the axis in percent.
    """

    end: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One part of a strategy's time, such as waiting for the GIL, as a slice of a bar.

    ``kind`` is the part's short name, such as ``wait``, and ``label`` describes it. ``share`` is the part's share of
    the time, as text in percent. ``start`` and ``width`` are percentages of the bar; the slices together fill the bar.
    """

    kind: str
    label: str
    share: str
    start: float
    width: float


def scale_for(result: WorkloadResult, environment: Environment | None) -> Scale:
    """Choose an axis with room for all speed-ups of a workload, and the marks on it.

    The marks are at 1x, at the number of workers, and at the machine's ceiling: the speed-up of a fixed pure-Python
    loop in processes. The ceiling, which ``environment`` records, is not marked if ``environment`` is ``None``, or if
    it was measured with another number of workers than the workload.
    """
    marks = [("one", "1x", 1.0)]
    if result.workers:  # a scan tries none
        marks.append(("workers", numbers.count(result.workers, "worker"), float(result.workers)))
    if environment and environment.scaling_ceiling is not None and environment.ceiling_workers == result.workers:
        most = min(environment.scaling_ceiling, float(result.workers))
        marks.append(("ceiling", f"ceiling {numbers.times(most)}", most))
    gained = [gains.in_pool(part, result.workers) for part in result.parallel.values() if part.outcome is Outcome.OK]
    shown = [at for _, _, at in marks]
    shown += [gain.high for gain in gained if gain is not None]
    top = min(max(1.0, *shown) * _HEADROOM, _LARGEST)
    scale = Scale(top=top, marks=())
    return Scale(top=top, marks=tuple(Mark(kind=kind, label=label, at=scale.at(at)) for kind, label, at in marks))


def bar(speedup: Estimate | None, scale: Scale) -> Bar:
    """Return the bar that shows ``speedup`` on the axis ``scale``; ``None`` stands for serial calls, which have 1x."""
    if speedup is None:
        return Bar(end=scale.at(1), low=scale.at(1), high=scale.at(1))
    return Bar(end=scale.at(speedup.value), low=scale.at(speedup.low), high=scale.at(speedup.high))


def slices(shares: TimeShares | None) -> tuple[Slice, ...]:
    """Return the slices of a bar that shows how a strategy spent its time.

    From left to right, they are the time on the CPU (with the GIL and without it, if that is known), waiting for the
    GIL, blocked by anything else, and waiting for a CPU. The result is empty if ``shares`` is ``None``.
    """
    return () if shares is None else laid_out(_parts(shares), SLICE_KINDS)


def laid_out(shares: Mapping[str, float], labels: Mapping[str, str]) -> tuple[Slice, ...]:
    """Return the slices of a bar that shows how some time was spent, in the order of ``shares``.

    ``shares`` maps each kind of slice, such as ``wait``, to its share of the time; ``labels`` maps each kind to its
    label. Widths are in proportion to the shares, and fill the bar. A share that is 0, negative or not finite has no
    slice; the result is empty if no share is left.
    """
    parts = {kind: share for kind, share in shares.items() if share > 0 and math.isfinite(share)}
    total = sum(parts.values())
    if not parts or not math.isfinite(total):
        return ()
    widths = [share / total * 100 for share in parts.values()]
    starts = accumulate(widths, initial=0.0)
    return tuple(
        Slice(
            kind=kind,
            label=labels[kind],
            share=numbers.percent(share),
            start=round(start, 1),
            width=round(width, 1),
        )
        for (kind, share), start, width in zip(parts.items(), starts, widths, strict=False)
    )


def _parts(shares: TimeShares) -> dict[str, float]:
    wait, held, free = shares.gil_wait or 0.0, shares.cpu_with_gil, shares.cpu_without_gil
    on_cpu = {"cpu": shares.cpu} if held is None or free is None else {"held": held, "free": free}
    return {**on_cpu, "wait": wait, "blocked": shares.blocked - wait, "queue": shares.run_queue or 0.0}

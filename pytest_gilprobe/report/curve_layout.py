"""Turn measured curves (throughput by number of workers) into words, and into points that can be drawn.

The words say how many workers are enough, what they cost (time to start, memory), and what limits the throughput.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.safe_text import ERROR_LIMIT, safe_line
from pytest_gilprobe.report.curve_views import CurvePoint, CurveView
from pytest_gilprobe.stats import scaling

if TYPE_CHECKING:
    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.report import Environment
    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.model.scaling import Scaling, ScalingPoint
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.strategies.registry import Strategies

NO_EFFECT = 0.01
"""The report shows ``none`` for a parameter of the Universal Scalability Law (a formula fitted to curves) if the
parameter makes calls longer by less than this share, 1 %, at the largest number of workers that was measured."""
COMPUTES = 0.5
"""If calls use at least this share of a CPU, their curve also shows the machine's own limit: the speed-up of threads
that do nothing but compute."""
_PLAIN = "gray"


def curve_views(
    result: WorkloadResult, strategies: Strategies, environment: Environment | None, *, only: str | None = None
) -> tuple[CurveView, ...]:
    """Return the texts and points of a workload's curves, one for each strategy that has a curve.

    A curve is the throughput by number of workers. If ``only`` is a strategy's name, the result has only that
    strategy's curve. The result is empty if no curve was measured. ``strategies`` are the registered strategies, which
    provide the colors, and the limits that the GIL and the event loop set. ``environment`` describes the machine that
    measured ``result``; if it is ``None``, the limit that the number of CPUs sets is not shown.
    """
    return tuple(
        _view(name, curve, result, strategies, environment)
        for name, curve in (result.scaling or {}).items()
        if only in (None, name)
    )


def _view(
    name: str, curve: Scaling, result: WorkloadResult, strategies: Strategies, environment: Environment | None
) -> CurveView:
    strategy = strategies.get(name)
    one = curve.at(1)
    alone = one.throughput.value if one is not None else None
    used = None if result.serial is None else result.serial.utilization
    needs = _needs(strategy, result)
    computes = used is not None and used.low >= COMPUTES
    return CurveView(
        name=safe_line(name),
        color=_PLAIN if strategy is None else strategy.color,
        said="; ".join(_said(name, curve, result)),
        points=tuple(
            CurvePoint(
                workers=point.workers,
                rate=rate(point.throughput.value),
                gain=_gain(curve, point),
                margin=_margin(point.throughput),
                machine=numbers.about(point.machine_gain) if computes and point.machine_gain is not None else "",
                value=point.throughput.value,
                low=point.throughput.low,
                high=point.throughput.high,
                is_enough=point.workers == curve.enough_workers,
            )
            for point in curve.points
            if point.throughput.low > 0
        ),
        law=_law(curve, alone, needs),
        roofs=tuple(_roofs(alone, needs, curve, result, environment)),
        machine=tuple(_machine(alone, curve, used)),
    )


def rate(per_s: float) -> str:
    """Format a throughput, which is given in calls per second, without its unit: ``0.52``, ``197``, ``12,300``."""
    if per_s < 10:  # noqa: PLR2004 - two digits
        return f"{per_s:.2g}" if per_s < 1 else f"{per_s:.1f}"
    return f"{per_s:,.0f}" if per_s < 1e7 else f"{per_s:.1e}"  # noqa: PLR2004 - as wide as a column


def _said(name: str, curve: Scaling, result: WorkloadResult) -> Iterator[str]:
    """Say how many workers are enough and what limits them, or why that is open."""
    safe = safe_line(name)
    if curve.open_because is not None:
        yield f"how many {safe} are enough is open: {safe_line(curve.open_because)}"
    elif curve.enough_workers is not None:
        yield _enough(safe, curve, result)
        if curve.failed_at is None or not (curve.limit or "").startswith(f"with {curve.failed_at} "):
            yield f"limit: {safe_line(curve.limit, limit=ERROR_LIMIT) if curve.limit else 'not known'}"
    if curve.failed_at is not None:
        why = safe_line(curve.error or "no reason known", limit=ERROR_LIMIT)
        yield f"with {curve.failed_at} {safe} it {curve.outcome or 'failed'}: {why}"
    elif curve.error is not None:
        yield f"no curve of {safe}: {safe_line(curve.error, limit=ERROR_LIMIT)}"


def _enough(name: str, curve: Scaling, result: WorkloadResult) -> str:
    enough, best = curve.at(curve.enough_workers), curve.at(curve.best_workers)
    if enough is None:
        return f"{name}: {curve.enough_workers} are enough"
    last = curve.points[-1]
    figures = f"{rate(enough.throughput.value)} calls/s"
    more = ""
    if best is not None and best.workers > enough.workers:
        gain = _gain(curve, best) if enough.workers == 1 else ""
        more = ", ".join(filter(None, (f", {best.workers} give {rate(best.throughput.value)}", gain)))
    if scaling.retrograde(curve.points):
        more += f", {last.workers} only {rate(last.throughput.value)}"
    if enough.workers == 1:
        gains = "nothing" if best in (None, enough) else "little"
        return f"{name}: more than one gain {gains} ({figures}){more}"
    figures = ", ".join(filter(None, (figures, _gain(curve, enough)))) + _cost(name, curve, enough, result)
    if enough is last and len(curve.points) > 1 and curve.failed_at is None:
        return f"{name}: {enough.workers}, the most that were tried, gain most ({figures})"
    return f"{name}: {enough.workers} are enough ({figures}){more}"


def _gain(curve: Scaling, point: ScalingPoint) -> str:
    """Format the gain over one worker; N workers give at most N times as much, and what is above that is chance."""
    gain = scaling.speedup(curve.points, point.workers)
    return "" if gain is None else numbers.about(min(gain, point.workers))


def _cost(name: str, curve: Scaling, enough: ScalingPoint, result: WorkloadResult) -> str:
    """Say what so many workers take to start, where that takes time, and their memory, as far as known.

    The memory is the sum of the processes' peaks, with what they share, so it is at most that. Reports of earlier
    versions have the start-up of a worker process in the strategy's result only.
    """
    part = result.strategies.get(name)
    start_up_s = curve.start_up_s if part is None or curve.start_up_s is not None else part.start_up_s
    start = "" if start_up_s is None else f", about {numbers.seconds(start_up_s)} to start each with pytest"
    return start if enough.rss_bytes is None else f"{start}, at most {numbers.size(enough.rss_bytes)} of memory"


class _Needs(NamedTuple):
    """What only one call at a time can have, in words that end with a verb; for a ``share`` of its time, 0 to 1."""

    what: str
    share: float


def _needs(strategy: Strategy | None, result: WorkloadResult) -> _Needs | None:
    """Return for which share of its time a call holds the GIL, or blocks the event loop; ``None`` if unknown."""
    ceiling = None if strategy is None else strategy.ceiling(result.gil, result.event_loop)
    if strategy is None or ceiling is None or ceiling.value <= 0:
        return None
    return _Needs(strategy.bottleneck, min(1.0, 1 / ceiling.value))


def _law(curve: Scaling, alone: float | None, needs: _Needs | None) -> str:
    """Say which law fits, with its parameters and their standard errors, beside what calls need of the GIL or loop.

    Both are compared in the law's own unit: the contention is the share of a call that only one at a time can make.
    """
    found = curve.parameters
    holds = "" if needs is None else f"{needs.what} for {numbers.percent(needs.share)} of its time, gives"
    match curve.model:
        case "linear":
            return f"each adds {_with_error(curve, 'per_worker')} calls/s"
        case "capped":
            each, roof = _with_error(curve, "per_worker"), _with_error(curve, "ceiling")
            beside = f" ({holds} {rate(alone / needs.share)})" if needs is not None and alone else ""
            return f"each adds {each} calls/s, up to {roof}{beside}"
        case "usl" if "contention" in found:
            most = curve.points[-1].workers if curve.points else 1
            contention = _with_error(curve, "contention", effect=found["contention"] * (most - 1))
            coherency = _with_error(curve, "coherency", effect=found.get("coherency", 0.0) * most * (most - 1))
            beside = "" if needs is None else f" ({holds} {needs.share:.2g})"
            return f"Universal Scalability Law: contention {contention}{beside}, coherency {coherency}"
    return ""


def _with_error(curve: Scaling, name: str, *, effect: float = 1.0) -> str:
    """Format a parameter with its standard error; ``effect`` is how much longer calls take by it with the most workers.

    A parameter without effect lies on the edge of what the fit allows, and its standard error says nothing.
    """
    if effect < NO_EFFECT:
        return "none"
    value, error = curve.parameters.get(name, 0.0), curve.parameters.get(f"{name}_se", 0.0)
    if value >= 1000:  # noqa: PLR2004 - from there on `g` writes powers of ten
        return f"{value:,.0f} \N{PLUS-MINUS SIGN} {error:,.0f}"
    return f"{value:.3g} \N{PLUS-MINUS SIGN} {error:.1g}"


def _margin(throughput: Estimate) -> str:
    """Format how far a throughput's interval reaches beyond its value, as a share of it."""
    value = throughput.value
    return numbers.percent(max(throughput.high - value, value - throughput.low) / value)


def _roofs(
    alone: float | None,
    needs: _Needs | None,
    curve: Scaling,
    result: WorkloadResult,
    environment: Environment | None,
) -> Iterator[tuple[str, float]]:
    if alone is None:
        return
    if needs is not None:
        yield needs.what.partition(",")[0], alone / needs.share
    serial = result.serial
    if environment is None or _covers(curve, environment.cpus_usable):
        return
    if serial is not None and serial.utilization.low > 0:
        yield (
            f"{numbers.count(environment.cpus_usable, 'CPU')}",
            alone * environment.cpus_usable / serial.utilization.value,
        )


def _covers(curve: Scaling, cpus: int) -> bool:
    """Return whether what the machine gives is known from one worker to one for each CPU."""
    known = {point.workers for point in curve.points if point.machine_gain is not None}
    return min(known, default=2) == 1 and max(known, default=0) >= max(cpus, 2)


def _machine(alone: float | None, curve: Scaling, used: Estimate | None) -> Iterator[tuple[int, float]]:
    """Yield the throughput that the machine would give if calls did not hinder each other, by number of workers."""
    if alone is None or used is None or used.low <= 0:
        return
    for point in curve.points:
        if point.machine_gain is not None:
            yield point.workers, alone * point.machine_gain / used.value

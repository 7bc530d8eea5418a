"""Compare two results of one workload by their curves (throughput by number of workers): gains, and failed calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.comparison import Change, ChangeKind
from pytest_gilprobe.model.error_text import summary
from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.verdict.shifts import fell, ratio, shifted, size, widened

if TYPE_CHECKING:
    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.model.scaling import Scaling


def changes(new: WorkloadResult, old: WorkloadResult) -> Iterator[Change]:
    """Yield at most one change for each strategy with a curve in both results of one workload, ``new`` and ``old``.

    A curve is the throughput by number of workers. If calls fail in ``new`` with no more workers than ``old`` measured,
    the change is this failure. Otherwise, gains over one worker are compared, if both curves allow conclusions.
    Differences that noise may explain are ignored. The change is then the largest loss of 10 % or more with few workers
    or, if there is no such loss, the largest difference. Few workers are at most the fewest that reach 90 % of the
    highest throughput in ``old``. If ``old`` advises the strategy, such a loss, or a failure with few workers, is
    marked as ``worse``, so that a session that forbids regressions fails.
    """
    before = old.scaling or {}
    for name, curve in (new.scaling or {}).items():
        if name not in before:
            continue
        change = _failures(name, curve, before[name]) or _gains(name, curve, before[name])
        if change is not None:
            yield replace(change, worse=change.worse and name == old.verdict.strategy)


def _failures(name: str, after: Scaling, before: Scaling) -> Change | None:
    """Return that calls fail now with as many workers as were measured before; worse if more were not needed."""
    at, worked = after.failed_at, max((point.workers for point in before.points), default=0)
    if at is None or at > worked:
        return None
    how = f"it {after.outcome or Outcome.FAILED} with {at} workers"
    return Change(
        kind=ChangeKind.CURVE,
        strategy=name,
        before=f"ok with {worked} workers",
        after=how,
        message=f"in {name} it was ok with {worked} workers, now {how}: {summary(after.error or 'no reason known')}",
        worse=at <= (before.enough_workers or 0),
    )


def _gains(name: str, after: Scaling, before: Scaling) -> Change | None:
    """Return the largest certain change of a gain over one worker; first of those that are worse."""
    if after.open_because is not None or before.open_because is not None:
        return None
    found = []
    for workers in (point.workers for point in after.points if point.workers > 1):
        now, was = (_gain(curve, workers) for curve in (after, before))
        change = shifted(ChangeKind.CURVE, name, f" with {workers} workers", widened(now), widened(was))
        if change is not None:
            found.append(replace(change, worse=workers <= (before.enough_workers or 0) and fell(now, was)))
    if not found:
        return None
    largest = max(found, key=lambda change: (change.worse, 0 if change.ratio is None else size(change.ratio)))
    enough = (before.enough_workers, after.enough_workers)
    if None in enough or len(set(enough)) == 1:
        return largest
    return replace(largest, message=f"{largest.message} ({enough[0]} were enough, now {enough[1]})")


def _gain(curve: Scaling, workers: int) -> Estimate | None:
    one, several = curve.at(1), curve.at(workers)
    return None if one is None or several is None else ratio(several.throughput, one.throughput)

"""Find what changed between two results of one workload, and decide which changes are regressions.

``gilprobe compare`` and ``--gilprobe-baseline`` both use this module. A measured value has changed if its intervals in
the two results, made wider than the reported ones (`pytest_gilprobe.verdict.margins`), do not overlap. Two curves
(throughput by number of workers) are compared by their gains over one worker, not by their calls per second. With the
same number of workers, these changes are regressions:

- a strategy that was ok fails, hangs or crashes;
- the strategy that was advised cannot be tried any more, or its speed-up in an executor fell by `LEAST_LOSS` (10 %) or
  more;
- on a machine that looks the same, with no more workers than gave 90 % of the highest throughput before, the advised
  strategy's gain in its curve fell by `LEAST_LOSS` or more, or its calls fail;
- the GIL was released and is held, or calls changed between waiting and computing;
- the advice certainly differs, and either the new advice promises a speed-up that is lower by more than `LEAST_LOSS`,
  or one of the regressions above is found as well.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model import gains, numbers
from pytest_gilprobe.model.comparison import Change, ChangeKind
from pytest_gilprobe.model.error_text import summary
from pytest_gilprobe.model.words import BROKEN, INCONCLUSIVE, NOT_ASKED, SERIAL, Bound, Gil, Outcome, Status
from pytest_gilprobe.verdict import curve_differences, expectations, margins
from pytest_gilprobe.verdict.shifts import LEAST_LOSS, Measured, apart, fell, shift, shifted, widened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gilprobe.model.results import StrategyResult, WorkloadResult


def changes(new: WorkloadResult, old: WorkloadResult, *, same_machine: bool = False) -> tuple[Change, ...]:
    """List the changes from the result ``old`` to the result ``new`` of one workload, the most important kind first.

    The result is empty unless both were probed (measured). A change counts as worse if it is a regression. If the
    numbers of workers differ, speed-ups are not compared, and nothing counts as worse. ``same_machine`` is whether both
    machines look the same. If it is false, times in seconds are not compared, and no change of a curve (throughput by
    number of workers) counts as worse: with fewer CPUs, a curve stops growing earlier.
    """
    if not Status.PROBED is new.status is old.status:
        return ()
    same_workers = new.workers == old.workers
    found = [*_outcomes(new, old)]
    if same_workers:
        found += _speedups(new, old)
    found += (
        change if same_machine else replace(change, worse=False) for change in curve_differences.changes(new, old)
    )
    found += [*_bound(new, old), *_gil(new, old)]
    found[:0] = _moved(new, old, lost=any(change.worse for change in found))
    if same_machine:
        found += _serial(new, old)
    return tuple(found if same_workers else (replace(change, worse=False) for change in found))


def is_open(new: WorkloadResult, old: WorkloadResult) -> bool:
    """Return whether more rounds (one batch of calls of every strategy) should decide if ``new`` is a regression.

    ``old`` is the earlier result. The first of these cases counts:

    - a regression is seen: more are needed, unless there are exactly 6 or 24 (`expectations.ROUNDS_TO_FAIL`);
    - ``new`` advises another strategy: more are needed until the advice certainly differs;
    - the strategy that ``old`` advises lost 10 % of its speed-up or more: 5 are needed (`expectations.NEAR_ROUNDS`).

    In any other case, and unless both were measured with the same number of workers, no more are needed.
    """
    rounds = new.serial.rounds if new.serial else None
    if rounds is None or new.workers != old.workers or not Status.PROBED is new.status is old.status:
        return False
    found = changes(new, old)
    if any(change.worse for change in found):
        return rounds not in expectations.ROUNDS_TO_FAIL
    moved = next((change for change in found if change.kind is ChangeKind.MOVED), None)
    if moved is not None:
        return not moved.real
    advised = [(after, before) for name, after, before in _pairs(new, old) if name == old.verdict.strategy]
    return rounds < expectations.NEAR_ROUNDS and any(
        fell(after.pool_speedup, before.pool_speedup) for after, before in advised
    )


def _pairs(new: WorkloadResult, old: WorkloadResult) -> Iterator[tuple[str, StrategyResult, StrategyResult]]:
    """Go over the strategies that both results have."""
    before = old.parallel
    return ((name, after, before[name]) for name, after in new.parallel.items() if name in before)


def _moved(new: WorkloadResult, old: WorkloadResult, *, lost: bool) -> Iterator[Change]:
    """Find other advice; it is worse if something else was lost too, or it promises less."""
    after, before = new.verdict.strategy, old.verdict.strategy
    part = new.strategies.get(before)
    if after == before or INCONCLUSIVE in (after, before) or part is None or part.error == NOT_ASKED:
        return
    real = not margins.possible_strategies(new) & margins.possible_strategies(old)
    gained = not lost and _promised(new) >= _promised(old) * (1 - LEAST_LOSS)
    message = f"advice was {_advice(old)}, is {_advice(new)}"
    yield Change(
        kind=ChangeKind.MOVED, before=before, after=after, message=message, real=real, worse=real and not gained
    )


def _promised(result: WorkloadResult) -> float:
    """Return the speed-up of the advised strategy, with the probe's number of workers instead of its curve's."""
    part = result.parallel.get(result.verdict.strategy)
    if part is None or part.pool_speedup is None or result.verdict.workers in (None, result.workers):
        return result.verdict.speedup or 0.0
    return min(part.pool_speedup.value, float(result.workers))


def _advice(result: WorkloadResult) -> str:
    advised, gain, workers = result.verdict.strategy, result.verdict.speedup, result.verdict.workers
    if gain is None or advised == SERIAL:
        return advised
    with_workers = "" if workers in (None, result.workers) else f" with {workers} workers"
    return f"{advised} ({numbers.about(gain)}{with_workers})"


def _outcomes(new: WorkloadResult, old: WorkloadResult) -> Iterator[Change]:
    for name, after, before in _pairs(new, old):
        now, was = after.outcome, before.outcome
        if Outcome.SKIPPED not in (now, was) and now is not was:
            worse = now in BROKEN and was is Outcome.OK
            message = f"in {name} it {'was ok' if worse else was}, now it {now if now in BROKEN else 'is ok'}"
        elif was is Outcome.OK and after.impossible and after.error != NOT_ASKED and name == old.verdict.strategy:
            worse = True
            message = f"{name} was advised, now it cannot be tried: {summary(after.error or 'no reason known')}"
        else:
            continue
        yield Change(
            kind=ChangeKind.OUTCOME, strategy=name, before=str(was), after=str(now), message=message, worse=worse
        )


def _speedups(new: WorkloadResult, old: WorkloadResult) -> Iterator[Change]:
    """Find at most one change in each strategy: an executor's if it is worse, else the bare calls', else an executor's.

    Worse is only less speed-up of the strategy that was advised: nobody relied on the others.
    """
    for name, after, before in _pairs(new, old):
        executor, bare = (
            _speedup(kind, name, after, before, new.workers) for kind in (ChangeKind.EXECUTOR, ChangeKind.SPEEDUP)
        )
        if executor is not None and name == old.verdict.strategy and fell(after.pool_speedup, before.pool_speedup):
            yield replace(executor, worse=True)
        elif found := bare or executor:
            yield found


def _speedup(kind: ChangeKind, name: str, after: StrategyResult, before: StrategyResult, workers: int) -> Change | None:
    if kind is ChangeKind.SPEEDUP:
        return shifted(kind, name, " (calls alone)", *(widened(gains.alone(part, workers)) for part in (after, before)))
    return shifted(kind, name, " in an executor", *(_in_executor(part, workers) for part in (after, before)))


def _in_executor(part: StrategyResult, workers: int) -> Measured | None:
    """Return a speed-up in an executor with a gate's interval, neither above what so many workers can give."""
    gain, interval = gains.in_pool(part, workers), margins.in_pool(part)
    if gain is None or part.pool_speedup is None or interval is None:
        return None
    low, high = (min(end, gains.at_once(part, workers)) for end in interval)
    return gain, (low, high)


def _bound(new: WorkloadResult, old: WorkloadResult) -> Iterator[Change]:
    """Find calls that for certain waited then and compute now, or the other way round.

    What is neither is not compared: how much of its time a call computes depends on how fast a machine does it.
    """
    after, before = margins.possible_bounds(new), margins.possible_bounds(old)
    if {after, before} == {frozenset({Bound.IO}), frozenset({Bound.CPU})}:
        (now,), (was,) = after, before
        message = f"calls were {was}-bound, are {now}-bound"
        yield Change(kind=ChangeKind.BOUND, before=was, after=now, message=message, worse=True)


def _gil(new: WorkloadResult, old: WorkloadResult) -> Iterator[Change]:
    """Find a GIL that for certain was released and is held, or the other way round."""
    after, before = margins.possible_gil(new), margins.possible_gil(old)
    if {after, before} == {frozenset({Gil.RELEASED}), frozenset({Gil.HELD})}:
        (now,), (was,) = after, before
        message = f"GIL was {was}, is {now}"
        yield Change(kind=ChangeKind.GIL, before=was, after=now, message=message, worse=now is Gil.HELD)


def _serial(new: WorkloadResult, old: WorkloadResult) -> Iterator[Change]:
    if new.serial is None or old.serial is None:
        return
    after, before = new.serial.call_s, old.serial.call_s
    by = apart(widened(after), widened(before))
    if by is not None:
        yield Change(
            kind=ChangeKind.SERIAL,
            strategy=SERIAL,
            before=numbers.seconds(before.value),
            after=numbers.seconds(after.value),
            message=f"serial calls are {shift(by)} {'slower' if by.value > 1 else 'faster'}",
            ratio=by,
        )

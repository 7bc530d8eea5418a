"""An earlier report as a gate: what got worse since, for certain.

Only ratios are compared (advice, speed-ups, outcomes), so a baseline may come from another machine or another
Python; that is then said. A regression needs intervals that exclude each other after both were widened as `gate`
says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gilprobe import gate, leeway
from pytest_gilprobe.compare import alike, label
from pytest_gilprobe.model import NOT_ASKED, Bound, Gil, Outcome, Recommendation, Status, Strategy
from pytest_gilprobe.reporters import numbers
from pytest_gilprobe.reporters.inert import inert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gilprobe.model import Environment, ProcessesResult, Report, ThreadsResult, WorkloadResult

LEAST_LOSS = 0.10
"""A speed-up must have fallen by this share at the least: a run's intervals do not hold what differs between runs."""
_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is different in one workload, on one line without its node id."""

    nodeid: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One report held against a baseline.

    ``regressions`` are losses that the intervals support, ``gains`` the other changes of advice that they support.
    ``lost`` were probed then and could not be now, ``undecided`` had an answer then and have none now. ``new`` and
    ``vanished`` are node ids. ``notes`` say what limits the comparison.
    """

    regressions: tuple[Finding, ...]
    gains: tuple[Finding, ...]
    lost: tuple[Finding, ...]
    undecided: tuple[Finding, ...]
    new: tuple[str, ...]
    vanished: tuple[str, ...]
    notes: tuple[str, ...]


def hold(report: Report, baseline: Report) -> Held:
    """Hold a report against an earlier one."""
    before = {workload.nodeid: workload for workload in baseline.workloads}
    now = {workload.nodeid: workload for workload in report.workloads}
    shared = [(workload, before[nodeid]) for nodeid, workload in now.items() if nodeid in before]
    measured = [(new, old) for new, old in shared if Status.PROBED is new.status is old.status]
    changes = [(new.nodeid, *_changes(new, old)) for new, old in measured if new.workers == old.workers]
    return Held(
        regressions=tuple(Finding(nodeid=nodeid, message="; ".join(losses)) for nodeid, losses, _ in changes if losses),
        gains=tuple(
            Finding(nodeid=nodeid, message="; ".join(gains))
            for nodeid, losses, gains in changes
            if gains and not losses
        ),
        lost=tuple(
            Finding(nodeid=new.nodeid, message=f"was probed, is not now: {new.reason or 'no reason known'}")
            for new, old in shared
            if old.status is Status.PROBED is not new.status
        ),
        undecided=tuple(
            Finding(nodeid=new.nodeid, message=f"was {old.verdict.strategy}, is {new.verdict.strategy}")
            for new, old in measured
            if new.verdict.strategy is Recommendation.INCONCLUSIVE is not old.verdict.strategy
        ),
        new=tuple(nodeid for nodeid in now if nodeid not in before),
        vanished=tuple(nodeid for nodeid in before if nodeid not in now),
        notes=tuple(_notes(report.environment, baseline.environment, measured)),
    )


def is_open(new: WorkloadResult, old: WorkloadResult) -> bool:
    """Tell whether more rounds should decide a change for the worse: as for a gate, see `gate.LOOKS`."""
    if new.serial is None or new.workers != old.workers or not Status.PROBED is new.status is old.status:
        return False
    losses, gains = _changes(new, old)
    if losses:
        return new.serial.rounds not in gate.LOOKS
    advice = {new.verdict.strategy, old.verdict.strategy}
    if len(advice) > 1 and Recommendation.INCONCLUSIVE not in advice:
        return not gains
    return new.serial.rounds < gate.NEAR_ROUNDS and any(_fell(after, before) for after, before in _counted_on(new, old))


def _changes(new: WorkloadResult, old: WorkloadResult) -> tuple[list[str], list[str]]:
    """List losses and gains of one workload that the intervals support."""
    losses = [*_broken(new, old), *_slower(new, old), *_bound(new, old)]
    gains: list[str] = []
    for moved, is_gain in _gil(new, old):
        (gains if is_gain else losses).append(moved)
    moved = f"advice was {old.verdict.strategy}, is {new.verdict.strategy}"
    if _moved(new, old):
        is_gain = not losses and (new.verdict.speedup or 0.0) >= (old.verdict.speedup or 0.0) * (1 - LEAST_LOSS)
        (gains if is_gain else losses).insert(0, moved)
    return losses, gains


def _moved(new: WorkloadResult, old: WorkloadResult) -> bool:
    advice = (new.verdict.strategy, old.verdict.strategy)
    if Recommendation.INCONCLUSIVE in advice or advice[0] is advice[1]:
        return False
    if any(after.error == NOT_ASKED for strategy, after, _ in _parts(new, old) if str(advice[1]) == strategy):
        return False
    return not leeway.possible_strategies(new) & leeway.possible_strategies(old)


def _broken(new: WorkloadResult, old: WorkloadResult) -> Iterator[str]:
    for strategy, after, before in _parts(new, old):
        if before.outcome is not Outcome.OK:
            continue
        if after.outcome in gate.BROKEN:
            yield f"{strategy} were ok, {after.outcome} now"
        elif after.impossible and after.error != NOT_ASKED and str(old.verdict.strategy) == strategy:
            why = (after.error or "no reason known").splitlines()[0]
            yield f"{strategy} were advised, are {after.outcome} now: {why}"


def _bound(new: WorkloadResult, old: WorkloadResult) -> Iterator[str]:
    """Find calls that for certain waited then and compute now, or the other way round.

    What is neither is not compared: how much of its time a call computes depends on how fast a machine does it.
    """
    now, was = leeway.possible_bounds(new), leeway.possible_bounds(old)
    if {now, was} == {frozenset({Bound.IO}), frozenset({Bound.CPU})}:
        yield f"calls were {_or(was)}-bound, are {_or(now)}-bound"


def _gil(new: WorkloadResult, old: WorkloadResult) -> Iterator[tuple[str, bool]]:
    """Find a GIL that for certain was released and is held, a loss, or the other way round, a gain."""
    now, was = leeway.possible_gil(new), leeway.possible_gil(old)
    if {now, was} == {frozenset({Gil.RELEASED}), frozenset({Gil.HELD})}:
        yield f"GIL was {_or(was)}, is {_or(now)}", Gil.RELEASED in now


def _or(words: frozenset[Bound] | frozenset[Gil]) -> str:
    return " or ".join(sorted(map(str, words)))


def _slower(new: WorkloadResult, old: WorkloadResult) -> Iterator[str]:
    """Find speed-ups that fell for certain."""
    for after, before in _counted_on(new, old):
        now, was = leeway.in_pool(after), leeway.in_pool(before)
        if now is not None and was is not None and _fell(after, before) and now[1] < was[0]:
            yield (
                f"{old.verdict.strategy} gave {numbers.speedup(before.pool_speedup)}, "
                f"give {numbers.speedup(after.pool_speedup)}"
            )


def _counted_on(
    new: WorkloadResult, old: WorkloadResult
) -> Iterator[tuple[ThreadsResult | ProcessesResult, ThreadsResult | ProcessesResult]]:
    """Pair the results of the strategy that was advised: nobody counted on the other one."""
    for strategy, after, before in _parts(new, old):
        if str(old.verdict.strategy) == strategy:
            yield after, before


def _fell(after: ThreadsResult | ProcessesResult, before: ThreadsResult | ProcessesResult) -> bool:
    if after.pool_speedup is None or before.pool_speedup is None:
        return False
    return after.pool_speedup.value <= before.pool_speedup.value * (1 - LEAST_LOSS)


def _parts(
    new: WorkloadResult, old: WorkloadResult
) -> tuple[tuple[Strategy, ThreadsResult | ProcessesResult, ThreadsResult | ProcessesResult], ...]:
    return (Strategy.THREADS, new.threads, old.threads), (Strategy.PROCESSES, new.processes, old.processes)


def _notes(
    now: Environment, before: Environment, measured: list[tuple[WorkloadResult, WorkloadResult]]
) -> Iterator[str]:
    differs = []
    if not alike(now, before):
        differs.append(f"another machine ({inert(before.platform)}, {numbers.count(before.cpus_usable, 'usable CPU')})")
    if (now.implementation, now.python, label(now)) != (before.implementation, before.python, label(before)):
        differs.append(f"another Python ({inert(before.implementation)} {inert(before.python)}, {label(before)})")
    if differs:
        yield f"the baseline is from {' and '.join(differs)}: only ratios are compared"
    others = [new.nodeid for new, old in measured if new.workers != old.workers]
    if others:
        yield f"{numbers.count(len(others), 'workload')} not compared, since the number of workers differs"


def lines(held: Held, name: str) -> Iterator[tuple[str, bool]]:
    """Say what was found, a line each; the second value marks the lines that are failures."""
    counted = [
        (held.regressions, "regression"),
        (held.gains, "gain"),
        (held.lost, "no longer probed"),
        (held.undecided, "inconclusive now"),
        (held.new, "new"),
        (held.vanished, "vanished"),
    ]
    words = [
        numbers.count(len(found), word) if word in {"regression", "gain"} else f"{len(found)} {word}"
        for found, word in counted
        if found or word == "regression"
    ]
    yield f"against {inert(name)}: {', '.join(words)}", bool(held.regressions)
    for note in held.notes:
        yield f"  note: {note}", False
    for title, findings in (
        ("regression", held.regressions),
        ("gain", held.gains),
        ("not probed", held.lost),
        ("inconclusive", held.undecided),
    ):
        for finding in findings:
            yield f"  {title}: {inert(finding.nodeid)}: {inert(finding.message)}", title == "regression"
    for title, nodeids in (("new", held.new), ("vanished", held.vanished)):
        if nodeids:
            more = f" and {len(nodeids) - _NAMED} more" if len(nodeids) > _NAMED else ""
            yield f"  {title}: {', '.join(map(inert, nodeids[:_NAMED]))}{more}", False

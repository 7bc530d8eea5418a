"""Gates: what a marker expects, what a session forbids, and what an earlier report showed, held against what was found.

A gate must not flake. It fails only where the interval, widened as `leeway.WIDENING` says, leaves no room for what was
expected; where there is room, the verdict may disagree and the test still passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gilprobe import judge, leeway
from pytest_gilprobe.model import (
    BadEnd,
    Bound,
    Caution,
    FailOn,
    Outcome,
    Recommendation,
    Status,
    Strategy,
)
from pytest_gilprobe.reporters import numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gilprobe.config import Expectation
    from pytest_gilprobe.model import ProcessesResult, ThreadsResult, WorkloadResult

BROKEN = frozenset({Outcome.FAILED, Outcome.HUNG, Outcome.CRASHED})
NEAR = 1.5
"""A speed-up within this factor under the one asked for is measured in `NEAR_ROUNDS` rounds, where time allows."""
NEAR_ROUNDS = 5
LOOKS = (6, 24)
"""Numbers of rounds after which a gate is asked; between them a failure is not believed while there is time.

An interval that is looked at again and again excludes the truth sooner or later. Two looks and the one when time is up
cannot make much of that: at the edge between two answers 0.3 % of simulated gates failed with the noise that is
assumed, 0.7 % with 1.7 times as much; with looks at 3, 6, 12, 24 and 48 rounds it was 1.3 %, with a look at every
round from 25 on 1.4 %. *Source:* ``tests/test_gate.py``.
"""
UNCHECKED = "expectation-unchecked"
"""Slug of the caution that an expectation could be neither confirmed nor refuted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One thing that was asked for and does not hold: what, what was found, why that is believed, what to do."""

    expected: str
    found: str
    evidence: str
    remedy: str

    def headline(self) -> str:
        """Say it on one line."""
        return f"expected {self.expected}; found {self.found}"

    def text(self) -> str:
        """Say it in full, one line for each part."""
        rows = (
            ("expected", self.expected),
            ("found", self.found),
            ("evidence", self.evidence),
            ("remedy", self.remedy),
        )
        return "\n".join(f"{label + ':':<10}{said}" for label, said in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gating:
    """What a gate found: failures, and cautions for what it could not check."""

    failures: tuple[Failure, ...] = ()
    cautions: tuple[Caution, ...] = ()
    open_: bool = False
    """Whether more rounds are wanted: to confirm a failure, or because a speed-up is near the one asked for."""


def check(expectation: Expectation, result: WorkloadResult, fail_on: frozenset[FailOn] = frozenset()) -> Gating:
    """Hold one workload's result against its marker's expectation and the session's ``fail_on``.

    Only of a test that has passed: of any other pytest has said what there is to say. One that could not be probed
    passes, with a caution if it expects something; it fails for *inconclusive* if it expects something or was tried.
    """
    if result.serial is None:
        return _unmeasured(expectation, result, fail_on)
    failures = [*_strategy(expectation, result), *_bound(expectation, result), *_speedup(expectation, result)]
    failures += _forbidden(expectation, result, fail_on)
    unchecked = None if failures else _unchecked(expectation, result)
    seen = result.serial.rounds
    open_ = seen not in LOOKS if failures else _is_open(expectation, result, seen)
    return Gating(failures=tuple(failures), cautions=() if unchecked is None else (unchecked,), open_=open_)


# What a marker expects


def _strategy(expectation: Expectation, result: WorkloadResult) -> Iterator[Failure]:
    """Fail where a strategy is advised that was not expected, and the evidence leaves no room for one that was."""
    expected, advised = expectation.strategies, result.verdict.strategy
    if not expected or str(advised) in expected:
        return
    ended = [f"{strategy} {part.outcome}" for strategy, part in _parts(result) if strategy in expected and _out(part)]
    if advised is Recommendation.INCONCLUSIVE:
        if len(ended) < len(expected):
            return
    elif leeway.possible_strategies(result) & expected:
        return
    yield Failure(
        expected=_either(expected),
        found=", ".join(ended) if advised is Recommendation.INCONCLUSIVE else str(advised),
        evidence=result.verdict.reason,
        remedy=_remedy(expected, result),
    )


def _remedy(expected: frozenset[Strategy], result: WorkloadResult) -> str:
    broken = [
        (strategy, part) for strategy, part in _parts(result) if strategy in expected and part.outcome is not Outcome.OK
    ]
    if broken:
        strategy, part = broken[0]
        return f"in {strategy} it {_outcome(part)}: mend that, or drop expect={strategy.value!r}"
    if Strategy.THREADS in expected and result.verdict.strategy is Recommendation.PROCESSES:
        return "let the work release the GIL again, take a lock away from around it, or expect 'processes'"
    if result.verdict.strategy is Recommendation.SERIAL:
        return "make each call do more work, or expect 'serial'"
    return f"find what changed in the evidence, or expect {result.verdict.strategy.value!r}"


def _bound(expectation: Expectation, result: WorkloadResult) -> Iterator[Failure]:
    expected = expectation.bound
    if expected is None or result.serial is None or expected in leeway.possible_bounds(result):
        return
    used = result.serial.cpu_utilization
    shown = f"{numbers.percent(used.low)} to {numbers.percent(used.high)} of one core"
    found = judge.bound_at(used.value)
    yield Failure(
        expected=f"expect_bound={expected.value!r}",
        found=repr(found.value),
        evidence=f"a call uses {shown}; io is under {numbers.percent(judge.IO_BELOW)}, "
        f"cpu over {numbers.percent(judge.CPU_ABOVE)}",
        remedy=f"find what the calls now {'wait for' if found is Bound.IO else 'compute'}, or expect {found.value!r}",
    )


def _speedup(expectation: Expectation, result: WorkloadResult) -> Iterator[Failure]:
    """Fail where every strategy that may earn the speed-up is certain to stay under it."""
    least = expectation.min_speedup
    if least is None:
        return
    reach = [_reach(strategy, result) for strategy in sorted(_earners(expectation))]
    if any(high is None or high >= least for _, high, _ in reach):
        return
    yield Failure(
        expected=f"min_speedup={least:g} of {_either(_earners(expectation))}",
        found=", ".join(said for said, _, _ in reach),
        evidence=result.verdict.reason,
        remedy="; ".join(dict.fromkeys(why for _, _, why in reach)),
    )


def _earners(expectation: Expectation) -> frozenset[Strategy]:
    """Return the strategies of which one must reach ``min_speedup``: those expected, else threads and processes."""
    return expectation.strategies or frozenset({Strategy.THREADS, Strategy.PROCESSES})


def _reach(strategy: Strategy, result: WorkloadResult) -> tuple[str, float | None, str]:
    """Say what a strategy gave, the most that it may give (``None``: anything), and what would change it."""
    if strategy is Strategy.SERIAL:
        return "serial 1x", 1.0, "serial calls have a speed-up of 1 by definition"
    part = dict(_parts(result))[strategy]
    if part.pool_speedup is not None:
        cost = part.hand_out_s_per_call
        dear = part.speedup is not None and part.pool_speedup.value < part.speedup.value
        why = (
            f"hand out several calls per task: one costs {numbers.seconds(cost)}"
            if dear
            else "see the evidence, or lower min_speedup"
        )
        reach = leeway.in_pool(part)
        return f"{strategy} {numbers.speedup(part.pool_speedup)}", None if reach is None else reach[1], why
    if _out(part):
        return f"{strategy} {part.outcome}", 0.0, f"in {strategy} it {_outcome(part)}: mend that"
    return f"{strategy} not measured", None, ""


def _out(part: ThreadsResult | ProcessesResult) -> bool:
    """Tell whether a strategy gives nothing, for certain."""
    return part.outcome in BROKEN or part.impossible


# What a session forbids


def _forbidden(expectation: Expectation, result: WorkloadResult, fail_on: frozenset[FailOn]) -> Iterator[Failure]:
    yield from _ended_badly(result, fail_on)
    if FailOn.INCONCLUSIVE not in fail_on:
        return
    if result.verdict.strategy is Recommendation.INCONCLUSIVE:
        yield _inconclusive(result.verdict.reason)
    elif expectation.bound is not None and result.verdict.bound is Bound.INCONCLUSIVE:
        yield _inconclusive(f"what the calls spend their time on is open: {result.verdict.reason}")


def _ended_badly(result: WorkloadResult, fail_on: frozenset[FailOn]) -> Iterator[Failure]:
    ends: list[tuple[Strategy, ThreadsResult | ProcessesResult | BadEnd]] = [
        *_parts(result),
        *((end.strategy, end) for end in result.bad_ends),
    ]
    for strategy, part in ends:
        if FailOn.UNSAFE in fail_on and strategy is Strategy.THREADS and part.outcome in BROKEN:
            yield _broke("safe in threads", strategy, part)
        said_already = strategy is Strategy.THREADS and FailOn.UNSAFE in fail_on
        if FailOn.HUNG in fail_on and part.outcome is Outcome.HUNG and not said_already:
            yield _broke("no hanging", strategy, part)


def _broke(wanted: str, strategy: Strategy, part: ThreadsResult | ProcessesResult | BadEnd) -> Failure:
    return Failure(
        expected=wanted,
        found=f"{part.outcome} in {strategy}",
        evidence=part.error or "no further detail",
        remedy=f"mend it, or leave {strategy} out with strategies=; --gilprobe-fail-on asked for this failure",
    )


def _inconclusive(reason: str) -> Failure:
    return Failure(
        expected="a verdict",
        found="inconclusive",
        evidence=reason,
        remedy="do what the evidence names, or take 'inconclusive' out of --gilprobe-fail-on",
    )


def _unmeasured(expectation: Expectation, result: WorkloadResult, fail_on: frozenset[FailOn]) -> Gating:
    why = result.reason or result.verdict.reason
    was_tried = result.status is not Status.NOT_PROBED or result.probe_time_s > 0
    ended = tuple(_ended_badly(result, fail_on))
    if ended:
        return Gating(failures=ended)
    if FailOn.INCONCLUSIVE in fail_on and (was_tried or expectation.says_anything):
        return Gating(failures=(_inconclusive(why),))
    return Gating(cautions=(_caution(expectation, why),)) if expectation.says_anything else Gating()


def _unchecked(expectation: Expectation, result: WorkloadResult) -> Caution | None:
    """Find what a marker expects that was neither confirmed nor refuted."""
    verdict = result.verdict
    if expectation.strategies and str(verdict.strategy) not in expectation.strategies:
        possible = leeway.possible_strategies(result) & expectation.strategies
        room = ", but the evidence leaves room for it" if possible else ""
        return _caution(expectation, f"the verdict is {verdict.strategy}{room}")
    if expectation.bound is not None and verdict.bound is not expectation.bound:
        return _caution(expectation, f"the calls are {verdict.bound}, but the evidence leaves room for it")
    least = expectation.min_speedup
    if least is not None and all(_surely_below(strategy, least, result) for strategy in _earners(expectation)):
        found = ", ".join(_reach(strategy, result)[0] for strategy in sorted(_earners(expectation)))
        return _caution(expectation, f"found {found}")
    return None


def _surely_below(strategy: Strategy, least: float, result: WorkloadResult) -> bool:
    """Tell whether a strategy's own value, be its interval what it may, stays under what was asked for."""
    if strategy is Strategy.SERIAL:
        return least > 1
    speedup = dict(_parts(result))[strategy].pool_speedup
    return speedup is None or speedup.value < least


def _is_open(expectation: Expectation, result: WorkloadResult, seen: int) -> bool:
    """Tell whether more rounds should decide what the evidence contradicts without excluding it.

    What speaks clearly against the expectation is followed up as long as there is time. A speed-up near the one
    asked for gets a fixed number of rounds: a workload that is just what was expected is not settled by more.
    """
    verdict, least = result.verdict, expectation.min_speedup
    if expectation.strategies and verdict.strategy is not Recommendation.INCONCLUSIVE:
        against = str(verdict.strategy) not in expectation.strategies
    else:
        against = False
    if expectation.bound is not None and verdict.bound is not Bound.INCONCLUSIVE:
        against = against or verdict.bound is not expectation.bound
    if against or least is None:
        return against
    found = [
        (part.pool_speedup, reach)
        for strategy, part in _parts(result)
        if strategy in _earners(expectation) and part.pool_speedup and (reach := leeway.in_pool(part))
    ]
    if not found or any(low >= least for _, (low, _) in found):
        return False
    return seen < NEAR_ROUNDS or all(one.value < least / NEAR for one, _ in found)


def _caution(expectation: Expectation, why: str) -> Caution:
    wanted = []
    if expectation.strategies:
        wanted.append(f"expect={_either(expectation.strategies)}")
    if expectation.bound is not None:
        wanted.append(f"expect_bound={expectation.bound.value!r}")
    if expectation.min_speedup is not None:
        wanted.append(f"min_speedup={expectation.min_speedup:g}")
    return Caution(slug=UNCHECKED, message=f"{' and '.join(wanted)} could not be decided, so the test passes: {why}")


def _parts(result: WorkloadResult) -> tuple[tuple[Strategy, ThreadsResult | ProcessesResult], ...]:
    return (Strategy.THREADS, result.threads), (Strategy.PROCESSES, result.processes)


def _either(strategies: frozenset[Strategy]) -> str:
    return " or ".join(str(strategy) for strategy in Strategy if strategy in strategies)


def _outcome(part: ThreadsResult | ProcessesResult) -> str:
    first = (part.error or "").splitlines()[:1]
    return f"{part.outcome}{': ' + first[0] if first else ''}"

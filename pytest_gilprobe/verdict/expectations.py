"""Gates (checks that fail a test): compare what was found with what a marker expects and a session forbids.

A gate must not fail by chance. An expectation fails only if the measurements exclude it by intervals that are wider
than the reported ones (`margins`). If they do not exclude it, the test passes, even if the verdict differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.error_text import summary
from pytest_gilprobe.model.results import Caution, StrategyResult
from pytest_gilprobe.model.thresholds import CPU_ABOVE, IO_BELOW, bound_at
from pytest_gilprobe.model.words import BROKEN, INCONCLUSIVE, SERIAL, Bound, FailOn, Outcome, Status
from pytest_gilprobe.verdict import gil_gates, loop_gate, margins, reached, scaling_gate
from pytest_gilprobe.verdict.gating import Failure, Gating, unchecked

if TYPE_CHECKING:
    from pytest_gilprobe.model.results import BadEnd, WorkloadResult
    from pytest_gilprobe.model.settings import Expectation

NEAR = 1.5
"""If all speed-ups are below the marker's ``min_speedup`` by more than this factor, more rounds (one batch of calls of
every strategy) are made while there is time. If one is nearer, more are made only up to `NEAR_ROUNDS` (5)."""
NEAR_ROUNDS = 5
"""After this many rounds (one batch of calls of every strategy), no more are made just because a speed-up is slightly
below the demanded one. If the two are truly equal, no number of rounds decides which is higher."""
ROUNDS_TO_FAIL = (6, 24)
"""Numbers of rounds (one batch of calls of every strategy) after which a gate (a check that fails a test) may fail;
after other numbers, the probe continues while there is time.

An interval that is checked after every round sooner or later excludes the true value. Checked only at these two
numbers, and once more when time is up, it seldom excludes it. *Source:* ``tests/test_gate.py`` simulates it.
"""


def check(
    expectation: Expectation,
    result: WorkloadResult,
    fail_on: frozenset[FailOn] = frozenset(),
    one_process: frozenset[str] = frozenset(),
) -> Gating:
    """Check a workload's result against what its marker expects and what the session's ``fail_on`` forbids.

    The returned `Gating` has the failures or, if there are none, cautions on what could not be decided. Call this only
    for a test that has passed. ``one_process`` names the strategies whose workers share a process, such as threads: if
    ``fail_on`` contains ``unsafe``, calls must not fail, hang or crash in these.

    A workload that could not be measured fails if a strategy ended in a way that ``fail_on`` forbids. It also fails if
    ``fail_on`` contains ``inconclusive``, and the probe began or the marker expects something.
    """
    if result.serial is None:
        return _unmeasured(expectation, result, tuple(_ended_badly(result, fail_on, one_process)), fail_on)
    failures = (
        *_strategy(expectation, result, one_process),
        *_bound(expectation, result),
        *_speedup(expectation, result),
        *gil_gates.failures(expectation, result, fail_on),
        *_ended_badly(result, fail_on, one_process),
        *_undecided(expectation, result, fail_on),
    )
    rounds = result.serial.rounds or 0
    loop, scaling = loop_gate.check(expectation.max_loop_block, result), scaling_gate.check(expectation, result)
    if failures or loop.failures or scaling.failures:
        wants_rounds = bool(failures) and rounds not in ROUNDS_TO_FAIL
        return Gating(failures=(*failures, *loop.failures, *scaling.failures), wants_rounds=wants_rounds)
    return Gating(
        cautions=(*_unchecked(expectation, result), *loop.cautions, *scaling.cautions),
        wants_rounds=_is_open(expectation, result, rounds),
    )


# What a marker expects


def _strategy(expectation: Expectation, result: WorkloadResult, one_process: frozenset[str]) -> Iterator[Failure]:
    """Fail where a strategy is advised that was not expected, and each that was is excluded."""
    expected, advised = reached.parts(expectation.strategies, result), result.verdict.strategy
    if not expected or advised in expected:
        return
    useless = [f"{name} {part.outcome}" for name, part in expected.items() if reached.gives_nothing(part)]
    if advised == INCONCLUSIVE:
        excluded = len(useless) == len(expected)
    else:
        excluded = not margins.possible_strategies(result) & expected.keys()
    if excluded:
        yield Failure(
            expected=" or ".join(expected),
            found=", ".join(useless) if advised == INCONCLUSIVE else advised,
            evidence=result.verdict.reason,
            remedy=_remedy(expected, advised, one_process, awaited=result.event_loop is not None),
        )


def _remedy(expected: dict[str, StrategyResult], advised: str, one_process: frozenset[str], *, awaited: bool) -> str:
    for name, part in expected.items():
        if part.outcome is not Outcome.OK:
            return f"{name} {reached.ended(part)}; fix that, or drop expect={name!r}"
    if expected.keys() & one_process and advised not in one_process | {SERIAL}:
        if awaited:
            return f"await what blocks the event loop, or expect {advised!r}"
        return f"let the work release the GIL again, take a lock away from around it, or expect {advised!r}"
    if advised == SERIAL:
        return "make each call do more work, or expect 'serial'"
    return f"find what changed in the evidence, or expect {advised!r}"


def _bound(expectation: Expectation, result: WorkloadResult) -> Iterator[Failure]:
    expected = expectation.bound
    if expected is None or result.serial is None or expected in margins.possible_bounds(result):
        return
    used = result.serial.utilization
    found = bound_at(used.value)
    yield Failure(
        expected=f"expect_bound={expected.value!r}",
        found=repr(found.value),
        evidence=f"a call uses {numbers.percent(used.low)} to {numbers.percent(used.high)} of one core; io is under "
        f"{numbers.percent(IO_BELOW)}, cpu over {numbers.percent(CPU_ABOVE)}",
        remedy=f"find what the calls now {'wait for' if found is Bound.IO else 'compute'}, or expect {found.value!r}",
    )


def _speedup(expectation: Expectation, result: WorkloadResult) -> Iterator[Failure]:
    """Fail where every strategy that may give the speed-up is certain to stay under it."""
    least, among = expectation.min_speedup, reached.each(expectation, result)
    if least is None or any(one.ends is None or one.ends[1] >= least for one in among.values()):
        return
    yield Failure(
        expected=f"min_speedup={least:g} of {' or '.join(among)}",
        found=", ".join(one.gave for one in among.values()),
        evidence=result.verdict.reason,
        remedy="; ".join(dict.fromkeys(one.remedy for one in among.values())),
    )


# What a session forbids


def _ended_badly(result: WorkloadResult, fail_on: frozenset[FailOn], one_process: frozenset[str]) -> Iterator[Failure]:
    ends: list[tuple[str, StrategyResult | BadEnd]] = [*result.parallel.items()]
    ends += [(end.strategy, end) for end in result.bad_ends]
    for name, end in ends:
        if FailOn.UNSAFE in fail_on and name in one_process and end.outcome in BROKEN:
            yield _broke(f"safe in {name}", name, end)
        elif FailOn.HUNG in fail_on and end.outcome is Outcome.HUNG:
            yield _broke("no hanging", name, end)


def _broke(expected: str, name: str, end: StrategyResult | BadEnd) -> Failure:
    return Failure(
        expected=expected,
        found=f"{end.outcome} in {name}",
        evidence=end.error or "no further detail",
        remedy=f"fix it, or leave {name} out with strategies=; --gilprobe-fail-on asked for this failure",
    )


def _undecided(expectation: Expectation, result: WorkloadResult, fail_on: frozenset[FailOn]) -> Iterator[Failure]:
    if FailOn.INCONCLUSIVE not in fail_on:
        return
    if result.verdict.strategy == INCONCLUSIVE:
        yield _inconclusive(result.verdict.reason)
    elif expectation.bound is not None and result.verdict.bound is Bound.INCONCLUSIVE:
        yield _inconclusive(f"what the calls are bound by is open: {result.verdict.reason}")


def _inconclusive(reason: str) -> Failure:
    return Failure(
        expected="a verdict",
        found=INCONCLUSIVE,
        evidence=reason,
        remedy="do what the evidence names, or take 'inconclusive' out of --gilprobe-fail-on",
    )


def _unmeasured(
    expectation: Expectation, result: WorkloadResult, ended: tuple[Failure, ...], fail_on: frozenset[FailOn]
) -> Gating:
    why = result.reason or result.verdict.reason
    began = result.status is not Status.NOT_PROBED or result.probe_time_s > 0
    if not ended and FailOn.INCONCLUSIVE in fail_on and (began or expectation.says_anything):
        ended = (_inconclusive(why),)
    unchecked = expectation.says_anything and not ended
    return Gating(failures=ended, cautions=(_caution(expectation, result, summary(why)),) if unchecked else ())


# What could not be checked


def _unchecked(expectation: Expectation, result: WorkloadResult) -> Iterator[Caution]:
    """Find the first thing that a marker expects and that was neither confirmed nor refuted."""
    verdict, least, among = result.verdict, expectation.min_speedup, reached.each(expectation, result).values()
    if expectation.strategies and verdict.strategy not in expectation.strategies:
        left = reached.parts(margins.possible_strategies(result) & expectation.strategies, result)
        may = [reached.may_give(name, part, result) for name, part in left.items()]
        yield _caution(expectation, result, ", ".join([f"the verdict is {verdict.strategy}", *may]))
    elif expectation.bound is not None and verdict.bound is not expectation.bound:
        low, high = margins.widened_share(result.serial.utilization) if result.serial is not None else (0.0, 1.0)
        uses = f"a call uses {numbers.percent(low)} to {numbers.percent(min(high, 1.0))} of one core"
        yield _caution(expectation, result, f"the bound is {verdict.bound}, {uses}")
    elif least is not None and all(one.value is None or one.value < least for one in among):
        yield _caution(expectation, result, f"found {'; '.join(one.room for one in among)}")
    else:
        for why in gil_gates.unchecked(expectation, result):
            yield _caution(expectation, result, why)


def _is_open(expectation: Expectation, result: WorkloadResult, rounds: int) -> bool:
    """Tell whether more rounds should decide what the evidence contradicts and does not exclude.

    What clearly contradicts the expectation is measured on as long as there is time. A speed-up near the one asked for
    gets a fixed number of rounds: more do not settle a workload that is just what was expected.
    """
    verdict, least = result.verdict, expectation.min_speedup
    other_strategy = bool(expectation.strategies) and verdict.strategy not in {*expectation.strategies, INCONCLUSIVE}
    other_bound = expectation.bound is not None and verdict.bound not in {expectation.bound, Bound.INCONCLUSIVE}
    other = other_strategy or other_bound or gil_gates.is_open(expectation, result)
    if other or least is None:
        return other
    among = [one for name, one in reached.each(expectation, result).items() if name != SERIAL]
    known = [(one.value, one.ends) for one in among if one.value is not None and one.ends is not None]
    if not known or any(low >= least for _, (low, _) in known):
        return False
    return rounds < NEAR_ROUNDS or all(value < least / NEAR for value, _ in known)


def _caution(expectation: Expectation, result: WorkloadResult, why: str) -> Caution:
    wanted = []
    if expectation.strategies:
        wanted.append(f"expect={' or '.join(reached.parts(expectation.strategies, result))}")
    if expectation.bound is not None:
        wanted.append(f"expect_bound={expectation.bound.value!r}")
    if expectation.min_speedup is not None:
        wanted.append(f"min_speedup={expectation.min_speedup:g}")
    wanted += gil_gates.limits(expectation)
    if expectation.max_loop_block is not None and result.serial is None:
        wanted.append(f"max_loop_block={expectation.max_loop_block:g}")
    if expectation.scales_to is not None and result.serial is None:
        wanted.append(f"scales_to={expectation.scales_to}")
    return unchecked(f"{' and '.join(wanted)} is not decided, so the test passes: {why}")

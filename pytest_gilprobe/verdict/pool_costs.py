"""Tell whether a verdict depends on what executors cost: dispatching calls, and moving their data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.thresholds import WORTH_IT
from pytest_gilprobe.model.words import SERIAL
from pytest_gilprobe.stats import dispatch, reduce
from pytest_gilprobe.verdict.kept import DISPATCH_FACTOR, at_cost
from pytest_gilprobe.verdict.rule import at_corners, rule

if TYPE_CHECKING:
    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.readings import Evidence
    from pytest_gilprobe.model.results import StrategyResult, Transfer
    from pytest_gilprobe.stats.dispatch import PoolInputs
    from pytest_gilprobe.strategies.contract import Strategy

MOVES_MUCH = 0.1
"""If moving a call's data takes more than this share of the call's time, a predicted speed-up of an executor is not
enough for a verdict: it is known how long pickling takes, but not how pickling and the calls slow each other down."""
TAKES_MUCH = 0.1
"""Calls are also timed in executors if an executor is predicted to lose more than this share of the speed-up of bare
calls (calls without an executor)."""


def pool_inputs(evidence: Evidence, strategy: Strategy) -> PoolInputs:
    """Collect the inputs from which a strategy's speed-up in an executor is predicted."""
    return reduce.pool_inputs(strategy, evidence.measurement, evidence.machine, evidence.serial, evidence.gil)


def moved_s(part: StrategyResult, transfer: Transfer | None) -> float:
    """Return the seconds that an executor takes to move one call's arguments and result; 0 if none, or if unknown.

    ``part`` is the strategy's result, ``transfer`` the measured times to move the data. The result is
    ``part.transfer_s_per_call``. But if that equals ``transfer.pipe_s`` (the time of a round trip through a pipe), the
    result is ``transfer.parent_s + transfer.worker_s``, which leaves out the cost of an empty message.
    """
    if part.transfer_s_per_call is None or transfer is None or part.transfer_s_per_call != transfer.pipe_s:
        return part.transfer_s_per_call or 0.0
    return transfer.parent_s + transfer.worker_s


def in_larger_tasks(part: StrategyResult, call_s: float, transfer: Transfer | None) -> float:
    """Return the highest speed-up that an executor may give if its tasks are so large that dispatch costs nothing.

    A large task makes many calls; moving the data still adds to the time of each call. ``part`` is the strategy's
    result; if it has no speed-up, 0 is returned. ``call_s`` is the seconds of a serial call. ``transfer`` has the
    measured times to move a call's data through a pipe; ``None`` if they were not measured.
    """
    if part.speedup is None or call_s <= 0:
        return 0.0
    return part.speedup.high * call_s / (call_s + moved_s(part, transfer))


def gaining_in_larger_tasks(evidence: Evidence) -> list[Strategy]:
    """List the strategies that may be worth it (1.3x or more) in tasks so large that dispatch costs nothing."""
    call_s, transfer = evidence.serial.call_s.value, evidence.measurement.transfer
    results = evidence.results
    return [one for one in evidence.strategies if in_larger_tasks(results[one.name], call_s, transfer) >= WORTH_IT]


def outweighed_by_moving_s(evidence: Evidence) -> float | None:
    """Return the seconds to move a call's data, if moving data keeps a strategy's speed-up below 1.3x; else ``None``.

    Without an executor, the strategy's calls may reach 1.3x. In an executor, they do not, however many calls each task
    makes, since their data has to be moved. If this is so for several strategies, the shortest time is returned.
    """
    larger, results = gaining_in_larger_tasks(evidence), evidence.results
    held_up = (results[one.name] for one in evidence.strategies if one not in larger)
    moved = (
        moved_s(part, evidence.measurement.transfer)
        for part in held_up
        if part.speedup is not None and part.speedup.high >= WORTH_IT
    )
    return min(moved, default=None)


def dispatch_s(evidence: Evidence) -> dict[Strategy, float]:
    """Return the seconds that an executor takes to dispatch one call, for each strategy for which this is known.

    For an executor that the user named, this time was measured in this probe; for others, before it.
    """
    known = {
        strategy: evidence.results[strategy.name].dispatch_s_per_call
        if strategy.through_executor
        else dispatch.dispatch_s(evidence.costs_s(strategy))
        for strategy in evidence.strategies
    }
    return {strategy: cost for strategy, cost in known.items() if cost is not None}


def left_open(evidence: Evidence) -> set[str]:
    """Return the strategies among which timing more calls cannot decide, as executors' costs are known only roughly.

    Each of these strategies could be the best one even if the times of the calls were known exactly. The set is empty
    if exact times would leave only one strategy.
    """
    serial, held = evidence.serial, evidence.gil.held_fraction
    exact = replace(
        evidence,
        results={
            **evidence.results,
            SERIAL: replace(
                serial, wall_s_per_call=_exactly(serial.call_s), cpu_s_per_call=_exactly(serial.call_cpu_s)
            ),
        },
        gil=replace(evidence.gil, held_fraction=_exactly(held) if held is not None else None),
    )
    ends = {}
    for strategy in evidence.strategies:
        part = evidence.results[strategy.name]
        if part.pool_rounds and part.pool_speedup is not None:
            ends[strategy.name] = (part.pool_speedup.low, part.pool_speedup.high)
        elif part.speedup is not None and evidence.costs_s(strategy) is not None:
            pool = strategy.in_pool(_exactly(part.speedup), pool_inputs(exact, strategy))
            ends[strategy.name] = (pool.low, pool.high)
    found = at_corners(ends)
    return found if len(found) > 1 else set()


def _exactly(estimate: Estimate) -> Estimate:
    return replace(estimate, low=estimate.value, high=estimate.value)


def certainly_pays(evidence: Evidence, part: StrategyResult) -> bool:
    """Return whether a strategy certainly gives 1.3x or more, even if its executor costs twice what is predicted.

    ``part`` is the strategy's result. If the speed-up is only predicted, and moving data takes more than 10 % of a
    call's time (the share `MOVES_MUCH`), the result is ``False``.
    """
    pool = part.pool_speedup
    if pool is None or pool.low * at_cost(part, DISPATCH_FACTOR) < WORTH_IT:
        return False
    moved_s = part.transfer_s_per_call or 0.0
    measured = part.pool_rounds > 0 or part.executor is not None
    return measured or moved_s <= evidence.serial.call_s.value * MOVES_MUCH


def tried(evidence: Evidence) -> bool:
    """Return whether any speed-up was measured, not predicted, in an executor other than one that the user named."""
    return any(part.pool_rounds for part in evidence.results.values())


def matter(evidence: Evidence) -> bool:
    """Return whether the costs of executors may change the answer, so that calls should be timed in executors now.

    This is so if an executor is predicted to lose more than 10 % (the share `TAKES_MUCH`) of the speed-up that calls
    have without an executor. The result is ``False`` if a speed-up was already measured in an executor.
    """
    if tried(evidence):
        return False
    pairs = [(part.speedup, part.pool_speedup) for part in evidence.results.values()]
    return any(bare and pool and pool.value < bare.value * (1 - TAKES_MUCH) for bare, pool in pairs)


def decide(evidence: Evidence, name: str) -> bool:
    """Return whether the strategy ``name`` is the best one only if executors cost about what is predicted.

    The result is ``True`` if another strategy would be the best one with executors that cost half or twice as much. It
    is also ``True`` if moving data takes more than 10 % (`MOVES_MUCH`) of a call's time, unless the user named the
    executor. The result is always ``False`` after a speed-up was measured in an executor (`tried`).
    """
    part = evidence.results[name]
    if tried(evidence):
        return False
    moved_s = part.transfer_s_per_call or 0.0
    if part.executor is None and moved_s > evidence.serial.call_s.value * MOVES_MUCH:
        return True
    return any(_answer_at(evidence, factor) != name for factor in (1 / DISPATCH_FACTOR, DISPATCH_FACTOR))


def _answer_at(evidence: Evidence, factor: float) -> str:
    """Return the answer of the rule if executors cost so many times what is predicted."""
    gains = {}
    for strategy in evidence.strategies:
        part = evidence.results[strategy.name]
        if part.pool_speedup is not None:
            gain = part.pool_speedup.value * at_cost(part, factor)
            gains[strategy.name] = min(gain, evidence.at_once(strategy.name))
    return rule(gains)

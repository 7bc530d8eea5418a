"""What executors cost, as far as a verdict hangs on it: predicted costs, and data that is moved, leave it open."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.words import SERIAL
from pytest_gilprobe.stats import reduce
from pytest_gilprobe.verdict.kept import DISPATCH_FACTOR, at_cost
from pytest_gilprobe.verdict.rule import at_corners, rule

if TYPE_CHECKING:
    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.readings import Evidence
    from pytest_gilprobe.stats.dispatch import PoolInputs
    from pytest_gilprobe.strategies.contract import Strategy

MOVES_MUCH = 0.1
"""Share of a call's time from which moving its data decides. Process pools that moved 4 to 6 MB a call were predicted
1.2x to 1.4x where real ones gave 0.4x to 0.65x."""
TAKES_MUCH = 0.1
"""Share of a speed-up from which what an executor costs is worth to be measured in a real one."""


def pool_inputs(evidence: Evidence, strategy: Strategy) -> PoolInputs:
    """Collect the inputs from which a strategy's speed-up in an executor is predicted."""
    return reduce.pool_inputs(strategy, evidence.measurement, evidence.machine, evidence.serial, evidence.gil)


def left_open(evidence: Evidence) -> set[str]:
    """Return the answers that what executors cost leaves open, were the calls known exactly; empty if it is one.

    What dispatch costs is measured once a session, and what real executors give in rounds of their own: rounds more of
    the calls do not tell it better.
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


def tried(evidence: Evidence) -> bool:
    """Tell whether rounds in real executors have shown what they give."""
    return any(part.pool_rounds for part in evidence.results.values())


def matter(evidence: Evidence) -> bool:
    """Tell whether executors are predicted to take so much of a speed-up that real ones tell more than bare calls."""
    if tried(evidence):
        return False
    pairs = [(part.speedup, part.pool_speedup) for part in evidence.results.values()]
    return any(bare and pool and pool.value < bare.value * (1 - TAKES_MUCH) for bare, pool in pairs)


def decide(evidence: Evidence, name: str) -> bool:
    """Tell whether a strategy is the answer only if executors cost what is predicted, which no real one has shown yet.

    Dispatching and moving data may cost half or twice as much. Where data takes a good part of a call, its answer is
    never taken from a prediction: the CPU time of pickling is known, but not how it and the calls slow each other down.
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

"""Choose the numbers of workers with which a strategy's throughput is measured: the user's, a gate's, or 1, 2, 4 ...

A gate is a number of workers: the user's marker expects that the throughput of the test grows up to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.model.scaling import Scaling
from pytest_gilprobe.model.values import doublings, doublings_to
from pytest_gilprobe.stats import scaling
from pytest_gilprobe.verdict import scaling_gate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_gilprobe.model.ladder import Ladder
    from pytest_gilprobe.model.settings import Plan
    from pytest_gilprobe.strategies.contract import Strategy


def counts_for(
    strategy: Strategy, plan: Plan, found: Mapping[str, Ladder], cpus: int, busy: float
) -> tuple[Sequence[int], bool]:
    """Return the numbers of workers with which a strategy's throughput is measured, and whether some may be left out.

    The numbers are in ascending order. They always include 1, since gains are relative to one worker. The second value
    is true if measuring may stop at a number that gains hardly anything; it is false if the user chose the numbers.

    Args:
        strategy: the strategy to measure.
        plan: says which numbers the user chose, and up to which number the user expects throughput to grow (a gate).
        found: the throughputs that were measured before, by the strategy's name. If they show already that the gate is
            met, ``strategy`` gets no more processes than without a gate, since starting processes takes long.
        cpus: the number of usable CPUs.
        busy: the share of its time for which a call computes, from 0 to 1.
    """
    auto = doublings(strategy.most_lanes(cpus, busy), cpus)
    if not plan.scale:
        return auto, True
    wanted = plan.expectation.scales_to
    of_gate = wanted is not None and plan.scale == doublings_to(wanted)
    if wanted is not None and of_gate and not strategy.one_process and _reached(plan, wanted, found):
        return [count for count in plan.scale if count <= auto[-1]], True
    return sorted({1, *plan.scale}), of_gate


def _reached(plan: Plan, wanted: int, found: Mapping[str, Ladder]) -> bool:
    """Return whether a strategy that the gate accepts was seen to scale so far."""
    accepted = plan.expectation.strategies or found
    return any(
        name in accepted and scaling_gate.reaches(Scaling(points=scaling.points_of(ladder.steps)), wanted)
        for name, ladder in found.items()
    )

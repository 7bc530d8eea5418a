"""Choose the numbers of workers with which a ladder is measured: the user's, those of a gate, or 1, 2, 4 ..."""

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
    """Return the numbers of workers of a strategy's ladder, the fewest first, and whether it may end early.

    It may end early where more workers gain nothing. One worker is always among the numbers, since gains are relative
    to one. Numbers that the user names in ``plan`` are all tried; those of a gate are tried up to where throughput
    stops growing. ``found`` has the ladders measured before. If one of these has shown what the gate asks for,
    processes go only as far as without the gate, since each is a whole pytest session, whose start is no part of a
    ladder's time. ``cpus`` is the number of usable CPUs, and ``busy`` the share of its time for which a call computes.
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

"""Choose the numbers of workers of a ladder: the user's, a gate's, or doublings."""

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
    """Return the numbers of workers, the fewest first, and whether the ladder may end where more gain nothing.

    One worker is always there, since gains are over one. Numbers that the user names are all tried; those of a gate up
    to where throughput stops growing. Where a strategy found before has shown what the gate asks for, processes go only
    as far as they would without it: each is a whole pytest session, whose start is no part of a ladder's time.
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

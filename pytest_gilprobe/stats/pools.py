"""Estimate speed-ups from calls that were made through real executors of the standard library.

Such a speed-up needs no prediction: it is what a user's executor gives, with the costs of dispatch and of moving data.
It is the ratio of two series of calls made close in time (a round), so a machine that gets slower or faster cancels
out. Other programs do not cancel out: they take CPUs from an executor's workers more than from serial calls. So on a
busy machine these rounds do not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.stats import dispatch, estimates
from pytest_gilprobe.stats.rounds import CROWDED

if TYPE_CHECKING:
    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.readings import Measurement
    from pytest_gilprobe.stats.dispatch import PoolInputs
    from pytest_gilprobe.strategies.contract import Strategy

FEWEST_ROUNDS = 6
"""Fewest rounds (serial calls and calls through real executors, timed in turn) from which a speed-up is estimated:
robust estimators need five, and one may be slow as caches are still cold."""
MOST_ROUNDS = 40
"""Largest number of rounds (serial calls and calls through real executors, timed in turn) that are made: one more round
narrows the interval of a speed-up by less than 2 %."""

SURELY_CROWDED = 0.25
"""Share of the CPUs' time. If other programs use more than this during `ROUNDS_TO_BE_SURE` rounds, no more rounds are
made, as none would count. The system counts the time of CPUs in steps of 10 ms, so a smaller share would be uncertain
after so few rounds."""
ROUNDS_TO_BE_SURE = 3
"""Number of rounds (serial calls and calls through real executors, timed in turn) after which it may be certain that
other programs use the CPUs. Two may be so short that steps of the system's clock decide."""


class InExecutor(NamedTuple):
    """A speed-up in an executor: measured with calls made through it, or predicted from calls made without it.

    ``rounds`` is how often serial calls and calls through the executor were timed in turn; 0 if the speed-up is
    predicted. ``at_worst`` and ``at_best`` bound a prediction that was made on a busy machine. They are ``None`` if
    there is no such bound, as on a calm machine, or if the speed-up was measured.
    """

    speedup: Estimate
    at_worst: Estimate | None = None
    at_best: Estimate | None = None
    rounds: int = 0


def in_executor(
    strategy: Strategy,
    gains: tuple[Estimate, Estimate | None, Estimate | None],
    inputs: PoolInputs,
    measurement: Measurement,
) -> InExecutor:
    """Return the speed-up in a strategy's executor: measured if calls were made through it, else predicted.

    The prediction is made from ``inputs`` and ``gains``. ``gains`` has the speed-up of calls made without an executor,
    and its bounds at worst and at best on a busy machine; a bound is ``None`` if there is none.
    """
    measured = speedup(measurement, strategy.name)
    if measured is not None:
        return InExecutor(measured, rounds=len(measurement.pool_rounds))
    likely, worst, best = gains
    at_worst, at_best = (None if one is None else strategy.in_pool(one, inputs) for one in (worst, best))
    return InExecutor(strategy.in_pool(likely, inputs), at_worst, at_best)


def speedup(measurement: Measurement, name: str) -> Estimate | None:
    """Return the speed-up that was measured in a real executor of the strategy ``name``, at most the number of workers.

    The result is ``None`` if serial calls and the executor's calls were timed in turn in fewer than 6 rounds
    (`FEWEST_ROUNDS`), or if other programs used more than a tenth of the CPUs.
    """
    ratios = [
        one.alone.s_per_call / one.pooled[name].s_per_call for one in measurement.pool_rounds if name in one.pooled
    ]
    if len(ratios) < FEWEST_ROUNDS or is_crowded(measurement):
        return None
    found = estimates.positive_centre(ratios, estimates.LEAST_NOISE)
    return dispatch.capped(found, float(measurement.workers))


def is_crowded(measurement: Measurement) -> bool:
    """Return whether other programs used more than a tenth of the CPUs while calls in real executors were timed."""
    return _share_of_others(measurement) > CROWDED


def _share_of_others(measurement: Measurement) -> float:
    counted = sum(one.cpus_ns for one in measurement.pool_rounds)
    others = sum(one.cpus_ns - one.cpus_idle_ns - one.own_cpu_ns for one in measurement.pool_rounds)
    return others / counted if counted > 0 else 0.0


def may_tell_more(measurement: Measurement) -> bool:
    """Return whether it is of use to time calls in real executors once more.

    A round has serial calls and calls in the executors, timed in turn. The result is false after 40 (`MOST_ROUNDS`)
    rounds, or if rounds were ended early, as by an error. It is also false if other programs used more than a tenth of
    the CPUs during 6 (`FEWEST_ROUNDS`) or more rounds, or more than a quarter (`SURELY_CROWDED`) during 3 or more.
    """
    made, others = len(measurement.pool_rounds), _share_of_others(measurement)
    if measurement.pools_ended is not None or made >= MOST_ROUNDS:
        return False
    if made >= ROUNDS_TO_BE_SURE and others > SURELY_CROWDED:
        return False
    return made < FEWEST_ROUNDS or others <= CROWDED

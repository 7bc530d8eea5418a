"""List the strategies that may be the right advice by the evidence, each with its probability."""

from __future__ import annotations

import math
import random
from collections import Counter
from statistics import NormalDist
from typing import TYPE_CHECKING

from pytest_gilprobe.model.words import INCONCLUSIVE, Outcome
from pytest_gilprobe.verdict.rule import Interval, rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.readings import Evidence

DRAWS = 1000
"""How many times the speed-ups of all strategies are drawn at random to estimate the probability that a strategy is the
right advice. Two standard errors of such a probability are at most 0.03."""
LEAST = 0.01
"""A strategy is left out of the possible answers if the probability that it is the right advice is lower than this."""


def intervals(evidence: Evidence, *, slowed: float = 1.0) -> dict[str, Interval]:
    """Return the interval of each strategy's speed-up in an executor, by the strategy's name, in order of `rank`.

    The lowest `rank` costs least beside the calls. A strategy that makes N calls at a time cannot be more than N times
    as fast as serial calls, so its interval does not reach above N. A strategy that there was no time to try gets the
    interval from 0 to N. A strategy that was not asked for, cannot be tried or did not work is left out. ``slowed`` is
    the factor by which the serial calls are assumed to have been slowed down; all speed-ups are divided by it.
    """
    found = {}
    for strategy in evidence.strategies:
        part, most = evidence.results[strategy.name], evidence.at_once(strategy.name)
        if part.pool_speedup is not None:
            low, high = part.pool_speedup.low / slowed, part.pool_speedup.high / slowed
            found[strategy.name] = (min(low, most), min(high, most))
        elif part.outcome is Outcome.SKIPPED and strategy.name in evidence.measurement.no_time_for:
            found[strategy.name] = (0.0, most)
    return found


def left(evidence: Evidence, strategy: str) -> Mapping[str, float]:
    """Return the strategies that may be the right advice, each with its probability; the probabilities add up to 1.

    If the verdict's ``strategy`` is not *inconclusive*, the result has only that strategy. Otherwise all speed-ups are
    drawn at random 1000 times (`DRAWS`), independently of each other, and `rule` chooses a strategy for each draw by
    these speed-ups. A strategy that is chosen in less than 1 % of the draws (`LEAST`) is left out. A measured speed-up
    is drawn from a log-normal distribution that fits its interval. A speed-up that was not measured or may be 0 is
    drawn uniformly from its range in `intervals`. The result is empty if no strategy has a range, or if only one
    strategy is left: then the speed-ups are not what makes the verdict inconclusive.
    """
    if strategy != INCONCLUSIVE:
        return {strategy: 1.0}
    chance, spans = random.Random(0), intervals(evidence)  # noqa: S311 - the same evidence, the same answer
    votes = Counter(
        rule({name: _draw(evidence.results[name].pool_speedup, span, chance) for name, span in spans.items()})
        for _ in range(DRAWS if spans else 0)
    )
    kept = {name: number for name, number in votes.most_common() if number >= DRAWS * LEAST}
    if len(kept) == 1:  # the intervals decide, and are not believed: then nothing is known
        return {}
    return {name: number / sum(kept.values()) for name, number in kept.items()}


def _draw(estimate: Estimate | None, span: Interval, chance: random.Random) -> float:
    """Draw a speed-up: from a uniform distribution where it was not measured."""
    low, high = span
    if estimate is None or estimate.low <= 0:
        return chance.uniform(low, high)
    reach = NormalDist().inv_cdf((1 + estimate.confidence) / 2)
    standard = chance.gauss(0, 1)
    end = estimate.high if standard > 0 else estimate.low
    away = math.log(end / estimate.value) * abs(standard) / reach
    return min(high, estimate.value * math.exp(min(away, math.log(max(high / estimate.value, 1.0)))))

"""The rule that chooses a strategy by the speed-ups of executors: from known values, and from intervals."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from pytest_gilprobe.model.thresholds import CLOSE, WORTH_IT
from pytest_gilprobe.model.words import SERIAL

Interval = tuple[float, float]


def rule(gains: Mapping[str, float]) -> str:
    """Return the least costly strategy whose speed-up is within 15 % of the highest; serial if none reaches 1.3.

    ``gains`` maps each strategy's name to its known speed-up in an executor, 0 if it cannot be used. The least costly
    strategy comes first (threads before processes).
    """
    best = max(gains.values(), default=0.0)
    if best < WORTH_IT:
        return SERIAL
    return next(name for name, gain in gains.items() if gain * CLOSE >= best)


def at_corners(intervals: Mapping[str, Interval]) -> set[str]:
    """Return all strategies that `rule` chooses if each speed-up is at the low or the high end of its interval.

    All combinations of these ends are tried. ``intervals`` has the interval of each strategy's speed-up in an executor,
    by the strategy's name, the least costly strategy first (threads before processes).
    """
    return {rule(dict(zip(intervals, corner, strict=True))) for corner in product(*intervals.values())}

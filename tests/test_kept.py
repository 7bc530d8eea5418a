"""How much of a ratio of bare calls executors keep: exactly, at most, or within what their costs may be."""

from __future__ import annotations

import pytest
from evidence import estimate

from pytest_gilprobe.model.results import StrategyResult
from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.verdict.kept import kept_in_pools


def tried(bare: float, pool: float | None, rounds: int = 0) -> StrategyResult:
    """A strategy that was measured: its speed-up for bare calls, and in an executor."""
    inside = None if pool is None else estimate(pool)
    return StrategyResult(outcome=Outcome.OK, speedup=estimate(bare), pool_speedup=inside, pool_rounds=rounds)


def test_executors_that_cost_little_change_the_ratio_by_what_they_keep() -> None:
    """Both keep nearly all: the ratio in executors is known."""
    assert kept_in_pools(tried(2.0, 2.0), tried(2.0, 1.92)) == (0.96, 0.96)


def test_a_dearer_strategy_that_keeps_less_loses() -> None:
    """How much, a prediction does not tell: between all and nothing."""
    assert kept_in_pools(tried(2.0, 1.8), tried(2.0, 1.2)) == (0.0, 1.0)


def test_a_dearer_strategy_that_keeps_more_gains_within_bounds() -> None:
    """Processes keep 1 / 1.10, interpreters 1 / 1.02: at twice and half the costs, the ratio is 1.01 to 1.19."""
    low, high = kept_in_pools(tried(2.0, 2.0 / 1.10), tried(2.0, 2.0 / 1.02)) or (0.0, 0.0)
    assert low == 1.0
    assert high == pytest.approx(1.20 / 1.01)
    low, high = kept_in_pools(tried(2.0, 2.0 / 1.10), tried(2.0, 2.0 / 1.06)) or (0.0, 0.0)
    assert low == pytest.approx(1.05 / 1.12)
    assert high == pytest.approx(1.20 / 1.03)


def test_what_real_executors_showed_is_no_prediction() -> None:
    """Measured in rounds, both factors are known."""
    low, high = kept_in_pools(tried(2.0, 2.0 / 1.10, rounds=8), tried(2.0, 2.0 / 1.02, rounds=8)) or (0.0, 0.0)
    assert low == 1.0
    assert high == pytest.approx(1.10 / 1.02)


@pytest.mark.parametrize("pool", [None, 0.0])
def test_unknown_speedups(pool: float | None) -> None:
    """Without a speed-up in both executors, or with none at all, nothing is known."""
    assert kept_in_pools(tried(2.0, pool), tried(2.0, 1.9)) is None

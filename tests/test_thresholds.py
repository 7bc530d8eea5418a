"""`pytest_gilprobe.model.thresholds`: the words, and how far an interval leaves them open."""

from __future__ import annotations

import pytest
from evidence import estimate
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model.thresholds import gil_at, gil_words
from pytest_gilprobe.model.words import Gil

RELEASED, PARTIAL, HELD = Gil.RELEASED, Gil.PARTIAL, Gil.HELD
SHARES = st.floats(0, 1)


@pytest.mark.parametrize(
    ("held", "used", "words"),
    [
        ((0.0, 0.1), (1.0, 1.0), (RELEASED,)),
        ((0.1, 0.3), (1.0, 1.0), (RELEASED, PARTIAL)),
        ((0.7, 0.9), (1.0, 1.0), (PARTIAL, HELD)),
        ((0.1, 0.9), (1.0, 1.0), (RELEASED, PARTIAL, HELD)),
        ((0.3, 0.3), (0.30, 0.34), (PARTIAL,)),
        ((0.3, 0.3), (0.36, 0.37), (HELD,)),
        ((0.3, 0.3), (0.34, 0.37), (PARTIAL, HELD)),
        ((0.15, 0.2), (0.34, 0.5), (RELEASED, PARTIAL)),
    ],
)
def test_words_that_an_interval_leaves_open(
    held: tuple[float, float], used: tuple[float, float], words: tuple[Gil, ...]
) -> None:
    """Every word between that of the least and that of the most is possible, whatever the share is compared with."""
    assert gil_words(estimate(sum(held) / 2, *held), *used) == words


@given(shares=st.tuples(SHARES, SHARES, SHARES), used=st.tuples(SHARES, SHARES), where=SHARES)
def test_word_of_any_point_is_among_those_left_open(
    shares: tuple[float, float, float], used: tuple[float, float], where: float
) -> None:
    """A share and a utilization inside their intervals never have a word that was not listed."""
    low, value, high = sorted(shares)
    least, most = sorted(used)
    inside = estimate(value)
    words = gil_words(estimate(value, low, high), least, most)
    assert gil_at(inside, min(most, least + where * (most - least))) in words


def test_interval_across_one_limit_keeps_the_word_of_its_value() -> None:
    """A word does not change with the noise of the machine unless all three are possible."""
    assert gil_at(estimate(0.25, 0.15, 0.35), 1.0) is PARTIAL
    assert gil_at(estimate(0.85, 0.5, 1.0), 1.0) is HELD
    assert gil_at(estimate(0.5, 0.19, 0.81), 1.0) is Gil.UNKNOWN

"""`pytest_gilprobe.verdict.candidates`: the answers that are left, with their probabilities."""

from __future__ import annotations

import pytest
from evidence import estimate, evidence, measurement
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model.results import StrategyResult
from pytest_gilprobe.model.words import INCONCLUSIVE, Outcome
from pytest_gilprobe.verdict import candidates


def test_a_decided_verdict_has_one_candidate() -> None:
    """What is decided is certain."""
    assert candidates.left(evidence(), "processes") == {"processes": 1.0}


def test_an_open_verdict_weighs_what_is_left() -> None:
    """Threads at the line of 15 % under processes are as likely the answer as not."""
    found = candidates.left(evidence(estimate(1.6, 1.5, 1.7), estimate(1.84, 1.8, 1.88)), INCONCLUSIVE)
    assert set(found) == {"threads", "processes"}
    assert found["threads"] == pytest.approx(0.5, abs=0.1)


def test_what_time_did_not_allow_may_be_anything() -> None:
    """A strategy that was not tried for want of time may be any answer; one that cannot be tried is none."""
    untried = StrategyResult(outcome=Outcome.SKIPPED, error="no time")
    seen = measurement(no_time_for=frozenset({"processes"}))
    assert set(candidates.left(evidence(1.0, untried, seen=seen), INCONCLUSIVE)) == {"serial", "processes"}


def test_what_is_not_believed_has_no_candidates() -> None:
    """An open verdict is never certain: without speed-ups, or with intervals that are not believed, none is left."""
    assert candidates.left(evidence(None, None), INCONCLUSIVE) == {}
    assert candidates.left(evidence(1.0, 1.0), INCONCLUSIVE) == {}


@given(low=st.floats(0.1, 2), width=st.floats(1, 2), other=st.floats(0.1, 2))
def test_probabilities_add_up_to_1(low: float, width: float, other: float) -> None:
    """Whatever is left, the probabilities are a distribution, the likeliest first."""
    found = candidates.left(evidence(estimate(low * width, low, low * width**2), estimate(other)), INCONCLUSIVE)
    assert len(found) != 1
    assert sum(found.values()) == pytest.approx(1.0 if found else 0.0)
    assert list(found.values()) == sorted(found.values(), reverse=True)

"""`pytest_gilprobe.verdict.scaling_gate`: ``scales_to`` fails only on what the curves exclude."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evidence import evidence
from fake_workers import plan
from test_stats_scaling import points

from pytest_gilprobe.model import values
from pytest_gilprobe.model.scaling import Scaling
from pytest_gilprobe.model.settings import Expectation
from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.verdict import expectations, scaling_gate
from pytest_gilprobe.verdict.gating import Gating
from pytest_gilprobe.verdict.results import result_of

RESULT = result_of(plan(), evidence(1.0, 2.0))
GROWS = Scaling(points=points(50, 100, 200, 400))
STOPS = Scaling(points=points(50, 100, 200, 201), limit="the other side")


def check(wanted: int = 8, expect: tuple[str, ...] = (), **curves: Scaling) -> Gating:
    """Check ``scales_to`` against curves by strategy."""
    expected = Expectation(scales_to=wanted, strategies=frozenset(expect))
    return scaling_gate.check(expected, replace(RESULT, scaling=curves or None))


def test_curve_that_grows_passes() -> None:
    """Each doubling gains 10 % or more."""
    assert check(threads=GROWS) == Gating()


def test_curve_that_stops_fails() -> None:
    """The failure says where, what shows it, what limits it, and what to do."""
    (failure,) = check(threads=STOPS).failures
    assert failure.headline() == "expected scales_to=8; found throughput that grows up to 4 threads only"
    assert failure.evidence == "4 and 8 threads give 200 and 201 calls a second; limit: the other side"
    assert failure.remedy == "remove that limit, or set scales_to=4"


def test_what_lies_beyond_does_not_count() -> None:
    """A curve that stops where nobody asked for more passes."""
    assert check(4, threads=STOPS) == Gating()


def test_one_strategy_is_enough() -> None:
    """Any strategy may scale; with ``expect`` only those expected."""
    assert check(threads=STOPS, processes=GROWS) == Gating()
    assert check(expect=("threads",), threads=STOPS, processes=GROWS).failures


@pytest.mark.parametrize(
    ("curve", "why"),
    [
        (replace(STOPS, open_because="a busy machine"), "a busy machine"),
        (Scaling(points=points(50, 100), complete=False), "8 workers were not tried, for want of time"),
        (Scaling(points=points(50, 100)), "8 workers were not tried"),
        (Scaling(points=points(50, 100, 200, 205, width=0.1)), "the throughput seems to stop growing earlier"),
        (Scaling(points=(), error="too long", complete=False), "too long"),
    ],
)
def test_what_is_open_passes_with_a_caution(curve: Scaling, why: str) -> None:
    """A busy machine, too little time and wide intervals fail nobody."""
    found = check(threads=curve)
    assert found.failures == ()
    assert found.cautions[0].message.startswith(f"scales_to=8 is not decided, so the test passes: {why}")
    assert ("time" in found.cautions[0].message) is ("time" in why)


def test_calls_that_fail_earlier_fail_the_gate() -> None:
    """A limit of connections is a limit."""
    broken = Scaling(points=points(50, 100), failed_at=4, outcome=Outcome.FAILED, error="OSError: too many")
    (failure,) = check(threads=broken).failures
    assert failure.evidence == "with 4 threads it failed: OSError: too many"
    assert not check(2, threads=broken).failures


def test_a_single_worker_is_no_plural() -> None:
    """A curve that stops at one worker, or fails with it, is told without *1 processes*, and no gate takes 1."""
    (failure,) = check(processes=Scaling(points=points(50, 51))).failures
    assert failure.found == "throughput that grows up to 1 worker in processes only"
    assert failure.remedy == "remove that limit, or drop scales_to"
    broken = Scaling(points=(), failed_at=1, outcome=Outcome.FAILED, error="OSError: no")
    (failure,) = check(threads=broken).failures
    assert failure.evidence == "with 1 worker in threads it failed: OSError: no"


def test_gate_is_one_of_the_expectations() -> None:
    """A failure is a session's failure, and no more rounds are wanted for it; without a curve there is a caution."""
    expected = Expectation(scales_to=8)
    found = expectations.check(expected, replace(RESULT, scaling={"processes": STOPS}))
    assert [failure.expected for failure in found.failures] == ["scales_to=8"]
    assert not found.wants_rounds
    assert expectations.check(expected, RESULT).cautions[0].message.endswith("there is no curve")
    assert expected.says_anything


@pytest.mark.parametrize(("most", "found"), [(2, (1, 2)), (3, (1, 2, 3)), (8, (1, 2, 4, 8)), (12, (1, 2, 4, 8, 12))])
def test_numbers_that_a_gate_takes(most: int, found: tuple[int, ...]) -> None:
    """The gate measures every doubling and the number itself."""
    assert values.doublings_to(most) == found

"""`pytest_gilprobe.verdict.same_call`: whether the calls that were timed are the call that was meant."""

from __future__ import annotations

from typing import Any

import pytest
from evidence import evidence, measurement

from pytest_gilprobe.model.call_readings import ArgumentsReading
from pytest_gilprobe.model.words import Bound, Gil, NextStep
from pytest_gilprobe.verdict import candidates, same_call
from pytest_gilprobe.verdict.judge import judge

NAMES = ("argument heap (a list)",)
DRAINED = ArgumentsReading(changed=NAMES, fresh_s=(0.070, 0.071, 0.075), used_s=(2e-7, 3e-7, 2e-7))


def seen(reading: ArgumentsReading | None = DRAINED, **changes: Any) -> Any:
    return measurement(arguments=reading, **changes)


def reading(fresh: tuple[float, ...], used: tuple[float, ...], **changes: Any) -> ArgumentsReading:
    return ArgumentsReading(changed=NAMES, fresh_s=fresh, used_s=used, **changes)


@pytest.mark.parametrize(
    "found",
    [
        DRAINED,
        reading((0.010, 0.011, 0.012), (0.006, 0.005, 0.006)),
        reading((0.010, 0.010, 0.010), (0.020, 0.025, 0.020)),
        reading((2.0,), (0.1,)),
        reading((0.010,) * 5, (0.001,) * 4 + (0.020,)),
        reading((0.010,) * 20, (0.001,) * 11 + (0.020,) * 9),
    ],
)
def test_changed_arguments_that_change_the_time(found: ArgumentsReading) -> None:
    """If each call with copies takes longer than each call with changed arguments, or shorter, the calls differ."""
    assert same_call.differs(seen(found))


@pytest.mark.parametrize(
    "found",
    [
        None,
        ArgumentsReading(),
        ArgumentsReading(changed=NAMES),
        reading((0.010, 0.011, 0.012), (0.010, 0.011, 0.012)),
        reading((0.010, 0.011, 0.500), (0.009, 0.011, 0.012)),
        reading((0.030, 0.031, 0.032), (0.009, 0.029, 0.012)),
        reading((2e-6, 2e-6, 2e-6), (5e-7, 6e-7, 5e-7)),
        reading((0.2,), (0.1,)),
        reading((0.020,) * 4 + (0.010,), (0.010,) * 5),
        reading((0.020,) * 5, (0.010,) * 3 + (0.020,) * 2),
        reading((0.020,) * 19 + (0.010,), (0.010,) * 20),
    ],
)
def test_same_call(found: ArgumentsReading | None) -> None:
    """One slow call, a difference below the noise, or nothing known: then the calls count as alike."""
    assert not same_call.differs(seen(found))


def after_body(inside: tuple[float, ...], after: tuple[float, ...], **changes: Any) -> Any:
    return seen(ArgumentsReading(fresh_s=inside, used_s=after), fresh=True, after_body=True, **changes)


@pytest.mark.parametrize(
    ("inside", "after", "differs"),
    [
        ((0.005,) * 10, (3e-7,) * 10, True),
        ((0.001,) * 10, (0.005,) * 10, True),
        ((0.005,), (0.001,), True),
        ((0.005,) * 10, (0.003,) * 10, False),
        ((5e-6,) * 10, (3e-7,) * 10, False),
        ((0.005,) * 9 + (0.001,), (0.001,) * 10, False),
        ((), (), False),
    ],
)
def test_call_after_the_body(inside: tuple[float, ...], after: tuple[float, ...], *, differs: bool) -> None:
    """Calls in the body and after it are the same call unless they differ by a factor of three, and by 10 µs."""
    assert same_call.differs(after_body(inside, after)) == differs


def test_call_that_differs_after_the_body_has_no_verdict() -> None:
    """The reason has both times and the remedy; strategies are not compared for that reason."""
    found = evidence(seen=after_body((0.005,) * 5, (3e-7,) * 5))
    judged = judge(found)
    assert (judged.verdict.strategy, judged.next_step) == ("inconclusive", NextStep.STOP)
    assert [caution.slug for caution in judged.verdict.cautions] == ["left-body"]
    for said in (
        "5.0 ms in the test's body, but 300 ns after",
        "gilprobe.fresh(func, make) makes each call in the body",
    ):
        assert said in judged.verdict.reason
    assert "after the test's body" in same_call.not_compared(found.measurement)
    assert "change their arguments" in same_call.not_compared(seen())


@pytest.mark.parametrize("lost", [False, True])
def test_failure_after_the_body_says_so(*, lost: bool) -> None:
    """A call that fails, or hangs, may do so because the body was left: the reason says it, with the remedy."""
    said = same_call.why_not_again(measurement(after_body=True, awaited=True), lost=lost)
    assert "the test's body is left" in said
    assert "await gilprobe.fresh(func, make)" in said


def test_fixtures_that_cannot_be_made_anew_are_no_remedy() -> None:
    """Where fresh=True is refused, its reason stands in place of the remedy."""
    changed = ArgumentsReading(changed=("fixture rows (a list)",))
    assert same_call.remedy(seen(changed)) == same_call.REMEDY_FOR_FIXTURES
    assert same_call.remedy(seen(changed, not_fresh="not for trio")) == "not for trio"
    assert "not for trio" in same_call.why_not_again(measurement(not_fresh="not for trio", first_call_s=0.1))
    assert not same_call.why_not_again(measurement(not_fresh="not for trio"))
    assert not same_call.why_not_again(measurement(not_fresh="not for trio", first_call_s=0.1), lost=True)


def used_up(**changes: Any) -> ArgumentsReading:
    usual: dict[str, Any] = {"unknown": {"argument rows (a Cursor)": "no"}, "iterators": ("argument rows (a Cursor)",)}
    return ArgumentsReading(**{**usual, "used_s": (1e-6,), **changes})


def test_iterator_that_is_used_up() -> None:
    """An iterator that cannot be copied is used up if both first calls took far longer, and nothing was imported."""
    assert same_call.differs(seen(used_up(), first_call_s=0.1, normal_call_s=0.1))


@pytest.mark.parametrize(
    ("found", "first_s", "normal_s"),
    [
        (used_up(), 0.1, None),
        (used_up(), None, 0.1),
        (used_up(), 0.1, 5e-6),
        (used_up(), 5e-6, 0.1),
        (used_up(), 5e-4, 5e-4),
        (used_up(imported=True), 0.1, 0.1),
        (used_up(iterators=()), 0.1, 0.1),
        (used_up(used_s=(0.05,)), 0.1, 0.1),
    ],
)
def test_slow_first_call_is_no_proof(found: ArgumentsReading, first_s: float | None, normal_s: float | None) -> None:
    """A first call that imports, connects or fills a cache is slow, too: without an iterator that tells nothing."""
    assert not same_call.differs(seen(found, first_call_s=first_s, normal_call_s=normal_s))


def test_no_verdict_on_another_call() -> None:
    """There is no verdict, no candidate and no further round; the reason and the caution say why, and what to do."""
    found = same_call.as_measured(evidence(1.9, 2.0, seen=seen()))
    judged = judge(found)
    assert (judged.verdict.strategy, judged.next_step) == ("inconclusive", NextStep.STOP)
    assert (judged.verdict.bound, judged.verdict.gil, judged.verdict.speedup) == (Bound.INCONCLUSIVE, Gil.UNKNOWN, None)
    assert judged.verdict.reason == (
        "no verdict: a call takes 71 ms, but changes argument heap (a list), and takes 200 ns when it is made again "
        "with that; gilprobe.fresh(func, make) gives each call new arguments"
    )
    assert [caution.slug for caution in judged.verdict.cautions] == ["changes-arguments"]
    assert found.gil.held_fraction is None
    assert found.serial.call_s.value == 0.071
    assert candidates.left(found, judged.verdict.strategy) == {}


def test_verdict_on_an_iterator_that_is_used_up() -> None:
    """What only seems to be so is not told as a fact."""
    found = seen(used_up(), first_call_s=0.1, normal_call_s=0.1)
    verdict = judge(same_call.as_measured(evidence(seen=found))).verdict
    assert verdict.strategy == "inconclusive"
    assert "seems to use up argument rows (a Cursor)" in verdict.reason


def test_verdict_stands_if_the_time_does() -> None:
    """A call that changes its arguments and takes the same time each time keeps its verdict, with a note."""
    steady = reading((0.010, 0.011, 0.012), (0.010, 0.011, 0.012))
    verdict = judge(evidence(1.9, 2.0, held_fraction=None, seen=seen(steady))).verdict
    without = judge(evidence(1.9, 2.0, held_fraction=None, seen=seen(None))).verdict
    assert verdict.strategy == without.strategy
    assert [caution.slug for caution in verdict.cautions] == ["shared-arguments"]


def test_fixtures_have_a_remedy_of_their_own() -> None:
    """Of a marked test whose fixture is changed, the marker's keyword is named; a mixture needs the function."""
    fixture = ArgumentsReading(changed=("fixture heap (a list)",))
    mixed = ArgumentsReading(changed=("fixture heap (a list)", "self (a TestHeap)"))
    assert "fresh=True" in same_call.remedy(seen(fixture))
    assert "fresh=True" in same_call.remedy(seen(fixture, awaited=True))
    assert "gilprobe.fresh" in same_call.remedy(seen(mixed))
    assert "fixture heap (a list) and self (a TestHeap)" in same_call.why_not_again(seen(mixed))
    assert same_call.why_not_again(seen(None)) == ""


def test_slow_first_call_says_what_could_not_be_compared() -> None:
    """If an argument could not be compared, a slow first call may be for it: nothing false is said."""
    unknown = ArgumentsReading(unknown={"argument client (a Client)": "cannot pickle 'socket' object"})
    verdict = judge(evidence(seen=seen(unknown), first_call_s=0.5)).verdict
    (only,) = [caution for caution in verdict.cautions if caution.slug == "slow-first-call"]
    assert only.message.endswith(
        "pays that once, unless that call changed argument client (a Client), which could not be compared "
        "(cannot pickle 'socket' object)"
    )


def may_use_up(found: ArgumentsReading | None, **changes: Any) -> list[str]:
    usual: dict[str, Any] = {"first_call_s": 0.5, "normal_call_s": 0.5}
    judged = judge(evidence(seen=seen(found, **{**usual, **changes}), first_call_s=changes.get("first_call_s", 0.5)))
    slugs = {caution.slug: caution.message for caution in judged.verdict.cautions}
    assert not {"may-use-up", "slow-first-call"} <= set(slugs)
    return [slugs[slug] for slug in slugs if slug == "may-use-up"]


def test_later_calls_far_shorter_than_both_first_calls() -> None:
    """If nothing was imported, a cache explains it, or state that the first call used up: the remedy is named."""
    unknown = ArgumentsReading(unknown={"argument client (a Client)": "cannot pickle 'socket' object"})
    (of_state,), (of_client,) = may_use_up(ArgumentsReading()), may_use_up(unknown)
    assert of_state.endswith(
        "a cache or a connection, which each new process pays once, or it used up what later calls do not find again; "
        "gilprobe.fresh(func, make) gives each call new arguments"
    )
    assert (
        "used up argument client (a Client), which could not be compared (cannot pickle 'socket' object); " in of_client
    )


@pytest.mark.parametrize(
    ("found", "changes"),
    [
        (None, {}),
        (ArgumentsReading(imported=True), {}),
        (ArgumentsReading(), {"normal_call_s": 0.012}),
        (ArgumentsReading(), {"first_call_s": 0.03, "normal_call_s": 0.03}),
        (ArgumentsReading(), {"fresh": True}),
    ],
)
def test_what_explains_a_slow_first_call(found: ArgumentsReading | None, changes: dict[str, Any]) -> None:
    """Imports, arguments made anew, a normal run that was as short as later calls: no such caution."""
    assert may_use_up(found, **changes) == []


def test_call_with_a_copy_that_failed_is_no_proof_of_the_same_call() -> None:
    """An argument changed and its copy could not be tried: that is said if later calls take another time."""
    (said,) = may_use_up(ArgumentsReading(changed=NAMES))
    assert "it changed argument heap (a list), and a call with a new copy of that failed" in said
    assert "gilprobe.fresh(func, make)" in said
    alike = evidence().serial.call_s.value
    assert may_use_up(ArgumentsReading(changed=NAMES), first_call_s=alike, normal_call_s=alike) == []
    assert may_use_up(ArgumentsReading(changed=NAMES), first_call_s=2 * alike, normal_call_s=alike) == []


def test_remedies_of_coroutines_and_test_cases() -> None:
    """A coroutine function is given to `gilprobe` and awaited; pytest passes no fixture to a test case's method."""
    of_case = ArgumentsReading(changed=("attribute rows (a list)",))
    assert same_call.remedy(seen(awaited=True)) == f"await {same_call.REMEDY}"
    assert same_call.remedy(seen(of_case, awaited=True)) == same_call.REMEDY_FOR_CASES

"""`pytest_gilprobe.verdict.settling`: what would settle an open verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evidence import PYTHON_LOOP, estimate, evidence, machine, measurement, round_, serial, threads, tried

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.executors import TaskSeries
from pytest_gilprobe.model.pools import PoolRound
from pytest_gilprobe.stats import pools
from pytest_gilprobe.verdict import trust
from pytest_gilprobe.verdict.settling import ROUNDS, more_time, narrowed, remedy, seconds_needed, workers_needed

CLEAR = estimate(1.1, 0.9, 1.4)
"""The interval reaches over 1.3, the value is far from it."""
AT_THE_LIMIT = estimate(1.3, 1.1, 1.5)


def test_time_is_told_from_how_intervals_shrink() -> None:
    """An interval that must halve takes four times as many rounds."""
    many = measurement(*[PYTHON_LOOP] * 5)
    wide = evidence(estimate(1.1, 0.9, 1.45), None, seen=many, held_fraction=None)
    wider = evidence(estimate(1.1, 0.9, 1.9), None, seen=many, held_fraction=None)
    seconds, more = seconds_needed(wide), seconds_needed(wider)
    assert seconds is not None
    assert more is not None
    assert more > seconds
    assert remedy(wide) == f"max_time={seconds} is likely to settle it"


def test_no_less_time_is_told_than_was_allowed() -> None:
    """What did not suffice does not settle it: the time is longer than the probe was allowed."""
    wide = evidence(estimate(1.1, 0.9, 1.4), None, held_fraction=None)
    short = seconds_needed(wide)
    assert short is not None
    late = evidence(estimate(1.1, 0.9, 1.4), None, seen=measurement(allowed_s=short + 0.5), held_fraction=None)
    assert seconds_needed(late) == short + 1


def test_bursts_take_time_as_rounds_do() -> None:
    """More rounds are made with their bursts, so the time that these take counts."""
    wide = evidence(estimate(1.1, 0.9, 1.4), None, seen=measurement(*[PYTHON_LOOP] * 5), held_fraction=None)
    seen = measurement(*[PYTHON_LOOP] * 5, bursts=(PYTHON_LOOP,) * 50)
    more = evidence(estimate(1.1, 0.9, 1.4), None, seen=seen, held_fraction=None)
    assert (seconds_needed(more) or 0) > (seconds_needed(wide) or 0)


def test_no_more_time_is_told_where_executors_were_timed_as_often_as_they_are() -> None:
    """No further round in executors is made, so no time narrows the interval."""
    found = evidence(CLEAR, None, seen=measurement(*[PYTHON_LOOP] * 5), held_fraction=None)
    needed = seconds_needed(found)
    assert needed is not None
    few, often = (
        replace(found, results={**found.results, "threads": replace(found.results["threads"], pool_rounds=rounds)})
        for rounds in (1, pools.MOST_ROUNDS - 1)
    )
    assert seconds_needed(few) == needed
    assert seconds_needed(often) is None
    assert remedy(often) == "more time hardly settles it, as a probe times a pool no more often"


def test_rounds_in_executors_take_time() -> None:
    """They are made again in a longer probe."""
    series = TaskSeries(tasks=10, calls_per_task=1, wall_ns=10**9)
    one = PoolRound(alone=series, pooled={"threads": series}, cpus_ns=0, cpus_idle_ns=0, own_cpu_ns=0)
    wide, more = (
        evidence(CLEAR, None, seen=measurement(*[PYTHON_LOOP] * 5, pool_rounds=made), held_fraction=None)
        for made in ((), (one, one))
    )
    assert (seconds_needed(more) or 0) >= (seconds_needed(wide) or 0) + 4


def test_values_at_a_limit_of_the_rule_are_said_to_be_alike() -> None:
    """A value at 1.3x is not settled by any time that is worth it: either answer will do."""
    found = evidence(AT_THE_LIMIT, None, held_fraction=None)
    assert seconds_needed(found) is None
    assert remedy(found).endswith("either will do")


def test_too_much_time_is_no_limit_of_the_rule() -> None:
    """Intervals that shrink far enough only in longer than any probe worth proposing are not said to be at a limit."""
    slow = measurement(*[round_(serial(20.0), threads=threads(20.0))] * 5)
    found = evidence(CLEAR, None, seen=slow, held_fraction=None)
    assert seconds_needed(found) is None
    assert remedy(found) == "the intervals are so wide that a probe would take more than 120 s to settle it"


def test_more_workers_are_named_where_they_would_tell_strategies_apart() -> None:
    """Two strategies close to 15 % apart with two workers are further apart with one for each of eight CPUs."""
    pair = (estimate(1.72, 1.7, 1.74), estimate(1.978, 1.97, 1.99))
    assert workers_needed(evidence(*pair, on=machine(cpus=2))) is None
    many = evidence(*pair, on=machine(cpus=8))
    assert workers_needed(many) == 8
    assert seconds_needed(many) is None
    assert remedy(many) == "--gilprobe-workers=8 is likely to settle it"


def test_limits_that_no_workers_move() -> None:
    """Where more workers than there were leave it open too, they are not proposed."""
    assert workers_needed(evidence(estimate(1.9, 0.5, 2.0), None, on=machine(cpus=8))) is None


@pytest.mark.parametrize(("done", "enough_s"), [(1, 30), (3, 10), (8, 7)])
def test_time_for_a_finding_that_rounds_do_not_support_yet(done: int, enough_s: int) -> None:
    """As many rounds as any finding needs take more time than was allowed, not a second more."""
    seen = measurement(*[PYTHON_LOOP] * done, allowed_s=6.0, out_of_time="time was up after 6 s")
    assert more_time(evidence(1.0, 2.0, seen=seen)) == f"max_time={enough_s} or a quieter machine may settle it"
    assert more_time(evidence(1.0, 2.0)).startswith("a longer max_time or")
    long = measurement(PYTHON_LOOP, allowed_s=60.0)
    assert more_time(evidence(1.0, 2.0, seen=long)) == "a quieter machine may settle it"


def test_rounds_for_which_time_is_proposed_are_those_that_a_finding_needs() -> None:
    """The two numbers stay the same."""
    assert ROUNDS == trust.ROUNDS_WHEN_SURPRISING


def test_a_quieter_machine_is_named_where_other_programs_disturbed() -> None:
    """Calls that queued for a CPU may be settled by a quieter machine, with or without more time."""
    busy = replace(tried(CLEAR), run_queue_share=0.3)
    assert remedy(evidence(busy, None, held_fraction=None)).startswith("a quieter machine, or max_time=")
    at_limit = replace(tried(AT_THE_LIMIT), run_queue_share=0.3)
    assert (
        remedy(evidence(at_limit, None, held_fraction=None))
        == "a quieter machine may settle it, more time alone hardly"
    )


def test_a_quieter_machine_is_named_where_child_processes_may_have_queued() -> None:
    """Their time in the run queue is not known, so a value near a limit of the rule may be the machine's."""
    one = round_(
        serial(0.1, busy=0.0, children_s=0.1, idle=0.0), threads=threads(0.15, busy=0.0, children_s=0.2, idle=0.0)
    )
    found = evidence(AT_THE_LIMIT, None, seen=measurement(*[one] * 5), held_fraction=None)
    assert remedy(found) == "a quieter machine may settle it, more time alone hardly"


def test_a_strategy_without_time_needs_its_time() -> None:
    """If there was no time for a strategy, the time that it takes is what settles it."""
    late = "processes did not fit into 5 s, since one call takes 4.0 s; max_time=23 would do"
    seen = measurement(out_of_time=late, no_time_for=frozenset({"processes"}))
    assert remedy(evidence(CLEAR, None, seen=seen)) == late


def test_intervals_shrink_around_their_values() -> None:
    """Half of the width is half on each side, and no end exceeds the number of workers."""
    found = narrowed(evidence(Estimate(value=1.5, low=1.1, high=1.7), estimate(2.4, 1.9, 2.6)), 0.5)
    assert found["threads"] == (1.3, 1.6)
    assert found["processes"] == (2.0, 2.0)

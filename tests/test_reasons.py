"""`pytest_gilprobe.verdict.reasons`: one sentence for each verdict, with its numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from evidence import costs, estimate, evidence, machine, measurement, tried

from pytest_gilprobe.model.loop_time import EventLoop, LoopShares
from pytest_gilprobe.model.readings import Evidence
from pytest_gilprobe.model.results import StrategyResult, Transfer, Verdict
from pytest_gilprobe.model.words import INCONCLUSIVE, NOT_ASKED, Bound, Gil, Outcome
from pytest_gilprobe.strategies.contract import Strategy
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict import reasons

SERIAL, THREADS, PROCESSES = "serial", "threads", "processes"
HUNG = StrategyResult(outcome=Outcome.HUNG, error="no answer within the time limit\nits threads then: ...")
CRASHED = StrategyResult(outcome=Outcome.CRASHED)
NEVER = StrategyResult(outcome=Outcome.SKIPPED, error=NOT_ASKED, impossible=True)
IO = evidence(2.0, 2.0, cpu_utilization=estimate(0.02), held_fraction=estimate(0.01))
MICRO = estimate(1e-6)
MUCH = Transfer(argument_bytes=80_000_000, result_bytes=0, pipe_s=0.04, parent_s=0.02, worker_s=0.02)
MOVES = tried(1.9, transfer_s_per_call=MUCH.pipe_s)
RAISE = "a longer max_time or a quieter machine may settle it"


def sentence(found: Evidence, bound: Bound, gil: Gil, strategy: str, why_open: reasons.Because | None = None) -> str:
    """Say the reason of a verdict."""
    verdict = Verdict(bound=bound, gil=gil, strategy=strategy, speedup=2.0, reason="")
    return reasons.in_words(found, verdict, why_open).reason


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        (tried(1.0), "a call blocks the event loop for only 5 % of its time, so something else lets one in at a time"),
        (StrategyResult(outcome=Outcome.SKIPPED, error="it uses capsys"), "tasks are out: it uses capsys"),
        (NEVER, "tasks were not asked for"),
    ],
)
def test_processes_in_place_of_tasks(tasks: StrategyResult, words: str) -> None:
    """What a coroutine does to its loop explains why tasks gain less only if they were tried."""
    shares = LoopShares(waiting=0.95, computing=0.05, blocking=0.0, gil_wait=0.0)
    found = evidence(NEVER, 2.0)
    found = replace(
        found,
        results={**found.results, "tasks": tasks},
        event_loop=EventLoop(blocked_fraction=estimate(0.05), shares=shares),
    )
    assert sentence(found, Bound.IO, Gil.RELEASED, PROCESSES).endswith(words)


@pytest.mark.parametrize(
    ("found", "bound", "gil", "strategy", "words"),
    [
        (evidence(), Bound.CPU, Gil.HELD, PROCESSES, "the threads take turns: the GIL is held for 100 % of the time"),
        (
            evidence(cpu_utilization=estimate(0.01)),
            *(Bound.IO, Gil.HELD, PROCESSES, "a call holds the GIL for 100 % of the time, mostly while it waits"),
        ),
        (
            evidence(1.3, 2.0, held_fraction=estimate(0.7)),
            *(Bound.CPU, Gil.PARTIAL, PROCESSES, "the GIL, held for 70 % of the time, holds the threads back"),
        ),
        (
            evidence(0.8, 2.0, held_fraction=estimate(0.5)),
            *(Bound.CPU, Gil.PARTIAL, PROCESSES, "handing it over hold the threads back"),
        ),
        (
            evidence(1.0, 2.0, held_fraction=estimate(0.01)),
            *(
                Bound.CPU,
                Gil.RELEASED,
                PROCESSES,
                "not the GIL but a lock, shared data or memory holds the threads back",
            ),
        ),
        (
            evidence(1.0, 2.0, held_fraction=None),
            *(Bound.CPU, Gil.UNKNOWN, PROCESSES, "the threads hold each other back, by the GIL or a lock"),
        ),
        (
            evidence(HUNG, 2.0),
            *(Bound.CPU, Gil.HELD, PROCESSES, "threads hung, 2 processes give 2.0x; threads are out: no answer"),
        ),
        (
            evidence(None, 2.0),
            *(Bound.CPU, Gil.HELD, PROCESSES, "threads not tried, 2 processes give 2.0x; threads are out: not tried"),
        ),
        (
            evidence(NEVER, 2.0),
            *(Bound.CPU, Gil.HELD, PROCESSES, "2 processes give 2.0x; threads were not asked for"),
        ),
        (IO, Bound.IO, Gil.RELEASED, THREADS, "a waiting thread releases the GIL"),
        (
            evidence(1.9, 1.9, held_fraction=estimate(0.02)),
            *(Bound.CPU, Gil.RELEASED, THREADS),
            "the GIL is held for 2 % of the time, so threads overlap",
        ),
        (
            evidence(1.9, None, held_fraction=None),
            *(Bound.CPU, Gil.ABSENT, THREADS, "no GIL stands in the way"),
        ),
        (
            evidence(1.9, 1.9, held_fraction=None),
            *(Bound.CPU, Gil.UNKNOWN, THREADS, "the threads overlap"),
        ),
        (
            evidence(1.0, 2.0, wall_s_per_call=MICRO),
            *(Bound.CPU, Gil.HELD, SERIAL),
            "; dispatching a call takes 100 µs to processes; keep it serial, or hand a pool 1100 calls at a time",
        ),
        (
            evidence(2.0, 2.0, wall_s_per_call=MICRO),
            *(
                Bound.IO,
                Gil.RELEASED,
                SERIAL,
                "dispatching a call takes 10 µs to threads, 100 µs to processes; keep it",
            ),
        ),
        (
            evidence(1.0, None, wall_s_per_call=MICRO),
            *(Bound.CPU, Gil.HELD, SERIAL),
            "larger tasks would not help, since even without dispatch 2 threads give 1.0x and processes cannot be used",
        ),
        (
            evidence(1.0, estimate(1.2, 0.8, 1.6), wall_s_per_call=MICRO),
            *(Bound.CPU, Gil.HELD, SERIAL, "keep it serial, or hand a pool 1100 calls at a time"),
        ),
        (
            evidence(1.0, CRASHED, wall_s_per_call=MICRO),
            *(
                Bound.CPU,
                Gil.HELD,
                SERIAL,
                "would not help, since even without dispatch 2 threads give 1.0x and processes crashed",
            ),
        ),
        (
            evidence(1.0, 1.0, extra_cores=0.9),
            *(Bound.CPU, Gil.RELEASED, SERIAL, "its own threads already keep 90 % of a second core busy"),
        ),
        (
            evidence(1.0, None),
            *(Bound.CPU, Gil.HELD, SERIAL, "the GIL serialises threads, and nothing else could be tried"),
        ),
        (
            evidence(1.0, 1.0),
            Bound.CPU,
            Gil.RELEASED,
            SERIAL,
            "no pool reaches 1.3x, the least that is worth its effort",
        ),
    ],
)
def test_sentence_gives_the_cause(found: Evidence, bound: Bound, gil: Gil, strategy: str, words: str) -> None:
    """Each way to a verdict has its own words for why."""
    text = sentence(found, bound, gil, strategy)
    assert words in text
    assert "\n" not in text


def test_sentence_carries_the_numbers() -> None:
    """CPU share and both speed-ups stand in front of the cause."""
    assert (
        sentence(evidence(), Bound.CPU, Gil.HELD, PROCESSES)
        == "CPU-bound (100 % of one core): 2 threads give 1.0x, 2 processes give 2.0x; the threads take turns: the "
        "GIL is held for 100 % of the time"
    )


def test_sentence_ends_with_what_it_costs() -> None:
    """The clauses of each strategy about its own costs follow the cause."""
    moved = Transfer(argument_bytes=2**20, result_bytes=0, pipe_s=0.005, parent_s=0.003, worker_s=0.002)
    text = sentence(evidence(seen=measurement(transfer=moved)), Bound.CPU, Gil.HELD, PROCESSES)
    assert "of the time; moving its data (1.0 MiB) to a process and back takes 5.0 ms a call" in text


def test_sentence_without_other_strategies() -> None:
    """Where nothing but serial calls exists for a workload, no speed-up is claimed."""
    text = sentence(
        evidence(strategies=()), Bound.CPU, Gil.HELD, INCONCLUSIVE, reasons.Because(why="there is nothing else")
    )
    assert text == "CPU-bound (100 % of one core): there is nothing else"


@pytest.mark.parametrize(
    ("bound", "words"),
    [
        (Bound.IO, "I/O-bound"),
        (Bound.CPU, "CPU-bound"),
        (Bound.MIXED, "half waiting, half computing"),
        (Bound.INCONCLUSIVE, "between two kinds"),
    ],
)
def test_every_bound_has_its_words(bound: Bound, words: str) -> None:
    """The sentence begins with the bound."""
    assert sentence(evidence(), bound, Gil.HELD, PROCESSES).startswith(words)


def test_inconclusive_says_why_it_is_open() -> None:
    """Where nothing is advised, the sentence ends with the reason for that."""
    why = reasons.Because(why="it may be either", advice="wait")
    assert sentence(evidence(), Bound.CPU, Gil.HELD, INCONCLUSIVE, why).endswith("; it may be either; wait")
    assert "does not decide" in sentence(evidence(), Bound.CPU, Gil.HELD, INCONCLUSIVE)


def test_straddling_names_answers_and_intervals() -> None:
    """What is still open, how far the intervals reach, and what would settle it."""
    found = evidence(estimate(1.1, 0.9, 1.4), 2.0)
    assert (
        reasons.straddles(found).said
        == "a pool pays: processes 2.00x for certain, perhaps threads 0.90x to 1.40x; max_time=2 is likely to settle it"
    )
    found = evidence(estimate(1.1, 0.9, 1.4), 1.2)
    assert reasons.straddles(found).why == "in a pool: threads 0.90x to 1.40x, processes 1.20x"


def test_straddling_names_the_budget_that_ran_out() -> None:
    """Where time was up, the reason says how much would do."""
    late = "processes did not fit into 5 s, since one call takes 4.0 s; max_time=23 would do"
    seen = measurement(out_of_time=late, no_time_for=frozenset({"threads", "processes"}))
    found = reasons.straddles(evidence(None, None, seen=seen))
    assert found == reasons.Because(why="no pool's speed-up is known", advice=late)


def test_dispatch_that_decides_is_given_for_each_strategy() -> None:
    """Calls about as short as their dispatch: what both take, and what to do."""
    text = reasons.dispatch_unknown(evidence(1.0, 2.0, wall_s_per_call=estimate(2e-4))).said
    assert "dispatching a call takes 10 µs to threads, 100 µs to processes, which decides" in text
    assert text.endswith("put several calls into each task")


def test_larger_tasks_are_no_advice_where_data_decides() -> None:
    """Data is as much in larger tasks: it is to be less, if a process would be worth it without."""
    seen = measurement(transfer=MUCH)
    found = reasons.dispatch_unknown(evidence(1.0, MOVES, seen=seen, wall_s_per_call=estimate(0.01)))
    assert found.why.endswith("moving the data of a call takes 40 ms, which decides and is known only roughly")
    assert found.advice == "move less data"
    neither = reasons.dispatch_unknown(evidence(1.0, 1.1, wall_s_per_call=estimate(2e-4)))
    assert neither.advice == "keep it serial"


@pytest.mark.parametrize(("speedup", "told"), [(1.8, True), (4.0, False)], ids=["two threads", "four, by the curve"])
def test_nothing_is_called_faster_than_the_advice(speedup: float, *, told: bool) -> None:
    """Two processes that are a little faster than two threads are not faster than the threads that a curve advises."""
    verdict = Verdict(bound=Bound.IO, gil=Gil.RELEASED, strategy="threads", speedup=speedup, reason="")
    why = reasons.in_words(evidence(1.8, 1.95), verdict).why
    assert ("; processes cost more and are less than 15 % faster" in why) is told


def test_larger_tasks_are_no_advice_for_short_calls_with_much_data() -> None:
    """A call shorter than its dispatch is to stay serial if moving its data takes longer still."""
    short = evidence(1.0, MOVES, seen=measurement(transfer=MUCH), wall_s_per_call=MICRO)
    text = sentence(short, Bound.CPU, Gil.HELD, SERIAL)
    assert text.endswith("; moving the data of a call takes 40 ms; keep it serial")


def test_the_rule_of_15_percent_is_told_between_two_pools() -> None:
    """Where two pools are left, the reader is told from which difference on the dearer one counts."""
    found = reasons.straddles(evidence(estimate(1.72, 1.6, 1.85), 1.99))
    assert found.why.endswith("; processes count only if 15 % faster than threads")
    with_serial = reasons.straddles(evidence(1.0, estimate(1.3, 1.2, 1.4)))
    assert "15 %" not in with_serial.why


def test_quota_is_named_with_its_share() -> None:
    """A CPU quota that hides the answer is told with the share of time that it took."""
    text = reasons.held_back_by_quota(evidence(seen=measurement(throttled_share=0.12))).said
    assert "a CPU quota stopped the probe for 12 % of its time" in text


def test_nothing_to_compare_names_both_causes() -> None:
    """Each strategy that is out is named with the first line of its error."""
    text = reasons.nothing_to_compare(evidence(HUNG, CRASHED)).said
    assert "threads hung: no answer within the time limit" in text
    assert "processes crashed: no reason known" in text
    assert "its threads then" not in text


def test_contradiction_gives_both_numbers() -> None:
    """Evidence that contradicts itself is told with the share that was seen and the speed-up that was measured."""
    text = reasons.ceiling_beaten(evidence(estimate(1.9, 1.8, 2.0), 2.0), BUILT_IN["threads"]).said
    assert "held for 100 % of the time, yet threads gave 1.90x" in text


def test_small_machine_is_told_with_what_it_gave() -> None:
    """A machine that cannot show it says how many CPUs it has and what they gave."""
    text = reasons.machine_too_small(evidence(on=machine(cpus=1)), estimate(0.98)).said
    assert "with 1 usable CPU it gave a plain Python loop only 0.98x in 2 processes" in text


@pytest.mark.parametrize("said", [reasons.too_fast, reasons.too_few_rounds])
def test_what_would_settle_it_comes_last(said: Any) -> None:
    """Rounds that are not believed yet end with what to do about them."""
    assert said(evidence(1.0, 2.5)).advice == RAISE


def test_dispatch_costs_that_are_unknown_are_not_told() -> None:
    """Without a measured dispatch, serial advice does not claim one."""
    bare = evidence(tried(1.0), tried(1.0), on=machine(costs=costs()), wall_s_per_call=MICRO)
    assert "dispatch" not in sentence(bare, Bound.CPU, Gil.HELD, SERIAL)


def test_what_pools_seem_to_give_is_said_where_it_is_not_relied_on() -> None:
    """An answer that timings do not support yet still comes with the speed-ups that were seen, if there are any."""
    said = reasons.too_few_rounds(evidence(estimate(0.9, 0.8, 1.1), estimate(1.9, 1.7, 2.0))).why
    assert said.startswith("a pool seems to give threads 0.80x to 1.10x, processes 1.70x to 2.00x, but timings")
    assert reasons.too_few_rounds(evidence(None, None)).why.startswith("timings vary too much to decide")


@pytest.mark.parametrize("strategy", BUILT_IN.parallel, ids=lambda strategy: strategy.name)
def test_no_number_of_lanes_is_said_to_gain_more_than_that(strategy: Strategy) -> None:
    """Two lanes of any strategy are said to give 2x at most, whatever was read on a disturbed machine."""
    assert strategy.gain_text(2, 2.4).endswith(" give 2.0x")


def test_gains_are_on_the_scale_of_the_answer() -> None:
    """The reason gives what a pool gives, as the table and the answer do, and not what calls alone would."""
    short = evidence(1.0, replace(tried(2.0), pool_speedup=estimate(0.05)), wall_s_per_call=MICRO)
    said = sentence(short, Bound.CPU, Gil.HELD, SERIAL)
    assert said.startswith("CPU-bound (100 % of one core): 2 threads give 1.0x, 2 processes give 0.05x; dispatching")


def test_contradictions_stay_within_what_is_possible() -> None:
    """A speed-up that contradicts the GIL's share is not told as more than the number of threads."""
    text = reasons.ceiling_beaten(evidence(estimate(2.3, 2.2, 2.4), 2.0), BUILT_IN["threads"]).said
    assert "threads gave 2.00x [2.00, 2.00]" in text

"""`pytest_gilprobe.reasons`: one sentence for each verdict, with its numbers."""

from __future__ import annotations

import pytest
from evidence import estimate, evidence, machine, measurement, told

from pytest_gilprobe import reasons
from pytest_gilprobe.model import Bound, Evidence, Gil, Outcome, ProcessesResult, Recommendation, ThreadsResult

SERIAL, THREADS, PROCESSES, INCONCLUSIVE = Recommendation
HUNG = ThreadsResult(outcome=Outcome.HUNG, error="no answer within the time limit\nits threads then: ...")
IO = evidence(2.0, 2.0, cpu_utilization=estimate(0.02), gil_held_fraction=estimate(0.01))


@pytest.mark.parametrize(
    ("found", "bound", "gil", "strategy", "words"),
    [
        (evidence(), Bound.CPU, Gil.HELD, PROCESSES, "the GIL serialises the threads"),
        (
            evidence(cpu_utilization=estimate(0.01)),
            *(Bound.IO, Gil.HELD, PROCESSES, "it holds the GIL for 100 % of the time, mostly while it waits"),
        ),
        (
            evidence(1.3, 2.0, gil_held_fraction=estimate(0.7)),
            *(Bound.CPU, Gil.PARTIAL, PROCESSES, "the GIL, held for 70 % of the time, holds the threads back"),
        ),
        (
            evidence(0.8, 2.0, gil_held_fraction=estimate(0.5)),
            *(Bound.CPU, Gil.PARTIAL, PROCESSES, "handing it over hold the threads back"),
        ),
        (
            evidence(1.0, 2.0, gil_held_fraction=estimate(0.01)),
            *(Bound.CPU, Gil.RELEASED, PROCESSES, "it is not the GIL that holds the threads back"),
        ),
        (
            evidence(1.0, 2.0, gil_held_fraction=None),
            *(Bound.CPU, Gil.UNKNOWN, PROCESSES, "the threads hold each other back, by the GIL or a lock"),
        ),
        (
            evidence(HUNG, 2.0),
            *(Bound.CPU, Gil.HELD, PROCESSES, "threads hung, 2 processes 2.0x; threads are out: no answer"),
        ),
        (
            evidence(None, 2.0),
            *(Bound.CPU, Gil.HELD, PROCESSES, "threads not tried, 2 processes 2.0x; threads are out: not tried"),
        ),
        (IO, Bound.IO, Gil.RELEASED, THREADS, "a waiting thread releases the GIL"),
        (
            evidence(1.9, 1.9, gil_held_fraction=estimate(0.02)),
            *(
                Bound.CPU,
                Gil.RELEASED,
                THREADS,
                "the GIL is held for 2 % of the time, so threads overlap, and threads cost less",
            ),
        ),
        (
            evidence(1.9, None, gil_held_fraction=None),
            *(Bound.CPU, Gil.ABSENT, THREADS, "no GIL stands in the way"),
        ),
        (
            evidence(1.9, 1.9, gil_held_fraction=None),
            *(Bound.CPU, Gil.UNKNOWN, THREADS, "the threads overlap, and cost less than processes"),
        ),
        (
            evidence(1.0, 2.0, wall_s_per_call=estimate(1e-6)),
            *(Bound.CPU, Gil.HELD, SERIAL, "out 100 µs (process pool): keep it serial, or hand out 1001 calls or more"),
        ),
        (
            evidence(2.0, 2.0, wall_s_per_call=estimate(1e-6)),
            *(Bound.IO, Gil.RELEASED, SERIAL, "10 µs (thread pool) or 100 µs (process pool): keep it serial, or hand"),
        ),
        (
            evidence(1.0, None, wall_s_per_call=estimate(1e-6)),
            *(Bound.CPU, Gil.HELD, SERIAL, "larger tasks would not help, since threads give 1.0x and processes cannot"),
        ),
        (
            evidence(1.0, estimate(1.2, 0.8, 1.6), wall_s_per_call=estimate(1e-6)),
            *(Bound.CPU, Gil.HELD, SERIAL, "out 100 µs (process pool): keep it serial, or hand out 1001 calls or more"),
        ),
        (
            evidence(1.0, ProcessesResult(outcome=Outcome.CRASHED), wall_s_per_call=estimate(1e-6)),
            *(Bound.CPU, Gil.HELD, SERIAL, "would not help, since threads give 1.0x and processes crashed"),
        ),
        (
            evidence(1.0, 1.0, native_cpu_share=0.9),
            *(Bound.CPU, Gil.RELEASED, SERIAL, "already parallel inside: its own threads use 90 % of another core"),
        ),
        (
            evidence(1.0, None),
            *(Bound.CPU, Gil.HELD, SERIAL, "the GIL serialises the threads, and processes are no way out"),
        ),
        (evidence(1.0, 1.0), Bound.CPU, Gil.RELEASED, SERIAL, "neither is worth it: none reaches 1.3x in a pool"),
    ],
)
def test_sentence_gives_the_cause(
    found: Evidence, bound: Bound, gil: Gil, strategy: Recommendation, words: str
) -> None:
    """Each way to a verdict has its own words for why."""
    text = reasons.sentence(found, bound, gil, strategy, None)
    assert words in text
    assert "\n" not in text


def test_sentence_carries_the_numbers() -> None:
    """CPU share and both speed-ups stand in front of the cause."""
    text = reasons.sentence(evidence(), Bound.CPU, Gil.HELD, PROCESSES, None)
    assert (
        text == "CPU-bound (100 % of one core): 2 threads give 1.0x, 2 processes 2.0x; the GIL serialises the threads"
    )


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
    assert reasons.sentence(evidence(), bound, Gil.HELD, PROCESSES, None).startswith(words)


def test_inconclusive_says_why_not() -> None:
    """Where nothing is advised, the sentence ends with the reason for that."""
    text = reasons.sentence(evidence(), Bound.CPU, Gil.HELD, INCONCLUSIVE, "it may be either")
    assert text.endswith("; it may be either")
    assert "does not decide" in reasons.sentence(evidence(), Bound.CPU, Gil.HELD, INCONCLUSIVE, None)


def test_straddling_names_answers_and_intervals() -> None:
    """What is still open, how far the intervals reach, and what would settle it."""
    text = reasons.straddles(evidence(estimate(1.1, 0.9, 1.4), 2.0), "serial or threads")
    assert text.startswith("it may be serial or threads (in a pool: threads ")
    assert text.endswith("; a longer max_time or a quieter machine may settle it")


def test_straddling_names_the_budget_that_ran_out() -> None:
    """Where time was up, the reason says how much would do."""
    late = "not within 5 s; max_time=9 would allow for one more round"
    text = reasons.straddles(evidence(None, None, seen=measurement(out_of_time=late)), "anything")
    assert text == f"it may be anything (in a pool: nothing measured); {late}"


def test_nothing_to_compare_names_both_causes() -> None:
    """Each strategy that is out is named with the first line of its error."""
    text = reasons.nothing_to_compare(evidence(HUNG, ProcessesResult(outcome=Outcome.CRASHED)))
    assert "threads hung: no answer within the time limit" in text
    assert "processes crashed: no reason known" in text
    assert "its threads then" not in text


def test_contradiction_gives_both_numbers() -> None:
    """Evidence that disagrees is told with the share that was seen and the speed-up that was measured."""
    text = reasons.threads_beat_ceiling(evidence(estimate(1.9, 1.8, 2.0), 2.0))
    assert "held for 100 % of the time" in text
    assert "1.90x" in text


def test_small_machine_is_told_with_what_it_gave() -> None:
    """A machine that cannot tell says how many CPUs it has and what they gave."""
    text = reasons.machine_too_small(evidence(on=machine(cpus=1)), estimate(0.98))
    assert "with 1 usable CPU it gave a plain Python loop only 0.98x in 2 processes" in text


def test_too_fast_and_too_few_say_what_would_settle_it() -> None:
    """Both doubts end with what to do about them."""
    for text in (reasons.too_fast(evidence(1.0, 2.5)), reasons.too_few_rounds(evidence())):
        assert text.endswith("; a longer max_time or a quieter machine may settle it")


def test_hand_out_costs_that_are_unknown_are_not_told() -> None:
    """Without a measured hand-out, serial advice does not claim one."""
    bare = evidence(
        ThreadsResult(**told(1.0)),
        ProcessesResult(**told(1.0)),
        on=machine(thread_task_s=None, process_task_s=None),
        wall_s_per_call=estimate(1e-6),
    )
    assert "hand" not in reasons.sentence(bare, Bound.CPU, Gil.HELD, SERIAL, None)

"""`pytest_gilprobe.verdict.judge`: the rule, what it is asked about, and when it keeps silent."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from evidence import (
    MACHINE,
    PLAIN,
    PYTHON_LOOP,
    control,
    costs,
    estimate,
    evidence,
    gil_samples,
    lane,
    machine,
    measurement,
    processes,
    round_,
    serial,
    threads,
    tried,
    worker,
)
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.machine import DispatchCosts, Machine
from pytest_gilprobe.model.readings import BatchReading, Evidence, Measurement
from pytest_gilprobe.model.results import Contrast, StrategyResult
from pytest_gilprobe.model.thresholds import CLOSE, WORTH_IT
from pytest_gilprobe.model.words import Bound, Gil, NextStep, Outcome
from pytest_gilprobe.stats.reduce import reduce
from pytest_gilprobe.verdict.judge import (
    Choice,
    Judgement,
    bound_of,
    choose,
    gil_of,
    judge,
)
from pytest_gilprobe.verdict.rule import rule
from pytest_gilprobe.verdict.trust import contradicts, disturbed, needs_cpus

SERIAL, THREADS, PROCESSES, INCONCLUSIVE = "serial", "threads", "processes", "inconclusive"
GAINS = st.floats(0, 8)
BUSY_ROUND = round_(serial(0.2, cpu_s=0.1, queue_s=0.1), threads=threads(0.4, 0.5), processes=processes(0.2, 0.5))


def why_not(found: Choice) -> str:
    """Say why a choice is open."""
    return found.why_not.said if found.why_not is not None else ""


def reduced(seen: Measurement, on: Machine) -> Evidence:
    """Give the evidence that a measurement makes."""
    found = reduce(seen, on, PLAIN)
    return Evidence(measurement=seen, machine=on, strategies=PLAIN, results=found.results, gil=found.gil)


THREE = measurement(*[PYTHON_LOOP] * 3)


EATEN = tried(1.0, speedup=estimate(1.8))
"""What processes gained whose calls took less time, but whose hand-out ate that up."""


def believed(number: int = 3, *, gain: float = 2.0, apart: float | StrategyResult = EATEN) -> Evidence:
    """Give evidence that nothing helps, with as many rounds and controls, in which the machine gave ``gain``."""
    one = control(serial(), processes(0.2 / gain))
    return evidence(1.0, apart, seen=measurement(*[PYTHON_LOOP] * number, controls=(one,) * number))


# The rule


def of_two(threads: float, processes: float) -> str:
    """Ask the rule of two strategies."""
    return rule({THREADS: threads, PROCESSES: processes})


@pytest.mark.parametrize(
    ("threads", "processes", "answer"),
    [
        (1.0, 1.0, SERIAL),
        (1.29, 1.29, SERIAL),
        (1.3, 0.0, THREADS),
        (0.0, 1.3, PROCESSES),
        (2.0, 2.0, THREADS),
        (2.0, 2.29, THREADS),
        (2.0, 2.31, PROCESSES),
        (2.0, 1.0, THREADS),
        (1.2, 1.35, THREADS),
        (0.0, 0.0, SERIAL),
    ],
)
def test_rule_takes_the_cheapest_within_15_percent(threads: float, processes: float, answer: str) -> None:
    """Serial unless one reaches 1.3; threads unless processes beat them by more than 15 %."""
    assert of_two(threads, processes) == answer


@given(threads=st.tuples(GAINS, GAINS).map(sorted), processes=GAINS)
def test_faster_threads_never_argue_against_threads(threads: list[float], processes: float) -> None:
    """When threads are advised at some speed-up, they are at every higher one."""
    slower, faster = threads
    if of_two(slower, processes) == THREADS:
        assert of_two(faster, processes) == THREADS


@given(threads=GAINS, processes=st.tuples(GAINS, GAINS).map(sorted))
def test_faster_processes_never_argue_for_less(threads: float, processes: list[float]) -> None:
    """As processes become faster, advice goes from serial to threads to processes, never back."""
    order = [SERIAL, THREADS, PROCESSES]
    slower, faster = processes
    assert order.index(of_two(threads, slower)) <= order.index(of_two(threads, faster))


@given(
    threads=st.tuples(GAINS, GAINS).map(sorted),
    processes=st.tuples(GAINS, GAINS).map(sorted),
    inside=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_corners_that_agree_speak_for_all_between(
    threads: list[float], processes: list[float], inside: tuple[float, float]
) -> None:
    """If the rule says the same at the four corners of two intervals, it says so everywhere in them."""
    corners = {of_two(*corner) for corner in product(threads, processes)}
    point = [low + (high - low) * share for (low, high), share in zip((threads, processes), inside, strict=True)]
    if len(corners) == 1:
        assert of_two(*point) in corners


# Bound


@pytest.mark.parametrize(
    ("low", "high", "bound"),
    [
        (0.0, 0.1, Bound.IO),
        (0.3, 0.349, Bound.IO),
        (0.3, 0.36, Bound.INCONCLUSIVE),
        (0.35, 0.8, Bound.MIXED),
        (0.5, 0.81, Bound.INCONCLUSIVE),
        (0.81, 1.0, Bound.CPU),
        (0.3, 0.9, Bound.INCONCLUSIVE),
    ],
)
def test_bound_is_told_only_from_an_interval_on_one_side(low: float, high: float, bound: Bound) -> None:
    """Under 0.35 a call waits, over 0.80 it computes, and an interval across a threshold tells nothing."""
    assert bound_of(estimate((low + high) / 2, low, high)) is bound


# GIL


@pytest.mark.parametrize(
    ("share", "utilization", "gil"),
    [
        (estimate(1.0), 1.0, Gil.HELD),
        (estimate(0.01), 1.0, Gil.RELEASED),
        (estimate(0.5), 1.0, Gil.PARTIAL),
        (estimate(0.5), 0.5, Gil.HELD),
        (estimate(0.05), 0.5, Gil.RELEASED),
        (estimate(0.02), 0.02, Gil.RELEASED),
        (estimate(1.0), 0.02, Gil.HELD),
        (estimate(0.5, 0.1, 0.9), 1.0, Gil.UNKNOWN),
        (None, 1.0, Gil.UNKNOWN),
    ],
)
def test_gil_is_judged_by_the_time_that_matters(share: Estimate | None, utilization: float, gil: Gil) -> None:
    """The held share counts of on-CPU time, or of all time where a call mostly waits."""
    assert gil_of(evidence(held_fraction=share, cpu_utilization=estimate(utilization))) is gil


def free(*, at_start: bool, later: bool) -> Evidence:
    """Give evidence of a Python whose GIL was on or off at the start, and in the rounds."""
    one = round_(serial(gil_on=later), threads=threads(0.1, 1.0, gil_on=later), processes=processes(gil_on=later))
    return evidence(2.0, 2.0, seen=measurement(one, gil_on_at_start=at_start), held_fraction=None)


def test_gil_is_absent_only_if_it_was_off_throughout() -> None:
    """A GIL that an import switched on is not absent."""
    assert gil_of(free(at_start=False, later=False)) is Gil.ABSENT
    assert gil_of(free(at_start=False, later=True)) is Gil.UNKNOWN
    assert gil_of(free(at_start=True, later=True)) is Gil.UNKNOWN


def test_gil_that_threads_found_on_is_not_absent() -> None:
    """An import in a thread switches the GIL on as well: a round whose serial batch had none yet tells nothing else."""
    one = round_(serial(gil_on=False), threads=threads(0.1, 1.0, gil_on=True), processes=processes(gil_on=False))
    seen = measurement(one, gil_on_at_start=False)
    assert gil_of(evidence(2.0, 2.0, seen=seen, held_fraction=None)) is Gil.UNKNOWN


# Choice


@pytest.mark.parametrize(
    ("in_threads", "in_processes", "strategy"),
    [
        (1.0, 2.0, PROCESSES),
        (2.0, 2.0, THREADS),
        (2.0, None, THREADS),
        (None, 2.0, PROCESSES),
        (estimate(1.0, 0.8, 1.2), estimate(1.9, 1.6, 2.2), PROCESSES),
    ],
)
def test_clear_evidence_is_decided(
    in_threads: float | Estimate | None, in_processes: float | Estimate | None, strategy: str
) -> None:
    """Intervals on one side of every threshold are enough."""
    found = choose(evidence(in_threads, in_processes, seen=THREE, held_fraction=None), Bound.CPU)
    assert found.strategy == strategy
    assert found.next_step is NextStep.STOP


@pytest.mark.parametrize(
    ("in_threads", "in_processes", "named"),
    [
        (estimate(1.0), estimate(1.3, 1.2, 1.4), "in a pool: threads 1.00x, processes 1.20x to 1.40x"),
        (estimate(1.3, 1.2, 1.4), None, "in a pool: threads 1.20x to 1.40x"),
        (
            estimate(1.7, 1.5, 1.9),
            estimate(2.0, 1.9, 2.0),
            "a pool pays: threads 1.50x to 1.90x and processes 1.90x to 2.00x for certain",
        ),
    ],
)
def test_straddling_evidence_is_inconclusive(in_threads: Estimate, in_processes: Estimate | None, named: str) -> None:
    """Intervals that allow two answers give none, are told, and ask for another round."""
    found = choose(evidence(in_threads, in_processes, held_fraction=None), Bound.CPU)
    assert found.strategy == INCONCLUSIVE
    assert named in why_not(found)
    assert found.next_step is NextStep.ROUND


@pytest.mark.parametrize(
    ("ratio", "strategy"),
    [
        (estimate(1.0, 0.95, 1.1), THREADS),
        (estimate(1.4, 1.2, 1.6), PROCESSES),
        (estimate(1.1, 1.0, 1.2), INCONCLUSIVE),
    ],
)
def test_threads_and_processes_can_be_told_apart_directly(ratio: Estimate, strategy: str) -> None:
    """When one of them is worth it for certain, their own ratio decides, free of the serial calls' noise."""
    wide = estimate(1.7, 1.4, 2.0)
    apart = tried(wide, over={"threads": Contrast(ratio=ratio)})
    assert choose(evidence(wide, apart, seen=THREE, held_fraction=None), Bound.IO).strategy == strategy


def test_direct_comparison_needs_pools_that_handing_out_does_not_limit() -> None:
    """Where a pool is limited by handing out, the ratio of the bare calls says nothing about it."""
    apart = tried(estimate(1.7, 1.4, 2.0), over={"threads": Contrast(ratio=estimate(1.0))})
    limited = replace(apart, speedup=estimate(1.9, 1.4, 2.5))
    assert choose(evidence(estimate(1.7, 1.4, 2.0), limited, held_fraction=None), Bound.IO).strategy == INCONCLUSIVE


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.HUNG, Outcome.CRASHED])
def test_strategy_that_ended_badly_is_out(outcome: Outcome) -> None:
    """Threads that fail, hang or crash leave processes, even where threads would have been cheaper."""
    bad = StrategyResult(outcome=outcome, error="why")
    assert choose(evidence(bad, 2.0), Bound.IO).strategy == PROCESSES


def test_serial_is_left_if_every_strategy_breaks() -> None:
    """If calls hang in threads and crash in processes, serial is the answer, and the reason names both."""
    bad = StrategyResult(outcome=Outcome.HUNG, error="it hung")
    worse = StrategyResult(outcome=Outcome.CRASHED, error="it crashed")
    verdict = judge(evidence(bad, worse)).verdict
    assert (verdict.strategy, verdict.speedup) == ("serial", 1.0)
    assert verdict.why == "nothing else works: threads hung: it hung, processes crashed: it crashed"


def test_nothing_to_compare_is_inconclusive() -> None:
    """If a strategy could not be tried, its failure is not known: there is no advice, and the reason names both."""
    bad = StrategyResult(outcome=Outcome.HUNG, error="it hung")
    untried = StrategyResult(outcome=Outcome.SKIPPED, error="a fixture is not safe in threads", impossible=True)
    found = choose(evidence(untried, bad), Bound.CPU)
    assert (found.strategy, found.next_step) == (INCONCLUSIVE, NextStep.STOP)
    assert "it hung" in why_not(found)
    assert "a fixture is not safe" in why_not(found)


def test_strategy_that_time_did_not_allow_may_be_anything() -> None:
    """What was not tried for lack of time may be as fast as its workers: so threads at 1.4 do not win over it."""
    late = "not within 5 s"
    untried = StrategyResult(outcome=Outcome.SKIPPED, error=late)
    seen = replace(THREE, out_of_time=late, no_time_for=frozenset({PROCESSES}))
    found = choose(evidence(1.4, untried, seen=seen, held_fraction=None), Bound.CPU)
    assert found.strategy == INCONCLUSIVE
    assert "threads 1.40x for certain, processes not tried" in why_not(found)
    good = choose(evidence(1.9, untried, seen=seen, held_fraction=None), Bound.CPU)
    assert good.strategy == THREADS


def test_strategy_with_the_same_words_as_its_reason_is_not_one_without_time() -> None:
    """It is the schedule that says what it had no time for, not the text of a reason that happens to be the same."""
    words = "not within 5 s"
    refused = StrategyResult(outcome=Outcome.SKIPPED, error=words)
    found = choose(evidence(1.4, refused, seen=replace(THREE, out_of_time=words), held_fraction=None), Bound.CPU)
    assert found.strategy == THREADS


# Belief


@pytest.mark.parametrize("number", [2, 3])
def test_serial_is_believed_with_controls(number: int) -> None:
    """That nothing helps is believed when the machine, asked between two rounds or more, could have helped."""
    assert choose(believed(number), Bound.CPU).strategy == SERIAL


def test_serial_needs_three_rounds_on_a_busy_machine() -> None:
    """Where serial calls or controls queued, two rounds are too few."""
    one = control()
    for number, strategy in ((2, INCONCLUSIVE), (3, SERIAL)):
        rounds, controls = (BUSY_ROUND,) * number, (one,) * number
        found = choose(evidence(1.0, EATEN, seen=measurement(*rounds, controls=controls)), Bound.CPU)
        assert found.strategy == strategy
        pushed = (control(serial(0.2, cpu_s=0.1, queue_s=0.1)),) * number
        found = choose(evidence(1.0, EATEN, seen=measurement(*[PYTHON_LOOP] * number, controls=pushed)), Bound.CPU)
        assert found.strategy == strategy


@pytest.mark.parametrize(
    ("native_s", "cpus", "at_once"), [(0.1, 2, True), (0.04, 2, False), (0.1, 1, False), (0.1, 4, False)]
)
def test_calls_that_use_every_cpu_need_no_control(native_s: float, cpus: int, at_once: bool) -> None:  # noqa: FBT001
    """A call that computes on all CPUs shows itself that they were there, and that none is left."""
    inside = round_(serial(native_s=native_s), threads=threads(0.2, 0.5, queue_s=0.1), processes=processes(0.2, 0.5))
    found = choose(replace(evidence(1.0, 1.0, seen=measurement(inside)), machine=machine(cpus=cpus)), Bound.CPU)
    assert found.strategy == (SERIAL if at_once else INCONCLUSIVE)


def test_calls_that_queue_behind_each_other_are_believed_by_their_controls() -> None:
    """Parallel batches of a call that is parallel inside queue for its own threads, which is no disturbance."""
    inside = round_(serial(native_s=0.04), threads=threads(0.2, 0.5, queue_s=0.1), processes=processes(0.2, 0.5))
    one = control()
    found = choose(evidence(1.0, 1.0, seen=measurement(inside, inside, controls=(one, one))), Bound.CPU)
    assert found.strategy == SERIAL


def test_serial_is_not_believed_at_once() -> None:
    """Without a control between the rounds, *nothing helps* waits for one."""
    found = choose(evidence(1.0, 1.0), Bound.CPU)
    assert (found.strategy, found.next_step) == (INCONCLUSIVE, NextStep.CONTROL)


def test_serial_needs_more_than_one_round() -> None:
    """One round and one control are too few; another round is wished for."""
    found = choose(believed(1), Bound.CPU)
    assert (found.strategy, found.next_step) == (INCONCLUSIVE, NextStep.ROUND)


def test_serial_is_not_believed_of_a_machine_that_gave_nothing() -> None:
    """Where the control did not scale either, it may be the machine's fault, and the reason says so."""
    found = choose(believed(gain=1.0), Bound.CPU)
    assert found.strategy == INCONCLUSIVE
    assert "this machine cannot show it" in why_not(found)


@pytest.mark.parametrize(
    ("gain", "processes_gain", "strategy"),
    [(1.45, 1.2, INCONCLUSIVE), (1.45, 1.05, SERIAL), (2.0, 1.2, SERIAL), (1.8, 1.2, SERIAL), (1.45, 0.9, SERIAL)],
)
def test_what_the_machine_withheld_is_not_taken_for_the_calls(
    gain: float, processes_gain: float, strategy: str
) -> None:
    """Pools that gain 1.2x where the control gains 1.45x would gain 1.4x where it gains 2x: so it is open."""
    apart = tried(processes_gain, speedup=estimate(1.8))
    assert choose(believed(gain=gain, apart=apart), Bound.CPU).strategy == strategy


@pytest.mark.parametrize(
    ("number", "gain", "cores", "strategy", "step"),
    [
        (3, 2.0, 1.0, INCONCLUSIVE, NextStep.ROUND),
        (5, 2.0, 1.0, SERIAL, NextStep.STOP),
        (5, 1.6, 1.0, INCONCLUSIVE, NextStep.ROUND),
        (3, 1.6, 1.4, SERIAL, NextStep.STOP),
    ],
)
def test_processes_that_do_not_help_though_there_are_cpus_are_surprising(
    number: int, gain: float, cores: float, strategy: str, step: NextStep
) -> None:
    """It takes five rounds and a machine that gave the control nearly all, unless the calls themselves use the CPUs."""
    one = round_(serial(native_s=0.1 * (cores - 1)), threads=threads(), processes=processes())
    ran = (control(serial(), processes(0.2 / gain)),) * number
    found = choose(evidence(1.0, 1.0, seen=measurement(*[one] * number, controls=ran)), Bound.CPU)
    assert (found.strategy, found.next_step) == (strategy, step)


def test_one_cpu_is_no_reason_for_more_rounds() -> None:
    """On a single CPU more rounds would not help, and none are wished for."""
    found = choose(replace(believed(gain=1.0), machine=machine(cpus=1)), Bound.CPU)
    assert (found.strategy, found.next_step) == (INCONCLUSIVE, NextStep.STOP)


def test_tiny_call_is_serial_at_once() -> None:
    """A call that costs less than handing it out gains on no machine, so no control is asked for."""
    tiny = evidence(tried(0.1), tried(0.01), wall_s_per_call=estimate(1e-6))
    assert choose(tiny, Bound.CPU).strategy == SERIAL


def test_waiting_needs_no_cpus() -> None:
    """A call that waits overlaps on any machine: that nothing helped it is not the machine's fault."""
    assert not needs_cpus(evidence(1.0, 1.0), Bound.IO)
    assert needs_cpus(evidence(1.0, 1.0), Bound.CPU)


def test_waiting_for_children_that_compute_needs_cpus() -> None:
    """A call that waits for its own child processes cannot overlap where they have no cores."""
    one = round_(serial(busy=0.01, children_s=0.09), threads=threads(0.2, 0.01), processes=processes(0.2, 0.01))
    assert needs_cpus(evidence(1.0, 1.0, seen=measurement(one)), Bound.IO)


@pytest.mark.parametrize(("number", "next_step"), [(1, NextStep.ROUND), (3, NextStep.STOP)])
def test_what_a_quota_held_back_is_inconclusive(number: int, next_step: NextStep) -> None:
    """Under a CPU quota nothing is said of a call that computes, and soon no more rounds are asked for."""
    one = round_(serial(), threads=threads(0.2, 0.5), processes=processes(0.2, 0.5))
    seen = measurement(*[one] * number, throttled_share=0.3)
    found = choose(reduced(seen, MACHINE), Bound.CPU)
    assert (found.strategy, found.next_step) == (INCONCLUSIVE, next_step)
    assert "a CPU quota stopped the probe for 30 %" in why_not(found)


def test_quota_does_not_hide_what_waiting_gains() -> None:
    """Calls that wait overlap under any quota."""
    one = round_(serial(busy=0.01), threads=threads(0.1, 0.01), processes=processes(0.1, 0.01))
    seen = measurement(*[one] * 3, throttled_share=0.3)
    found = reduced(seen, MACHINE)
    assert choose(found, Bound.IO).strategy == THREADS


def test_strategy_that_is_out_needs_no_cpus() -> None:
    """With both strategies out, idle CPUs would not help."""
    out = evidence(StrategyResult(outcome=Outcome.HUNG), StrategyResult(outcome=Outcome.HUNG))
    assert not needs_cpus(out, Bound.CPU)


# Doubt


def test_one_disturbed_round_is_not_enough() -> None:
    """When no round was quiet, three must agree."""
    assert disturbed(evidence(seen=measurement(BUSY_ROUND)), "processes") is not None
    assert disturbed(evidence(seen=measurement(*[BUSY_ROUND] * 3)), "processes") is None
    assert disturbed(evidence(seen=measurement(BUSY_ROUND, PYTHON_LOOP)), "processes") is None
    assert choose(evidence(seen=measurement(BUSY_ROUND)), Bound.CPU).next_step is NextStep.ROUND


def test_threads_that_are_slower_for_no_reason_seen_need_more_rounds() -> None:
    """One quiet round settles threads that the GIL slows; without it calls may be uneven, or one round an outlier."""
    for share, enough in ((1.0, True), (0.1, False), (None, False)):
        held = None if share is None else estimate(share)
        assert (disturbed(evidence(1.0, 2.0, held_fraction=held), "processes") is None) is enough
    assert disturbed(evidence(1.0, 2.0, seen=THREE, held_fraction=estimate(0.1)), "processes") is not None
    five = measurement(*[PYTHON_LOOP] * 5)
    assert disturbed(evidence(1.0, 2.0, seen=five, held_fraction=estimate(0.1)), "processes") is None


def test_processes_that_take_unlike_times_need_three_rounds() -> None:
    """Two processes that share nothing and differ show calls that are not alike: one round is too few."""
    slow = processes(0.3)
    apart = replace(slow, workers=(slow.workers[0], processes(0.1).workers[0]))
    assert disturbed(evidence(seen=measurement(round_(threads=threads(), processes=apart))), "processes") is not None


def test_workers_that_do_more_than_their_number_are_doubted() -> None:
    """Two processes at 2.5 mean that the serial calls were disturbed."""
    found = disturbed(evidence(1.0, estimate(2.5, 2.3, 2.7)), "processes")
    assert found is not None
    assert "2 workers seem to do more than 2 times" in found.why


@pytest.mark.parametrize(
    ("beside", "times", "believed"),
    [
        (1.0, estimate(2.2, 2.15, 2.3), True),  # serial calls may be a fifth faster: processes stay the best
        (1.0, estimate(3.2, 3.0, 3.4), False),  # the excess is 1.6, and of 3.2 1.25 may be left: less than 1.3
        (1.8, estimate(2.2, 2.15, 2.3), False),  # threads within 15 % of 2.0, yet not within 15 % of 2.2
    ],
)
def test_disturbed_serial_calls_do_not_matter_where_they_change_nothing(
    beside: float, times: Estimate, *, believed: bool
) -> None:
    """After five rounds, workers beyond their number are believed if faster serial calls would lead to the same."""
    few, many = (measurement(*[PYTHON_LOOP] * number) for number in (4, 5))
    found = replace(tried(times), pool_speedup=estimate(2.0))  # an executor of two never gives more than twice
    assert disturbed(evidence(beside, found, seen=few), "processes") is not None
    assert (disturbed(evidence(beside, found, seen=many), "processes") is None) is believed


def test_threads_beyond_the_gils_ceiling_contradict_it() -> None:
    """Threads at 2.0 while the GIL was seen held all the time: evidence that disagrees is not averaged."""
    odd = evidence(2.0, 2.0)
    assert contradicts(odd) is not None
    assert contradicts(evidence(tried(2.0, run_queue_share=0.2), 2.0)) is not None  # on a busy machine, too
    found = choose(odd, Bound.CPU)
    assert found.strategy == INCONCLUSIVE
    assert "the measurements contradict each other" in why_not(found)


@pytest.mark.parametrize(
    "fine",
    [
        evidence(1.2, 2.0),
        evidence(2.0, 2.0, held_fraction=estimate(0.4)),
        evidence(2.0, 2.0, held_fraction=None),
        evidence(2.0, 2.0, held_fraction=estimate(0.0)),
        evidence(None, 2.0),
    ],
)
def test_no_contradiction(fine: Evidence) -> None:
    """Within the ceiling, or without a ceiling, there is no contradiction to see."""
    assert contradicts(fine) is None


# The whole verdict


def test_verdict_is_whole() -> None:
    """A verdict carries bound, GIL, strategy, the pool's speed-up and a reason with the numbers."""
    found = judge(evidence())
    assert found.next_step is NextStep.STOP
    assert found.verdict.bound is Bound.CPU
    assert found.verdict.gil is Gil.HELD
    assert found.verdict.strategy == PROCESSES
    assert found.verdict.speedup == 2.0
    assert "100 % of one core" in found.verdict.reason


def test_unclear_bound_wishes_for_a_round() -> None:
    """A strategy that is settled does not end the probe while the bound straddles a threshold."""
    found = judge(evidence(cpu_utilization=estimate(0.8, 0.75, 0.85)))
    assert found.verdict.bound is Bound.INCONCLUSIVE
    assert found.verdict.strategy == PROCESSES
    assert found.next_step is NextStep.ROUND


@pytest.mark.parametrize(
    ("given_", "speedup"), [(believed(), 1.0), (evidence(1.4, estimate(1.5, 1.2, 1.8), held_fraction=None), None)]
)
def test_speedup_of_serial_is_1_and_of_inconclusive_unknown(given_: Evidence, speedup: float | None) -> None:
    """Serial advice promises just serial speed, and no advice promises nothing."""
    assert judge(given_).verdict.speedup == speedup


def test_promise_is_at_most_the_number_of_workers() -> None:
    """Two processes measured at 2.1 by luck are not promised to do more than twice the work."""
    assert judge(evidence(1.0, estimate(2.1, 1.9, 2.3))).verdict.speedup == 2.0


ANY = st.builds(
    lambda low, width, more: estimate(low + width, low, low + width + more),
    st.floats(0, 3),
    st.floats(0, 1),
    st.floats(0, 1),
)


@given(
    in_threads=st.none() | ANY,
    in_processes=st.none() | ANY,
    utilization=st.floats(0, 1),
    share=st.none() | st.floats(0, 1),
    cpus=st.integers(1, 8),
)
def test_any_evidence_gets_a_verdict_that_it_supports(
    in_threads: Estimate | None, in_processes: Estimate | None, utilization: float, share: float | None, cpus: int
) -> None:
    """Whatever was measured, there is a verdict with a reason; a pool that is advised was measured and may pay."""
    given_ = evidence(
        in_threads,
        in_processes,
        on=replace(MACHINE, cpus=cpus),
        cpu_utilization=estimate(utilization),
        held_fraction=None if share is None else estimate(share),
    )
    found = judge(given_).verdict
    assert found.reason
    if found.strategy == THREADS:
        assert in_threads is not None
        assert in_threads.value * CLOSE >= WORTH_IT
    if found.strategy == PROCESSES:
        assert in_processes is not None
        assert in_processes.high >= WORTH_IT
    if found.strategy == SERIAL:
        assert all(one is None or one.low < WORTH_IT for one in (in_threads, in_processes))


@pytest.mark.parametrize("in_threads", [0.7, 2.0])
def test_hand_out_rules_pools_out_on_any_machine(in_threads: float) -> None:
    """A call of a third of what its hand-out costs stays serial, however disturbed its only round was."""
    restless = round_(serial(0.2, cpu_s=0.1, queue_s=0.1), threads=threads(0.4, cpu_s=0.1, queue_s=0.2))
    short = estimate(3.4e-6, 3.2e-6, 3.6e-6)
    pooled = replace(evidence(in_threads, 2.0).results[THREADS], pool_speedup=estimate(0.34))
    apart = replace(evidence(1.0, 2.0).results[PROCESSES], pool_speedup=estimate(0.034))
    found = evidence(pooled, apart, seen=measurement(restless), wall_s_per_call=short)
    assert judge(found).verdict.strategy == SERIAL
    near = estimate(1.2e-5, 1.1e-5, 1.4e-5)
    unclear = evidence(
        replace(pooled, pool_speedup=estimate(1.2)), apart, seen=measurement(restless), wall_s_per_call=near
    )
    assert judge(unclear).verdict.strategy == INCONCLUSIVE


def test_comparison_counts_what_both_pools_keep() -> None:
    """Threads against processes are decided round by round with a little data to move, and not with much."""
    for kept, expected in ((1.0, PROCESSES), (0.97, PROCESSES), (0.9, None)):
        apart = replace(
            evidence(1.0, estimate(1.8, 1.6, 2.0)).results[PROCESSES],
            pool_speedup=estimate(1.8 * kept, 1.6 * kept, 2.0 * kept),
            over={"threads": Contrast(ratio=estimate(1.25, 1.2, 1.3))},
        )
        found = judge(evidence(estimate(1.45, 1.25, 1.65), apart, seen=measurement(*[PYTHON_LOOP] * 3)))
        assert found.verdict.strategy == (expected or INCONCLUSIVE)


# What rounds cannot tell


def test_calls_as_short_as_their_hand_out_are_not_measured_for_ever() -> None:
    """Where the cost of handing out decides, which a session measures once, three rounds are enough to say so.

    What could tell more are rounds in real executors; where there are none, nothing.
    """
    short = round_(serial(calls=250), threads=threads(calls=250), processes=processes(calls=250))

    def judged(rounds: int, lost: Estimate, pools_ended: str | None = None) -> Judgement:
        in_processes = DispatchCosts(task_s=1e-5, task_high_s=1e-5, lost_s=lost)
        on = machine(costs=costs(threads=1e-5, processes=in_processes))
        return judge(reduced(measurement(*[short] * rounds, pools_ended=pools_ended), on))

    roughly = estimate(2e-4, 1e-4, 3e-4)
    assert judged(2, roughly).next_step is NextStep.ROUND
    assert judged(3, roughly).next_step is NextStep.POOL
    open_ = judged(3, roughly, "time was up")
    assert (open_.verdict.strategy, open_.next_step) == (INCONCLUSIVE, NextStep.STOP)
    assert "put several calls into each task" in open_.verdict.reason
    assert judged(3, estimate(2e-5)).verdict.strategy == PROCESSES


def test_a_share_that_rounds_tell_better_is_not_put_down_to_the_hand_out() -> None:
    """What the GIL leaves of threads in a pool is open while its share is: rounds go on."""
    on = machine(costs=costs(threads=DispatchCosts(task_s=6e-6, task_high_s=6e-6, lost_s=estimate(3e-5))))
    call_s, held = estimate(1e-4), estimate(0.75, 0.5, 1)
    seen = measurement(*[PYTHON_LOOP] * 3)
    found = evidence(estimate(1.5, 1.25, 1.8), None, seen=seen, on=on, wall_s_per_call=call_s, held_fraction=held)
    assert judge(found).next_step is NextStep.ROUND


@pytest.mark.parametrize(
    ("held", "bursts", "answer"), [(0.0, 4, INCONCLUSIVE), (0.0, 5, PROCESSES), (1.0, 3, PROCESSES)]
)
def test_few_undisturbed_bursts_do_not_show_that_threads_fall_short(held: float, bursts: int, answer: str) -> None:
    """Beside other programs, threads that took turns in some bursts may have met bad luck, unless the GIL is held."""
    disturbed_one = round_(
        serial(0.1, cpu_s=0.1, gil=gil_samples(held)),
        threads=threads(0.2, cpu_s=0.1, queue_s=0.1),
        processes=processes(0.1, cpu_s=0.1),
    )
    in_turns = BatchReading(workers=(worker(lane(0.15, cpu_s=0.1), lane(0.3, cpu_s=0.1)),), apart=False)
    short = round_(serial(0.1, cpu_s=0.1), threads=in_turns)
    seen = measurement(*[disturbed_one] * 8, bursts=(short,) * bursts, controls=(control(),) * 3)
    found = judge(reduced(seen, machine()))
    assert (found.verdict.strategy, found.next_step is NextStep.STOP) == (answer, answer == PROCESSES)


@pytest.mark.parametrize(
    ("gain", "controls", "together", "answer", "step"),
    [
        (1.5, 0, 0.0, INCONCLUSIVE, NextStep.CONTROL),  # processes may gain more on a machine that gives more
        (1.5, 3, 0.1, THREADS, NextStep.STOP),  # it gave the control all
        (1.5, 3, 0.128, INCONCLUSIVE, NextStep.ROUND),  # it gave it 1.56x
        (1.75, 0, 0.0, THREADS, NextStep.STOP),  # they gained enough
    ],
)
def test_processes_that_gain_little_are_compared_with_the_control(
    gain: float, controls: int, together: float, answer: str, step: NextStep
) -> None:
    """Threads are advised over processes that fall short only if it is not the machine that holds these back."""
    ran = (control(together=processes(together)),) * controls if controls else ()
    seen = measurement(*[PYTHON_LOOP] * 5, controls=ran)
    apart = replace(evidence(1.0, estimate(gain)).results[PROCESSES], over={"threads": Contrast(ratio=estimate(1.07))})
    found = judge(evidence(estimate(gain / 1.07), apart, seen=seen, held_fraction=None))
    assert (found.verdict.strategy, found.next_step) == (answer, step)


def test_what_threads_gained_the_machine_could_give() -> None:
    """Processes that fall short of threads, which gain nearly 2x, are not held back by the machine."""
    found = judge(evidence(1.9, 1.2, seen=measurement(*[PYTHON_LOOP] * 5), held_fraction=None))
    assert (found.verdict.strategy, found.next_step) == (THREADS, NextStep.STOP)


@pytest.mark.parametrize(
    ("gain", "cpus", "held", "answer"),
    [
        (1.55, 2, 0.01, THREADS),  # CPUs that are two threads of one core hold threads and processes back alike
        (1.55, 2, 0.0, THREADS),
        (1.55, 2, 0.6, INCONCLUSIVE),  # the GIL may be what holds threads back, the machine what holds processes back
        (1.55, 1, 0.6, THREADS),  # no machine with one CPU can give processes more
    ],
)
def test_a_machine_that_holds_threads_and_processes_back_alike_leaves_nothing_open(
    gain: float, cpus: int, held: float, answer: str
) -> None:
    """Threads that gain what processes do are advised, unless the GIL may hide what processes could gain."""
    ran = (control(together=processes(0.2 / gain)),) * 5
    seen = measurement(*[PYTHON_LOOP] * 5, controls=ran)
    share = estimate(held, held, min(1.0, held + 0.02))
    given = evidence(gain, gain, seen=seen, on=machine(cpus=cpus), held_fraction=share)
    assert judge(given).verdict.strategy == answer


def test_a_machine_that_gave_the_control_all_is_not_to_blame() -> None:
    """A direct comparison may choose threads although the quotient of the values lies just above 1.15."""
    ratio = estimate(1.12, 1.09, 1.145)
    apart = tried(estimate(1.68, 1.62, 1.74), over={"threads": Contrast(ratio=ratio)})
    seen = measurement(*[PYTHON_LOOP] * 8, controls=(control(),) * 5)
    found = judge(evidence(estimate(1.45, 1.38, 1.52), apart, seen=seen, held_fraction=None))
    assert found.verdict.strategy == THREADS


def test_processes_are_not_credited_with_more_than_there_are_cpus() -> None:
    """Calls that use two of four CPUs cannot gain more than 2x, so threads that gain 1.75x are the answer."""
    one = round_(serial(native_s=0.1), threads=threads(), processes=processes())
    ran = (control(together=processes(0.2 / 1.9)),) * 5
    seen = measurement(*[one] * 5, controls=ran, workers=4)
    found = choose(evidence(1.75, 1.6, seen=seen, on=machine(cpus=4), held_fraction=None), Bound.CPU)
    assert found.strategy == THREADS

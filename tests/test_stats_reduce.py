"""`pytest_gilprobe.stats.reduce`: from samples of known truth to the three results."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evidence import (
    PLAIN,
    PYTHON_LOOP,
    costs,
    estimate,
    gil_samples,
    lane,
    machine,
    measurement,
    processes,
    round_,
    serial,
    threads,
)
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model.machine import DispatchCosts, Machine
from pytest_gilprobe.model.readings import End, Measurement
from pytest_gilprobe.model.results import GilResult, StrategyResult, Transfer
from pytest_gilprobe.model.words import GilMethod, Outcome
from pytest_gilprobe.stats import masking
from pytest_gilprobe.stats.gil_share import held_fraction
from pytest_gilprobe.stats.reduce import reduce


def reduced(seen: Measurement, on: Machine) -> tuple[StrategyResult, ...]:
    """Reduce a measurement; return what serial calls, threads and processes gave."""
    return tuple(reduce(seen, on, PLAIN).results.values())


def gil_of(seen: Measurement, on: Machine) -> GilResult:
    """Reduce a measurement; return what was seen of the GIL."""
    return reduce(seen, on, PLAIN).gil


WAITS = round_(serial(busy=0.01), threads=threads(0.1, 0.01), processes=processes(busy=0.01))


def test_computing_under_the_gil() -> None:
    """Two threads that take twice as long gain nothing; two processes that take as long gain twice."""
    alone, together, apart = reduced(measurement(PYTHON_LOOP), machine())
    assert alone.utilization.value == pytest.approx(1.0)
    assert alone.call_s.value == pytest.approx(0.01)
    assert together.speedup is not None
    assert together.speedup.value == pytest.approx(1.0)
    assert apart.speedup is not None
    assert apart.speedup.value == pytest.approx(2.0)
    assert (alone.calls, alone.rounds) == (10, 1)


def test_waiting_overlaps_in_both() -> None:
    """Waiting is no load, and both strategies do it at once."""
    alone, together, apart = reduced(measurement(WAITS), machine())
    assert alone.utilization.value == pytest.approx(0.01, abs=0.001)
    assert together.speedup is not None
    assert together.speedup.value == pytest.approx(2.0)
    assert "threads" in apart.over
    assert apart.over["threads"].ratio.value == pytest.approx(1.0)


def test_no_rounds_are_an_error() -> None:
    """Without a serial batch there is nothing to reduce, and nothing is made up."""
    with pytest.raises(ValueError, match=r"no|empty|median"):
        reduced(replace(measurement(), rounds=()), machine())


def test_interval_narrows_with_rounds() -> None:
    """Ten rounds say more than one."""
    one, ten = (reduced(measurement(*[PYTHON_LOOP] * number), machine())[2].speedup for number in (1, 10))
    assert one is not None
    assert ten is not None
    assert ten.high - ten.low < (one.high - one.low) / 2


def test_restless_machine_widens_speedups() -> None:
    """The noise that the survey saw is the noise that a speed-up is given, where the batches differ as much."""
    apart = round_(serial(), threads=threads(), processes=processes(0.13))
    calm, restless = (reduced(measurement(apart), machine(noise=noise))[2].speedup for noise in (0.03, 0.2))
    assert calm is not None
    assert restless is not None
    assert restless.high - restless.low > 1.5 * (calm.high - calm.low)


def test_batches_that_are_alike_call_a_restless_machine_calm() -> None:
    """What the survey met need not be there any more: batches that agree to a hundredth say so."""
    calm, once_restless = (reduced(measurement(), machine(noise=noise))[2].speedup for noise in (0.03, 0.2))
    assert calm is not None
    assert once_restless is not None
    assert once_restless.high - once_restless.low < 1.5 * (calm.high - calm.low)


def test_speedup_is_computed_within_rounds() -> None:
    """A machine that becomes half as fast between two rounds leaves the speed-up as it is."""
    slow = round_(serial(0.2), threads=threads(0.4), processes=processes(0.2))
    apart = reduced(measurement(PYTHON_LOOP, slow), machine())[2]
    assert apart.speedup is not None
    assert apart.speedup.value == pytest.approx(2.0)


def test_calls_that_are_not_alike_widen_the_intervals() -> None:
    """Batches of one call that takes now 60 ms, now 180 ms leave open what batches of equal calls settle."""
    short, long = processes(0.06), processes(0.18)
    apart = replace(short, workers=(short.workers[0], long.workers[0]))
    uneven = round_(serial(0.06), threads=threads(0.18), processes=apart)
    even = round_(serial(0.06), threads=threads(0.18), processes=long)
    wide, narrow = (reduced(measurement(one), machine())[1].speedup for one in (uneven, even))
    assert wide is not None
    assert narrow is not None
    assert narrow.high < 1.0 < wide.high
    assert wide.value == pytest.approx(narrow.value)


def test_load_of_others_is_taken_out() -> None:
    """Batches that queued for half of their time behind other programs are as fast as without them."""
    busy = round_(
        serial(0.2, cpu_s=0.1, queue_s=0.1),
        threads=threads(0.4, cpu_s=0.1, queue_s=0.2),
        processes=processes(0.2, cpu_s=0.1, queue_s=0.1),
    )
    alone, together, apart = reduced(measurement(busy), machine())
    assert alone.call_s.value == pytest.approx(0.01)
    assert alone.utilization.value == pytest.approx(1.0)
    assert alone.run_queue_share == pytest.approx(0.5)
    assert apart.speedup is not None
    assert apart.speedup.value == pytest.approx(2.0)
    assert together.run_queue_share == pytest.approx(0.5)


@pytest.mark.parametrize("rounds", [1, 6, 40])
def test_lanes_that_took_turns_on_one_cpu_do_not_show_that_they_overlap(rounds: int) -> None:
    """Without their queueing they seem to gain 2x, but they never ran side by side: no number of rounds settles it."""
    busy = round_(
        serial(0.1, cpu_s=0.1, gil=gil_samples(0.0, span_s=0.2)),
        threads=threads(0.2, cpu_s=0.1, queue_s=0.1),
        processes=processes(0.2, cpu_s=0.1, queue_s=0.1),
    )
    together = reduced(measurement(*[busy] * rounds), machine())[1]
    assert together.speedup is not None
    assert together.speedup.low < 1.2
    assert together.speedup.high > 1.9


@pytest.mark.parametrize(("rounds", "speedup"), [(1, 1.6), (6, 1.8)])
def test_lanes_that_do_not_wait_count_each_for_itself(rounds: int, speedup: float) -> None:
    """Of two lanes that take 0.1 s and 0.125 s a pool gives the faster one more calls, as many rounds show."""
    lanes = threads(0.1, 1.0)
    slow = lane(0.125, cpu_s=0.125)
    both = (lanes.workers[0].lanes[0], slow)
    uneven = replace(lanes, workers=(replace(lanes.workers[0], lanes=both),))
    one = round_(serial(0.1, cpu_s=0.1), threads=uneven, processes=processes(0.1))
    together = reduced(measurement(*[one] * rounds), machine())[1]
    assert together.speedup is not None
    assert together.speedup.value == pytest.approx(speedup, rel=0.01)


@pytest.mark.parametrize("waited_s", [0.0, 0.1])
def test_a_lane_that_waited_for_the_other_is_not_counted_for_itself(waited_s: float) -> None:
    """Of two lanes under a lock the first may do all of its calls before the second: together they are no faster."""
    lanes = threads(0.1, 1.0)
    late = lane(0.1 + waited_s, cpu_s=0.1)
    both = (lanes.workers[0].lanes[0], late)
    unfair = replace(lanes, workers=(replace(lanes.workers[0], lanes=both),))
    one = round_(serial(0.1, cpu_s=0.1), threads=unfair, processes=processes(0.1))
    together = reduced(measurement(*[one] * 6), machine())[1]
    assert together.speedup is not None
    assert together.speedup.value == pytest.approx(1.0 if waited_s else 2.0, rel=0.01)


@pytest.mark.parametrize(("cpus", "pool"), [(2, 1.0), (8, 1.6)])
def test_moving_data_takes_cpu_time_from_the_calls(cpus: int, pool: float) -> None:
    """Of a call of 10 ms, 2.5 ms to read its data and 7.5 ms to send it two CPUs have no room for two at once."""
    moved = Transfer(argument_bytes=1, result_bytes=1, pipe_s=0.01, parent_s=0.0075, worker_s=0.0025)
    on = machine(cpus=cpus, costs=costs(processes=0.0))
    found = reduced(measurement(PYTHON_LOOP, transfer=moved), on)[2].pool_speedup
    assert found is not None
    assert found.value == pytest.approx(min(pool, 10 / 7.5), rel=0.01)


# The GIL


def test_held_fraction_is_the_share_of_looks() -> None:
    """Looks that find the GIL held half of the time say half, with an interval around it."""
    found = held_fraction([serial(gil=gil_samples(0.5))])
    assert found is not None
    assert found.value == pytest.approx(0.5, abs=0.01)
    assert found.low < 0.5 < found.high


@pytest.mark.parametrize(("queued_s", "low", "high"), [(0.0, 0.45, 0.55), (0.03, 0.2, 0.8), (0.05, 0.0, 1.0)])
def test_a_holder_that_queues_leaves_the_held_share_open(queued_s: float, low: float, high: float) -> None:
    """What share of the queueing was spent holding the GIL nobody saw, so a busy machine widens the interval."""
    one = round_(serial(cpu_s=0.1 - queued_s, queue_s=queued_s, gil=gil_samples(0.5)))
    found = gil_of(measurement(one), machine()).held_fraction
    assert found is not None
    assert found.low == pytest.approx(low, abs=0.07)
    assert found.high == pytest.approx(high, abs=0.07)


@pytest.mark.parametrize(
    ("waits", "preemptions", "high"),
    [
        (0, 10, 2 / 3),  # pushed off while computing: with the GIL half as often as it has it, at the least
        (10, 10, 0.86),  # two thirds of the queueing may have begun by waking up, without the GIL
        (0, 0, 1.0),  # nobody knows how it began to queue
    ],
)
def test_a_thread_pushed_off_its_core_may_have_held_the_gil(waits: int, preemptions: int, high: float) -> None:
    """Half of the time in the queue, the GIL seen held for half of the time: how it came to queue bounds the share."""
    one = serial(cpu_s=0.05, queue_s=0.05, waits=waits, preemptions=preemptions, gil=gil_samples(0.5, count=100_000))
    found = gil_of(measurement(round_(one)), machine()).held_fraction
    assert found is not None
    assert found.low == pytest.approx(0.0, abs=0.012)
    assert found.high == pytest.approx(high, abs=0.012)


def test_threads_that_wait_for_a_gil_held_in_the_queue_only_may_be_as_good_as_without_it() -> None:
    """Calls pushed off as they come out of the kernel with the GIL make others wait, which an idle machine does not."""
    busy = round_(
        serial(0.2, cpu_s=0.1, queue_s=0.1, waits=0, preemptions=30, gil=gil_samples(0.5, span_s=0.2)),
        threads=threads(0.25, cpu_s=0.1, queue_s=0.1, waits=30, gil=gil_samples(0.5, span_s=0.25)),
        processes=processes(0.2, cpu_s=0.1, queue_s=0.1),
    )
    together = reduced(measurement(*[busy] * 6), machine())[1]
    assert together.speedup is not None
    assert together.speedup.value == pytest.approx(4 / 3, rel=0.01)
    assert together.speedup.high >= 2.0


def test_unwatched_is_unknown() -> None:
    """Without a trace the share is None, its method too, and there is no ceiling."""
    found = gil_of(measurement(), machine())
    assert (found.held_fraction, found.method, found.threads_ceiling) == (None, None, None)
    alone = reduced(measurement(), machine())[0]
    assert alone.shares is not None
    assert alone.shares.cpu_with_gil is None


def test_ceiling_is_the_reciprocal_of_the_held_share() -> None:
    """A GIL held for half of the time leaves room for twice the speed."""
    one = round_(serial(gil=gil_samples(0.5)), threads=threads(0.15, gil=gil_samples(0.9, span_s=0.15)))
    found = gil_of(measurement(one), machine())
    assert found.method is GilMethod.MEMORY
    assert found.threads_ceiling == pytest.approx(2.0, rel=0.02)


def test_threads_are_bounded_by_the_ceiling() -> None:
    """On a busy machine, threads that read faster than a GIL held all the time allows are cut to what it allows."""
    one = round_(serial(queue_s=0.05, cpu_s=0.05, gil=gil_samples(1.0)), threads=threads(0.1, 0.5, queue_s=0.05))
    together = reduced(measurement(one), machine())[1]
    assert together.speedup is not None
    assert together.speedup.high < 1.1


def test_threads_are_not_bounded_on_a_quiet_machine() -> None:
    """On a quiet machine, threads that pass the ceiling stay as measured: a contradiction that the judge must see."""
    one = round_(serial(gil=gil_samples(1.0)), threads=threads(0.1, 1.0))
    together = reduced(measurement(one), machine())[1]
    assert together.speedup is not None
    assert together.speedup.low > 1.5


def test_never_held_has_no_ceiling() -> None:
    """A GIL that was never seen held bounds nothing."""
    one = round_(serial(gil=gil_samples(0.0)), threads=threads(0.1, 1.0))
    together = reduced(measurement(one), machine())[1]
    assert gil_of(measurement(one), machine()).threads_ceiling is None
    assert together.speedup is not None
    assert together.speedup.value == pytest.approx(2.0)


# Ends


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.HUNG, Outcome.CRASHED])
def test_bad_end_has_no_numbers(outcome: Outcome) -> None:
    """A strategy that failed, hung or crashed has its error and no speed-up, even if some rounds went well."""
    end = End(outcome=outcome, error="why")
    _, together, _ = reduced(measurement(ends={"threads": end, "processes": End(outcome=Outcome.OK)}), machine())
    _, _, apart = reduced(measurement(ends={"threads": End(outcome=Outcome.OK), "processes": end}), machine())
    assert (together.outcome, together.error, together.speedup) == (outcome, "why", None)
    assert (apart.outcome, apart.error, apart.speedup) == (outcome, "why", None)


def test_never_tried_is_skipped() -> None:
    """A strategy that time did not allow to try is skipped, with the time as its reason."""
    late = "not within 5 s"
    _, together, apart = reduced(measurement(round_(serial()), out_of_time=late), machine())
    assert (together.outcome, together.error) == (Outcome.SKIPPED, late)
    assert (apart.outcome, apart.error) == (Outcome.SKIPPED, late)


def test_over_threads_needs_both() -> None:
    """Threads and processes are compared directly only in rounds that have both."""
    one = round_(serial(), processes=processes())
    assert not reduced(measurement(one), machine())[2].over


# What goes along


def test_costs_and_sizes_are_kept() -> None:
    """Dispatch costs, memory, start-up and first call are reported as they were measured."""
    seen = measurement(start_up_s=0.3, first_call_s=0.5)
    alone, together, apart = reduced(seen, machine())
    assert alone.first_call_s == 0.5
    assert (together.dispatch_s_per_call, apart.dispatch_s_per_call) == (1e-5, 1e-4)
    assert (apart.start_up_s, apart.rss_bytes_per_worker) == (0.3, 50_000_000)


def test_unknown_memory_stays_unknown() -> None:
    """Where no worker told its memory, it is None."""
    one = round_(serial(), processes=processes(rss=None))
    assert reduced(measurement(one), machine())[2].rss_bytes_per_worker is None


def test_transfer_lowers_the_pool_and_is_reported() -> None:
    """Data dearer to move than the work takes the gain from a process pool, not from the bare processes."""
    moved = Transfer(argument_bytes=1, result_bytes=1, pipe_s=0.03, parent_s=0.02, worker_s=0.01)
    apart = reduced(measurement(transfer=moved), machine())[2]
    assert apart.speedup is not None
    assert apart.speedup.value == pytest.approx(2.0)
    assert apart.pool_speedup is not None
    assert apart.pool_speedup.value < 0.6
    assert apart.transfer_s_per_call == 0.03


def test_calls_use_no_more_cores_than_there_are() -> None:
    """Threads of a call use at most the cores beside the call's own, however the clocks of both are read."""
    one = round_(serial(0.1, 1.0, native_s=0.127), threads=threads(), processes=processes())
    assert reduced(measurement(one), machine())[0].extra_cores == 1.0
    assert reduced(measurement(one), machine(cpus=8))[0].extra_cores == pytest.approx(1.27)


def test_native_threads_leave_no_room_when_others_want_the_cpus() -> None:
    """Copies of a call that uses both cores cannot gain, whatever share of a busy machine they win."""
    one = round_(serial(0.2, cpu_s=0.1, queue_s=0.1, native_s=0.1), processes=processes(0.12, cpu_s=0.1, native_s=0.1))
    apart = reduced(measurement(one), machine())[2]
    assert apart.speedup is not None
    assert apart.speedup.value == pytest.approx(1.0)
    assert not apart.over


@pytest.mark.parametrize(
    ("share", "trace_share", "threads_high", "processes_high"),
    [(0.0, 1.0, 1.02, 1.02), (0.019, 1.0, 1.02, 1.02), (0.02, 1.0, 1.05, 2.0), (0.02, 0.0, 2.0, 2.0)],
)
def test_quota_leaves_open_what_it_may_have_taken(
    share: float, trace_share: float, threads_high: float, processes_high: float
) -> None:
    """Speed-ups of calls that a quota held back reach up to the number of workers, or to what the GIL allows."""
    one = round_(
        serial(gil=gil_samples(trace_share)), threads=threads(0.2, 0.5), processes=processes(0.2, 0.5, workers=2)
    )
    _, together, apart = reduced(measurement(*[one] * 4, throttled_share=share), machine())
    assert together.speedup is not None
    assert apart.speedup is not None
    assert together.speedup.value == pytest.approx(1.0)
    assert together.speedup.high == pytest.approx(threads_high, abs=0.02)
    assert apart.speedup.high == pytest.approx(processes_high, abs=0.02)
    assert (not apart.over) == (share >= 0.02)


def test_quota_leaves_waiting_calls_alone() -> None:
    """Calls that wait are not held back, unless they wait for child processes that compute."""
    waits = serial(busy=0.01), threads(0.2, 0.01), processes(0.2, 0.01)
    for children_s, high in ((0.0, 1.02), (0.09, 2.0)):
        first = serial(busy=0.01, children_s=children_s)
        one = round_(first, threads=waits[1], processes=waits[2])
        _, _, apart = reduced(measurement(*[one] * 4, throttled_share=0.5), machine())
        assert apart.speedup is not None
        assert apart.speedup.high == pytest.approx(high, abs=0.05)


def test_gil_switched_on_by_an_import_counts_as_held_where_unseen() -> None:
    """A GIL that was off at the start but on in a round may have been held by any queueing thread."""
    for at_start, later, share in ((False, False, 0.0), (False, True, 1.0), (True, True, 1.0)):
        one = round_(serial(gil_on=later), threads=threads(gil_on=later), processes=processes(gil_on=later))
        seen = measurement(one, gil_on_at_start=at_start)
        found = reduce(seen, machine(), PLAIN)
        assert masking.holding(found.gil, seen, [one.batches["threads"]]).together == share


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    """Draw rounds of any clock readings, some strategies left out."""
    each = st.builds(
        lambda wall, cpu, queue, calls: lane(wall, cpu_s=cpu, queue_s=queue, calls=calls),
        st.floats(1e-6, 10),
        st.floats(0, 10),
        st.none() | st.floats(0, 10),
        st.integers(1, 1000),
    )
    made = []
    for _ in range(draw(st.integers(1, 7))):
        base = serial(gil=draw(st.sampled_from([None, gil_samples(0.0), gil_samples(0.4), gil_samples(1.0)])))
        base = replace(base, workers=(replace(base.workers[0], lanes=(draw(each),)),))
        lanes = threads()
        lanes = replace(lanes, workers=(replace(lanes.workers[0], lanes=(draw(each), draw(each))),))
        copies = processes()
        copies = replace(copies, workers=tuple(replace(one, lanes=(draw(each),)) for one in copies.workers))
        beside = {"threads": lanes, "processes": copies}
        made.append(round_(base, **{name: batch for name, batch in beside.items() if draw(st.booleans())}))
    return measurement(*made, workers=draw(st.integers(2, 8)))


@given(seen=measurements(), cpus=st.integers(1, 8), noise=st.floats(0.01, 0.5))
def test_any_readings_give_estimates_or_an_error(seen: Measurement, cpus: int, noise: float) -> None:
    """Whatever the clocks say, what comes out is finite and ordered; shares of time lie between 0 and 1."""
    alone, together, apart = reduced(seen, machine(cpus=cpus, noise=noise))
    assert 0 <= alone.utilization.low <= alone.utilization.high <= 1
    for shares in (alone.shares, together.shares, apart.shares):
        if shares is None:
            continue
        assert 0 <= shares.cpu <= 1 + 1e-9
        assert 0 <= shares.blocked <= 1
        assert shares.cpu + shares.blocked + (shares.run_queue or 0) <= 1 + 1e-6
        if shares.cpu_with_gil is not None and shares.cpu_without_gil is not None:
            assert shares.cpu_with_gil + shares.cpu_without_gil == pytest.approx(shares.cpu)
    for result in (together, apart):
        assert (result.speedup is None) == (result.outcome is not Outcome.OK)
        assert result.speedup is None or result.speedup.value > 0


def test_extremes_of_what_a_busy_machine_hides() -> None:
    """Threads that wait for a lock beside other programs: the interval reaches from one extreme to the other."""
    lock = round_(
        serial(0.2, cpu_s=0.1, queue_s=0.1, waits=0, gil=gil_samples(0.0, span_s=0.2)),
        threads=threads(0.4, cpu_s=0.1, queue_s=0.1, waits=30),
        processes=processes(0.2, cpu_s=0.1, queue_s=0.1),
    )
    _, together, apart = reduced(measurement(*[lock] * 6), machine())
    assert together.speedup is not None
    assert together.pool_speedup_at_worst is not None
    assert together.pool_speedup_at_best is not None
    assert together.speedup.value == pytest.approx(2 / 3, rel=0.01)
    assert together.pool_speedup_at_best.value == pytest.approx(1.0, rel=0.01), "half the wait was for a queued holder"
    assert together.pool_speedup_at_worst.value == pytest.approx(0.5, rel=0.01), "all queueing was waiting"
    assert (together.speedup.low, together.speedup.high) == pytest.approx(
        (together.pool_speedup_at_worst.low, together.pool_speedup_at_best.high)
    )
    assert "threads" in apart.over
    contrast = apart.over["threads"]
    assert contrast.at_worst is not None
    assert contrast.at_worst.value == pytest.approx(2.0, rel=0.01)
    assert contrast.ratio.low == pytest.approx(contrast.at_worst.low)
    by_chance = together.pool_speedup_at_best.high / together.pool_speedup_at_best.value
    assert by_chance > 1.1, "an extreme is not known as well as what was measured"


def test_nothing_is_hidden_on_a_quiet_machine() -> None:
    """Without queueing there are no extremes beside the estimate."""
    _, together, apart = reduced(measurement(PYTHON_LOOP), machine())
    assert (together.pool_speedup_at_worst, together.pool_speedup_at_best) == (None, None)
    assert (apart.over["threads"].at_worst, apart.over["threads"].at_best) == (None, None)


def test_unknown_holders_have_a_reason() -> None:
    """What kept the stacks from being read is told; else why they are too few."""
    seen = measurement(PYTHON_LOOP, holders_unread="this Python keeps its frames elsewhere")
    assert gil_of(seen, machine()).holders_reason == "this Python keeps its frames elsewhere"
    assert gil_of(measurement(PYTHON_LOOP), machine()).holders_reason == "no stacks were read"


def test_a_heartbeats_share_is_corrected_by_its_own_queueing() -> None:
    """A pass that queued for 60 % of its time is as open as that makes it, be the rounds as quiet as they may."""
    beats = gil_samples(0.7, count=200, span_s=0.2, method=GilMethod.HEARTBEAT)
    beats = replace(beats, late_ns=(0,) * 200)
    passed = serial(0.2, cpu_s=0.08, queue_s=0.12, waits=0, preemptions=20, gil=beats)
    found = gil_of(measurement(heartbeat=passed, gil_unwatched="forbidden"), machine()).held_fraction
    assert found is not None
    assert found.low < 0.3
    assert found.high > 0.9


def test_calls_whose_helpers_may_have_queued_leave_everything_open() -> None:
    """Threads win a larger part of crowded CPUs, which reads as 1.5x; and a call that waited may have computed."""
    one = round_(
        serial(0.1, busy=0.0, native_s=0.067, idle=0.0),
        threads=threads(0.133, busy=0.0, native_s=0.134, idle=0.0),
        processes=processes(0.133, busy=0.0, native_s=0.067, idle=0.0),
    )
    alone, together, apart = reduced(measurement(*[one] * 3), machine())
    assert alone.utilization.high == 1.0
    for part in (together, apart):
        assert part.speedup is not None
        assert part.speedup.low <= 1.0
        assert part.speedup.high == 2.0
    room = replace(one, batches={**one.batches, "serial": serial(0.1, busy=0.0, native_s=0.067, idle=0.5)})
    alone, together, _ = reduced(measurement(*[room] * 3), machine())
    assert alone.utilization.high < 0.8
    assert together.speedup is not None
    assert together.speedup.low > 1.3


def test_calls_whose_child_processes_may_have_queued_leave_everything_open() -> None:
    """Two children and a busy program share two CPUs: what reads as 1.33x may be anything from 1x to 2x."""
    one = round_(
        serial(0.1, busy=0.0, children_s=0.1, idle=0.0),
        threads=threads(0.15, busy=0.0, children_s=0.2, idle=0.0),
        processes=processes(0.15, busy=0.0, children_s=0.1, idle=0.0),
    )
    _, *parts = reduced(measurement(*[one] * 5), machine())
    for part in parts:
        assert part.speedup is not None
        assert (part.speedup.low, part.speedup.high) == (1.0, 2.0)
    calm = round_(
        serial(0.1, busy=0.0, children_s=0.1, idle=0.5), threads=threads(0.1, busy=0.0, children_s=0.2, idle=0.0)
    )
    _, together, _ = reduced(measurement(*[calm] * 5), machine())
    assert together.speedup is not None
    assert together.speedup.low > 1.8


def test_children_that_use_all_cpus_leave_no_room_for_more() -> None:
    """A call whose child processes use two CPUs gains nothing of two at a time, whatever else runs."""
    wide = round_(
        serial(0.1, busy=0.0, children_s=0.15, idle=0.0), threads=threads(0.2, busy=0.0, children_s=0.3, idle=0.0)
    )
    _, together, _ = reduced(measurement(*[wide] * 5), machine())
    assert together.speedup is not None
    assert together.speedup.high < 1.4


def test_a_pool_loses_from_what_its_workers_can_give() -> None:
    """Processes that seem to gain 2.4x, since the machine sped up meanwhile, have 2x of which a pool can lose."""
    fast = round_(serial(0.12), processes=processes(0.1))
    lossy = machine(costs=costs(processes=DispatchCosts(task_s=1e-5, task_high_s=1e-5, lost_s=estimate(0.012))))
    found = reduced(measurement(*[fast] * 3), lossy)[2]
    assert found.speedup is not None
    assert found.speedup.value > 2.3
    assert found.pool_speedup is not None
    assert found.pool_speedup.value == pytest.approx(1.0, rel=0.01)


@given(
    took_s=st.tuples(st.floats(0.05, 1.0), st.floats(0.02, 1.0)),
    busy=st.floats(0.02, 1.0),
    queued=st.tuples(st.floats(0.0, 0.95), st.floats(0.0, 0.95)),
    rounds=st.integers(1, 4),
    held=st.sampled_from([None, 0.02, 1.0]),
)
def test_no_queueing_breaks_an_estimate(
    took_s: tuple[float, float], busy: float, queued: tuple[float, float], rounds: int, held: float | None
) -> None:
    """However long lanes queued, and however much more than they can threads seem to do, a value has its interval."""
    serial_s, threads_s = took_s
    one = round_(
        serial(serial_s, busy * (1 - queued[0]), queue_s=serial_s * queued[0]),
        threads=threads(threads_s, busy * (1 - queued[1]), queue_s=threads_s * queued[1]),
        processes=processes(serial_s, busy * (1 - queued[0]), queue_s=serial_s * queued[0]),
    )
    gil = {} if held is None else {"gil": gil_samples(held, span_s=serial_s)}
    base = serial(serial_s, busy * (1 - queued[0]), queue_s=serial_s * queued[0], **gil)
    _, together, _ = reduced(measurement(*[round_(base, **dict(one.bare))] * rounds), machine())
    assert together.speedup is not None

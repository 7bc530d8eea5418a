"""`pytest_gilprobe.stats.rounds`: what is read from batches and rounds, against its definition."""

from __future__ import annotations

import pytest
from evidence import PYTHON_LOOP, lane, processes, round_, serial, threads, worker
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model.readings import BatchReading, LaneReading, Round
from pytest_gilprobe.stats import rounds

# What a batch says


def test_span_is_from_first_start_to_last_end() -> None:
    """A batch lasts from the first thread's start to the last one's end."""
    batch = BatchReading(workers=(worker(lane(0.1, start_s=0.0), lane(0.1, start_s=0.05)),))
    assert rounds.span_s(batch, less_queue=False) == pytest.approx(0.15)


def test_queueing_is_taken_out_of_the_span() -> None:
    """Time for which a thread was kept off the CPU by others does not count, where that is asked for."""
    batch = serial(0.2, cpu_s=0.1, queue_s=0.1)
    assert rounds.span_s(batch, less_queue=True) == pytest.approx(0.1)
    assert rounds.span_s(batch, less_queue=False) == pytest.approx(0.2)


def test_span_is_never_less_than_cpu_time() -> None:
    """A run queue that claims more than it can have does not make a batch faster than its computing."""
    assert rounds.span_s(serial(0.2, cpu_s=0.15, queue_s=0.2), less_queue=True) == pytest.approx(0.15)


def test_time_per_call_counts_all_workers() -> None:
    """Two workers that make 10 calls each in 0.1 s take 5 ms per call: the reciprocal of the throughput."""
    assert rounds.calls_in(processes(0.1)) == 20
    assert rounds.s_per_call(processes(0.1), less_queue=False) == pytest.approx(0.005)


READINGS = st.builds(
    lambda wall, cpu, queue, calls: lane(wall, cpu_s=cpu, queue_s=queue, calls=calls),
    st.floats(0, 10),
    st.floats(0, 10),
    st.none() | st.floats(0, 10),
    st.integers(1, 1000),
)


@given(lanes=st.lists(READINGS, min_size=1, max_size=4))
def test_shares_lie_between_0_and_1(lanes: list[LaneReading]) -> None:
    """Whatever the clocks say, utilization and queueing are shares, and times are positive."""
    batch = BatchReading(workers=(worker(*lanes),))
    assert 0 <= rounds.cpu_utilization(batch) <= 1
    queued = rounds.queue_share([batch])
    assert queued is None or 0 <= queued <= 1
    assert rounds.extra_cores(batch) >= 0
    assert rounds.span_s(batch, less_queue=True) > 0
    assert rounds.lane_s_per_call(batch) > 0
    assert rounds.cores_used(batch) >= 0


@pytest.mark.parametrize(
    ("batch", "utilization"),
    [
        (serial(0.1, cpu_s=0.1), 1.0),
        (serial(0.1, cpu_s=0.0), 0.0),
        (serial(0.1, cpu_s=0.05), 0.5),
        (serial(0.2, cpu_s=0.05, queue_s=0.1), 0.5),
        (serial(0.1, cpu_s=0.11), 1.0),
        (serial(0.0, cpu_s=0.0), 0.0),
    ],
)
def test_utilization_is_cpu_time_of_time_not_queued(batch: BatchReading, utilization: float) -> None:
    """CPU utilization is CPU time / (wall time - time in the run queue), 1 at the most."""
    assert rounds.cpu_utilization(batch) == pytest.approx(utilization)


def test_unknown_run_queue_stays_unknown() -> None:
    """Where one thread's run queue is not told, the batch's share is None, not a part of it."""
    batch = BatchReading(workers=(worker(lane(0.1), lane(0.1, queue_s=None)),))
    assert rounds.queue_share([batch]) is None
    assert rounds.totals_s(batch)[2] is None


def test_no_time_has_no_queue_share() -> None:
    """A share of no time at all is None."""
    assert rounds.queue_share([serial(0.0)]) is None


def test_native_threads_are_cpu_that_no_python_thread_used() -> None:
    """A process that burnt 0.15 s while its only thread burnt 0.1 s has half a core of native threads."""
    batch = serial(0.1, native_s=0.05)
    assert rounds.extra_cores(batch) == pytest.approx(0.5)
    assert rounds.cores_used(batch) == pytest.approx(1.5)


def test_a_call_that_has_another_thread_compute_computes() -> None:
    """A caller that waits for a thread of its own is CPU-bound and uses one core; it is not parallel inside."""
    batch = serial(0.1, busy=0.01, native_s=0.099)
    assert rounds.cpu_utilization(batch) == pytest.approx(1.0)
    assert rounds.extra_cores(batch) == pytest.approx(0.0, abs=0.01)


# Quiet rounds


def test_round_without_disturbance_is_quiet() -> None:
    """Computing that queues nowhere and takes processes as long as one is quiet; so is waiting."""
    assert rounds.is_quiet(PYTHON_LOOP)
    assert rounds.is_quiet(round_(serial(busy=0.01), threads=threads(0.1, 0.01), processes=processes(busy=0.01)))


@pytest.mark.parametrize(
    "one",
    [
        round_(serial(queue_s=0.01), threads=threads()),
        round_(serial(), processes=processes(queue_s=0.02)),
        round_(serial(), processes=processes(0.12, cpu_s=0.12)),
        round_(serial(0.2, cpu_s=0.05), processes=processes(0.1, cpu_s=0.05)),
    ],
)
def test_disturbed_round_is_not_quiet(one: Round) -> None:
    """Queueing, processes slower than the serial batch, or faster calls each give a disturbance away."""
    assert not rounds.is_quiet(one)


def test_threads_stand_beside_the_others_where_they_are_alike() -> None:
    """Threads that take what serial calls take add two times; threads that hinder each other add none."""
    alike = round_(serial(), threads=threads(0.105), processes=processes())
    assert rounds.like_serial_s(alike) == pytest.approx([0.1, 0.1, 0.1, 0.105, 0.105])
    assert rounds.like_serial_s(PYTHON_LOOP) == pytest.approx([0.1, 0.1, 0.1])
    assert rounds.like_serial_s(round_(serial())) == pytest.approx([0.1])


def test_unqueued_is_about_the_serial_batch() -> None:
    """A serial batch that had its CPU is unqueued, also where the system does not tell."""
    assert rounds.is_unqueued(round_(serial()))
    assert rounds.is_unqueued(round_(serial(queue_s=None)))
    assert not rounds.is_unqueued(round_(serial(queue_s=0.05)))


def test_parallel_samples_share_one_definition() -> None:
    """Threads and workers that did the same in the same time are the same to every statistic here."""
    one, other = threads(0.1, 1.0), processes(0.1, 1.0)
    assert rounds.s_per_call(one, less_queue=True) == rounds.s_per_call(other, less_queue=True)
    assert rounds.totals_s(one) == rounds.totals_s(other)


# What nobody sees


@pytest.mark.parametrize(
    ("batch", "unseen"),
    [
        (serial(busy=0.0, native_s=0.06, idle=0.0), True),  # a helper has 30 % of two CPUs, others all the rest
        (serial(busy=0.0, native_s=0.06, idle=0.3), False),  # there was room for more
        (serial(busy=0.0, native_s=0.19, idle=0.0), False),  # the helpers had the CPUs for themselves
        (serial(busy=0.0, native_s=0.06), False),  # untold
        (serial(busy=0.3, idle=0.0), False),  # no helpers: the calling thread tells how long it queued
        (serial(busy=0.3, queue_s=None, idle=0.0), True),  # unless the system does not say that
        (serial(busy=0.98, queue_s=None, idle=0.5), False),
    ],
)
def test_helpers_that_may_have_queued_are_known_by_crowded_cpus(batch: BatchReading, unseen: bool) -> None:  # noqa: FBT001 - a parameter
    """Where other threads computed for a call and nothing was left idle, how long they queued is unknown."""
    assert rounds.may_queue_unseen([batch]) is unseen


@pytest.mark.parametrize(
    ("batch", "unseen"),
    [
        (serial(busy=0.0, children_s=0.1, idle=0.0), True),  # a child has one CPU, others have the second one
        (serial(busy=0.0, children_s=0.1, idle=0.5), False),  # there was room for more
        (threads(0.1, busy=0.0, children_s=0.2, idle=0.0), False),  # the children had both CPUs
        (threads(0.15, busy=0.0, children_s=0.2, idle=0.0), True),
        (serial(busy=0.0, children_s=0.01, idle=0.0), False),  # they hardly compute
        (serial(busy=0.0, children_s=0.1), False),  # untold
    ],
)
def test_children_that_may_have_queued_are_known_by_crowded_cpus(batch: BatchReading, unseen: bool) -> None:  # noqa: FBT001 - a parameter
    """No clock tells how long a child process queued for a CPU."""
    assert rounds.children_may_queue([batch]) is unseen

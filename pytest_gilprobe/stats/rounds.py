"""What samples and rounds tell by themselves: times per call, shares, whether a round was quiet. Pure functions."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model import Measurement, Round, Sample

QUIET = 0.05
"""Run-queue share of a batch up to which no other program is taken to have disturbed it."""
QUIET_BESIDE = 0.15
"""The same for batches that use every CPU at once, which the watching parent and the system's first placing of threads
also disturb: up to 0.1 on an idle machine of two. It is taken out, and errs by `NOISE_OF_QUEUEING` of it."""
AGREEMENT = 0.12
"""How far times of calls that should be alike may differ in a quiet round: four times the least noise."""
OTHERS = 0.05
"""Share of its time for which other threads of the process must compute to count: less is the clocks' grain."""
CROWDED = 0.1
"""CPUs are crowded when less than this share of their time is idle, and more than it other programs': the kernel counts
CPU time in steps of 10 ms, about a tenth of a batch of 50 ms on two CPUs."""
WOKEN_LONGER = 2.0
"""A thread that wakes up into the run queue is taken to stay there for so many times as long as one that was pushed off
its CPU, at the most: a scheduler that shares fairly keeps it waiting no longer, and most let it go first."""
COMPUTES_ALL = 0.8
"""CPU utilization from which a thread's own CPU time measures one core."""


def calls_in(sample: Sample) -> int:
    """Count a sample's calls over all threads and workers."""
    return sum(thread.calls for reading in sample.readings for thread in reading.threads)


def span_s(sample: Sample, *, less_queue: bool, holding: float = 0.0) -> float:
    """Return a batch's wall time in seconds: from the first start to the last end.

    With ``less_queue``, each thread's end is moved forward by the time that it was runnable without running: the span
    as it would be if nobody else wanted the CPUs. ``holding``, from 0 to 1, is the share of their CPU time for which
    the other threads hold a lock that it needs: queueing during that time is not taken out. Never less than the
    longest CPU time of a thread.
    """
    threads = [thread for reading in sample.readings for thread in reading.threads]
    first = min(thread.start_ns for thread in threads)
    busy = sum(thread.cpu_ns for thread in threads)
    last = max(
        thread.end_ns - max(0.0, (thread.run_queue_ns or 0) - holding * (busy - thread.cpu_ns))
        if less_queue
        else thread.end_ns
        for thread in threads
    )
    return max(last - first, *(thread.cpu_ns for thread in threads), 1) / 1e9


def s_per_call(sample: Sample, *, less_queue: bool) -> float:
    """Return a batch's span per call, all threads' and workers' calls counted: the reciprocal of its throughput."""
    return span_s(sample, less_queue=less_queue) / calls_in(sample)


def s_per_call_apart(sample: Sample) -> float:
    """Return a batch's time per call as a pool has it whose lanes do not hinder each other, queueing taken out.

    A pool hands the next call to whoever is done, so its throughput is the sum of its lanes'; a batch, whose lanes have
    equal numbers of calls, lasts as long as the slowest.
    """
    threads = [thread for reading in sample.readings for thread in reading.threads]
    return 1 / sum(thread.calls / lane_s for thread, lane_s in zip(threads, lanes_s(sample), strict=True))


def totals_s(sample: Sample) -> tuple[float, float, float | None]:
    """Return wall, CPU and run-queue seconds, each summed over all threads; the last is None where untold."""
    threads = [thread for reading in sample.readings for thread in reading.threads]
    wall = sum(thread.end_ns - thread.start_ns for thread in threads) / 1e9
    cpu = sum(thread.cpu_ns for thread in threads) / 1e9
    waits = [thread.run_queue_ns for thread in threads]
    queue = None if None in waits else sum(wait or 0 for wait in waits) / 1e9
    return wall, cpu, None if queue is None else min(queue, wall)


def cpu_utilization(sample: Sample) -> float:
    """Return CPU time / (wall time - run-queue time), per thread: 0 waits, 1 computes, never above 1.

    CPU time is the process's where other threads computed for the caller: a call that hands its work to a thread and
    waits for it computes. A difference below `OTHERS` is the clocks' grain.
    """
    wall, cpu, queue = totals_s(sample)
    running = max(wall - (queue or 0.0), cpu, 1e-9)
    whole = sum(reading.process_cpu_ns for reading in sample.readings) / 1e9
    return min(1.0, (whole if whole - cpu > running * OTHERS else cpu) / running)


def may_queue_unseen(samples: Sequence[Sample]) -> bool:
    """Tell whether serial calls may have queued for a CPU where nobody saw it.

    Only the thread that makes a call tells how long it queued, and not on every system. What computes in other threads
    for it may queue unseen where other programs took their part of the CPUs and left next to nothing idle.
    """
    wall, cpu, queue = (sum(parts) for parts in zip(*map(_known_s, samples), strict=True))
    whole = sum(reading.process_cpu_ns for sample in samples for reading in sample.readings) / 1e9
    untold = queue_share(samples) is None
    if not untold and whole - cpu <= max(wall - queue, cpu) * OTHERS:
        return False
    readings = [reading for sample in samples for reading in sample.readings]
    cpus, idle = sum(one.cpus_ns for one in readings), sum(one.cpus_idle_ns for one in readings)
    own = sum(one.process_cpu_ns + one.children_cpu_ns for one in readings)
    return cpus > 0 and idle < cpus * CROWDED and cpus - idle - own > cpus * CROWDED


def _known_s(sample: Sample) -> tuple[float, float, float]:
    wall, cpu, queue = totals_s(sample)
    return wall, cpu, queue or 0.0


def queue_share(samples: Sequence[Sample]) -> float | None:
    """Return the share of wall time for which the samples' threads were runnable but not running."""
    wall = queue = 0.0
    for sample in samples:
        sample_wall, _, sample_queue = totals_s(sample)
        if sample_queue is None:
            return None
        wall, queue = wall + sample_wall, queue + sample_queue
    return queue / wall if wall else None


def woken_share(samples: Sequence[Sample]) -> float:
    """Return the largest share of the samples' queueing that began when a thread woke up; the rest, when it ran.

    All of it where the system does not tell.
    """
    threads = [thread for sample in samples for reading in sample.readings for thread in reading.threads]
    if any(thread.waits is None or thread.preemptions is None for thread in threads):
        return 1.0
    woken = sum(thread.waits or 0 for thread in threads) * WOKEN_LONGER
    pushed_off = sum(thread.preemptions or 0 for thread in threads)
    return woken / (woken + pushed_off) if woken + pushed_off else 1.0


def native_cpu_share(sample: Sample) -> float:
    """Return how many cores more than one a serial batch kept busy: 0 none, 1 one more.

    Those are its own threads: native helpers, or a pool that the call starts. Never negative.
    """
    return max(0.0, cores_used(sample) - 1.0)


def cores_used(sample: Sample) -> float:
    """Return how many cores a serial batch kept busy, or would have: 1 computes, more has native helper threads.

    What one core is, the calling thread tells by its own CPU time if it computes all the while, else by the time for
    which it was not queueing: of the two clocks the first is not blurred by other programs.
    """
    wall, cpu, queue = totals_s(sample)
    total = sum(reading.process_cpu_ns for reading in sample.readings) / 1e9
    running = max(wall - (queue or 0.0), 1e-9)
    return total / (cpu if cpu > running * COMPUTES_ALL else running)


def children_share(sample: Sample) -> float:
    """Return how many cores child processes of a serial batch kept busy: 0 none, 1 one all the time."""
    wall, _, queue = totals_s(sample)
    children = sum(reading.children_cpu_ns for reading in sample.readings) / 1e9
    return children / max(wall - (queue or 0.0), 1e-9)


def width(seen: Sequence[Round]) -> float:
    """Return how many cores one call uses, in the median round."""
    return median(cores_used(one.serial) for one in seen)


def children_width(seen: Sequence[Round]) -> float:
    """Return how many cores the child processes of one call use, in the median round."""
    return median(children_share(one.serial) for one in seen)


def lane_s_per_call(sample: Sample) -> float:
    """Return the wall time of one call as the thread that makes it sees it, its time in the run queue taken out."""
    wall, cpu, queue = totals_s(sample)
    return max(wall - (queue or 0.0), cpu, 1e-9) / calls_in(sample)


def lanes_s(sample: Sample) -> list[float]:
    """Return the wall time of each thread's whole batch in seconds, its time in the run queue taken out."""
    threads = [thread for reading in sample.readings for thread in reading.threads]
    walls = [(thread.end_ns - thread.start_ns - (thread.run_queue_ns or 0)) / 1e9 for thread in threads]
    return [max(wall, thread.cpu_ns / 1e9, 1e-9) for wall, thread in zip(walls, threads, strict=True)]


def waits_per_call(sample: Sample) -> float | None:
    """Return how often a call made its thread wait, in voluntary context switches; None where untold."""
    waits = [thread.waits for reading in sample.readings for thread in reading.threads]
    return None if None in waits else sum(wait or 0 for wait in waits) / calls_in(sample)


def gil_was_on(measurement: Measurement) -> bool:
    """Tell whether the GIL was on when serial calls or threads ran: from the start, or since an import switched it on.

    No reading at all says what the start says.
    """
    samples = [sample for one in measurement.rounds for sample in (one.serial, one.threads) if sample is not None]
    readings = [reading for sample in samples for reading in sample.readings]
    return measurement.gil_on_at_start or any(reading.gil_enabled for reading in readings)


def is_unqueued(one: Round) -> bool:
    """Tell whether the serial batch of a round had the CPUs that it wanted."""
    share = queue_share([one.serial])
    return share is None or share <= QUIET


def is_quiet(one: Round) -> bool:
    """Tell whether nothing is seen to have disturbed a round.

    Three things must agree: no thread queued for more than `QUIET` of its time, or `QUIET_BESIDE` where all workers
    ran at once; each process, which shares nothing with the others, took as long as the serial batch, or calls are not
    alike; and no call was faster beside others than alone. A round that fails may just be a workload whose calls
    hinder each other: so a disturbed round is no reason to drop it, but to want more.
    """
    if not is_unqueued(one):
        return False
    parallel = [sample for sample in (one.threads, one.processes) if sample is not None]
    if any((queue_share([sample]) or 0.0) > QUIET_BESIDE for sample in parallel):
        return False
    if one.processes is not None and not alike([*lanes_s(one.serial), *lanes_s(one.processes)]):
        return False
    return all(lane_s_per_call(one.serial) <= lane_s_per_call(sample) * (1 + AGREEMENT) for sample in parallel)


def like_serial_s(one: Round) -> list[float]:
    """List the wall times of a round's batches that should be alike, in seconds, each less its time in the run queue.

    The serial batch and those of processes, which share nothing, should; threads' stand beside them where they are,
    since threads that hinder each other are no noise.
    """
    apart = [*lanes_s(one.serial), *(lanes_s(one.processes) if one.processes is not None else [])]
    together = [*apart, *(lanes_s(one.threads) if one.threads is not None else [])]
    return together if alike(together) else apart


def alike(values: Sequence[float]) -> bool:
    """Tell whether times differ by no more than `AGREEMENT`."""
    return max(values) <= min(values) * (1 + AGREEMENT)

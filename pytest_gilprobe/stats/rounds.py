"""Compute figures of single batches (calls timed together) and of rounds (a round is one batch of each strategy)."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from pytest_gilprobe.model.thresholds import EXTRA_CORES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.readings import BatchReading, Measurement, Round

QUIET = 0.05
"""Other programs are assumed not to have disturbed a batch (calls timed together) that queued for a CPU for at most
this share of its time."""
QUIET_BESIDE = 0.15
"""Other programs are assumed not to have disturbed a batch of parallel calls that queued for a CPU for at most this
share of its time. The limit is higher than `QUIET`, that of serial calls: on an idle machine of two CPUs, a batch that
uses both CPUs queues for up to 0.1 of its time, because of the process that samples the GIL and the system's first
placing of threads. The queueing is subtracted, and `NOISE_OF_QUEUEING` allows for the error of that."""
AGREEMENT = 0.12
"""Times that should be equal count as alike if they differ by at most this share: four times the least noise of a
time."""
OTHERS = 0.05
"""Threads that make no calls themselves are taken to compute for the calls only if their CPU time exceeds this share of
the calls' time: the clocks do not resolve less."""
CROWDED = 0.1
"""CPUs are crowded if other programs use more than this share of their time and, where queueing cannot be seen, less
than this share is idle. The kernel counts CPU time in steps of 10 ms, so smaller shares are uncertain."""
WOKEN_LONGER = 2.0
"""A thread that queues for a CPU after waking up is assumed to queue at most this many times as long as a thread that
was pushed off its CPU. A fair scheduler does not keep it waiting longer than that, and most let it run first."""
COMPUTES_ALL = 0.8
"""A thread with a CPU utilization above this counts as computing all the time: its CPU time is used as the time for
which it kept one core busy."""


def calls_in(batch: BatchReading) -> int:
    """Return the number of a batch's calls, summed over all lanes (its threads or processes)."""
    return sum(lane.calls for lane in batch.lanes)


def span_s(batch: BatchReading, *, less_queue: bool) -> float:
    """Return a batch's wall time in seconds: from the first start to the last end of its lanes (threads, processes).

    With ``less_queue``, each lane's end is first moved earlier by the time for which the lane was runnable without
    running, as if no other program wanted the CPUs. The result is never less than the longest CPU time of a lane.
    """
    lanes = batch.lanes
    ends = [lane.end_ns - ((lane.run_queue_ns or 0) if less_queue else 0) for lane in lanes]
    span_ns = max(ends) - min(lane.start_ns for lane in lanes)
    return max(span_ns, *(lane.cpu_ns for lane in lanes), 1) / 1e9


def s_per_call(batch: BatchReading, *, less_queue: bool) -> float:
    """Return a batch's wall seconds divided by the calls of all its threads or processes: 1 / its throughput.

    With ``less_queue``, time for which they queued for a CPU is subtracted first.
    """
    return span_s(batch, less_queue=less_queue) / calls_in(batch)


def s_per_call_apart(batch: BatchReading) -> float:
    """Return the seconds per call of an executor whose lanes (threads, processes) do not hinder each other.

    An executor gives the next call to a free lane, so its throughput is the sum of its lanes' throughputs; a ``batch``,
    whose lanes have equal numbers of calls, lasts as long as its slowest lane. Time for which a lane queued for a CPU
    is subtracted.
    """
    return 1 / sum(lane.calls / lane_s for lane, lane_s in zip(batch.lanes, lanes_s(batch), strict=True))


def totals_s(batch: BatchReading) -> tuple[float, float, float | None]:
    """Return a batch's seconds of wall time, of CPU time and in the run queue, summed over its threads or processes.

    The last is ``None`` if it is unknown for one of them.
    """
    wall = sum(lane.end_ns - lane.start_ns for lane in batch.lanes) / 1e9
    cpu = sum(lane.cpu_ns for lane in batch.lanes) / 1e9
    queued = [lane.run_queue_ns for lane in batch.lanes]
    if None in queued:
        return wall, cpu, None
    return wall, cpu, min(sum(one or 0 for one in queued) / 1e9, wall)


def running_s(batch: BatchReading) -> tuple[float, float]:
    """Return two sums over a batch's threads or processes: wall seconds without queueing for a CPU, and CPU seconds."""
    wall, cpu, queue = totals_s(batch)
    return max(wall - (queue or 0.0), 1e-9), cpu


def cpu_utilization(batch: BatchReading) -> float:
    """Return CPU time / (wall time - run-queue time) of a batch's average thread or process, from 0 to 1.

    It is 0 for calls that only wait and 1 for calls that only compute. If other threads computed for the caller, the
    CPU time is that of the process: a call that hands its work to a thread and waits for the result computes. Such
    threads count only if their CPU time exceeds 5 % (`OTHERS`) of the time; the clocks do not resolve less.
    """
    unqueued, cpu = running_s(batch)
    running, whole = max(unqueued, cpu), _process_cpu_s(batch)
    return min(1.0, (whole if whole - cpu > running * OTHERS else cpu) / running)


def _process_cpu_s(batch: BatchReading) -> float:
    return sum(worker.process_cpu_ns for worker in batch.workers) / 1e9


def may_queue_unseen(batches: Sequence[BatchReading]) -> bool:
    """Return whether serial calls may have queued for a CPU without any clock that shows it.

    Only the thread that makes a call records how long it queued, and not on every system. Its helper threads may queue
    unseen if other programs use a part of the CPUs and next to nothing is left idle.
    """
    running, cpu = (sum(parts) for parts in zip(*map(running_s, batches), strict=True))
    helpers_cpu = sum(map(_process_cpu_s, batches)) - cpu
    if queue_share(batches) is not None and helpers_cpu <= max(running, cpu) * OTHERS:
        return False
    return _are_cpus_crowded(batches)


def children_may_queue(batches: Sequence[BatchReading]) -> bool:
    """Return whether child processes of calls compute, while other programs use the CPUs and hardly any time is idle.

    ``batches`` (calls timed together) are of one process each. No clock shows how long a child queued for a CPU.
    """
    return any(children_share(one) > EXTRA_CORES for one in batches) and _are_cpus_crowded(batches)


def _are_cpus_crowded(batches: Sequence[BatchReading]) -> bool:
    workers = [worker for batch in batches for worker in batch.workers]
    cpus, idle = sum(one.cpus_ns for one in workers), sum(one.cpus_idle_ns for one in workers)
    own = sum(one.process_cpu_ns + one.children_cpu_ns for one in workers)
    return cpus > 0 and idle < cpus * CROWDED and cpus - idle - own > cpus * CROWDED


def queue_share(batches: Sequence[BatchReading]) -> float | None:
    """Return for which share of their time the batches' threads and processes queued for a CPU; ``None`` if unknown.

    A thread queues while it could run, but has no CPU. The result is unknown if the system does not report this time
    for one of the threads or processes.
    """
    wall = queue = 0.0
    for batch in batches:
        batch_wall, _, batch_queue = totals_s(batch)
        if batch_queue is None:
            return None
        wall, queue = wall + batch_wall, queue + batch_queue
    return queue / wall if wall else None


def woken_share(batches: Sequence[BatchReading]) -> float:
    """Return the largest share of the batches' queueing that may have begun when a thread woke up, from 0 to 1.

    The rest of the queueing began when the thread was pushed off its CPU. The share is 1 if the system does not show
    it.
    """
    lanes = [lane for batch in batches for lane in batch.lanes]
    if any(lane.waits is None or lane.preemptions is None for lane in lanes):
        return 1.0
    woken = sum(lane.waits or 0 for lane in lanes) * WOKEN_LONGER
    pushed_off = sum(lane.preemptions or 0 for lane in lanes)
    return woken / (woken + pushed_off) if woken + pushed_off else 1.0


def extra_cores(batch: BatchReading) -> float:
    """Return how many cores beyond the first a serial batch kept busy with threads of its own: 0 if none."""
    return max(0.0, cores_used(batch) - 1.0)


def cores_used(batch: BatchReading) -> float:
    """Return how many cores a serial batch used: above 1 if helper threads computed too, below 1 if it waited.

    The result is the CPU time of the process, divided by the calling thread's own CPU time if that thread computed
    nearly all the time (`COMPUTES_ALL`), else by its wall time less its time in the run queue. CPU time is preferred
    because other programs on the machine do not blur it.
    """
    running, cpu = running_s(batch)
    return _process_cpu_s(batch) / (cpu if cpu > running * COMPUTES_ALL else running)


def children_share(batch: BatchReading) -> float:
    """Return how many cores, on average, the child processes of one thread's calls kept busy: 0 if none."""
    return sum(worker.children_cpu_ns for worker in batch.workers) / 1e9 / running_s(batch)[0]


def width(seen: Sequence[Round]) -> float:
    """Return how many cores one serial call uses: the median of the rounds ``seen``.

    A round is one batch (calls timed together) of each strategy.
    """
    return median(cores_used(one.serial) for one in seen)


def children_width(seen: Sequence[Round]) -> float:
    """Return how many cores the child processes of one serial call use: the median of the rounds ``seen``.

    A round is one batch (calls timed together) of each strategy.
    """
    return median(children_share(one.serial) for one in seen)


def lane_s_per_call(batch: BatchReading) -> float:
    """Return the mean wall seconds of a call in the thread or process that made it, without queueing for a CPU."""
    return max(running_s(batch)) / calls_in(batch)


def lanes_s(batch: BatchReading) -> list[float]:
    """Return the wall time in seconds of each lane (thread or process) of a batch, less its time in the run queue."""
    return [max(lane.end_ns - lane.start_ns - (lane.run_queue_ns or 0), lane.cpu_ns, 1) / 1e9 for lane in batch.lanes]


def waits_per_call(batch: BatchReading) -> float | None:
    """Return how often a call made its thread wait, on average, in voluntary context switches; ``None`` if unknown."""
    waits = [lane.waits for lane in batch.lanes]
    return None if None in waits else sum(wait or 0 for wait in waits) / calls_in(batch)


def gil_was_on(measurement: Measurement) -> bool:
    """Return whether the GIL was on while calls ran: on from the start, or switched on by an import since."""
    readings = (
        worker.gil_enabled
        for one in measurement.rounds
        for batch in one.batches.values()
        if batch is one.serial or not batch.apart
        for worker in batch.workers
    )
    return measurement.gil_on_at_start or any(readings)


def is_unqueued(one: Round) -> bool:
    """Return whether a round's serial batch queued for a CPU for at most 5 % (`QUIET`) of its time; true if unknown.

    A round is one batch (calls timed together) of each strategy.
    """
    share = queue_share([one.serial])
    return share is None or share <= QUIET


def is_quiet(one: Round) -> bool:
    """Return whether no disturbance of a round (one batch of each strategy) is seen.

    Three conditions must hold. No batch queued for a CPU for more than 5 % of its time (`QUIET`) if serial, or 15 %
    (`QUIET_BESIDE`) if parallel. Each process that makes calls by itself, and so shares nothing, took as long as the
    serial batch. No call was faster beside others than alone. Times may differ by 12 % (`AGREEMENT`). Batches through
    an executor that the user named do not count. The workload's own calls may also hinder each other. So a round that
    fails is kept, and more rounds are made.
    """
    if not is_unqueued(one):
        return False
    parallel = one.bare.values()
    if any((queue_share([batch]) or 0.0) > QUIET_BESIDE for batch in parallel):
        return False
    if any(batch.apart and not alike([*lanes_s(one.serial), *lanes_s(batch)]) for batch in parallel):
        return False
    return all(lane_s_per_call(one.serial) <= lane_s_per_call(batch) * (1 + AGREEMENT) for batch in parallel)


def like_serial_s(one: Round) -> list[float]:
    """List the wall times of a round's batches that should be alike, in seconds, each less its time in the run queue.

    These are the times of the serial batch and of each process that made calls and shared nothing with others. Threads
    of one process are included only if all times are alike: if threads are slower because they hinder each other, that
    is not noise.
    """
    apart = lanes_s(one.serial)
    shared: list[float] = []
    for batch in one.bare.values():
        (apart if batch.apart else shared).extend(lanes_s(batch))
    return apart + shared if alike(apart + shared) else apart


def alike(values: Sequence[float]) -> bool:
    """Return whether the largest of the ``values`` exceeds the smallest by at most 12 % (`AGREEMENT`)."""
    return max(values) <= min(values) * (1 + AGREEMENT)

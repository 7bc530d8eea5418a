"""From one probe's measurement to the three strategies' results."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model import (
    End,
    Estimate,
    Outcome,
    ProcessesResult,
    Sample,
    SerialResult,
    Strategy,
    ThreadsResult,
    TimeShares,
)
from pytest_gilprobe.stats import doubt, estimates, pools, rounds, speedups, watched
from pytest_gilprobe.thresholds import NATIVE_BUSY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model import Machine, Measurement

UTILIZATION_NOISE = 0.02
"""Standard deviation of a batch's CPU utilization that is assumed at the least: clocks are not read at one moment."""
CEILING_SLACK = 1.1
"""A measured thread speed-up may pass 1 / GIL-held fraction by this much before the ceiling takes over: both have
errors."""

Results = tuple[SerialResult, ThreadsResult, ProcessesResult]


def reduce(measurement: Measurement, machine: Machine) -> Results:
    """Estimate everything that a report shows from the samples of all rounds.

    Raises `ValueError` without a complete serial batch.
    """
    serial_samples = [one.serial for one in measurement.rounds]
    less_queue = speedups.correctable(measurement, machine)
    serial = _serial(measurement, serial_samples, less_queue=less_queue)
    threads = _threads(measurement, machine, serial, less_queue=less_queue)
    processes = _processes(measurement, machine, serial, less_queue=less_queue)
    return serial, threads, processes


def _serial(measurement: Measurement, samples: Sequence[Sample], *, less_queue: bool) -> SerialResult:
    per_call = [rounds.s_per_call(sample, less_queue=less_queue) for sample in samples]
    cpu = [max(rounds.totals_s(sample)[1], 1e-9) / rounds.calls_in(sample) for sample in samples]
    utilization = estimates.centre([rounds.cpu_utilization(sample) for sample in samples], UTILIZATION_NOISE)
    if rounds.may_queue_unseen(samples):
        utilization = replace(utilization, high=1.0)
    batches = [*samples, *([measurement.heartbeat] if measurement.heartbeat is not None else [])]
    fraction = watched.while_running(watched.held_fraction(batches), [one for one in batches if one.trace is not None])
    return SerialResult(
        calls=sum(rounds.calls_in(sample) for sample in samples),
        rounds=len(samples),
        wall_s_per_call=estimates.positive_centre(per_call, estimates.LEAST_NOISE),
        cpu_s_per_call=estimates.positive_centre(cpu, estimates.LEAST_NOISE),
        cpu_utilization=_within(utilization, 0.0, 1.0),
        gil_held_fraction=fraction,
        gil_method=watched.method(batches) if fraction is not None else None,
        longest_hold_s=watched.longest_hold_s([one.threads for one in measurement.rounds if one.threads is not None]),
        run_queue_share=rounds.queue_share(samples),
        native_cpu_share=sum(rounds.native_cpu_share(sample) for sample in samples) / len(samples),
        first_call_s=measurement.first_call_s,
        shares=_shares(samples, fraction, lanes=1),
    )


def _threads(measurement: Measurement, machine: Machine, serial: SerialResult, *, less_queue: bool) -> ThreadsResult:
    pairs = [(one.serial, one.threads) for one in measurement.rounds if one.threads is not None]
    end = _end(measurement.threads_end, measurement, bool(pairs))
    if end.outcome is not Outcome.OK:
        return ThreadsResult(outcome=end.outcome, error=end.error, impossible=end.impossible)
    samples = [sample for _, sample in pairs]
    hidden = doubt.of(pairs, doubt.holding(serial, measurement), less_queue=less_queue)
    ceiling = watched.ceiling(serial.gil_held_fraction)
    noise = speedups.batch_noise(measurement, machine, less_queue=less_queue)

    lanes = speedups.lanes_of(pairs, less_queue=less_queue)

    def speedup_if(factors: Sequence[float] | None = None) -> Estimate:
        found = speedups.estimated(pairs, noise, lanes, factors)
        if ceiling is not None and speedups.is_busy(measurement):
            found = speedups.capped(found, ceiling.high * CEILING_SLACK)
        most = math.inf if ceiling is None else ceiling.high * CEILING_SLACK
        return speedups.unbraked(speedups.in_room(found, measurement, machine), measurement, serial, most)

    least, most = (speedup_if(factors) for factors in zip(*hidden, strict=True))
    speedup = replace(speedup_if(), low=least.low, high=most.high)
    in_pool, least_in_pool, most_in_pool = (
        pools.of_threads(one, serial, machine, measurement.workers, gil=rounds.gil_was_on(measurement))
        for one in (speedup, least, most)
    )
    fraction = watched.held_fraction(samples)
    return ThreadsResult(
        outcome=Outcome.OK,
        speedup=speedup,
        pool_speedup=in_pool,
        pool_speedup_least=least_in_pool if _matters(hidden) else None,
        pool_speedup_most=most_in_pool if _matters(hidden) else None,
        wall_s_per_call=_per_call(samples, less_queue=less_queue),
        cpu_s_per_call=_cpu_per_call(samples),
        gil_held_fraction=fraction,
        ceiling=ceiling.value if ceiling is not None else None,
        hand_out_s_per_call=pools.hand_out_s(machine, Strategy.THREADS),
        run_queue_share=rounds.queue_share(samples),
        shares=_shares(samples, fraction, lanes=measurement.workers, serial=serial.shares),
    )


def _processes(
    measurement: Measurement, machine: Machine, serial: SerialResult, *, less_queue: bool
) -> ProcessesResult:
    pairs = [(one.serial, one.processes) for one in measurement.rounds if one.processes is not None]
    end = _end(measurement.processes_end, measurement, bool(pairs))
    if end.outcome is not Outcome.OK:
        return ProcessesResult(
            outcome=end.outcome, error=end.error, start_up_s=measurement.start_up_s, impossible=end.impossible
        )
    samples = [sample for _, sample in pairs]
    lanes = speedups.lanes_of(pairs, less_queue=less_queue)
    speedup = speedups.estimated(pairs, speedups.batch_noise(measurement, machine, less_queue=less_queue), lanes)
    speedup = speedups.unbraked(speedups.in_room(speedup, measurement, machine), measurement, serial)
    over, over_least, over_most = _over_threads(
        measurement, machine, doubt.holding(serial, measurement), less_queue=less_queue
    )
    memory = [reading.peak_rss_bytes for sample in samples for reading in sample.readings]
    return ProcessesResult(
        outcome=Outcome.OK,
        speedup=speedup,
        over_threads=over,
        over_threads_least=over_least,
        over_threads_most=over_most,
        pool_speedup=pools.of_processes(speedup, serial, machine, measurement.workers, measurement.transfer),
        transfer_s_per_call=measurement.transfer.pipe_s if measurement.transfer is not None else None,
        wall_s_per_call=_per_call(samples, less_queue=less_queue),
        cpu_s_per_call=_cpu_per_call(samples),
        start_up_s=measurement.start_up_s,
        rss_bytes_per_worker=max((known for known in memory if known is not None), default=None),
        hand_out_s_per_call=pools.hand_out_s(machine, Strategy.PROCESSES),
        run_queue_share=rounds.queue_share(samples),
        shares=_shares(samples, None, lanes=1),
    )


def _end(end: End, measurement: Measurement, tried: bool) -> End:  # noqa: FBT001 - private
    """Turn *ok, but never tried* into *skipped*, with the reason."""
    if end.outcome is Outcome.OK and not tried:
        return End(outcome=Outcome.SKIPPED, error=measurement.out_of_time or "not tried")
    return end


def _over_threads(
    measurement: Measurement, machine: Machine, gil: doubt.Holding, *, less_queue: bool
) -> tuple[Estimate | None, Estimate | None, Estimate | None]:
    """Compare processes with threads directly: as measured, at the least and at the most, where threads hide something.

    None unless both were measured in some round, and mean what they say.
    """
    known = [
        (one.serial, one.threads, one.processes)
        for one in measurement.rounds
        if one.threads is not None and one.processes is not None
    ]
    parallel_inside = rounds.width(measurement.rounds) > 1 + NATIVE_BUSY
    if not known or (parallel_inside and speedups.is_busy(measurement)) or speedups.throttled(measurement):
        return None, None, None
    noise = speedups.batch_noise(measurement, machine, less_queue=less_queue)
    in_threads = [(serial, threads) for serial, threads, _ in known]
    in_processes = [(serial, processes) for serial, _, processes in known]
    hidden = doubt.of(in_threads, gil, less_queue=less_queue)
    lanes = speedups.lanes_of(in_threads, less_queue=less_queue)
    lanes = lanes if lanes is speedups.lanes_of(in_processes, less_queue=less_queue) else speedups.Lanes.TOGETHER
    pairs = [(threads, processes) for _, threads, processes in known]
    least, most = (
        speedups.estimated(pairs, noise, lanes, [1 / factor for factor in factors])
        for factors in reversed(tuple(zip(*hidden, strict=True)))
    )
    over = replace(speedups.estimated(pairs, noise, lanes), low=least.low, high=most.high)
    return (over, least, most) if _matters(hidden) else (over, None, None)


def _matters(hidden: Sequence[tuple[float, float]]) -> bool:
    """Tell whether a busy machine may have hidden anything in some round."""
    return any(factors != (1.0, 1.0) for factors in hidden)


def _per_call(samples: Sequence[Sample], *, less_queue: bool) -> Estimate:
    values = [rounds.s_per_call(sample, less_queue=less_queue) for sample in samples]
    return estimates.positive_centre(values, estimates.LEAST_NOISE)


def _cpu_per_call(samples: Sequence[Sample]) -> Estimate:
    values = [max(rounds.totals_s(sample)[1], 1e-9) / rounds.calls_in(sample) for sample in samples]
    return estimates.positive_centre(values, estimates.LEAST_NOISE)


def _within(estimate: Estimate, least: float, most: float) -> Estimate:
    low, value, high = (min(most, max(least, one)) for one in (estimate.low, estimate.value, estimate.high))
    return Estimate(value=value, low=low, high=high, confidence=estimate.confidence)


def _shares(
    samples: Sequence[Sample], fraction: Estimate | None, *, lanes: int, serial: TimeShares | None = None
) -> TimeShares | None:
    """Split the time of one thread (of ``lanes`` that share a GIL) into what it was spent on.

    ``serial``, for threads: what one thread alone is blocked for is its own waiting; what it is blocked for beyond
    that is put down to the GIL, up to the time for which another thread held it.
    """
    wall = cpu = queue = 0.0
    for sample in samples:
        sample_wall, sample_cpu, sample_queue = rounds.totals_s(sample)
        wall, cpu, queue = wall + sample_wall, cpu + sample_cpu, queue + (sample_queue or 0.0)
    if wall <= 0:
        return None
    told = rounds.queue_share(samples) is not None
    total = max(wall, cpu + queue)
    on_cpu, in_queue = cpu / total, queue / total
    blocked = max(0.0, 1 - on_cpu - in_queue)
    holding = None if fraction is None else min(fraction.value / lanes, on_cpu)
    waiting = None
    if serial is not None and fraction is not None:
        own = serial.blocked * on_cpu / serial.cpu if serial.cpu > 0 else blocked
        waiting = min(max(0.0, blocked - own), fraction.value)
    return TimeShares(
        cpu=on_cpu,
        cpu_with_gil=holding,
        cpu_without_gil=None if holding is None else on_cpu - holding,
        gil_wait=waiting,
        blocked=blocked,
        run_queue=in_queue if told else None,
    )

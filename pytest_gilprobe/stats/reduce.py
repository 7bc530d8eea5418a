"""Estimate, from all that one probe measured, a result for each strategy and one for the GIL."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.apart_readings import ApartReading
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.loop_time import EventLoop
from pytest_gilprobe.model.readings import End
from pytest_gilprobe.model.results import Contrast, GilResult, StrategyResult, TimeShares
from pytest_gilprobe.model.thresholds import EXTRA_CORES
from pytest_gilprobe.model.words import SERIAL, Outcome
from pytest_gilprobe.stats import (
    dispatch,
    estimates,
    event_loop,
    executors,
    gil_result,
    gil_share,
    masking,
    one_process,
    overlap,
    own_gils,
    pools,
    rounds,
    speedups,
    time_shares,
)
from pytest_gilprobe.stats.one_process import Gain

if TYPE_CHECKING:
    from pytest_gilprobe.model.machine import Machine
    from pytest_gilprobe.model.readings import BatchReading, Measurement
    from pytest_gilprobe.stats.estimates import Noise
    from pytest_gilprobe.stats.masking import Pairs
    from pytest_gilprobe.strategies.contract import Strategy

CEILING_SLACK = 1.05
"""A measured speed-up is reduced to this many times its ceiling (the largest speed-up that the strategy can have) if it
is higher, unless it clearly contradicts the ceiling on a calm machine (`speedups.BEYOND_CEILING`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """What one probe found: results of strategies (serial first, then by cost), of the GIL and of any event loop."""

    results: Mapping[str, StrategyResult]
    gil: GilResult
    event_loop: EventLoop | None


def reduce(measurement: Measurement, machine: Machine, strategies: Sequence[Strategy]) -> Reduced:
    """Estimate what a report shows of one workload from its rounds (a round is one batch of each strategy).

    ``strategies`` are the parallel ones, the one with the least overhead first. ``machine`` has this machine's number
    of CPUs, its noise and what its executors cost. Raises `ValueError` if no round was measured.
    """
    context = _Context.of(measurement, machine, strategies)
    results = {SERIAL: context.serial}
    for strategy in strategies:
        results[strategy.name] = _parallel(strategy, context)
    return Reduced(results=results, gil=context.gil, event_loop=context.event_loop)


def pool_inputs(
    strategy: Strategy, measurement: Measurement, machine: Machine, serial: StrategyResult, gil: GilResult
) -> dispatch.PoolInputs:
    """Return what is known for predicting the speed-up in a strategy's executor, beside the speed-up without one.

    ``measurement`` is what one probe measured. ``serial`` and ``gil`` are the results for serial calls and the GIL.
    """
    return dispatch.PoolInputs(
        workers=measurement.workers,
        serial=serial,
        gil=gil,
        gil_on=rounds.gil_was_on(measurement),
        machine=machine,
        costs=machine.costs.get(strategy.name),
        transfer=dispatch.transfer_of(strategy, measurement),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """The inputs that the results of all strategies have in common."""

    measurement: Measurement
    machine: Machine
    strategies: Sequence[Strategy]
    less_queue: bool
    noise: Noise
    serial: StrategyResult
    gil: GilResult
    event_loop: EventLoop | None

    @classmethod
    def of(cls, measurement: Measurement, machine: Machine, strategies: Sequence[Strategy]) -> _Context:
        less_queue = speedups.correctable(measurement, machine)
        gil = gil_result.of(measurement, strategies)
        return cls(
            measurement=measurement,
            machine=machine,
            strategies=strategies,
            less_queue=less_queue,
            noise=speedups.batch_noise(measurement, machine, less_queue=less_queue),
            serial=_serial(measurement, machine, gil, less_queue=less_queue),
            gil=gil,
            event_loop=event_loop.of(measurement),
        )

    def pairs(self, name: str) -> Pairs:
        """Return a strategy's batches, each paired with the serial batch of the same round."""
        return overlap.pairs_of(self.measurement.rounds, name)


# Serial calls and the GIL


def _serial(measurement: Measurement, machine: Machine, gil: GilResult, *, less_queue: bool) -> StrategyResult:
    batches = [one.serial for one in measurement.rounds]
    utilization = time_shares.utilization(batches)
    if rounds.may_queue_unseen(batches):
        utilization = replace(utilization, high=1.0)
    return replace(
        _common(batches, less_queue=less_queue),
        cpu_utilization=utilization,
        first_call_s=measurement.first_call_s,
        extra_cores=min(sum(map(rounds.extra_cores, batches)) / len(batches), max(0.0, machine.cpus - 1.0)),
        shares=time_shares.of(batches, gil.held_fraction, lanes=1),
    )


# Parallel strategies


def _parallel(strategy: Strategy, context: _Context) -> StrategyResult:
    pairs = context.pairs(strategy.name)
    end, start_up_s = _end(strategy.name, context.measurement, tried=bool(pairs)), None
    own = context.measurement.apart.get(strategy.name, ApartReading())
    if not strategy.one_process:
        start_up_s = context.measurement.start_up_s if strategy.worker_main() is None else own.start_up_s
    if end.outcome is not Outcome.OK:
        ended = StrategyResult(outcome=end.outcome, error=end.error, impossible=end.impossible, start_up_s=start_up_s)
        return replace(ended, extensions=own.extensions)
    batches = [batch for _, batch in pairs]
    gain = _gain(strategy, pairs, context)
    executor = executors.of(pairs, gain.speedup, context.serial)
    inputs = pool_inputs(strategy, context.measurement, context.machine, context.serial, context.gil)
    inputs = replace(inputs, executor=executor)
    in_pool = pools.in_executor(strategy, (gain.speedup, gain.at_worst, gain.at_best), inputs, context.measurement)
    found = replace(
        _common(batches, less_queue=context.less_queue),
        speedup=gain.speedup,
        pool_speedup=in_pool.speedup,
        pool_speedup_at_worst=in_pool.at_worst,
        pool_speedup_at_best=in_pool.at_best,
        pool_rounds=in_pool.rounds,
        over=_over_cheaper(strategy, context),
        start_up_s=start_up_s,
        dispatch_s_per_call=dispatch.dispatch_s(inputs.costs),
        transfer_s_per_call=inputs.transfer.pipe_s if inputs.transfer is not None else None,
        shares=_lane_shares(strategy, batches, context),
        extensions=own.extensions,
        gils_held=own_gils.held(batches),
    )
    return found if executor is None else executors.through(executor, found)


def _end(name: str, measurement: Measurement, *, tried: bool) -> End:
    """Return how a strategy ended: *skipped*, with the reason, if it is *ok* but was never tried."""
    end = measurement.ends[name]
    if end.outcome is Outcome.OK and not tried:
        return End(outcome=Outcome.SKIPPED, error=measurement.out_of_time or "not tried")
    return end


def _gain(strategy: Strategy, pairs: Pairs, context: _Context) -> Gain:
    if strategy.through_executor:
        return _executors_gain(strategy, pairs, context)
    if not strategy.one_process or strategy.one_thread or not context.less_queue:
        lanes = speedups.lanes_of(pairs, less_queue=context.less_queue)
        return Gain(_limited(strategy, speedups.estimated(pairs, context.noise, lanes), context))
    holding = masking.holding(context.gil, context.measurement, [batch for _, batch in pairs])
    return one_process.gain(
        strategy.name, context.measurement, context.noise, holding, lambda found: _limited(strategy, found, context)
    )


def _executors_gain(strategy: Strategy, pairs: Pairs, context: _Context) -> Gain:
    """Return the speed-up in a named executor; at worst, none of its workers' queueing was other programs' doing."""
    lanes = speedups.Lanes.COUPLED if context.less_queue else speedups.Lanes.QUEUEING
    found, raw = (
        _limited(strategy, speedups.estimated(some, context.noise, lanes), context)
        for some in (pairs, [(base, executors.with_queueing(batch)) for base, batch in pairs])
    )
    found = replace(found, low=min(found.low, raw.low))
    disturbed = (rounds.queue_share([batch for _, batch in pairs]) or 0.0) > rounds.QUIET_BESIDE
    return Gain(found, raw, found) if disturbed else Gain(found)


def _limited(strategy: Strategy, found: Estimate, context: _Context) -> Estimate:
    """Return a speed-up within what GIL, CPUs, workers and quota allow; a contradiction on a quiet machine stays."""
    measurement, ceiling = context.measurement, strategy.ceiling(context.gil, context.event_loop)
    workers = executors.at_once(context.pairs(strategy.name), context.measurement.workers)
    most = math.inf if ceiling is None else ceiling.high * CEILING_SLACK
    if speedups.is_busy(measurement) or found.low <= most * speedups.BEYOND_CEILING:
        found = dispatch.capped(found, most)
    if not speedups.beyond(found, workers):
        found = dispatch.capped(found, workers)
    within = speedups.within_room(found, measurement, context.machine, most)
    return speedups.without_quota(within, measurement, context.serial, most)


def _over_cheaper(strategy: Strategy, context: _Context) -> dict[str, Contrast]:
    """Compare a strategy with each cheaper one tried in the same rounds; empty if the comparison would mislead."""
    parallel_inside = rounds.width(context.measurement.rounds) > 1 + EXTRA_CORES
    if (parallel_inside and speedups.is_busy(context.measurement)) or speedups.throttled(context.measurement):
        return {}
    found = {}
    for cheaper in context.strategies[: context.strategies.index(strategy)]:
        contrast = _contrast(cheaper, strategy, context)
        if contrast is not None and context.measurement.ends[cheaper.name].outcome is Outcome.OK:
            found[cheaper.name] = contrast
    return found


def _contrast(cheaper: Strategy, dearer: Strategy, context: _Context) -> Contrast | None:
    both = [one for one in context.measurement.rounds if cheaper.name in one.batches and dearer.name in one.batches]
    if not both:
        return None
    pairs = [(one.batches[cheaper.name], one.batches[dearer.name]) for one in both]
    base, beside = ([(one.serial, one.batches[name]) for one in both] for name in (cheaper.name, dearer.name))
    lanes = speedups.lanes_of(base, less_queue=context.less_queue)
    if lanes is not speedups.lanes_of(beside, less_queue=context.less_queue):
        lanes = speedups.Lanes.COUPLED
    direct = speedups.estimated(pairs, context.noise, lanes)
    one, other = (
        _gain(cheaper, context.pairs(cheaper.name), context),
        _gain(dearer, context.pairs(dearer.name), context),
    )
    ratio = estimates.quotient(other.speedup, one.speedup)
    if (one.at_worst, other.at_worst) == (None, None):
        return Contrast(ratio=ratio if one.by_bursts or other.by_bursts else direct)
    at_worst = estimates.quotient(other.at_worst or other.speedup, one.at_best or one.speedup)
    at_best = estimates.quotient(other.at_best or other.speedup, one.at_worst or one.speedup)
    ratio = replace(ratio, low=min(ratio.low, at_worst.low), high=max(ratio.high, at_best.high))
    return Contrast(ratio=ratio, at_worst=at_worst, at_best=at_best)


# What every strategy reports


def _common(batches: Sequence[BatchReading], *, less_queue: bool) -> StrategyResult:
    """Return the part of a result that is measured in the same way for every strategy."""
    per_call = [rounds.s_per_call(batch, less_queue=less_queue) for batch in batches]
    cpu = [max(rounds.totals_s(batch)[1], 1e-9) / rounds.calls_in(batch) for batch in batches]
    workers = [worker for batch in batches for worker in batch.workers]
    memory = [worker.peak_rss_bytes for worker in workers if worker.peak_rss_bytes is not None]
    faults = [worker.page_faults for worker in workers]
    calls = sum(map(rounds.calls_in, batches))
    return StrategyResult(
        outcome=Outcome.OK,
        calls=calls,
        rounds=len(batches),
        wall_s_per_call=estimates.positive_centre(per_call, estimates.LEAST_NOISE),
        cpu_s_per_call=estimates.positive_centre(cpu, estimates.LEAST_NOISE),
        cpu_utilization=time_shares.utilization(batches),
        run_queue_share=rounds.queue_share(batches),
        page_faults_per_call=None if None in faults else sum(one or 0 for one in faults) / calls,
        rss_bytes_per_worker=max(memory, default=None),
    )


def _lane_shares(strategy: Strategy, batches: Sequence[BatchReading], context: _Context) -> TimeShares | None:
    if not strategy.one_process:
        return time_shares.of(batches, None, lanes=1)
    held = gil_share.held_fraction(batches)
    return time_shares.of(batches, held, lanes=context.measurement.workers, serial=context.serial.shares)

"""From estimates to a verdict: thresholds, reasons, cautions.

A decision is taken only if every point of the estimates' intervals leads to the same one; otherwise it stays
*inconclusive*, with a wish for what could settle it. Evidence that contradicts itself is never averaged away: it makes
the verdict inconclusive.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from pytest_gilprobe import cautions, reasons
from pytest_gilprobe.model import (
    Bound,
    Gil,
    Outcome,
    Recommendation,
    Strategy,
    Verdict,
    Wish,
)
from pytest_gilprobe.stats import pools
from pytest_gilprobe.stats.rounds import (
    AGREEMENT,
    QUIET,
    children_width,
    cores_used,
    gil_was_on,
    is_quiet,
    is_unqueued,
    lanes_s,
)
from pytest_gilprobe.stats.speedups import scaling_now, throttled
from pytest_gilprobe.thresholds import CPU_ABOVE as CPU_ABOVE  # noqa: PLC0414 - judge's own words, told where a scan finds them too
from pytest_gilprobe.thresholds import IO_BELOW as IO_BELOW  # noqa: PLC0414
from pytest_gilprobe.thresholds import NATIVE_BUSY, WORTH_IT, gil_at
from pytest_gilprobe.thresholds import bound_at as bound_at  # noqa: PLC0414

if TYPE_CHECKING:
    from pytest_gilprobe.model import Estimate, Evidence, ProcessesResult, Round, ThreadsResult

CLOSE = 1.15
"""A cheaper strategy within 15 % of the best is the better advice."""
BARE = 0.95
"""Share of its speed-up that a pool must keep for calls alone to tell how pools compare: less, and handing out does."""
SCALING_TO_JUDGE = 0.7
"""The control must reach this share of an ideal machine's scaling before *nothing helps* is believed of computing."""
EXPLAINS = 0.5
"""A GIL held for this share of the time explains threads that took longer than serial calls."""
BELIEVED = 1.25
"""Threads measured above their GIL ceiling by more than this contradict it."""
ROUNDS_WHEN_DISTURBED = 3
"""So many rounds must agree where none of them was quiet: two can be disturbed alike."""
ROUNDS_TO_BELIEVE = 2
"""So many quiet rounds, each with a quiet control, must agree that nothing helps: one may have met a bad moment."""
SUPERLINEAR = 1.05
"""N workers that do more than N times the work of one, by more than this, were compared with a disturbed one."""
IMPLAUSIBLE = 1.15
"""The same for the estimate itself, whatever its interval: no reader should be shown it as an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict, and what could still change it."""

    verdict: Verdict
    wish: Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A strategy chosen or not, why not, and what could tell."""

    strategy: Recommendation
    why_not: str | None = None
    wish: Wish = Wish.NOTHING


def judge(evidence: Evidence) -> Judgement:
    """Give the verdict that the evidence supports."""
    bound = bound_of(evidence.serial.cpu_utilization)
    gil = gil_of(evidence)
    choice = choose(evidence, bound)
    verdict = Verdict(
        bound=bound,
        gil=gil,
        strategy=choice.strategy,
        speedup=_speedup(choice.strategy, evidence),
        reason=reasons.sentence(evidence, bound, gil, choice.strategy, choice.why_not),
        cautions=cautions.of(evidence, bound, gil),
    )
    return Judgement(
        verdict=verdict, wish=Wish.ROUND if bound is Bound.INCONCLUSIVE and choice.wish is Wish.NOTHING else choice.wish
    )


def bound_of(utilization: Estimate) -> Bound:
    """Tell waiting from computing; inconclusive while the interval straddles a threshold."""
    found = {bound_at(utilization.low), bound_at(utilization.high)}
    return found.pop() if len(found) == 1 else Bound.INCONCLUSIVE


def gil_of(evidence: Evidence) -> Gil:
    """Tell the GIL's part: its held share of on-CPU time, or of all time for a call that mostly waits.

    A share whose interval reaches from *released* to *held* is unknown.
    """
    if not gil_was_on(evidence.measurement):
        return Gil.ABSENT
    return gil_at(evidence.serial.gil_held_fraction, evidence.serial.cpu_utilization.value)


def choose(evidence: Evidence, bound: Bound) -> Choice:
    """Choose the cheapest strategy within 15 % of the best, serial if none reaches 1.3x.

    The rule is asked at every corner of the intervals; it is monotone in each speed-up, so corners that agree speak
    for all between.
    """
    threads, processes = _interval(Strategy.THREADS, evidence), _interval(Strategy.PROCESSES, evidence)
    if threads is None and processes is None:
        return Choice(strategy=Recommendation.INCONCLUSIVE, why_not=reasons.nothing_to_compare(evidence))
    found = {rule(*corner) for corner in product(_ends(threads), _ends(processes))}
    strategy = found.pop() if len(found) == 1 else _by_direct_comparison(evidence, threads, processes)
    if strategy is None:
        return _undecided(evidence, bound, " or ".join(sorted(found, key=list[str](Recommendation).index)))
    if strategy is Recommendation.SERIAL and _costs_rule_out(evidence):
        return Choice(strategy=strategy)
    if strategy is Recommendation.SERIAL and needs_cpus(evidence, bound):
        return _believe_serial(evidence)
    if doubt := disturbed(evidence) or contradicts(evidence):
        return Choice(strategy=Recommendation.INCONCLUSIVE, why_not=doubt, wish=Wish.ROUND)
    return Choice(strategy=strategy)


def _undecided(evidence: Evidence, bound: Bound, unsettled: str) -> Choice:
    """Say why the intervals decide nothing yet: of what a CPU quota holds back, many rounds more will not either."""
    if throttled(evidence.measurement) and needs_cpus(evidence, bound):
        why_not = reasons.held_back(evidence, unsettled)
        more = len(evidence.measurement.rounds) < ROUNDS_WHEN_DISTURBED
    elif len(evidence.measurement.rounds) >= ROUNDS_WHEN_DISTURBED and _hand_out_leaves_open(evidence):
        why_not, more = reasons.hand_out_unknown(evidence, unsettled), False
    else:
        why_not, more = reasons.straddles(evidence, unsettled), True
    return Choice(strategy=Recommendation.INCONCLUSIVE, why_not=why_not, wish=Wish.ROUND if more else Wish.NOTHING)


def _hand_out_leaves_open(evidence: Evidence) -> bool:
    """Tell whether a pool is worth it or not by what handing out costs alone, were the calls known exactly.

    That is measured once a session: rounds more of the calls do not tell it better.
    """
    machine, seen = evidence.machine, evidence.measurement
    serial = replace(
        evidence.serial,
        wall_s_per_call=_exactly(evidence.serial.wall_s_per_call),
        cpu_s_per_call=_exactly(evidence.serial.cpu_s_per_call),
        gil_held_fraction=_exactly(held) if (held := evidence.serial.gil_held_fraction) is not None else None,
    )
    bare = [None if part.speedup is None else _exactly(part.speedup) for part in (evidence.threads, evidence.processes)]
    threads = (
        None if bare[0] is None else pools.of_threads(bare[0], serial, machine, seen.workers, gil=gil_was_on(seen))
    )
    processes = None if bare[1] is None else pools.of_processes(bare[1], serial, machine, seen.workers, seen.transfer)
    ends = [_ends(None if pool is None else (pool.low, pool.high)) for pool in (threads, processes)]
    found = {rule(*corner) for corner in product(*ends)}
    return len(found) > 1 and Recommendation.SERIAL in found


def _exactly(estimate: Estimate) -> Estimate:
    return replace(estimate, low=estimate.value, high=estimate.value)


def _by_direct_comparison(
    evidence: Evidence, threads: tuple[float, float] | None, processes: tuple[float, float] | None
) -> Recommendation | None:
    """Choose between threads and processes by comparing them with each other, when one of them is worth it for certain.

    That comparison is free of the serial calls' noise; it holds only where handing out is not what limits the pools.
    """
    ratio, kept = evidence.processes.over_threads, kept_in_pools(evidence.threads, evidence.processes)
    if ratio is None or threads is None or processes is None or kept is None:
        return None
    if max(threads[0], processes[0]) < WORTH_IT:
        return None
    least, most = kept
    if ratio.high * most <= CLOSE:
        return Recommendation.THREADS
    return Recommendation.PROCESSES if ratio.low * least > CLOSE else None


def kept_in_pools(threads: ThreadsResult, processes: ProcessesResult) -> tuple[float, float] | None:
    """Return by what factor processes over threads differ in pools from bare calls, at the least and at the most.

    Where handing out takes more than `BARE` leaves of either speed-up, it is what limits a pool, and calls alone do not
    tell how two pools compare; but where it takes more from processes, those compare no better than bare calls. None
    where it takes more from threads.
    """
    kept = [
        part.pool_speedup.value / part.speedup.value
        for part in (threads, processes)
        if part.speedup is not None and part.pool_speedup is not None and part.speedup.value > 0
    ]
    if len(kept) < 2:  # noqa: PLR2004 - threads, processes
        return None
    if min(kept) >= BARE:
        return kept[1] / kept[0], kept[1] / kept[0]
    return (0.0, 1.0) if kept[1] <= kept[0] else None


def _costs_rule_out(evidence: Evidence) -> bool:
    """Tell whether handing a call out alone takes so long that no pool can be worth it, whatever disturbed the rounds.

    Other programs can only make the calls seem longer, and the hand-out's best round is the shortest.
    """
    costs = [
        cost
        for cost, part in (
            (evidence.machine.thread_task_s, evidence.threads),
            (evidence.machine.process_task_s, evidence.processes),
        )
        if part.outcome is Outcome.OK
    ]
    call_s = evidence.serial.wall_s_per_call.high
    return bool(costs) and all(cost is not None and call_s < cost * WORTH_IT for cost in costs)


def _believe_serial(evidence: Evidence) -> Choice:
    """Believe that nothing helps a call that computes only if it could have been seen to help.

    A call that itself used so many CPUs that too few are left shows that they were there. Else it takes a control
    beside each of several rounds: two where nothing disturbed serial calls and controls, else three. The parallel
    batches are no witnesses here, since calls that are parallel inside queue behind each other.
    """
    seen = evidence.measurement
    width = min(cores_used(one.serial) for one in seen.rounds)
    if width > 1 + NATIVE_BUSY and 1 < evidence.machine.cpus < width * WORTH_IT:
        return Choice(strategy=Recommendation.SERIAL)
    calm = all(is_unqueued(one) for one in seen.rounds) and all(is_quiet(one) for one in seen.controls)
    wanted = ROUNDS_TO_BELIEVE if calm else ROUNDS_WHEN_DISTURBED
    if len(seen.controls) < min(len(seen.rounds), wanted):
        why = reasons.too_few_rounds(evidence)
        return Choice(strategy=Recommendation.INCONCLUSIVE, why_not=why, wish=Wish.CONTROL)
    if blind := cannot_tell(evidence):
        more = Wish.ROUND if evidence.machine.cpus > 1 else Wish.NOTHING
        return Choice(strategy=Recommendation.INCONCLUSIVE, why_not=blind, wish=more)
    if len(seen.controls) < wanted:
        return Choice(strategy=Recommendation.INCONCLUSIVE, why_not=reasons.too_few_rounds(evidence), wish=Wish.ROUND)
    return Choice(strategy=Recommendation.SERIAL)


def rule(threads: float, processes: float) -> Recommendation:
    """Choose by two known pool speed-ups; 0 for a strategy that is out."""
    best = max(threads, processes)
    if best < WORTH_IT:
        return Recommendation.SERIAL
    return Recommendation.THREADS if threads * CLOSE >= best else Recommendation.PROCESSES


def _interval(strategy: Strategy, evidence: Evidence) -> tuple[float, float] | None:
    """Return a strategy's possible pool speed-ups; None if it is out because it failed, hung or crashed.

    N workers cannot do more than N times the work of one, so no interval reaches beyond. A strategy that time did not
    allow to try may have any speed-up; one that was not asked for, or must not be tried, has none.
    """
    result = evidence.threads if strategy is Strategy.THREADS else evidence.processes
    most = float(evidence.measurement.workers)
    if result.pool_speedup is not None:
        return min(result.pool_speedup.low, most), min(result.pool_speedup.high, most)
    if result.outcome is Outcome.SKIPPED and strategy in evidence.measurement.no_time_for:
        return 0.0, most
    return None


def _ends(interval: tuple[float, float] | None) -> tuple[float, ...]:
    return (0.0,) if interval is None else interval


def disturbed(evidence: Evidence) -> str | None:
    """Say why the rounds so far are not enough, or None.

    One round settles a clear case if nothing disturbed it; else `ROUNDS_WHEN_DISTURBED` must agree. Workers that did
    more than their number allows mean that the serial calls were the ones disturbed.
    """
    seen = evidence.measurement.rounds
    for result in (evidence.threads, evidence.processes):
        most = evidence.measurement.workers
        if result.speedup is not None and (
            result.speedup.low > most * SUPERLINEAR or result.speedup.value > most * IMPLAUSIBLE
        ):
            return reasons.too_fast(evidence)
    if len(seen) >= ROUNDS_WHEN_DISTURBED or any(is_quiet(one) and _explained(one, evidence) for one in seen):
        return None
    return reasons.too_few_rounds(evidence)


def _explained(one: Round, evidence: Evidence) -> bool:
    """Tell whether threads took in a round what serial calls did, or longer since the GIL was held for long.

    Threads that are slower for no reason seen may have had the slow ones of calls that are not alike.
    """
    if one.threads is None or max(lanes_s(one.threads)) <= max(lanes_s(one.serial)) * (1 + AGREEMENT):
        return True
    fraction = evidence.serial.gil_held_fraction
    return fraction is not None and fraction.value >= EXPLAINS


def contradicts(evidence: Evidence) -> str | None:
    """Find threads that ran faster than the GIL, as it was watched, allows.

    Only on a quiet machine does that say anything.
    """
    threads, fraction = evidence.threads, evidence.serial.gil_held_fraction
    quiet = (threads.run_queue_share or 0.0) <= QUIET
    if threads.speedup is None or fraction is None or fraction.low <= 0 or not quiet:
        return None
    if threads.speedup.low > max(1.0, 1 / fraction.low) * BELIEVED:
        return reasons.threads_beat_ceiling(evidence)
    return None


def needs_cpus(evidence: Evidence, bound: Bound) -> bool:
    """Tell whether idle CPUs could make a pool worth it.

    Waiting overlaps on any machine, unless it is for child processes that compute; and a call that costs less than
    handing it out gains nowhere.
    """
    if bound is Bound.IO and children_width(evidence.measurement.rounds) <= NATIVE_BUSY:
        return False
    workers, machine = evidence.measurement.workers, evidence.machine
    call_s = evidence.serial.wall_s_per_call.value
    best_case = [
        min(workers, call_s / task if task is not None else workers)
        for task, end in (
            (machine.thread_task_s, evidence.threads.outcome),
            (machine.process_task_s, evidence.processes.outcome),
        )
        if end is Outcome.OK
    ]
    return max(best_case, default=0.0) >= WORTH_IT


def cannot_tell(evidence: Evidence) -> str | None:
    """Say why *nothing helps* may be the machine's fault, or None: the control says whether there were CPUs to help."""
    machine, workers = evidence.machine, evidence.measurement.workers
    scaling = scaling_now(evidence.measurement, machine)
    if scaling is None:
        return None
    ideal = min(workers, max(machine.cpus, 2))
    return None if scaling.value >= ideal * SCALING_TO_JUDGE else reasons.machine_too_small(evidence, scaling)


def _speedup(strategy: Recommendation, evidence: Evidence) -> float | None:
    """Return what the advised strategy promises: what was measured, but never more than one call for each worker."""
    if strategy is Recommendation.SERIAL:
        return 1.0
    tried: dict[Recommendation, ThreadsResult | ProcessesResult] = {
        Recommendation.THREADS: evidence.threads,
        Recommendation.PROCESSES: evidence.processes,
    }
    chosen = tried.get(strategy)
    if chosen is None or chosen.pool_speedup is None:
        return None
    return min(chosen.pool_speedup.value, float(evidence.measurement.workers))

"""Give the cautions (warnings in the report) on a workload, the gravest first; most of their rules are here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.results import Caution
from pytest_gilprobe.model.thresholds import EXTRA_CORES, THROTTLED, gil_words
from pytest_gilprobe.model.words import Bound, Gil, GilMethod
from pytest_gilprobe.stats.estimates import kendall_tau
from pytest_gilprobe.stats.rounds import children_width, lane_s_per_call
from pytest_gilprobe.stats.speedups import may_queue_unseen
from pytest_gilprobe.verdict import lane_cautions, same_call
from pytest_gilprobe.verdict.case import Case
from pytest_gilprobe.verdict.gil_gates import WANTED
from pytest_gilprobe.verdict.places import mostly_in
from pytest_gilprobe.verdict.reasons import own_threads

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import Evidence
    from pytest_gilprobe.model.results import Verdict

BLOCKS_HOLDING = 0.25
"""A call is said to sleep while it holds the GIL if the share of its time for which it holds the GIL exceeds its CPU
utilization by at least this much."""
STALLS_S = 0.02
"""Shortest uninterrupted hold of the GIL, in seconds, for which a caution is given: four times Python's default switch
interval, after which a thread that runs Python code hands the GIL over."""
BUSY = 0.10
"""If serial calls wait for a CPU for at least this share of their time, a caution says that other programs disturbed
them."""
BUSY_BESIDE = 0.2
"""If the calls of a parallel strategy wait for a CPU for at least this share of their time, a caution says that other
programs disturbed them. Parallel workers use every CPU, so they wait a little on any machine."""
UNEVEN_ROUNDS = 6
"""Fewest rounds (one batch of calls of every strategy) after which a caution may say that calls became slower, or that
they differ from each other. Thirds of the rounds are compared; here each has two rounds or more."""
DRIFT = 1.25
"""A caution says that calls became slower if the median time per call in the last third of the rounds (one batch of
calls of every strategy) is more than this many times that in the first third, and the rise is steady (`STEADY`)."""
STEADY = 0.8
"""Smallest Kendall's tau (a rank correlation) between the number of a round (one batch of calls of every strategy) and
the round's time per serial call for which this time counts as rising steadily. Six rounds in random order reach this
value with a probability of 0.8 %, 10 rounds with 0.02 %."""
UNEVEN = 1.5
"""A caution says that calls differ from each other if, in the middle third of the rounds (one batch of calls of every
strategy) by time per call, the slowest takes more than this many times as long as the fastest."""


def of(evidence: Evidence, verdict: Verdict) -> tuple[Caution, ...]:
    """Return the cautions (warnings in the report) on a workload, the gravest first.

    ``verdict`` is the verdict on the ``evidence``; its reason and its cautions may still be missing.
    """
    advised = next((one for one in evidence.strategies if one.name == verdict.strategy), None)
    case = Case(evidence=evidence, bound=verdict.bound, gil=verdict.gil, advised=advised)
    parts = [(strategy, evidence.results[strategy.name]) for strategy in evidence.strategies]
    return (
        *same_call.cautions(evidence),
        *(strategy.when_broken(part.outcome) for strategy, part in parts if part.broken),
        *(Caution(slug=slug, message=message) for slug, rule in _RULES.items() for message in rule(case)),
        *(caution for strategy, _ in parts for caution in strategy.cautions(evidence, verdict)),
    )


# The GIL


def _blocks(case: Case) -> Iterator[str]:
    held = case.evidence.gil.held_fraction
    beside = case.serial.extra_cores or 0.0  # threads of its own may hold it
    used, most = case.serial.utilization.value + beside, case.serial.utilization.high + beside
    if held is not None and held.low - most >= BLOCKS_HOLDING:
        # a holder of less than all the computing may be what computes: then nobody is named
        holders = [one for one in case.evidence.gil.holders or () if one.share.low * held.low > most]
        yield (
            f"it blocks while holding the GIL: held for {numbers.percent(held.value)} of the time, computing for "
            f"{numbers.percent(used)}; an extension that waits without releasing the GIL stops every other thread"
            f"{mostly_in(holders)}"
        )


def _stalls(case: Case) -> Iterator[str]:
    hold_s = case.evidence.gil.longest_hold_s or 0.0
    waits = [part.shares.gil_wait or 0.0 for _, part in case.sharing() if part.shares is not None]
    if hold_s >= STALLS_S and max(waits, default=0.0) >= WANTED:
        longest = numbers.seconds(hold_s)
        where = mostly_in([case.evidence.gil.longest_holder])
        yield f"native code holds the GIL without a break: it stalls every other thread for up to {longest}{where}"


def _switched_on(case: Case) -> Iterator[str]:
    seen = case.evidence.measurement
    batches = (batch for one in seen.rounds for batch in one.batches.values())
    if not any(worker.gil_enabled for batch in batches for worker in batch.workers):
        return
    if seen.gil_switched_on_by:
        modules = ", ".join(seen.gil_switched_on_by)
        yield (
            f"the GIL was switched on to load {modules}, which does not declare itself safe without; "
            "PYTHON_GIL=0 keeps it off"
        )
    elif not seen.gil_on_at_start:
        yield "the GIL was switched on while this ran: something that it imported does not declare itself safe without"


# What calls do beside computing in their own thread


def _native(case: Case) -> Iterator[str]:
    if case.parallel_inside:
        yield f"it is parallel inside: {own_threads(case.serial.extra_cores or 0.0)} during serial calls"


def _children(case: Case) -> Iterator[str]:
    share = children_width(case.evidence.measurement.rounds)
    if share > EXTRA_CORES:
        yield (
            f"its child processes compute: they keep {numbers.cores(share)} cores busy during serial calls, which "
            "the bound does not count; no more calls at a time than there are cores can gain"
        )


# The machine


def _workers(case: Case) -> Iterator[str]:
    cpus, workers = case.evidence.machine.cpus, case.evidence.measurement.workers
    if case.bound is not Bound.IO and workers > cpus:
        usable = numbers.count(cpus, "usable CPU")
        yield f"{workers} workers share {usable}: computing cannot gain more than {cpus}x here"


def _busy(case: Case) -> Iterator[str]:
    own = case.parallel_inside or case.evidence.measurement.workers > case.evidence.machine.cpus
    queued = max((part.run_queue_share or 0.0 for part in case.evidence.results.values() if not own), default=0.0)
    if ((case.serial.run_queue_share or 0.0) >= BUSY and not case.parallel_inside) or queued >= BUSY_BESIDE:
        share = numbers.percent(max(queued, case.serial.run_queue_share or 0.0))
        yield f"other programs kept the CPUs busy: calls waited for a CPU for up to {share} of their time"
    elif may_queue_unseen(case.evidence.measurement):
        yield (
            "other programs kept the CPUs busy: how long the threads or child processes that compute for a call waited "
            "for a CPU is not known"
        )


def _throttled(case: Case) -> Iterator[str]:
    share = case.evidence.measurement.throttled_share
    if share is not None and share >= THROTTLED:
        stopped = numbers.percent(share)
        yield f"this machine's CPU quota stopped the probe for {stopped} of its time: speed-ups read too low"


def _traced(case: Case) -> Iterator[str]:
    if tracers := case.evidence.measurement.tracers:
        yield f"its Python code ran slower than usual: {', '.join(tracers)} is active in the worker"


# The calls


def _left_changed(case: Case) -> Iterator[str]:
    if changed := case.evidence.measurement.left_changed:
        yield f"its calls leave {', '.join(changed)} changed: later tests of the same session run with that"


def _cold(case: Case) -> Iterator[str]:
    yield from same_call.slow_first(case.evidence)


def _uneven(case: Case) -> Iterator[str]:
    times = [lane_s_per_call(one.serial) for one in case.evidence.measurement.rounds]
    if len(times) < UNEVEN_ROUNDS:
        return
    third = len(times) // 3
    early, late = median(times[:third]), median(times[-third:])
    low, high = sorted(times)[third], sorted(times)[-third - 1]
    if late > early * DRIFT and kendall_tau(times) >= STEADY:
        yield (
            f"calls took longer from round to round ({numbers.seconds(early)}, later {numbers.seconds(late)}): "
            "something that they keep grows, or the machine slowed down"
        )
    elif high > low * UNEVEN:
        yield (
            f"calls differ: a batch's mean call took {numbers.seconds(low)} to {numbers.seconds(high)}; "
            "probe the fast and the slow case separately"
        )


# What is not known


def _queueing_unseen(case: Case) -> Iterator[str]:
    if case.serial.run_queue_share is None:
        yield "this system does not tell how long a thread waits for a CPU; it looks like waiting: use an idle machine"


def _unwatched(case: Case) -> Iterator[str]:
    why, seen = case.evidence.measurement.gil_unwatched, case.evidence.gil
    estimated = seen.held_fraction is not None and seen.method is not GilMethod.HEARTBEAT
    if why is not None and case.gil is not Gil.ABSENT and not estimated:
        yield f"the GIL could not be sampled from outside, so its part is estimated from inside or unknown: {why}"


def _part_open(case: Case) -> Iterator[str]:
    """Tell it only where it changes what a reader does: is the GIL, or something else, to be removed first?"""
    held, used = case.evidence.gil.held_fraction, case.serial.utilization
    if held is None or case.gil is Gil.ABSENT or (case.advised is not None and case.advised.one_process):
        return
    words = gil_words(held, used.low, used.high)
    if len(words) > 1 and Gil.RELEASED in words:
        yield (
            f"the GIL's part may be {' or '.join(words)}: it was held for {numbers.percent(held.low)} to "
            f"{numbers.percent(held.high)} of the time, computing for {numbers.percent(used.low)} to "
            f"{numbers.percent(used.high)}, which does not decide"
        )


_RULES: dict[str, Callable[[Case], Iterator[str]]] = {
    "blocks-holding-gil": _blocks,
    "stalls-threads": _stalls,
    "gil-switched-on": _switched_on,
    "already-parallel": _native,
    "children-compute": _children,
    **lane_cautions.RULES,
    "more-workers-than-cpus": _workers,
    "busy-machine": _busy,
    "throttled": _throttled,
    "traced": _traced,
    "leaves-changed": _left_changed,
    "slow-first-call": _cold,
    "uneven-calls": _uneven,
    "queueing-unseen": _queueing_unseen,
    "gil-unwatched": _unwatched,
    "gil-part-open": _part_open,
}

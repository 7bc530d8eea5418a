"""The sentence that goes with a verdict: what was measured, and why that advises what it does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_gilprobe.model import Bound, Gil, Outcome, Recommendation, Strategy
from pytest_gilprobe.reporters import numbers
from pytest_gilprobe.stats import pools
from pytest_gilprobe.thresholds import NATIVE_BUSY, WORTH_IT

if TYPE_CHECKING:
    from pytest_gilprobe.model import Estimate, Evidence, ProcessesResult, ThreadsResult

WORTH_HANDING_OUT = 10
"""How many times as long as its hand-out a task should last: handing out then costs a tenth of the work."""
OVERLAP = 1.15
"""Threads that gain more than this do overlap a little."""
_BOUNDS = {
    Bound.IO: "I/O-bound",
    Bound.CPU: "CPU-bound",
    Bound.MIXED: "half waiting, half computing",
    Bound.INCONCLUSIVE: "between two kinds",
}


def sentence(evidence: Evidence, bound: Bound, gil: Gil, strategy: Recommendation, why_not: str | None) -> str:
    """Say the verdict's reason with its numbers."""
    used = numbers.percent(evidence.serial.cpu_utilization.value)
    measured = ", ".join(_figure(evidence, name) for name in ("threads", "processes"))
    because = {
        Recommendation.SERIAL: _why_serial,
        Recommendation.THREADS: _why_threads,
        Recommendation.PROCESSES: _why_processes,
    }.get(strategy)
    why = because(evidence, bound, gil) if because is not None else why_not or "the evidence does not decide"
    return f"{_BOUNDS[bound]} ({used} of one core): {measured}; {why}"


def _figure(evidence: Evidence, name: str) -> str:
    result: ThreadsResult | ProcessesResult = evidence.threads if name == "threads" else evidence.processes
    if result.speedup is not None:
        return (
            f"{evidence.measurement.workers} {name} "
            f"{'give ' if name == 'threads' else ''}{numbers.about(result.speedup.value)}"
        )
    if result.outcome is Outcome.SKIPPED:
        return f"{name} not tried"
    return f"{name} {result.outcome}"


def _why_threads(evidence: Evidence, bound: Bound, gil: Gil) -> str:
    fraction = evidence.serial.gil_held_fraction
    if gil is Gil.ABSENT:
        return "no GIL stands in the way" + _no_dearer(evidence)
    if bound is Bound.IO:
        return "a waiting thread releases the GIL"
    if fraction is not None:
        return f"the GIL is held for {numbers.percent(fraction.value)} of the time, so threads overlap" + _no_dearer(
            evidence
        )
    return "the threads overlap, and cost less than processes"


def _no_dearer(evidence: Evidence) -> str:
    return "" if evidence.processes.speedup is None else ", and threads cost less than processes"


def _why_processes(evidence: Evidence, bound: Bound, gil: Gil) -> str:  # noqa: ARG001, PLR0911 - one signature, one return a cause
    threads = evidence.threads
    if threads.outcome is not Outcome.OK:
        return f"threads are out: {(threads.error or str(threads.outcome)).splitlines()[0]}"
    fraction = evidence.serial.gil_held_fraction
    share = numbers.percent(fraction.value) if fraction is not None else None
    if gil is Gil.HELD and evidence.serial.cpu_utilization.value + 0.2 < (fraction.value if fraction else 0):
        return f"it holds the GIL for {share} of the time, mostly while it waits"
    if (
        gil in {Gil.HELD, Gil.PARTIAL}
        and share is not None
        and (threads.speedup is None or threads.speedup.value > OVERLAP)
    ):
        return f"the GIL, held for {share} of the time, holds the threads back"
    if gil is Gil.HELD:
        return "the GIL serialises the threads"
    if gil is Gil.PARTIAL and share is not None:
        return f"the GIL, held for {share} of the time, and handing it over hold the threads back"
    if gil in {Gil.RELEASED, Gil.ABSENT}:
        return "it is not the GIL that holds the threads back: a lock, shared data or memory is likely"
    return "the threads hold each other back, by the GIL or a lock"


def _why_serial(evidence: Evidence, bound: Bound, gil: Gil) -> str:  # noqa: ARG001 - one signature for all three
    machine, call_s = evidence.machine, evidence.serial.wall_s_per_call.value
    costs = [cost for cost in (machine.thread_task_s, machine.process_task_s) if cost is not None]
    if costs and (call_s / min(costs) < WORTH_IT or _handing_out_decides(evidence)):
        return _too_short(evidence)
    native = evidence.serial.native_cpu_share
    if native is not None and native > NATIVE_BUSY:
        return f"already parallel inside: its own threads use {numbers.percent(native)} of another core"
    if gil is Gil.HELD and evidence.processes.speedup is None:
        return "the GIL serialises the threads, and processes are no way out"
    return "neither is worth it: none reaches 1.3x in a pool"


def _handing_out_decides(evidence: Evidence) -> bool:
    """Tell whether calls gain side by side, and would in a pool if handing them out cost nothing."""
    if evidence.measurement.transfer is not None:
        return False
    parts = (evidence.threads, evidence.processes)
    return any(part.speedup is not None and part.speedup.low >= WORTH_IT for part in parts)


def _too_short(evidence: Evidence) -> str:
    """Say what a short call and its hand-out take, and how many calls a task needs where batches may gain."""
    machine, call_s = evidence.machine, evidence.serial.wall_s_per_call.value
    priced = [
        (name, cost, part.speedup)
        for name, cost, part in (
            ("thread", pools.hand_out_s(machine, Strategy.THREADS), evidence.threads),
            ("process", pools.hand_out_s(machine, Strategy.PROCESSES), evidence.processes),
        )
        if cost is not None
    ]
    gaining = [pool for pool in priced if pool[2] is not None and pool[2].high >= WORTH_IT]
    dear = " or ".join(f"{numbers.seconds(cost)} ({name} pool)" for name, cost, _ in gaining or priced)
    said = f"a call takes {numbers.seconds(call_s)}, handing it out {dear}: keep it serial"
    if not gaining:
        return f"{said}; larger tasks would not help, since {_no_gain(evidence)}"
    fewest = math.ceil(max(cost for _, cost, _ in gaining) * 10 / call_s)
    return f"{said}, or hand out {fewest} calls or more per task"


def _no_gain(evidence: Evidence) -> str:
    """Say of both strategies why calls alone, whatever a pool costs, gain nothing in them."""
    tried: tuple[tuple[str, ThreadsResult | ProcessesResult], ...] = (
        ("threads", evidence.threads),
        ("processes", evidence.processes),
    )
    words = {Outcome.SKIPPED: "cannot be used", Outcome.OK: "were not measured"}
    return " and ".join(
        f"{name} give {numbers.about(part.speedup.value)}"
        if part.speedup is not None
        else f"{name} {words.get(part.outcome, str(part.outcome))}"
        for name, part in tried
    )


def straddles(evidence: Evidence, unsettled: str) -> str:
    """Say which answers the intervals still allow, and what would settle it."""
    return f"it may be {unsettled} ({_in_pools(evidence)}){_more_time(evidence)}"


def _in_pools(evidence: Evidence) -> str:
    spans = ", ".join(
        f"{name} {numbers.interval(result.pool_speedup)}"
        for name, result in (("threads", evidence.threads), ("processes", evidence.processes))
        if result.pool_speedup is not None
    )
    return f"in a pool: {spans or 'nothing measured'}"


def hand_out_unknown(evidence: Evidence, unsettled: str) -> str:
    """Say that calls are about as short as what handing them out costs, which is not known well enough to tell."""
    call_s = evidence.serial.wall_s_per_call.value
    costs = " or ".join(
        f"{numbers.seconds(cost)} ({name} pool)"
        for name, strategy in (("thread", Strategy.THREADS), ("process", Strategy.PROCESSES))
        if (cost := pools.hand_out_s(evidence.machine, strategy)) is not None
    )
    return (
        f"it may be {unsettled} ({_in_pools(evidence)}): a call takes {numbers.seconds(call_s)}, handing it out about "
        f"{costs}, which decides; hand out several calls per task"
    )


def held_back(evidence: Evidence, unsettled: str) -> str:
    """Say that a CPU quota hides what computing in parallel would gain."""
    share = numbers.percent(evidence.measurement.throttled_share)
    return (
        f"it may be {unsettled}: a CPU quota held the probe back for {share} of its time, so what computes in parallel "
        "reads too slow; raise the quota"
    )


def nothing_to_compare(evidence: Evidence) -> str:
    """Say why there is no second strategy to compare serial calls with."""
    causes = {
        f"{name} {result.outcome}: {(result.error or '').splitlines()[0] if result.error else 'no reason known'}"
        for name, result in (("threads", evidence.threads), ("processes", evidence.processes))
    }
    return "nothing to compare serial calls with (" + "; ".join(sorted(causes)) + ")"


def too_few_rounds(evidence: Evidence) -> str:
    """Say that the machine was too restless, or calls too uneven, for the rounds that there was time for."""
    rounds = numbers.count(evidence.serial.rounds, "round")
    return f"{rounds}, too few for a restless machine or for calls that are not alike{_more_time(evidence)}"


def too_fast(evidence: Evidence) -> str:
    """Say that the serial calls must have been disturbed."""
    return (
        f"the serial calls were disturbed: {evidence.measurement.workers} workers seem to do more than "
        f"{evidence.measurement.workers} times their work{_more_time(evidence)}"
    )


def _more_time(evidence: Evidence) -> str:
    late = evidence.measurement.out_of_time
    return f"; {late}" if late is not None else "; a longer max_time or a quieter machine may settle it"


def threads_beat_ceiling(evidence: Evidence) -> str:
    """Say that threads and the watched GIL contradict each other."""
    fraction, speedup = evidence.serial.gil_held_fraction, evidence.threads.speedup
    return (
        f"the evidence disagrees: the GIL was seen held for {numbers.percent(fraction.value if fraction else None)} "
        "of the time, "
        f"yet threads gave {numbers.speedup(speedup)}"
    )


def machine_too_small(evidence: Evidence, scaling: Estimate) -> str:
    """Say that this machine cannot show whether computing in parallel helps."""
    machine = evidence.machine
    gave = numbers.times(scaling.value)
    return (
        f"this machine cannot tell: with {numbers.count(machine.cpus, 'usable CPU')} it gave a plain Python loop only "
        f"{gave} in "
        f"{numbers.count(evidence.measurement.workers, 'process', 'processes')}; try on one with two idle CPUs or more"
    )

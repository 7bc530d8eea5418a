"""What handing work to processes costs, in numbers that a person can use: pure functions and their sentences."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe import judge
from pytest_gilprobe.model import Caution, Outcome, Recommendation
from pytest_gilprobe.reporters import numbers
from pytest_gilprobe.stats import pools

if TYPE_CHECKING:
    from pytest_gilprobe.model import Evidence, Verdict

NOT_IMPORTABLE = "not-importable"
"""Slug of the caution that a process pool does not find the function."""
WORTH_TELLING = 0.05
"""A transfer that takes this share of a call's own time is told, whatever the verdict."""


def priced(verdict: Verdict, evidence: Evidence) -> Verdict:
    """Add to a verdict what starting, feeding and keeping worker processes costs."""
    clauses = [_pays_off(verdict, evidence), _shipping(verdict, evidence)]
    said = "; ".join([verdict.reason, *(clause for clause in clauses if clause is not None)])
    found = (_shared(verdict, evidence), _not_importable(verdict, evidence))
    extra = tuple(caution for caution in found if caution is not None)
    return replace(verdict, reason=said, cautions=(*verdict.cautions, *extra))


def calls_to_pay_off(call_s: float, speedup: float, start_up_s: float) -> int | None:
    """Return the number of calls from which a pool, its start-up counted, is faster than serial calls; None if never.

    n serial calls take n * call, a pool start-up + n * call / speed-up: equal at n = start-up / (call * (1 - 1 /
    speed-up)).
    """
    if speedup <= 1 or call_s <= 0:
        return None
    return max(1, math.ceil(start_up_s / (call_s * (1 - 1 / speedup))))


def _pays_off(verdict: Verdict, evidence: Evidence) -> str | None:
    start_up_s, call_s = evidence.machine.process_start_up_s, evidence.serial.wall_s_per_call.value
    if verdict.strategy is not Recommendation.PROCESSES or verdict.speedup is None or start_up_s is None:
        return None
    import_s, callee = evidence.machine.import_s, evidence.measurement.callee
    start_up_s += import_s or 0.0
    calls = calls_to_pay_off(call_s, verdict.speedup, start_up_s)
    if calls is None:
        return None
    memory = evidence.processes.rss_bytes_per_worker
    each = "" if memory is None else f", {numbers.size(memory)} for each worker"
    at_least, how = "", ""
    if import_s is None and evidence.machine.start_method not in {None, "fork"}:
        at_least, how = "at the earliest ", ", and what its workers import"
    elif import_s and callee is not None:
        how = f", the import of {callee.module} included"
    return (
        f"a pool pays off {at_least}from {numbers.count(calls, 'call')} on "
        f"(start-up {numbers.seconds(start_up_s)}{how}{each})"
    )


def _shipping(verdict: Verdict, evidence: Evidence) -> str | None:
    """Say what moving the data costs where that is no trifle: a share of the work, or what turns the answer."""
    transfer, call_s = evidence.measurement.transfer, evidence.serial.wall_s_per_call.value
    if transfer is None or transfer.pipe_s < call_s * WORTH_TELLING:
        return None
    size = numbers.size(transfer.argument_bytes + transfer.result_bytes)
    said = f"shipping {size} costs {numbers.seconds(transfer.pipe_s)} per call, the work {numbers.seconds(call_s)}"
    if verdict.strategy in {Recommendation.PROCESSES, Recommendation.INCONCLUSIVE} or not _turned(evidence):
        return said
    return f"{said}: do not use processes unless the data stays there"


def _turned(evidence: Evidence) -> bool:
    """Tell whether processes would be worth it if nothing had to be moved."""
    processes = evidence.processes
    if processes.speedup is None or processes.pool_speedup is None:
        return False
    free = pools.of_processes(processes.speedup, evidence.serial, evidence.machine, evidence.measurement.workers, None)
    return _advised(evidence, free.value) is Recommendation.PROCESSES


def _advised(evidence: Evidence, processes: float) -> Recommendation:
    """Tell what would be advised if processes gave so much."""
    threads = evidence.threads.pool_speedup.value if evidence.threads.pool_speedup is not None else 0.0
    most = float(evidence.measurement.workers)
    return judge.rule(min(threads, most), min(processes, most))


def _shared(verdict: Verdict, evidence: Evidence) -> Caution | None:
    """Offer shared memory where it turns the answer to processes."""
    transfer, processes = evidence.measurement.transfer, evidence.processes
    if transfer is None or transfer.shared_parent_s is None or transfer.shared_worker_s is None:
        return None
    if verdict.strategy in {Recommendation.PROCESSES, Recommendation.INCONCLUSIVE} or processes.speedup is None:
        return None
    by_memory = pools.of_processes(
        processes.speedup,
        evidence.serial,
        evidence.machine,
        evidence.measurement.workers,
        replace(transfer, parent_s=transfer.shared_parent_s, worker_s=transfer.shared_worker_s),
    )
    if _advised(evidence, by_memory.value) is not Recommendation.PROCESSES:
        return None
    cost = numbers.seconds(transfer.shared_parent_s + transfer.shared_worker_s)
    return Caution(
        slug="shared-memory-helps",
        message=f"with its arrays in multiprocessing.shared_memory ({cost} per call instead of "
        f"{numbers.seconds(transfer.pipe_s)}) processes would give {numbers.about(by_memory.value)}",
    )


def _not_importable(verdict: Verdict, evidence: Evidence) -> Caution | None:
    callee = evidence.measurement.callee
    if callee is None or callee.importable or evidence.processes.outcome is not Outcome.OK:
        return None
    if verdict.strategy is not Recommendation.PROCESSES:
        return None
    return Caution(
        slug=NOT_IMPORTABLE,
        message="the function is a lambda, or made inside another one: a process pool finds functions by their "
        "names, so move it to the top level of its module first",
    )

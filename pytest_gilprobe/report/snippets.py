"""Generate the code that a user can paste to make calls in the way that a verdict advises."""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.safe_text import safe_lines
from pytest_gilprobe.model.thresholds import WORTH_IT
from pytest_gilprobe.model.words import INCONCLUSIVE, SERIAL, Status
from pytest_gilprobe.report.call_source import is_source
from pytest_gilprobe.verdict import blocking, pool_costs

if TYPE_CHECKING:
    from pytest_gilprobe.model.report import Report
    from pytest_gilprobe.model.results import Callee, WorkloadResult
    from pytest_gilprobe.strategies.registry import Strategies

DISPATCH_SHARE = 0.1
"""Handing a task to a worker may take at most this share of the time of the task's calls. Generated code puts several
calls into each task if a single call is too short for that."""
MOST_CALLS = 1e9
SHARED_MEMORY_HELPS = "shared-memory-helps"
"""Identifier of the caution (warning) that processes would be advised if arrays went to them in shared memory."""


class AdviceError(GilprobeError):
    """Raised if the user requests the code to paste for a workload, but the report has no such workload.

    The message names up to five workloads that the report has.
    """


class Advice(NamedTuple):
    """The code to paste that follows from a workload's verdict, or comments that say why there is none.

    ``is_code`` is true if ``text`` is code, false if it has only comments.
    """

    text: str
    is_code: bool


def of(report: Report, nodeid: str, strategies: Strategies) -> Advice:
    """Return the code to paste for the workload ``nodeid`` of a report, or comments that say why there is none.

    ``strategies`` are the registered strategies, which write the code. Raises `AdviceError` if the report does not have
    that workload.
    """
    found = next((workload for workload in report.workloads if workload.nodeid == nodeid), None)
    if found is None:
        known = ", ".join(workload.nodeid for workload in report.workloads[:5]) or "none"
        msg = f"no workload {nodeid!r} in the report; it has {len(report.workloads)}, such as: {known}"
        raise AdviceError(msg)
    return code(found, strategies)


def code(result: WorkloadResult, strategies: Strategies) -> Advice:
    """Return code to paste that makes calls in the way that a workload's verdict advises, or comments on why not.

    ``strategies`` are the registered strategies, which write the code. The code uses as many workers as the verdict
    says. If handing a call to a worker takes long compared with the call itself, one task makes several calls.
    """
    callee, advised = result.callee, result.verdict.strategy
    if result.status is not Status.PROBED or advised == INCONCLUSIVE:
        return _no_code(result.reason or result.verdict.reason)
    if callee is None:
        return _no_code(
            "the test is no function with a name; the fixture gilprobe(function, ...) probes one that has one"
        )
    if not is_source(callee):
        return _no_code(
            f"{callee.module}.{callee.name}({', '.join(callee.parameters)}) cannot be written as a call: its module, "
            "name or keywords are no names in Python"
        )
    strategy = strategies.get(advised)
    if advised == SERIAL and (shared := _with_shared_memory(result, callee, strategies)):
        return Advice("\n".join([*_elsewhere(result.nodeid, callee), *shared]), is_code=True)
    lines = (
        None
        if strategy is None
        else strategy.code(callee, result.verdict.workers or result.workers, calls_per_task(result))
    )
    if lines is None:
        return _no_code(f"there is none to paste for {advised}")
    hints = [*_elsewhere(result.nodeid, callee), *(_serial_hint(result) if advised == SERIAL else _loop_hint(result))]
    return Advice("\n".join([*hints, *lines]).strip("\n"), is_code=True)


def calls_per_task(result: WorkloadResult) -> int:
    """Return how many calls a task of the advised strategy should make, so that handing over the task costs little.

    Handing the task to a worker then takes about a tenth of the time of its calls, or less. The result is 1 if the time
    to hand over is unknown.
    """
    advised, serial = result.strategies.get(result.verdict.strategy), result.serial
    if advised is None or advised.dispatch_s_per_call is None or serial is None:
        return 1
    if advised.executor is not None and advised.executor.efficient_calls is not None:
        return max(1, advised.executor.efficient_calls)
    return _calls_in(advised.dispatch_s_per_call / DISPATCH_SHARE, serial.call_s.value)


def _calls_in(whole_s: float, call_s: float) -> int:
    """Return how many calls fill a time, 1 or more; 1 also for what a report should not hold."""
    if not 0 < call_s < math.inf or not 0 < whole_s / call_s < MOST_CALLS:
        return 1
    return max(1, math.ceil(round(whole_s / call_s, 6)))


def _with_shared_memory(result: WorkloadResult, callee: Callee, strategies: Strategies) -> list[str] | None:
    """Return code for a strategy that pays only if arrays are moved in shared memory; ``None`` if none does."""
    if all(caution.slug != SHARED_MEMORY_HELPS for caution in result.verdict.cautions):
        return None
    found = (one.code_with_shared_memory(callee, result.workers) for one in strategies)
    lines = next(filter(None, found), None)
    return lines and ["# with arrays in shared memory a pool pays; without that, keep the calls serial", *lines]


def _serial_hint(result: WorkloadResult) -> list[str]:
    """Say from how many calls per task on a pool is worth a try, where only dispatch stands in the way."""
    serial = result.serial
    costs = [
        part.dispatch_s_per_call
        for part in result.parallel.values()
        if part.dispatch_s_per_call is not None
        and serial is not None
        and pool_costs.in_larger_tasks(part, serial.call_s.value, result.transfer) >= WORTH_IT
    ]
    if serial is None or not costs or serial.call_s.value >= min(costs):
        return []
    fewest = _calls_in(max(costs) / DISPATCH_SHARE, serial.call_s.value)
    return [f"# a pool is worth a try only with {fewest} calls or more per task"]


def _loop_hint(result: WorkloadResult) -> list[str]:
    """Say what would leave the event loop free, where a call that blocks it may go to a thread."""
    loop = result.event_loop
    found = blocking.moves(loop, result.workers, result.loop_library) if loop else []
    first = blocking.best(found) if found else None
    if first is None or not first.in_thread or first.gain is None:
        return []
    gain = numbers.about(first.gain)
    return _comments(f"to leave the event loop free instead: {first.code}; tasks could then give up to {gain}")


def _elsewhere(nodeid: str, callee: Callee) -> list[str]:
    """Say if a function is defined in its test's file, which programs do not import."""
    file = nodeid.partition("::")[0]
    defined_in_test = PurePosixPath(file).stem == callee.module.rpartition(".")[2] and file.endswith(".py")
    if callee.is_test or not callee.importable or not defined_in_test:
        return []
    name = callee.name.partition(".")[0]
    said = f"{name} is defined in a test file, {file}: move it, or run this where {callee.module} can be imported"
    return _comments(said)


def _no_code(why: str) -> Advice:
    return Advice("\n".join(_comments(f"no code: {why}")), is_code=False)


def _comments(text: str) -> list[str]:
    return [f"# {line}".rstrip() for line in safe_lines(text) or [""]]

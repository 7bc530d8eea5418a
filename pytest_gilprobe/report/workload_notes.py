"""Write the notes on a workload: the reason, where the GIL is held, costs of pools, failures, cautions, and others."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_gilprobe.model import gains, numbers
from pytest_gilprobe.model.error_text import TRACEBACK, summary
from pytest_gilprobe.model.executors import ExecutorResult
from pytest_gilprobe.model.extension_imports import package_lines
from pytest_gilprobe.model.own_gils import GilsHeld
from pytest_gilprobe.model.results import StrategyResult, WorkloadResult
from pytest_gilprobe.model.safe_text import ERROR_LIMIT, safe_line, safe_lines
from pytest_gilprobe.model.sharing import ALL, Sharing
from pytest_gilprobe.model.words import NOT_ASKED, Outcome, Status
from pytest_gilprobe.report import brief, holder_layout, loop_layout
from pytest_gilprobe.report.views import Note

_POOL_DIFFERS = 0.1
"""A note tells the speed-up of calls without a pool if the pool costs more than this share of it."""
_LIMIT_TELLS = 1000.0
"""The limit that an executor's dispatch sets to the speed-up is mentioned only below this speed-up."""


def asked_for(part: StrategyResult) -> bool:
    """Return whether the user asked for the strategy whose result is ``part``.

    The setting ``strategies`` can leave strategies out; reports do not mention these.
    """
    return not (part.impossible and part.error == NOT_ASKED)


def why_not(result: WorkloadResult, label: str) -> Note:
    """Return the note that says why a workload was not measured; ``label`` is the title of the note."""
    lines = _error_lines(result.reason or result.verdict.reason) or ("no reason was recorded",)
    return Note(kind="reason", label=label, lines=lines)


def _error_lines(text: str) -> tuple[str, ...]:
    """Return the lines of an error text; of one with a traceback, the line that names the exception comes first."""
    lines = safe_lines(text)
    return (safe_line(summary(text), limit=ERROR_LIMIT), *lines) if TRACEBACK in text else lines


def notes(result: WorkloadResult) -> Iterator[Note]:
    """Yield all notes on a workload that was measured: the reason of its answer first, cautions (warnings) last.

    For a test that was only scanned (run once, without trying strategies), the notes are the reason, where in the code
    the GIL is held, and what blocks the event loop.
    """
    yield _reason(result)
    yield from holder_layout.note(result)
    if result.status is Status.SCANNED:  # that no strategy was tried is what a scan is
        yield from loop_layout.notes(result)
        return
    alone = ", ".join(filter(None, (_alone(name, part, result.workers) for name, part in result.parallel.items())))
    if alone:
        yield Note(kind="pool", label="calls alone, without a pool's costs", lines=(alone,))
    if result.transfer is not None:
        yield Note(kind="moving", label="moving its data", lines=(_moving(result),))
    if result.sharing is not None and (lines := tuple(_sharing(result.sharing))):
        yield Note(kind="sharing", label="what threads share", lines=lines)
    yield from loop_layout.notes(result)
    for name, part in result.parallel.items():
        if part.executor is not None:
            yield Note(kind="pool", label=f"tasks in {safe_line(name)}", lines=(_tasks(part.executor),))
    for name, part in result.parallel.items():
        if part.outcome is not Outcome.OK and asked_for(part):
            lines = _error_lines(part.error or "") or ("no further detail",)
            yield Note(kind=str(part.outcome), label=f"{part.outcome} in {safe_line(name)}", lines=lines)
        yield from _in_interpreters(safe_line(name), part)
    for caution in result.verdict.cautions:
        lines = safe_lines(caution.message) or (numbers.NOT_AVAILABLE,)
        yield Note(kind="caution", label="caution", lines=lines, slug=safe_line(caution.slug))


def _reason(result: WorkloadResult) -> Note:
    """Give the reason; of an open verdict, what it may still be comes first."""
    lines = safe_lines(result.verdict.reason) or (numbers.NOT_AVAILABLE,)
    left, odds = brief.candidates(result.verdict)
    if left:
        lines = (f"{left} ({odds}); {lines[0]}", *lines[1:])
    return Note(kind="reason", label="why", lines=lines)


def _alone(name: str, part: StrategyResult, workers: int) -> str:
    """Give the speed-up of the calls alone where what a pool costs takes a visible part of it."""
    if part.speedup is None or part.pool_speedup is None or part.executor is not None:  # that has notes of its own
        return ""
    costs = part.pool_speedup.value < part.speedup.value * (1 - _POOL_DIFFERS)
    return f"{safe_line(name)} {numbers.speedup(gains.alone(part, workers))}" if costs else ""


def _sharing(found: Sharing) -> Iterator[str]:
    """Say what threads gain with objects of their own, and of which objects that is not known."""
    if found.speedup is not None:
        yield f"{found.lanes} threads that share all objects: {numbers.speedup(found.speedup.at_most(found.lanes))}"
    for one in found.copies:
        own = "all objects" if one.name == ALL else safe_line(one.name)
        yield f"with a copy of {own} for each: {numbers.speedup(one.speedup.at_most(found.lanes))}"
    if found.best is not None:
        best = numbers.speedup(found.best.at_most(found.lanes))
        yield f"plain Python that shares nothing, timed between these: {best}"
    for name, why in found.not_copied.items():
        yield f"{safe_line(name)} cannot be copied, so what its sharing costs is not known: {safe_line(why)}"
    if found.not_tried:
        yield f"copied only together with all others: {', '.join(map(safe_line, found.not_tried))}"
    for suspect in found.suspects:
        place = f"{safe_line(suspect.name)} at {safe_line(suspect.file)}:{suspect.line}"
        held = (
            "" if suspect.held_share is None else f", with {numbers.percent(suspect.held_share)} of the GIL's held time"
        )
        yield f"only suspected, not tried: all write to or lock {place}{held}"


def _tasks(found: ExecutorResult) -> str:
    """Say what a task costs in a named executor, how large tasks should be, and what limits its speed-up."""
    workers = "" if found.workers is None else f"{numbers.count(found.workers, 'worker')}, "
    of_many, alone = numbers.seconds(found.task_s), numbers.seconds(found.round_trip_s)
    start = f"{workers}start-up {numbers.seconds(found.start_up_s)}"
    said = [f"{start}; an empty task takes {of_many} of many, {alone} alone"]
    if found.data_s:
        said.append(f"moving a call's data {numbers.seconds(found.data_s)}")
    if found.efficient_calls is not None and found.efficient_calls > 1:
        said.append(f"{numbers.count(found.efficient_calls, 'call')} per task reach 90 % of its best")
    limits = [
        f"{numbers.about(most)} with {numbers.count(calls, 'call')} per task"
        for calls, most in ((1, found.most_single), (found.calls_per_task, found.most_chunked))
        if most is not None and most < _LIMIT_TELLS
    ]
    if limits:
        said.append(f"predicted: its dispatch limits any number of workers to {', '.join(limits)}")
    return "; ".join(said)


def _in_interpreters(name: str, part: StrategyResult) -> Iterator[Note]:
    """Yield the notes on what only subinterpreters have: modules that do not load there, and a GIL each."""
    if part.extensions:
        found = tuple(map(safe_line, package_lines(part.extensions)))
        yield Note(kind="extensions", label=f"modules in {name}", lines=found)
    if part.gils_held is not None:
        yield Note(kind="pool", label=f"GILs in {name}", lines=(_gils(part.gils_held),))


def _gils(found: GilsHeld) -> str:
    """Say how long each GIL was held, and all of them at the same time."""
    each = ", ".join(map(numbers.percent, found.shares))
    return f"one each, held for {each} of the time; all at the same time for {numbers.percent(found.at_once)}"


def _moving(result: WorkloadResult) -> str:
    """Say what it costs to move a call's data, by each way that was measured."""
    transfer = result.transfer
    assert transfer is not None  # noqa: S101 - looked at by the caller
    ways = f"{numbers.seconds(transfer.pipe_s)} through a pipe"
    if transfer.shared_parent_s is not None and transfer.shared_worker_s is not None:
        ways += f", {numbers.seconds(transfer.shared_parent_s + transfer.shared_worker_s)} through shared memory"
    for name, part in result.parallel.items():
        if part.transfer_s_per_call is not None and part.transfer_s_per_call != transfer.pipe_s:
            ways += f", {numbers.seconds(part.transfer_s_per_call)} to {safe_line(name)}"
    return f"{numbers.size(transfer.argument_bytes)} there, {numbers.size(transfer.result_bytes)} back: {ways}"

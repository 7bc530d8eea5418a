"""The few lines of code that follow from a verdict, to be pasted: pure functions, text in and text out."""

from __future__ import annotations

import keyword
import math
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.model import Callee, GilprobeError, Recommendation, Status
from pytest_gilprobe.reporters.inert import inert_lines
from pytest_gilprobe.thresholds import WORTH_IT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gilprobe.model import ProcessesResult, Report, ThreadsResult, WorkloadResult

HAND_OUT_SHARE = 0.1
"""A task is made so large that handing it out takes at most this share of the time that a worker needs for it."""
MOST_CALLS = 1e9
EXAMPLE_CALLS = 100
"""How often the shown code calls a function that is given nothing."""
_INDENT = "    "
_NAMES = frozenset(
    {"at", "batch", "batches", "call", "calls", "list", "pool", "range", "result", "results", "task", "tasks", "zip"}
)
"""What else the shown code names."""


class AdviceError(GilprobeError):
    """There is no advice for what was asked; the text says why."""


def of(report: Report, nodeid: str) -> str:
    """Give the code for one workload of a report.

    Raises `AdviceError` where the report has no such workload.
    """
    found = next((workload for workload in report.workloads if workload.nodeid == nodeid), None)
    if found is None:
        known = ", ".join(workload.nodeid for workload in report.workloads[:5]) or "none"
        msg = f"no workload {nodeid!r} in the report; it has {len(report.workloads)}, such as: {known}"
        raise AdviceError(msg)
    return code(found)


def code(result: WorkloadResult) -> str:
    """Give the code that the verdict advises, or a comment with the reason why there is none.

    The number of workers is the measured one; calls that are short beside the cost of handing them out go out in
    chunks.
    """
    callee, strategy = result.callee, result.verdict.strategy
    if result.status is not Status.PROBED or strategy is Recommendation.INCONCLUSIVE:
        return _comment(f"no code: {result.reason or result.verdict.reason}")
    if callee is None or not _is_safe(callee):
        return _comment(
            "no code: what was called is no function that can be imported and called by itself, such as a method of a "
            "test class or a coroutine; the fixture gilprobe(function, ...) probes one that can"
        )
    head = [*_first(callee)]
    if strategy is Recommendation.SERIAL:
        return _lines([*_import(callee), *head, "", *_serial_hint(result), f"results = {_comprehension(callee, '')}"])
    kind = "ThreadPoolExecutor" if strategy is Recommendation.THREADS else "ProcessPoolExecutor"
    return _lines([f"from concurrent.futures import {kind}", "", *_import(callee), *head, *_pool(result, callee, kind)])


def chunk_of(result: WorkloadResult) -> int:
    """Return how many calls a task should hold, 1 or more: handing out costs at most `HAND_OUT_SHARE` of its time."""
    is_threads = result.verdict.strategy is Recommendation.THREADS
    chosen: ThreadsResult | ProcessesResult = result.threads if is_threads else result.processes
    if chosen is None or chosen.hand_out_s_per_call is None or result.serial is None:
        return 1
    return _times(chosen.hand_out_s_per_call / HAND_OUT_SHARE, result.serial.wall_s_per_call.value)


def _times(whole_s: float, call_s: float) -> int:
    """Return how many calls fill a time, 1 or more; 1 also for what a report should not hold."""
    if not 0 < call_s < math.inf or not 0 < whole_s / call_s < MOST_CALLS:
        return 1
    return math.ceil(whole_s / call_s)


def _pool(result: WorkloadResult, callee: Callee, kind: str) -> list[str]:
    chunk, is_process = chunk_of(result), kind == "ProcessPoolExecutor"
    opened = f"with {kind}(max_workers={result.workers}) as pool:"
    by_map = bool(callee.parameters) and not _keywords(callee)
    if chunk == 1 or (is_process and by_map):
        helper: list[str] = []
        inside = _one_by_one(callee, chunk) if by_map else _submits(callee)
    else:
        helper, inside = _batches(callee, chunk)
    body = [opened, *(_INDENT + line for line in inside)]
    if is_process:
        body = ['if __name__ == "__main__":  # a new process may import this file', *(_INDENT + line for line in body)]
    return [*helper, "", *body]


def _one_by_one(callee: Callee, chunk: int) -> list[str]:
    each = ", ".join(one.many for one in _variables(callee))
    size = f", chunksize={chunk}" if chunk > 1 else ""
    return [f"results = list(pool.map({callee.name}, {each}{size}))"]


def _submits(callee: Callee) -> list[str]:
    return [f"tasks = {_comprehension(callee, 'pool.submit')}", "results = [task.result() for task in tasks]"]


def _batches(callee: Callee, chunk: int) -> tuple[list[str], list[str]]:
    """Wrap the function so that one task makes many calls: `map` of a thread pool knows no chunks."""
    name = f"{callee.name.rpartition('.')[2]}_batch"
    if not callee.parameters:
        helper = [f"def {name}(calls):", f"{_INDENT}return [{callee.name}() for _ in range(calls)]"]
        batches = f"[{chunk}] * {EXAMPLE_CALLS}"
        inside = [f"batches = pool.map({name}, {batches})"]
    else:
        variables = _variables(callee)
        given = ", ".join(one.given for one in variables)
        names = ", ".join(one.name for one in variables)
        helper = [
            f"def {name}(calls):",
            f"{_INDENT}return [{callee.name}({given}) for {names}{',' if ',' not in names else ''} in calls]",
        ]
        inside = [
            f"calls = list(zip({', '.join(one.many for one in variables)}))",
            f"batches = pool.map({name}, [calls[at : at + {chunk}] for at in range(0, len(calls), {chunk})])",
        ]
    return ["", "", *helper, ""], [*inside, "results = [result for batch in batches for result in batch]"]


def _comprehension(callee: Callee, submit: str) -> str:
    variables = _variables(callee)
    given = ", ".join(one.given for one in variables)
    called = f"{submit}({', '.join(filter(None, [callee.name, given]))})" if submit else f"{callee.name}({given})"
    if not callee.parameters:
        return f"[{called} for _ in range({EXAMPLE_CALLS})]"
    names, many = [one.name for one in variables], [one.many for one in variables]
    if len(names) == 1:
        return f"[{called} for {names[0]} in {many[0]}]"
    return f"[{called} for {', '.join(names)} in zip({', '.join(many)})]"


def _serial_hint(result: WorkloadResult) -> list[str]:
    """Say from how many calls per task on a pool is worth thinking about, where only the hand-out stands in the way."""
    serial = result.serial
    costs = [
        part.hand_out_s_per_call
        for part in (result.threads, result.processes)
        if part.hand_out_s_per_call is not None and part.speedup is not None and part.speedup.high >= WORTH_IT
    ]
    if serial is None or not costs or serial.wall_s_per_call.value >= min(costs):
        return []
    fewest = _times(max(costs) / HAND_OUT_SHARE, serial.wall_s_per_call.value)
    return [f"# a pool is worth a try only with {fewest} calls or more per task"]


def _import(callee: Callee) -> list[str]:
    if callee.module in {"__main__", "builtins"}:
        return []
    return [f"from {callee.module} import {callee.name.partition('.')[0]}"]


def _first(callee: Callee) -> Iterable[str]:
    """Say what must be done before the code can run."""
    if not callee.importable:
        yield f"# first move {callee.name} to the top level of {callee.module}: a pool finds functions by their names"
    if callee.parameters:
        shown = ", ".join(one.many for one in _variables(callee))
        yield f"# {shown}: what each call is given, in order"


def _is_safe(callee: Callee) -> bool:
    """Tell whether all names are names: a report is a file, and what it says is going to be run."""
    names = [*callee.module.split("."), *callee.name.split("."), *(one.removesuffix("=") for one in callee.parameters)]
    return all(name.isidentifier() and not keyword.iskeyword(name) for name in names)


def _keywords(callee: Callee) -> bool:
    return any(one.endswith("=") for one in callee.parameters)


class _Variable(NamedTuple):
    """What one argument is called in the shown code: a call's, as it is given, and that of many calls."""

    name: str
    given: str
    many: str


def _variables(callee: Callee) -> list[_Variable]:
    """Name variables after the parameters, but never as anything else that the shown code names."""
    parts = callee.name.split(".")
    taken = {*parts, f"{parts[-1]}_batch", *_NAMES}
    found: list[_Variable] = []
    for parameter in callee.parameters:
        bare = parameter.rstrip("=")
        name = _free(bare, taken)
        many = _free(f"{bare}s", taken | {name})
        taken |= {name, many}
        found.append(_Variable(name, f"{parameter}{name}" if parameter.endswith("=") else name, many))
    return found


def _free(name: str, taken: set[str]) -> str:
    while name in taken or keyword.iskeyword(name):
        name += "_"
    return name


def _comment(text: str) -> str:
    return "\n".join(f"# {line}".rstrip() for line in inert_lines(text) or [""])


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines).strip("\n")

"""Generate code that a user can paste to make many calls of a plain function: one by one, or in a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.report.call_source import EXAMPLE_CALLS, GUARD, INDENT, CallSource, program, source_of

if TYPE_CHECKING:
    from pytest_gilprobe.model.results import Callee


def one_by_one(callee: Callee) -> list[str]:
    """Return the lines of a program that makes many calls of ``callee`` one after the other."""
    source = source_of(callee)
    return program([], source, [], [f"results = {source.comprehension()}"])


def thread_pool(callee: Callee, workers: int, calls_per_task: int) -> list[str]:
    """Return the lines of a program that makes calls of ``callee`` in a `ThreadPoolExecutor`.

    The pool has ``workers`` threads. ``calls_per_task`` is how many calls one task makes; if it is above 1, the
    program defines a function that makes all calls of a task, because this executor's ``map`` ignores ``chunksize``.
    """
    source = source_of(callee)
    helpers, inside = ([], _each(source, 1)) if calls_per_task == 1 else _batches(source, calls_per_task)
    return _in_pool("ThreadPoolExecutor", source, workers, (helpers, inside))


def interpreter_pool(callee: Callee, workers: int, calls_per_task: int) -> list[str]:
    """Return the lines of a program that makes calls of ``callee`` in an `InterpreterPoolExecutor`.

    The pool has ``workers`` subinterpreters. ``calls_per_task`` is how many calls one task makes; if it is above 1, the
    program defines a function that makes all calls of a task, because this executor's ``map`` ignores ``chunksize``.
    """
    source = source_of(callee)
    helpers, inside = ([], _each(source, 1)) if calls_per_task == 1 else _batches(source, calls_per_task)
    return _in_pool("InterpreterPoolExecutor", source, workers, (helpers, inside))


def process_pool(callee: Callee, workers: int, calls_per_task: int) -> list[str]:
    """Return the lines of a program that makes calls of ``callee`` in a `ProcessPoolExecutor`.

    The pool has ``workers`` processes. ``calls_per_task`` is how many calls one task makes. The guard
    ``if __name__ == "__main__"`` keeps a worker process that imports the program from starting a pool of its own.
    """
    source = source_of(callee)
    alone = calls_per_task == 1 or source.by_position
    helpers, inside = ([], _each(source, calls_per_task)) if alone else _batches(source, calls_per_task)
    return _in_pool("ProcessPoolExecutor", source, workers, (helpers, inside))


def named_executor(factory: str, callee: Callee, calls_per_task: int) -> list[str]:
    """Return the lines of a program that makes calls of ``callee`` in an executor of the user's own.

    ``factory`` names the callable that returns the executor as ``MODULE:NAME``, such as ``app.pools:make_pool``.
    ``calls_per_task`` is how many calls one task makes.
    """
    source = source_of(callee)
    module, _, name = factory.partition(":")
    first = name.partition(".")[0]
    helpers, inside = ([], _each(source, 1)) if calls_per_task == 1 else _batches(source, calls_per_task)
    body = [GUARD, f"{INDENT}with {name}() as pool:", *(INDENT * 2 + line for line in inside)]
    return program([f"from {module} import {first}"], source, helpers, body)


def _in_pool(kind: str, source: CallSource, workers: int, parts: tuple[list[list[str]], list[str]]) -> list[str]:
    """Return a program around definitions and the lines inside of the pool, which are the two ``parts``."""
    helpers, inside = parts
    body = [f"with {kind}(max_workers={workers}) as pool:", *(INDENT + line for line in inside)]
    if kind != "ThreadPoolExecutor":
        body = [GUARD, *(INDENT + line for line in body)]
    return program([f"from concurrent.futures import {kind}"], source, helpers, body)


def _each(source: CallSource, chunk: int) -> list[str]:
    """Return lines that make one task of each call, or give ``map`` its ``chunksize``."""
    if not source.by_position:
        return [f"tasks = {source.comprehension('pool.submit')}", "results = [task.result() for task in tasks]"]
    size = f", chunksize={chunk}" if chunk > 1 else ""
    return [f"results = list(pool.map({source.name}, {source.lists}{size}))"]


def _batches(source: CallSource, chunk: int) -> tuple[list[list[str]], list[str]]:
    """Wrap the function so that one task makes many calls; return that function, and how it is used."""
    name = f"{source.last_name}_batch"
    if not source.variables:
        made = f"[{source.name}() for _ in range(calls)]"
        inside = [f"batches = pool.map({name}, [{chunk}] * {EXAMPLE_CALLS})"]
    else:
        names = source.names + ("," if len(source.variables) == 1 else "")
        made = f"[{source.name}({source.arguments}) for {names} in calls]"
        inside = [
            f"calls = list(zip({source.lists}))",
            f"batches = pool.map({name}, [calls[at : at + {chunk}] for at in range(0, len(calls), {chunk})])",
        ]
    helper = [f"def {name}(calls):", f"{INDENT}return {made}"]
    return [helper], [*inside, "results = [result for batch in batches for result in batch]"]

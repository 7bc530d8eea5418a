"""Generate the code that a user can paste to make many calls of a coroutine function in the way that is advised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.report.call_source import GUARD, INDENT, CallSource, program, source_of

if TYPE_CHECKING:
    from pytest_gilprobe.model.results import Callee


def one_by_one(callee: Callee) -> list[str]:
    """Return lines of code that await one call after the other."""
    source = source_of(callee)
    made = f"[await {source.name}({source.arguments}) {source.for_each}]"
    return _program(["import asyncio"], source, [], [f"return {made}"])


def task_group(callee: Callee, workers: int) -> list[str]:
    """Return lines of code that make the calls in tasks of one event loop, ``workers`` of them at once."""
    source = source_of(callee)
    body = [
        f"free = asyncio.Semaphore({workers})  # so many calls at once",
        "",
        f"async def limited({source.names}):",
        f"{INDENT}async with free:",
        f"{INDENT * 2}return await {source.name}({source.arguments})",
        "",
        "async with asyncio.TaskGroup() as group:",
        f"{INDENT}tasks = [group.create_task(limited({source.names})) {source.for_each}]",
        "return [task.result() for task in tasks]",
    ]
    return _program(["import asyncio"], source, [], body)


def in_executor(kind: str, callee: Callee, workers: int) -> list[str]:
    """Return lines of code that make each call in an event loop of its own, in a worker of the pool ``kind``.

    ``kind`` is the name of a class of `concurrent.futures`. Code for processes has the ``__main__`` guard they need.
    """
    source = source_of(callee)
    run = f"run_{source.last_name}"
    handed = ", ".join(filter(None, ["pool", run, source.names]))
    helper = [f"def {run}({source.names}):", f"{INDENT}return asyncio.run({source.name}({source.arguments}))"]
    body = [
        "loop = asyncio.get_running_loop()",
        f"with {kind}(max_workers={workers}) as pool:",
        f"{INDENT}calls = [loop.run_in_executor({handed}) {source.for_each}]",
        f"{INDENT}return await asyncio.gather(*calls)",
    ]
    head = ["import asyncio", f"from concurrent.futures import {kind}"]
    return _program(head, source, [helper], body, guarded=kind != "ThreadPoolExecutor")


def _program(
    head: list[str], source: CallSource, helpers: list[list[str]], body: list[str], *, guarded: bool = False
) -> list[str]:
    main = ["async def main():", *(f"{INDENT}{line}".rstrip() for line in body)]
    last = "results = asyncio.run(main())"
    return program(head, source, [*helpers, main], [GUARD, f"{INDENT}{last}"] if guarded else [last])

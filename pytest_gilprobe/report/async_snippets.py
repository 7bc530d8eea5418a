"""Generate code that a user can paste to make many calls of a coroutine function: serially, in tasks, or in a pool.

The code uses asyncio or trio, whichever library's event loop awaited the measured calls. A function written for anyio
runs in either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.report.call_source import GUARD, INDENT, CallSource, program, source_of

if TYPE_CHECKING:
    from pytest_gilprobe.model.results import Callee

TRIO = "trio"
"""Value of `Callee.awaited_by`, the library whose event loop awaits a function's calls, if that library is trio."""


def one_by_one(callee: Callee) -> list[str]:
    """Return the lines of a program that awaits many calls of ``callee`` one after the other, in one event loop."""
    source = source_of(callee)
    made = f"[await {source.name}({source.arguments}) {source.for_each}]"
    return _program(callee, source, [f"return {made}"])


def task_group(callee: Callee, workers: int) -> list[str]:
    """Return the lines of a program that makes each call of ``callee`` in a task of its own in one event loop.

    At most ``workers`` of the calls run at the same time.
    """
    source = source_of(callee)
    if callee.awaited_by == TRIO:
        return _program(callee, source, _nursery(source, workers))
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
    return _program(callee, source, body)


def _nursery(source: CallSource, workers: int) -> list[str]:
    """Return the body of a function that makes the calls in tasks of trio, which have no results of their own."""
    return [
        f"free = trio.CapacityLimiter({workers})  # so many calls at once",
        "found = {}",
        "",
        f"async def limited({_listed('at', source.names)}):",
        f"{INDENT}async with free:",
        f"{INDENT * 2}found[at] = await {source.name}({source.arguments})",
        "",
        "async with trio.open_nursery() as nursery:",
        f"{INDENT}{source.numbered}:",
        f"{INDENT * 2}nursery.start_soon({_listed('limited', 'at', source.names)})",
        "return [found[at] for at in sorted(found)]",
    ]


def in_executor(kind: str, callee: Callee, workers: int) -> list[str]:
    """Return the lines of a program that makes calls of ``callee`` in a pool, each call in an event loop of its own.

    ``kind`` is the pool's class in `concurrent.futures`, such as ``ThreadPoolExecutor``, and ``workers`` is how many
    workers it has. If the workers are not threads, an ``if __name__ == "__main__"`` guard keeps a worker that imports
    the program from starting a pool of its own.
    """
    source = source_of(callee)
    run = f"run_{source.last_name}"
    if callee.awaited_by == TRIO:
        return _loops_of_trio(kind, source, run, workers)
    handed = _listed("pool", run, source.names)
    helper = [f"def {run}({source.names}):", f"{INDENT}return asyncio.run({source.name}({source.arguments}))"]
    body = [
        "loop = asyncio.get_running_loop()",
        f"with {kind}(max_workers={workers}) as pool:",
        f"{INDENT}calls = [loop.run_in_executor({handed}) {source.for_each}]",
        f"{INDENT}return await asyncio.gather(*calls)",
    ]
    head = ["import asyncio", f"from concurrent.futures import {kind}"]
    main = ["async def main():", *_indented(body)]
    return program(head, source, [helper, main], _last(["results = asyncio.run(main())"], kind))


def _loops_of_trio(kind: str, source: CallSource, run: str, workers: int) -> list[str]:
    """Return the lines of a program for trio: each call runs in a loop of its own, and no loop waits for the pool."""
    handed = _listed(source.name, source.arguments)
    by_name = bool(source.variables) and not source.by_position  # which `trio.run` does not take
    helper = [
        f"def {run}({source.names}):",
        f"{INDENT}return trio.run({f'partial({handed})' if by_name else handed})",
    ]
    body = [
        f"with {kind}(max_workers={workers}) as pool:",
        f"{INDENT}tasks = [pool.submit({_listed(run, source.names)}) {source.for_each}]",
        f"{INDENT}results = [task.result() for task in tasks]",
    ]
    standard = [f"from concurrent.futures import {kind}", *(["from functools import partial"] if by_name else [])]
    head = [*standard, "", "import trio"]
    return program(head, source, [helper], _last(body, kind))


def _program(callee: Callee, source: CallSource, body: list[str]) -> list[str]:
    main = ["async def main():", *_indented(body)]
    if callee.awaited_by == TRIO:
        return program(["import trio"], source, [main], ["results = trio.run(main)"])
    return program(["import asyncio"], source, [main], ["results = asyncio.run(main())"])


def _last(body: list[str], kind: str) -> list[str]:
    """Return the lines that start a pool, guarded if its workers import the file again."""
    return body if kind == "ThreadPoolExecutor" else [GUARD, *_indented(body)]


def _indented(lines: list[str]) -> list[str]:
    return [f"{INDENT}{line}".rstrip() for line in lines]


def _listed(*names: str) -> str:
    return ", ".join(filter(None, names))

"""`pytest_gilprobe.workers.child.stretch`: lanes that call for a set time, in real threads."""

from __future__ import annotations

import asyncio
import threading
from contextlib import nullcontext

import pytest

from pytest_gilprobe.observe import clocks
from pytest_gilprobe.workers.child import stretch
from pytest_gilprobe.workers.child.batch import WorkloadError
from pytest_gilprobe.workers.child.home_loop import AsyncioLoop
from pytest_gilprobe.workers.stretch_messages import MachineStretch, Stretch


def question(lanes: int = 1, calls_per_mark: int = 2) -> Stretch:
    """Ask for a stretch of 10 ms that begins now."""
    now = clocks.perf_counter_ns()
    return Stretch(
        strategy="threads", lanes=lanes, begin_ns=now, until_ns=now + 10_000_000, calls_per_mark=calls_per_mark
    )


def test_serial_stretch_marks_every_so_many_calls() -> None:
    """Marks grow, only the last one is beyond the end, and between two of them lie as many calls as asked for."""
    calls: list[None] = []
    asked = question()
    reading = stretch.run_serial(lambda: calls.append(None), asked)
    (marks,) = reading.marks_ns
    assert list(marks) == sorted(marks)
    assert [mark >= asked.until_ns for mark in marks] == [False] * (len(marks) - 1) + [True]
    assert len(calls) == 2 * len(marks)


def test_threads_call_side_by_side() -> None:
    """Each lane has a thread and marks of its own."""
    threads = set()
    reading = stretch.run_threads([nullcontext(lambda: threads.add(threading.get_ident()))] * 3, question(3))
    assert len(reading.marks_ns) == len(threads) == 3
    assert all(reading.marks_ns)


def test_failing_thread_is_named() -> None:
    """A call that raises ends its lane; the stretch has failed."""
    with pytest.raises(WorkloadError, match=r"in thread 2: .*\n(.*\n)*ZeroDivisionError"):
        stretch.run_threads([nullcontext(lambda: None), nullcontext(lambda: 1 / 0)], question(2))


def test_failing_serial_call_is_reported() -> None:
    """So does one in the main thread."""
    with pytest.raises(WorkloadError, match="ZeroDivisionError"):
        stretch.run_serial(lambda: 1 / 0, question())


def test_tasks_call_at_once() -> None:
    """Each lane is a task of one loop; calls that give way take turns."""
    running, most = 0, 0

    async def call() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    async def main() -> int:
        return len((await stretch.run_tasks(AsyncioLoop(), call, question(4, 1))).marks_ns)

    assert asyncio.run(main()) == 4
    assert most == 4


def test_failing_task_is_named() -> None:
    """A task that raises cancels the others, and is reported with its own error."""

    async def call() -> None:
        await asyncio.sleep(0)
        raise OSError("too many")  # noqa: EM101, TRY003 - what a server may say

    async def main() -> None:
        await stretch.run_tasks(AsyncioLoop(), call, question(4, 1))

    with pytest.raises(
        WorkloadError, match=r"\d of 4 tasks at once failed.*; the first failure:\n(.*\n)*OSError: too many"
    ):
        asyncio.run(main())


def test_machine_is_seen_without_the_gil() -> None:
    """Each thread compresses data, which lets go of the GIL, and marks each call."""
    now = clocks.perf_counter_ns()
    reading = stretch.run_machine(MachineStretch(lanes=2, begin_ns=now, until_ns=now + 20_000_000))
    assert [bool(lane) for lane in reading.marks_ns] == [True, True]

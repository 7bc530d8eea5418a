"""Coroutines: what waits without blocking the event loop gains from tasks, anything else does not."""

from __future__ import annotations

import asyncio
import hashlib
import time

import pytest

pytest.importorskip("pytest_asyncio", reason="needs pytest-asyncio, which runs coroutine tests")

FILE_BYTES = 256 * 1024
DATA = bytes(8 * 2**20)


async def download(port: int, path: str) -> bytes:
    """Fetch a path from the late server, over a new connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("ascii"))
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.partition(b"\r\n\r\n")[2]


@pytest.mark.asyncio
@pytest.mark.gilprobe(expect="tasks", expect_bound="io", max_loop_block=0.5)
async def test_awaited_downloads(port: int) -> None:
    """I/O-bound and awaited, so tasks: a coroutine that waits for the network leaves the event loop to the others.

    256 KiB from a server that takes 30 ms to answer, as for threads. Tasks share one thread and need no pool.

    Source: CPython documentation, `asyncio`: "often a perfect fit for IO-bound and high-level structured network code".
    """
    assert len(await download(port, "/file?wait_ms=30")) == FILE_BYTES


@pytest.mark.asyncio
@pytest.mark.gilprobe(expect="processes", expect_bound="cpu")
async def test_awaited_computing(numbers_in_10_ms: int) -> None:
    """CPU-bound, so processes: a coroutine that computes gives way to no other, whether there is a GIL or not.

    Source: CPython documentation, "Developing with asyncio", "Running Blocking Code": "if a function performs a
    CPU-intensive calculation for 1 second, all concurrent asyncio Tasks and IO operations would be delayed by 1
    second".
    """
    assert sum(i * i for i in range(numbers_in_10_ms)) > 0


@pytest.mark.asyncio
@pytest.mark.gilprobe(expect="processes", expect_bound="io")
async def test_awaited_sleep_that_blocks() -> None:
    """I/O-bound, and yet processes: ``time.sleep`` in a coroutine blocks the loop, so no other task runs meanwhile.

    Processes each have a loop of their own. The better answer is a change of the code, which a caution names:
    ``asyncio.sleep``, or ``asyncio.to_thread`` for a call that has no such twin.

    Source: CPython documentation, "Developing with asyncio", "Running Blocking Code".
    """
    time.sleep(0.02)  # noqa: ASYNC251 - that is the workload


@pytest.mark.asyncio
@pytest.mark.gilprobe(expect="tasks", expect_bound="cpu")
async def test_awaited_thread() -> None:
    """CPU-bound in threads that let go of the GIL, so tasks: each waits in the loop while a thread of its own hashes.

    On two cores, two such tasks keep both busy.

    Source: CPython documentation, `asyncio.to_thread`: "for extension modules that release the GIL [...]
    asyncio.to_thread() can also be used for CPU-bound functions"; `hashlib` lets go of the GIL above 2047 bytes.
    """
    assert len(await asyncio.to_thread(lambda: hashlib.sha256(DATA).digest())) == 32

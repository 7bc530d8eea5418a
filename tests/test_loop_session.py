"""What blocks an event loop, in a session of its own: told by line and expression, and named by a failed gate."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import sessions

pytestmark = pytest.mark.skipif(
    sys.platform != "linux"
    or sys.implementation.name != "cpython"
    or not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="needs Linux and a CPython with its GIL enabled",
)
SOURCE = """
    import asyncio
    import time
    import pytest

    async def sleeping():
        query()

    def query():
        time.sleep(0.02)

    @pytest.mark.gilprobe(strategies="tasks", max_loop_block=0.005)
    def test_sleeping(gilprobe):
        async def main():
            await gilprobe(sleeping)
        asyncio.run(main())

    def count(length):
        total = 0
        for at in range(length):
            total += at * at
        return total

    @pytest.mark.gilprobe(strategies="tasks")
    def test_computing(gilprobe):
        async def computing():
            await asyncio.sleep(0)
            count(100_000)
        async def main():
            await gilprobe(computing)
        asyncio.run(main())
"""


def test_names_the_line_that_blocks(tmp_path: Path) -> None:
    """A sleep and a loop are named with the coroutine's call that leads there; so does the gate that fails."""
    sessions.write(tmp_path, SOURCE)
    done = sessions.run(tmp_path)
    loops = [done.one(name)["event_loop"] for name in ("::test_sleeping", "::test_computing")]
    if any(loop is None or loop["blockers"] is None for loop in loops):
        pytest.skip("too busy a machine: too few samples")
    sleeping, computing = (loop["blockers"][0] for loop in loops)
    assert (sleeping["function"], sleeping["code"], sleeping["file"]) == ("query", "time.sleep(0.02)", "test_it.py")
    assert sleeping["blocking"] > 0.5 > sleeping["computing"]
    assert (sleeping["call"]["code"], sleeping["call"]["function"]) == ("query()", "sleeping")
    assert computing["function"] == "count"
    assert computing["computing"] > 0.5 > computing["blocking"]
    assert computing["call"]["code"] == "count(100_000)"
    assert computing["gil_held"] > 0.5 > sleeping["gil_held"]
    if done.exit_status and loops[0]["repeated_block"]["place"] is not None:
        assert "time.sleep(0.02) at test_it.py:10, called by query() at test_it.py:7" in done.output
        assert "await asyncio.to_thread(query)" in done.output


OTHERS_SOURCE = """
    import asyncio
    import concurrent.futures
    import select
    import time
    import pytest

    POOL = concurrent.futures.ThreadPoolExecutor(1)
    OTHER = select.epoll()

    def client():
        OTHER.poll(0.03)

    async def polls():
        await asyncio.sleep(0.002)
        client()

    def spin():
        end = time.perf_counter() + 0.03
        while time.perf_counter() < end:
            pass

    async def waits():
        await asyncio.sleep(0.002)
        POOL.submit(spin).result()

    @pytest.mark.gilprobe(strategies="tasks", max_loop_block=0.01)
    def test_polls(gilprobe):
        async def main():
            await gilprobe(polls)
        asyncio.run(main())

    @pytest.mark.gilprobe(strategies="tasks", max_loop_block=0.01)
    def test_waits(gilprobe):
        async def main():
            await gilprobe(waits)
        asyncio.run(main())
"""


@pytest.mark.thorough
def test_waits_that_look_like_others(tmp_path: Path) -> None:
    """A client with an epoll of its own does not wait for the loop's events, nor a lock of a thread's for the GIL."""
    sessions.write(tmp_path, OTHERS_SOURCE)
    done = sessions.run(tmp_path)
    loops = [done.one(name)["event_loop"] for name in ("::test_polls", "::test_waits")]
    if any(loop is None or loop["blockers"] is None or loop["shares"] is None for loop in loops):
        pytest.skip("too busy a machine: too few samples")
    polls, waits = loops
    assert polls["shares"]["blocking"] > 0.5 > polls["shares"]["waiting"]
    assert polls["blockers"][0]["code"] == "OTHER.poll(0.03)"
    assert waits["shares"]["blocking"] > 0.5 > waits["shares"]["gil_wait"]
    assert waits["blockers"][0]["code"] == "POOL.submit(spin).result()"

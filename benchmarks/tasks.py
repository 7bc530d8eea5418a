"""What tasks give, beside theory: speed-ups of 2 to 32 tasks at once, and the share of time for which calls block.

    python benchmarks/tasks.py [--counts 2,4,8,16,32] [--max-time 1.5] [--only WORDS]

Theory: N calls at once that only wait take as long as one; calls that block their event loop for a share f of their
time cannot gain more than 1 / f. Exit status 1 if a speed-up is further than 10 % from theory, or a blocked share
further than 0.03 (above theory none is counted as wrong for calls that only wait: every call costs the loop something),
or if tasks are advised for calls that block the loop for all of their time. ``--only`` leaves out the workloads whose
names do not have these words.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gilprobe import Prober

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER = Path(__file__).resolve().parents[1] / "sample_workloads/server.py"
REQUEST = b"GET /users/7?wait_ms=%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
CLOSE = 0.10
CLOSE_SHARE = 0.03


def spin(seconds: float) -> None:
    """Compute in Python for so long, on this thread's CPU clock."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def waits() -> None:
    """Wait for 20 ms."""
    await asyncio.sleep(0.02)


async def fetches(port: int, wait_ms: int) -> None:
    """Fetch a small document from a server that answers after so many milliseconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST % wait_ms)
    await reader.read()
    writer.close()


def fetches_in_a_thread(port: int, wait_ms: int) -> None:
    """Fetch the same document by a blocking client."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(REQUEST % wait_ms)
        while connection.recv(1 << 16):
            pass


async def half() -> None:
    """Wait for 5 ms and compute for 5 ms."""
    await asyncio.sleep(0.005)
    spin(0.005)


async def blocks() -> None:
    """Sleep for 5 ms without awaiting it."""
    time.sleep(0.005)  # noqa: ASYNC251 - that is the workload


class Case(NamedTuple):
    """A workload, the share of its time for which it blocks the loop (``None``: what the loop costs), its strategy.

    ``wait_ms`` is how long the server waits before it answers; ``None`` if the workload needs no server.
    """

    name: str
    function: Callable[..., Any]
    blocked: float | None
    strategy: str = "tasks"
    wait_ms: int | None = None


CASES = (
    Case("sleep 20 ms", waits, None),
    Case("loopback server, 20 ms", fetches, None, wait_ms=20),
    Case("the same in threads, 20 ms", fetches_in_a_thread, None, "threads", 20),
    Case("loopback server, 100 ms", fetches, None, wait_ms=100),
    Case("the same in threads, 100 ms", fetches_in_a_thread, None, "threads", 100),
    Case("sleep 5 ms + 5 ms of Python", half, 0.5),
    Case("time.sleep 5 ms", blocks, 1.0),
)


def main() -> int:
    """Probe every workload with every number of tasks, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", default="2,4,8,16,32")
    parser.add_argument("--max-time", type=float, default=1.5)
    parser.add_argument("--only", default="", help="words in the names of the workloads that are probed")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in case.name]
    counts = [int(count) for count in options.counts.split(",")]
    print(f"CPython {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the start\n")
    print(f"| one call | {' | '.join(f'{count} tasks' for count in counts)} | blocked | theory | advised |")
    print(f"|---|{'---:|' * (len(counts) + 2)}---|")
    wrong = 0
    command = [sys.executable, str(SERVER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        for case in cases:
            wrong += row(case, counts, options.max_time, port)
        server.terminate()
    print(f"\n{wrong} of {len(cases) * (len(counts) + 1)} figures are not as theory has it")
    return 1 if wrong else 0


def row(case: Case, counts: list[int], max_time: float, port: int) -> int:
    """Print one workload's row; return how many of its figures contradict theory."""
    wrong, cells, shares, advised = 0, [], [], []
    for count in counts:
        prober = Prober(workers=count, strategies=case.strategy, max_time=max_time)
        result = prober.probe(case.function, *(() if case.wait_ms is None else (port, case.wait_ms))).result
        speedup, loop = result.strategies[case.strategy].speedup, result.event_loop
        assert speedup is not None
        most = count if case.blocked is None else min(count, 1 / case.blocked)
        if loop is not None and loop.blocked_fraction is not None:
            shares.append(loop.blocked_fraction.value)
            most = min(most, 1 / max(loop.blocked_fraction.value, 1e-9))
        off = not (1 - CLOSE <= speedup.value / most <= 1 + CLOSE)
        wrong += off
        cells.append(f"{speedup.value:.2f}x{' !' if off else ''}")
        advised.append(result.verdict.strategy)
    blocked = sum(shares) / len(shares) if shares else None
    wrong += case.blocked == 1 and "tasks" in advised
    wrong += case.blocked is not None and (blocked is None or not abs(blocked - case.blocked) <= CLOSE_SHARE)
    theory = "N" if case.blocked is None else f"at most {1 / case.blocked:.1f}x"
    words = ", ".join(dict.fromkeys(advised))
    shown = "-" if blocked is None else f"{blocked:.3f}"
    print(f"| {case.name} | {' | '.join(cells)} | {shown} | {theory} | {words} |", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main())

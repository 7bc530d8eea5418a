"""Is the recommended number of threads right, and the limit, for workloads whose limits are known?

    python benchmarks/scaling.py [--repetitions 10] [--only NAME ...] [--busy N]

Each workload is probed in threads with ``Prober(scale=True)``: servers on the loopback address that are free of limits,
take 4 or 6 calls at once, or 200 a second, a lock held for 5 of 20 ms, 20 ms of waiting and 2 ms of computing under the
GIL, writes to SQLite, and a Python loop. A number counts as right if it is the expected one or its neighbour among
those tried. The throughput at the best number is compared with theory, where there is one. Exit status 1 if a number or
a limit was wrong, if a limit was not named, or if, without ``--busy``, a curve was open or the median throughput more
than 10 % from theory. ``--busy`` runs so many busy loops beside. Every process that this starts it also ends.
A second table has the curves: throughput by number of threads, medians of all probes that measured it.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

from verdicts import busy_loops

from pytest_gilprobe import Prober
from pytest_gilprobe.model.ladder import Ladder
from pytest_gilprobe.probing import schedule
from pytest_gilprobe.probing.ladder import measure_ladders

NEAR_THEORY = 0.10
"""How far from theory the median of the highest throughputs may be on an otherwise idle machine."""
OUTSIDE, LOCK, GIL, FREE = "outside", "a lock or pool", "the GIL", "none found"
Call = Callable[[], object]


async def _serve(mode: str, first: float, second: float) -> None:
    """Answer each byte with a byte: after ``free`` MS, ``limit`` K at once each MS, or ``rate`` R a second."""
    free = asyncio.Semaphore(int(first)) if mode == "limit" else nullcontext()
    wait_s = {"free": first, "limit": second, "rate": 2.0}[mode] / 1000
    following = [0.0]

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while await reader.read(1):
            if mode == "rate":
                now = time.monotonic()
                following[0] = max(following[0] + 1 / first, now)
                await asyncio.sleep(max(following[0] - now, wait_s))
            else:
                async with free:
                    await asyncio.sleep(wait_s)
            writer.write(b"x")
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


class Server:
    """A server in a process of its own, which ends with this object's context."""

    def __init__(self, *arguments: object) -> None:
        """Start the server and read its port."""
        command = [sys.executable, __file__, "--serve", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def call(self) -> Call:
        """Return a call that sends a byte and waits for the answer, with a connection for each thread."""
        local, port = threading.local(), self.port

        def call() -> None:
            try:
                link = local.link
            except AttributeError:
                link = local.link = socket.create_connection(("127.0.0.1", port))
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.send(b"x")
            link.recv(1)

        return call

    def end(self) -> None:
        """Kill the server."""
        self.process.kill()
        self.process.wait()


def locked() -> Call:
    """Return a call that holds a lock for 5 of its 20 ms."""
    lock = threading.Lock()

    def call() -> None:
        with lock:
            time.sleep(0.005)
        time.sleep(0.015)

    return call


def mixed() -> Call:
    """Return a call that waits for 20 ms, then computes for 2 ms under the GIL."""

    def call() -> None:
        time.sleep(0.02)
        end = time.thread_time() + 0.002
        while time.thread_time() < end:
            pass

    return call


def sqlite(folder: str) -> Call:
    """Return a call that writes a row to a database file and commits, with a connection for each thread."""
    path, local = str(Path(folder, "rows.db")), threading.local()
    with sqlite3.connect(path) as made:
        made.execute("create table rows(value)")

    def call() -> None:
        try:
            link = local.link
        except AttributeError:
            link = local.link = sqlite3.connect(path, timeout=30, isolation_level=None)
        link.execute("insert into rows values(1)")

    return call


def loop() -> int:
    """Compute in Python for about a millisecond."""
    return sum(number & 3 for number in range(20_000))


class Known(NamedTuple):
    """A workload, the numbers that are right, the beginnings of limits that are right, and the highest throughput."""

    make: Callable[[list[Server], str], Call]
    right: tuple[int, ...]
    limits: tuple[str, ...]
    best_per_s: float | None


def _served(*arguments: object) -> Callable[[list[Server], str], Call]:
    def make(servers: list[Server], _: str) -> Call:
        servers.append(Server(*arguments))
        return servers[-1].call()

    return make


WORKLOADS = {
    "free 20 ms": Known(_served("free", 20, 0), (32, 64), (FREE,), 3200.0),
    "limit 4 x 20 ms": Known(_served("limit", 4, 20), (2, 4, 8), (OUTSIDE,), 200.0),
    "limit 6 x 20 ms": Known(_served("limit", 6, 20), (4, 8), (OUTSIDE,), 300.0),
    "lock 5 of 20 ms": Known(lambda *_: locked(), (2, 4, 8), (LOCK,), 200.0),
    "rate 200/s": Known(_served("rate", 200, 0), (1, 2), (OUTSIDE,), 200.0),
    "20 + 2 ms, GIL": Known(lambda *_: mixed(), (8, 16, 32), (GIL,), 500.0),
    "SQLite writes": Known(lambda _, folder: sqlite(folder), (1, 2), (OUTSIDE, "shared", GIL), None),
    "Python loop": Known(lambda *_: loop, (1, 2), (GIL,), None),
}


class Found(NamedTuple):
    """What one probe said: the number, the limit, the throughputs, and how long measuring its curve took."""

    enough: int | None
    limit: str | None
    rates: dict[int, float]
    curve_s: float


@contextmanager
def timed_curves(spent_s: list[float]) -> Iterator[None]:
    """Add to ``spent_s`` how long the curves of each probe take, without its rounds."""

    def timed(*arguments: Any) -> dict[str, Ladder]:
        started = time.perf_counter()
        try:
            return measure_ladders(*arguments)
        finally:
            spent_s.append(time.perf_counter() - started)

    with patch.object(schedule, "measure_ladders", timed):
        yield


def probed(call: Call) -> Found:
    """Probe a call in threads, and return what its curve says."""
    spent_s: list[float] = []
    with timed_curves(spent_s):
        result = Prober(strategies="threads", workers=2, max_time=1, start_method="fork", scale=True).probe(call).result
    assert result.scaling is not None, result.reason
    curve = result.scaling["threads"]
    rates = {point.workers: point.throughput.value for point in curve.points}
    return Found(curve.enough_workers, curve.limit, rates, sum(spent_s))


class Row(NamedTuple):
    """What the probes of one workload say together: counts, and the median of the highest throughput over theory."""

    found: list[Found]
    right: int
    open: int
    wrong_limits: list[str]
    unnamed: int
    of_theory: float | None

    def misses(self, *, idle: bool) -> bool:
        """Return whether anything was wrong; on an ``idle`` machine, each curve is answered and near theory."""
        wrong = len(self.found) - self.open - self.right + len(self.wrong_limits) + self.unnamed
        far = self.of_theory is not None and abs(self.of_theory - 1) > NEAR_THEORY
        return wrong > 0 or (idle and (self.open > 0 or far))

    def line(self, name: str) -> str:
        """Return the row of the table."""
        answered = len(self.found) - self.open
        cells = (
            name,
            f"{self.right} of {answered}",
            ", ".join(str(one.enough) for one in self.found),
            self.open,
            len(self.wrong_limits),
            self.unnamed,
            "" if self.of_theory is None else f"{self.of_theory:.2f}",
            f"{median(one.curve_s for one in self.found):.1f}",
        )
        return f"| {' | '.join(map(str, cells))} |"


def row_of(known: Known, found: list[Found]) -> Row:
    """Compare what probes said with what is known."""
    answered = [one for one in found if one.enough is not None]
    best = median(max(one.rates.values(), default=0.0) for one in found)
    return Row(
        found=found,
        right=sum(one.enough in known.right for one in answered),
        open=len(found) - len(answered),
        wrong_limits=[one.limit for one in answered if one.limit and not one.limit.startswith(known.limits)],
        unnamed=sum(one.limit is None for one in answered),
        of_theory=None if known.best_per_s is None else best / known.best_per_s,
    )


def curve_table(found: dict[str, list[Found]]) -> Iterator[str]:
    """Yield the lines of a table: the median throughput of each workload by number of threads."""
    counts = sorted({count for all_found in found.values() for one in all_found for count in one.rates})
    yield f"| calls/s with ... threads | {' | '.join(map(str, counts))} |"
    yield f"|---|{'---|' * len(counts)}"
    for name, all_found in found.items():
        rates = [[one.rates[count] for one in all_found if count in one.rates] for count in counts]
        yield f"| {name} | {' | '.join(f'{median(some):.0f}' if some else '' for some in rates)} |"


def main() -> int:
    """Probe every workload and print a row for each; return 1 if anything was wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--busy", type=int, default=0)
    arguments = parser.parse_args()
    print("| workload | right | enough | open | wrong limits | no limit named | best, of theory | seconds a curve |")
    print("|---|---|---|---|---|---|---|---|")
    missed, every = list[str](), dict[str, list[Found]]()
    for name in arguments.only:
        known, servers = WORKLOADS[name], list[Server]()
        with tempfile.TemporaryDirectory() as folder, busy_loops(arguments.busy):
            try:
                call = known.make(servers, folder)
                found = [probed(call) for _ in range(arguments.repetitions)]
            finally:
                for server in servers:
                    server.end()
        every[name] = found
        row = row_of(known, found)
        print(row.line(name), flush=True)
        for limit in dict.fromkeys(row.wrong_limits):
            print(f"  wrong: {limit}", flush=True)
        if row.misses(idle=not arguments.busy):
            missed.append(name)
    print("", *curve_table(every), sep="\n")
    print("", f"missed: {', '.join(missed) or 'none'}", sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(_serve(sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
    else:
        sys.exit(main())

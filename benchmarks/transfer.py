"""What it costs to move data to another process: four kinds of objects by Pipe, Queue, pool and shared memory.

    python benchmarks/transfer.py                 1 KiB to 100 MiB, about a minute and 1.5 GiB of memory
    python benchmarks/transfer.py --most 1048576  up to 1 MiB only

Each figure is the median over rounds of one way: pickled, sent, read again by a real second process, which then
answers with one byte; the pool's is what a call takes longer than one without data, in a `ProcessPoolExecutor` with
one worker and one call at a time. Beside it is what a probe estimates inside one process
(``workers/child/transfer.py``), as a ratio to the Pipe's and to the pool's. Prints Markdown.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import shared_memory
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_gilprobe.model import numbers  # noqa: E402
from pytest_gilprobe.observe import machine  # noqa: E402 - the checkout beside this file is what is measured
from pytest_gilprobe.workers import naming  # noqa: E402
from pytest_gilprobe.workers.child import shared_memory as array_sharing  # noqa: E402
from pytest_gilprobe.workers.child import transfer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

SIZES: Final = (1024, 10 * 1024, 100 * 1024, 1024**2, 10 * 1024**2, 100 * 1024**2)
ROUNDS: Final = 7
LEAST_S: Final = 0.1
"""Short measurements are repeated for so long: 1 KiB adds only hundredths to what a call in a pool takes."""
ENOUGH_S: Final = 1.5
TELLS_S: Final = 20e-6
"""What is shorter is mostly the time to wake the other side, and has no ratio."""
KINDS: Final[dict[str, Callable[[int], Any]]] = {
    "bytes": bytes,
    "list of ints": lambda size: list(range(2**30, 2**30 + size // 5)),
    "dict": lambda size: {f"key {at:08}": at * 1.5 for at in range(size // 24)},
    "array": lambda size: np.arange(size // 8, dtype=np.float64),
}
"""Objects of about so many pickled bytes: an int takes 5, an item of the dictionary about 24."""


def other_side(pipe: Connection, queue: Any) -> None:
    """Read whatever comes, and answer with one byte; what comes through the pipe says where to look next."""
    while (kind := pipe.recv()) is not None:
        if kind == "queue":
            queue.get()
        elif kind == "pipe":
            pipe.recv()
        else:
            name, size = pipe.recv()
            memory = shared_memory.SharedMemory(name)
            view = np.frombuffer(memory.buf or b"", np.uint8, size)
            int(view[::4096].max())
            del view
            memory.close()
        pipe.send_bytes(b"!")


class Other:
    """A second process that reads, and a pool with one worker."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, mp_context=context)
        self.pool.submit(len, ()).result()
        self.pipe, theirs = context.Pipe()
        self.queue = context.Queue()
        self.process = context.Process(target=other_side, args=(theirs, self.queue), daemon=True)
        self.process.start()
        theirs.close()

    def by_pipe(self, thing: Any) -> float:
        """Return the seconds through a pipe."""
        self.pipe.send("pipe")
        return self._timed(lambda: self.pipe.send(thing))

    def by_queue(self, thing: Any) -> float:
        """Return the seconds through a queue."""
        self.pipe.send("queue")
        return self._timed(lambda: self.queue.put(thing))

    def by_pool(self, thing: Any) -> float:
        """Return the seconds by which a call in a pool takes longer if it is given an object."""
        return self._call_s(thing) - self._call_s(())

    def _call_s(self, thing: Any) -> float:
        started = time.perf_counter()
        self.pool.submit(len, thing).result()
        return time.perf_counter() - started

    def by_memory(self, thing: Any) -> float:
        """Return the seconds through shared memory, made and filled each time."""
        self.pipe.send("memory")
        started = time.perf_counter()
        memory = shared_memory.SharedMemory(create=True, size=thing.nbytes)
        copy = np.ndarray(thing.shape, thing.dtype, memory.buf)
        np.copyto(copy, thing)
        del copy
        self.pipe.send((memory.name, thing.nbytes))
        self.pipe.recv_bytes()
        took = time.perf_counter() - started
        memory.close()
        memory.unlink()
        return took

    def _timed(self, send: Callable[[], None]) -> float:
        started = time.perf_counter()
        send()
        self.pipe.recv_bytes()
        return time.perf_counter() - started

    def close(self) -> None:
        """End the other process and the pool."""
        self.pool.shutdown()
        self.pipe.send(None)
        self.process.join()
        self.queue.close()


def median(action: Callable[[Any], float], thing: Any) -> float:
    """Return the median of some rounds after one to warm up; more when they are short, fewer when they are long."""
    action(thing)
    found: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() - started < (ENOUGH_S if len(found) < ROUNDS else LEAST_S):
        found.append(action(thing))
    return statistics.median(found)


def row(kind: str, size: int, other: Other) -> str:
    """Measure one object and write its line."""
    thing = KINDS[kind](size)
    pipe, queue, pool = (median(way, thing) for way in (other.by_pipe, other.by_queue, other.by_pool))
    shared = median(other.by_memory, thing) if kind == "array" else None
    answer = transfer.measure(naming.Given(func=len, args=(thing,), kwargs={}), None)
    nothing = transfer.measure(naming.Given(func=len, args=((),), kwargs={}), None)
    estimated = answer.transfer.pipe_s if answer.transfer is not None else None
    more = estimated - nothing.transfer.pipe_s if estimated is not None and nothing.transfer is not None else None
    inside = array_sharing.measure((thing,), ()) if kind == "array" else None
    cells = [kind, numbers.size(size), *map(numbers.seconds, (pipe, queue, max(0.0, pool), shared))]
    inside_s = None if inside is None else sum(inside)
    ratios = [
        f"{estimate / real:.2f}" if estimate is not None and real is not None and real > TELLS_S else ""
        for estimate, real in ((estimated, pipe), (more, pool), (inside_s, shared))
    ]
    return "| " + " | ".join([*cells, *ratios]) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=SIZES[-1], metavar="BYTES", help="leave larger ones out")
    most = parser.parse_args().most
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {machine.usable_cpus()} CPUs, "
        f"load {machine.load_average_1min()}\n"
    )
    print(
        "| object | size | Pipe | Queue | pool | shared memory "
        "| probe's estimate / Pipe | probe's estimate / pool | probe's estimate / shared memory |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    other = Other()
    try:
        for kind in KINDS:
            for size in SIZES:
                if size <= most:
                    print(row(kind, size, other), flush=True)
    finally:
        other.close()


if __name__ == "__main__":
    main()

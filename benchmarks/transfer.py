"""What it costs to move data to another process: four kinds of objects by Pipe, Queue and shared memory.

    python benchmarks/transfer.py                 1 KiB to 100 MiB, about a minute and 1.5 GiB of memory
    python benchmarks/transfer.py --most 1048576  up to 1 MiB only

Each figure is the median over rounds of one way: pickled, sent, read again by a real second process, which then
answers with one byte. Beside it stands what a probe estimates inside one process (``workers/shipping.py``), as a
ratio to the Pipe's. Prints Markdown.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import statistics
import sys
import time
from multiprocessing import shared_memory
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_gilprobe import host  # noqa: E402 - the checkout beside this file is what is measured
from pytest_gilprobe.reporters import numbers  # noqa: E402
from pytest_gilprobe.workers import naming, sharing, shipping  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

SIZES: Final = (1024, 10 * 1024, 100 * 1024, 1024**2, 10 * 1024**2, 100 * 1024**2)
ROUNDS: Final = 7
ENOUGH_S: Final = 1.5
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
    """A second process that reads."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
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
        """End the other process."""
        self.pipe.send(None)
        self.process.join()
        self.queue.close()


def median(action: Callable[[Any], float], thing: Any) -> float:
    """Return the median of some rounds after one to warm up; fewer when they are long."""
    action(thing)
    found: list[float] = []
    while len(found) < ROUNDS and sum(found) < ENOUGH_S:
        found.append(action(thing))
    return statistics.median(found)


def row(kind: str, size: int, other: Other) -> str:
    """Measure one object and write its line."""
    thing = KINDS[kind](size)
    pipe, queue = median(other.by_pipe, thing), median(other.by_queue, thing)
    shared = median(other.by_memory, thing) if kind == "array" else None
    answer = shipping.measure(naming.Given(func=len, args=(thing,), kwargs={}), with_result=False)
    estimated = answer.transfer.pipe_s if answer.transfer is not None else None
    inside = sharing.measure((thing,), ()) if kind == "array" else None
    cells = [kind, numbers.size(size), *map(numbers.seconds, (pipe, queue, shared))]
    ratios = [
        "" if estimated is None else f"{estimated / pipe:.2f}",
        "" if inside is None or shared is None else f"{sum(inside) / shared:.2f}",
    ]
    return "| " + " | ".join([*cells, *ratios]) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=SIZES[-1], metavar="BYTES", help="leave larger ones out")
    most = parser.parse_args().most
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {host.usable_cpus()} CPUs, "
        f"load {host.load_average_1min()}\n"
    )
    print(
        "| object | size | Pipe | Queue | shared memory | probe's estimate / Pipe | probe's estimate / shared memory |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
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

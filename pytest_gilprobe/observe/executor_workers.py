"""Read what the workers of an executor use on this machine: CPU time, time in the run queue, and memory.

The workers are threads or processes, as those of a `ThreadPoolExecutor` or `ProcessPoolExecutor`. Linux only; elsewhere
nothing is found, and the values are unknown.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path

_KIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersUse:
    """What an executor's worker threads and worker processes have used so far.

    Attributes:
        cpu_ns: CPU time of all worker threads, and of all threads of the worker processes, added up, in nanoseconds.
        run_queue_ns: time for which the same threads were runnable without running, added up, in nanoseconds.
        processes: number of the worker processes; 0 if all workers are threads of this process.
        rss_bytes: the largest peak of resident memory of a worker process; ``None`` if no such peak can be read.
    """

    cpu_ns: int
    run_queue_ns: int
    processes: int
    rss_bytes: int | None


class ExecutorWorkers:
    """Find an executor's workers: all threads and descendants of this process that begin after this object was made."""

    def __init__(self) -> None:
        """Note the threads and descendants of this process that exist already: they are no workers."""
        self._threads = frozenset(_threads(os.getpid()))
        self._processes = frozenset(_descendants(os.getpid()))

    def include(self, host: str, pid: int, thread: int) -> bool:
        """Return whether the clocks of a worker can be read here.

        They can if it is a thread of this process, or of a descendant, that began after this object was made. ``host``,
        ``pid`` and ``thread`` are what `socket.gethostname`, `os.getpid` and `threading.get_native_id` return in the
        worker.
        """
        own = os.getpid()
        if host != socket.gethostname():
            return False
        if pid == own:
            return thread in _threads(own) and thread not in self._threads
        return pid in self._started(own)

    def use(self) -> WorkersUse | None:
        """Return what the executor's workers have used so far; ``None`` if the system does not report it."""
        own = os.getpid()
        found = _threads(own)
        if not found:
            return None
        processes = self._started(own)
        paths = [f"/proc/{own}/task/{tid}/schedstat" for tid in found if tid not in self._threads]
        paths += [f"/proc/{pid}/task/{tid}/schedstat" for pid in processes for tid in _threads(pid)]
        clocks = [_running_and_waiting_ns(path) for path in paths]
        return WorkersUse(
            cpu_ns=sum(running for running, _ in clocks),
            run_queue_ns=sum(waiting for _, waiting in clocks),
            processes=len(processes),
            rss_bytes=max((peak for pid in processes if (peak := _peak_rss_bytes(pid)) is not None), default=None),
        )

    def _started(self, own: int) -> list[int]:
        return [pid for pid in _descendants(own) if pid not in self._processes]


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]  # noqa: PTH208 - names are enough
    except (OSError, ValueError):
        return []


def _descendants(pid: int) -> list[int]:
    """List the ids of all processes that a process has started, and that those have started."""
    found: list[int] = []
    for tid in _threads(pid):
        with contextlib.suppress(OSError, ValueError):
            children = map(int, Path(f"/proc/{pid}/task/{tid}/children").read_text("ascii").split())
            for child in children:
                found += [child, *_descendants(child)]
    return found


def _running_and_waiting_ns(path: str) -> tuple[int, int]:
    try:
        running, waiting, _ = Path(path).read_text("ascii").split()
        return int(running), int(waiting)
    except (OSError, ValueError):
        return 0, 0


def _peak_rss_bytes(pid: int) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * _KIB
    return None

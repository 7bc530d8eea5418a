"""Find what a test's calls leave behind in a worker process: changed process state, running threads and processes.

pytest tears fixtures down, but changes by the test's own code stay. A worker process must time the next test as if it
were the first, so it is replaced if a change is left that could make a difference.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import locale
import os
import signal
import sys
import threading
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.observe import clocks, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

WATCHED_S = 0.03
"""Seconds of one watch, which shows whether threads and processes that calls left behind compute: three ticks of a slow
kernel clock (100 Hz)."""
BUSY = 0.5
"""Share of one watch (`WATCHED_S` seconds). A thread or process that calls left behind disturbs timing once it has
computed, in all watches together, for this share of one watch. Until then it is watched again only if, in the last
watch, it computed or waited for a core for at least this share."""
MOST_WATCHES = 20
"""Largest number of watches (`WATCHED_S` seconds each) of a thread or process that calls left behind. A thread that
mostly waits for a core is watched again, since it may need the core only to go to sleep. A thread that has computed
less than `BUSY` allows by the last watch does not count as disturbing."""
MOST_THREADS = 32
MOST_CHILDREN = 16
MOST_DESCRIPTORS = 128
MOST_MEMORY = 512 * 2**20
"""Largest growth of a worker process's memory since its start, in bytes. A worker is replaced if it has grown by more,
or by more than `MOST_THREADS` threads, `MOST_CHILDREN` child processes or `MOST_DESCRIPTORS` file descriptors."""

_open = open


# The state of the process


def _functions(module: Any) -> Callable[[], tuple[Any, ...]]:
    """Return what looks up all functions that a module has now."""
    names = tuple(name for name, value in vars(module).items() if callable(value) and not isinstance(value, type))
    return lambda: tuple(getattr(module, name, None) for name in names)


def _signal_handlers() -> tuple[Any, ...]:
    return tuple(signal.getsignal(number) for number in sorted(signal.valid_signals()))


def _timers() -> tuple[bool, ...]:
    kinds = [getattr(signal, f"ITIMER_{name}", None) for name in ("REAL", "VIRTUAL", "PROF")]
    return tuple(signal.getitimer(kind)[0] > 0 for kind in kinds if kind is not None)


def _standard_streams() -> tuple[Any, ...]:
    stats = [os.fstat(fd) for fd in range(3)]
    return (sys.stdin, sys.stdout, sys.stderr, *((stat.st_dev, stat.st_ino) for stat in stats))


def _limits() -> tuple[Any, ...]:
    import resource  # noqa: PLC0415 - not every platform has it

    return tuple(resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_"))


_PARTS: dict[str, Callable[[], Any]] = {
    "the current folder": os.getcwd,
    "environment variables": lambda: dict(os.environ),
    "sys.path": lambda: tuple(sys.path),
    "the locale": lambda: locale.setlocale(locale.LC_ALL),
    "the switch interval": sys.getswitchinterval,
    "the CPU affinity": lambda: os.sched_getaffinity(0),
    "the priority": lambda: os.getpriority(os.PRIO_PROCESS, 0),
    "resource limits": _limits,
    "signal handlers": _signal_handlers,
    "timers": _timers,
    "standard streams": _standard_streams,
    "tracing": lambda: (sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()),
    "the garbage collector": lambda: (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count() > 0),
    "the recursion limit": sys.getrecursionlimit,
    "warning filters": lambda: tuple(map(str, warnings.filters)),
    "built-in functions": _functions(builtins),
    "the time module": _functions(time),
    "threading.Thread": lambda: (threading.Thread, threading.Lock),
}
"""What a test's code may change, by the name for the user, and how to read a value of it that can be compared."""


def state() -> dict[str, Any]:
    """Return what tests may change in this process, such as environment variables: the present values, by name.

    A value that cannot be read is ``None``.
    """
    return {name: _quietly(read) for name, read in _PARTS.items()}


def _quietly(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception:  # noqa: BLE001 - a workload may have broken what is read
        return None


def restore(before: Mapping[str, Any]) -> tuple[str, ...]:
    """Restore what differs from ``before``, an earlier result of `state`; return the names of what stays changed.

    Only the current folder, environment variables and ``sys.path`` can be restored.
    """
    now = state()
    changed = [name for name, value in before.items() if now[name] != value]
    return tuple(name for name in changed if not _restored(name, before[name]))


def still_changed(names: tuple[str, ...], *before: Mapping[str, Any]) -> tuple[str, ...]:
    """Return those of ``names`` whose present value differs from their value in each of the mappings ``before``.

    The mappings are earlier results of `state`: parts of the process's state, such as ``sys.path``, by name.
    """
    if not names:
        return ()
    now = state()
    return tuple(name for name in names if all(now[name] != former[name] for former in before))


def _restored(name: str, value: Any) -> bool:
    """Give one part its former value; return whether that worked."""
    try:
        if name == "sys.path":
            sys.path[:] = value
        elif name == "the current folder":
            os.chdir(value)
        elif name == "environment variables":
            for variable in set(os.environ) - set(value):
                del os.environ[variable]
            os.environ.update(value)
        else:
            return False
    except Exception:  # noqa: BLE001 - a workload may have broken what is restored
        return False
    return True


# Threads, processes and memory


def threads() -> dict[int, str]:
    """Return the names of this process's Python threads, by native thread id."""
    return {thread.native_id: thread.name for thread in threading.enumerate() if thread.native_id is not None}


def children() -> frozenset[int]:
    """Return the ids of this process's existing child processes; empty if the system does not list them."""
    found: set[int] = set()
    with contextlib.suppress(OSError, ValueError):
        for task in os.listdir("/proc/self/task"):  # noqa: PTH208 - names are enough, and this is per batch
            with _open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
                found.update(map(int, file.read().split()))
    return frozenset(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceUse:
    """What this process uses at one moment.

    ``threads`` are the native ids of its Python threads, ``children`` the ids of its child processes. ``descriptors``
    is the number of its open file descriptors, and ``memory`` its resident memory in bytes. ``shared`` is whether
    several subinterpreters share the process: ``threads`` are then only those of the present subinterpreter.
    """

    threads: frozenset[int]
    children: frozenset[int]
    descriptors: int
    memory: int
    shared: bool = False

    @classmethod
    def now(cls, *, shared: bool = False) -> ResourceUse:
        """Return what this process uses now; ``shared`` is whether several subinterpreters share it."""
        return cls(
            threads=frozenset(threads()),
            children=children(),
            descriptors=_descriptors(),
            memory=_memory(),
            shared=shared,
        )

    def plus(self, before: ResourceUse, after: ResourceUse) -> ResourceUse:
        """Return this use, changed by as much as the use of the process has changed from ``before`` to ``after``.

        New threads and child processes are added; ended ones are not removed.
        """
        return replace(
            self,
            threads=self.threads | (after.threads - before.threads),
            children=self.children | (after.children - before.children),
            descriptors=self.descriptors + after.descriptors - before.descriptors,
            memory=self.memory + after.memory - before.memory,
        )

    def outgrown_by(self, later: ResourceUse, interpreters: int = 1) -> bool:
        """Return whether ``later`` exceeds this use by so much that the worker process must be replaced.

        That is by more than `MOST_THREADS`, `MOST_CHILDREN`, `MOST_DESCRIPTORS` or `MOST_MEMORY`, each multiplied by
        ``interpreters``, the number of subinterpreters in the process. If ``shared`` is true, only threads are
        compared.
        """
        if len(later.threads) - len(self.threads) > MOST_THREADS * interpreters:
            return True
        return not self.shared and (
            len(later.children) - len(self.children) > MOST_CHILDREN * interpreters
            or later.descriptors - self.descriptors > MOST_DESCRIPTORS * interpreters
            or later.memory - self.memory > MOST_MEMORY * interpreters
        )

    def disturbance(self) -> str | None:
        """Describe what calls have left behind since this use was read, if it spoils timings; else return ``None``.

        Timings are spoilt by computing threads or processes, or by kept memory above 512 MiB and above the free memory.
        """
        busy = self._left_computing()
        if busy is not None:
            return f"it left {busy} computing after its calls had returned, which disturbs all that is timed"
        return self.memory_kept()

    def memory_kept(self) -> str | None:
        """Describe how much memory calls have kept since this use was read, if it is too much; else return ``None``.

        Too much is over 512 MiB and more than the machine has left. In a process of subinterpreters, return ``None``.
        """
        if self.shared:
            return None
        kept, left = _memory() - self.memory, machine.memory_left_bytes()
        if left is None or kept <= max(left, MOST_MEMORY):
            return None
        return f"its calls kept {kept / 2**30:.1f} GiB of memory and {left / 2**30:.1f} GiB are left: no more are made"

    def _left_computing(self) -> str | None:
        """Name the threads and processes that are new and still computing; None if there are none.

        Threads of native libraries do not count: many spin for some milliseconds before they sleep.
        """
        new = {
            f"/proc/self/task/{number}/schedstat": f"thread {name!r}"
            for number, name in threads().items()
            if number not in self.threads
        }
        new |= {f"/proc/{number}/schedstat": f"process {number}" for number in children() - self.children}
        return ", ".join(new[path] for path in _computing(new)) or None


def _computing(paths: Iterable[str]) -> list[str]:
    """Return those of these ``schedstat`` files whose threads compute on and on; watch while any of them may."""
    started = {path: _run_and_queued_ns(path) for path in paths}
    before, found = dict(started), []
    for _ in range(MOST_WATCHES):
        if not before:
            break
        begin = clocks.perf_counter_ns()
        clocks.sleep(WATCHED_S)
        most = (clocks.perf_counter_ns() - begin) * BUSY
        now = {path: _run_and_queued_ns(path) for path in before}
        busy = {path: read for path, read in now.items() if sum(read) - sum(before[path]) >= most}
        found += [path for path, read in busy.items() if read[0] - started[path][0] >= WATCHED_S * 1e9 * BUSY]
        before = {path: read for path, read in busy.items() if path not in found}
    return found


def _run_and_queued_ns(path: str) -> tuple[int, int]:
    """Return how long a thread has been on a core, and waiting for one, by its ``schedstat``; zeros if it is gone."""
    try:
        running, waiting, _ = Path(path).read_text("ascii").split()
        return int(running), int(waiting)
    except (OSError, ValueError):
        return 0, 0


def _descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only counted
    except OSError:
        return 0


def _memory() -> int:
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0

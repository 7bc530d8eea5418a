"""What a test's calls leave behind in a worker.

Changed state of the process, threads and processes that go on computing.

pytest tears fixtures down; what the test's own code changes stays. In one pytest session that is the tests' business. A
worker that is to time the next test as if nothing had happened is replaced when something is left that could make a
difference.
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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gilprobe import host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BUSY_LOOK_S = 0.03
"""How long a thread or process that was left is watched: three ticks of the slowest usual kernel clock (100 Hz)."""
BUSY = 0.5
"""Share of that time, computing or queued for a core, from which it disturbs what is timed."""
MOST_THREADS = 32
MOST_CHILDREN = 16
MOST_DESCRIPTORS = 128
MOST_MEMORY = 512 * 2**20
"""How many more threads, processes, file descriptors, bytes than at its start a worker may keep before it is
replaced."""

_open = open
_BUILTINS = tuple(name for name, value in vars(builtins).items() if callable(value) and not isinstance(value, type))
_TIME = tuple(name for name, value in vars(time).items() if callable(value) and not isinstance(value, type))


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The process as a test's calls find it: a name for the user and a comparable value for each part."""

    parts: tuple[tuple[str, Any], ...]

    def changed(self, later: State) -> tuple[str, ...]:
        """Name the parts that differ."""
        pairs = zip(self.parts, later.parts, strict=True)
        return tuple(name for (name, before), (_, after) in pairs if before != after)


def state() -> State:
    """Look at this process; a part that cannot be read is None."""
    return State(parts=tuple((name, _quietly(look)) for name, look in _LOOKS))


def _quietly(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except Exception:  # noqa: BLE001 - a workload may have broken what is looked at
        return None


def _signal_handlers() -> tuple[Any, ...]:
    return tuple(signal.getsignal(number) for number in sorted(signal.valid_signals()))


def _timers() -> tuple[bool, ...]:
    kinds = [
        getattr(signal, name) for name in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF") if hasattr(signal, name)
    ]
    return tuple(signal.getitimer(kind)[0] > 0 for kind in kinds)


def _standard_streams() -> tuple[Any, ...]:
    stats = [os.fstat(fd) for fd in range(3)]
    return (sys.stdin, sys.stdout, sys.stderr, *((stat.st_dev, stat.st_ino) for stat in stats))


def _limits() -> tuple[Any, ...]:
    import resource  # noqa: PLC0415 - not every platform has it

    return tuple(resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_"))


_LOOKS: tuple[tuple[str, Callable[[], Any]], ...] = (
    ("the current folder", os.getcwd),
    ("environment variables", lambda: dict(os.environ)),
    ("sys.path", lambda: tuple(sys.path)),
    ("the locale", lambda: locale.setlocale(locale.LC_ALL)),
    ("the switch interval", sys.getswitchinterval),
    ("the CPU affinity", lambda: os.sched_getaffinity(0)),
    ("the priority", lambda: os.getpriority(os.PRIO_PROCESS, 0)),
    ("resource limits", _limits),
    ("signal handlers", _signal_handlers),
    ("timers", _timers),
    ("standard streams", _standard_streams),
    ("tracing", lambda: (sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile())),
    ("the garbage collector", lambda: (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count() > 0)),
    ("the recursion limit", sys.getrecursionlimit),
    ("warning filters", lambda: tuple(map(str, warnings.filters))),
    ("built-in functions", lambda: tuple(getattr(builtins, name, None) for name in _BUILTINS)),
    ("the time module", lambda: tuple(getattr(time, name, None) for name in _TIME)),
    ("threading.Thread", lambda: (threading.Thread, threading.Lock)),
)

_RESTORED = frozenset({"the current folder", "environment variables", "sys.path"})


def restore(before: State, changed: Iterable[str]) -> tuple[str, ...]:
    """Put back what can be put back, and return the rest of ``changed``: what needs another worker."""
    values = dict(before.parts)
    return tuple(name for name in changed if name not in _RESTORED or not _put_back(name, values[name]))


def _put_back(name: str, value: Any) -> bool:
    try:
        if name == "sys.path":
            sys.path[:] = value
        elif name == "the current folder":
            os.chdir(value)
        else:
            for variable in set(os.environ) - set(value):
                del os.environ[variable]
            os.environ.update(value)
    except Exception:  # noqa: BLE001 - a workload may have broken what is looked at
        return False
    return True


# Threads and processes


def threads() -> dict[int, str]:
    """Name this process's Python threads by the system's number for each."""
    return {thread.native_id: thread.name for thread in threading.enumerate() if thread.native_id is not None}


def children() -> frozenset[int]:
    """Return the processes that this one has started and that still exist."""
    found: set[int] = set()
    with contextlib.suppress(OSError, ValueError):
        for task in os.listdir("/proc/self/task"):  # noqa: PTH208 - names are enough, and this is per batch
            with _open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
                found.update(map(int, file.read().split()))
    return frozenset(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """What is there before the calls: threads, processes, memory in use."""

    threads: frozenset[int]
    children: frozenset[int]
    memory: int

    @classmethod
    def now(cls) -> Company:
        """Look around."""
        return cls(threads=frozenset(threads()), children=children(), memory=_memory())

    def disturbs(self) -> str | None:
        """Say what has come since that spoils all that is timed, or will end the session; None if nothing has."""
        if (left := self.left_computing()) is not None:
            return f"it left {left} computing after its calls had returned, which disturbs all that is timed"
        return self.eats_memory()

    def eats_memory(self) -> str | None:
        """Say so when the calls have kept more memory than is left: about as many again would use all of it up."""
        kept, left = _memory() - self.memory, host.memory_left_bytes()
        if left is None or kept <= max(left, MOST_MEMORY):
            return None
        return f"its calls kept {kept / 2**30:.1f} GiB of memory and {left / 2**30:.1f} GiB are left: no more are made"

    def left_computing(self) -> str | None:
        """Say what has come since and goes on computing; None if there is nothing of that kind.

        Threads of native libraries are not meant: many spin for some milliseconds before they sleep.
        """
        new = {
            f"/proc/self/task/{number}/schedstat": f"thread {name!r}"
            for number, name in threads().items()
            if number not in self.threads
        }
        new |= {f"/proc/{number}/schedstat": f"process {number}" for number in children() - self.children}
        if not new:
            return None
        before = {path: _used_ns(path) for path in new}
        started = host.perf_counter_ns()
        host.sleep(BUSY_LOOK_S)
        most = (host.perf_counter_ns() - started) * BUSY
        busy = [name for path, name in new.items() if _used_ns(path) - before[path] >= most]
        return ", ".join(busy) or None


def _used_ns(path: str) -> int:
    """Return how long a thread has been on a core or waiting for one; 0 if it is gone."""
    try:
        running, waiting, _ = Path(path).read_text("ascii").split()
        return int(running) + int(waiting)
    except (OSError, ValueError):
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Burden:
    """What a worker carries: it grows with what tests leave."""

    threads: int
    children: int
    descriptors: int
    memory: int

    @classmethod
    def now(cls) -> Burden:
        """Weigh this process."""
        return cls(
            threads=threading.active_count(), children=len(children()), descriptors=_descriptors(), memory=_memory()
        )

    def too_much(self, later: Burden) -> tuple[str, ...]:
        """Name what has grown too far since."""
        most = {
            "threads": MOST_THREADS,
            "children": MOST_CHILDREN,
            "descriptors": MOST_DESCRIPTORS,
            "memory": MOST_MEMORY,
        }
        words = {"threads": "threads", "children": "processes", "descriptors": "file descriptors", "memory": "memory"}
        return tuple(words[name] for name, limit in most.items() if getattr(later, name) - getattr(self, name) > limit)


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

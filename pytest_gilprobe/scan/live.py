"""``gilprobe watch``: any Python program's GIL, live on a terminal and as a summary at its end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_gilprobe.gil.watch import Watcher, WatchError
from pytest_gilprobe.reporters import watched
from pytest_gilprobe.scan import outside
from pytest_gilprobe.scan.outside import OutsideError, Place
from pytest_gilprobe.scan.reduce import share
from pytest_gilprobe.scan.tally import Counts, count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model import GilTrace
    from pytest_gilprobe.scan.outside import Glance

SLICE_S: Final = 0.1
"""How often the threads are looked at."""
MEAN_INTERVAL_S: Final = 0.001
REFRESH_S: Final = 0.5
"""How often the live line is drawn anew."""
START_S: Final = 3.0
"""How long a program that was just started may take to become a Python with a GIL."""
MOST_COLUMNS: Final = 60
"""Points of the curve over time; when there are twice as many, neighbours are joined."""


@dataclass(slots=True)
class _Thread:
    """What one thread did while it was watched."""

    name: str
    first: Glance
    last: Glance
    glances: int = 0
    waiting: int = 0


@dataclass(slots=True)
class Watch:
    """All that was seen so far, in memory that does not grow with time."""

    pid: int
    start_ns: int
    end_ns: int
    counts: Counts = field(default_factory=Counts)
    holders: Counter[int] = field(default_factory=Counter)
    threads: dict[int, _Thread] = field(default_factory=dict)
    curve: list[tuple[int, Counts]] = field(default_factory=list)
    unwatched: str | None = None

    def add(self, trace: GilTrace, until_ns: int, holders: Counter[int]) -> None:
        """Add one slice's looks; ``holders`` counts those that found the GIL held by the thread that held it."""
        seen = count(trace)
        self.counts += seen
        self.holders += holders
        self.curve.append((until_ns - self.end_ns, seen))
        self.end_ns = until_ns
        if len(self.curve) >= 2 * MOST_COLUMNS:
            pairs = zip(self.curve[::2], self.curve[1::2], strict=True)
            self.curve = [(first[0] + second[0], first[1] + second[1]) for first, second in pairs]

    def glance(self, threads: Sequence[Glance]) -> None:
        """Add one look at the threads."""
        for seen in threads:
            known = self.threads.setdefault(seen.tid, _Thread(name=seen.name, first=seen, last=seen))
            known.name, known.last = seen.name, seen
            known.glances += 1
            known.waiting += bool(seen.waits)

    def summary(self) -> watched.WatchedView:
        """Turn what was seen into text and numbers to draw."""
        wall_ns = max(1, self.end_ns - self.start_ns)
        return watched.view(
            pid=self.pid,
            wall_s=wall_ns * 1e-9,
            held=share(self.counts),
            unwatched=self.unwatched,
            curve=[found.held / found.looks if found.looks else None for _, found in self.curve],
            threads=[
                watched.WatchedThread(
                    tid=tid,
                    name=thread.name,
                    held=self.holders[tid] / self.counts.looks if self.counts.looks else None,
                    cpu=(thread.last.cpu_ns - thread.first.cpu_ns) / wall_ns,
                    run_queue=(thread.last.run_queue_ns - thread.first.run_queue_ns) / wall_ns,
                    waiting=thread.waiting / thread.glances if thread.last.waits is not None else None,
                )
                for tid, thread in self.threads.items()
            ],
        )


def watch_command(command: Sequence[str], *, live: bool, for_s: float | None) -> int:
    """Start a program, watch it until it ends, and give its exit status.

    Raises:
        OutsideError: it could not be started.
    """
    try:
        program = subprocess.Popen(command)  # noqa: S603 - what the user asked for
    except OSError as error:
        msg = f"{command[0]} could not be started: {error.strerror or error}"
        raise OutsideError(msg) from error
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program; its end is ours
    try:
        _watch(program.pid, live=live, for_s=for_s, patience_s=START_S)
        status = program.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    return status if status >= 0 else 128 - status


def watch_process(pid: int, *, live: bool, for_s: float | None) -> int:
    """Watch a process that runs already, until it ends, the time is up or Ctrl-C.

    Raises:
        OutsideError: it cannot be watched.
    """
    outside.place(pid)
    _watch(pid, live=live, for_s=for_s, patience_s=0.0)
    return 0


def _watch(pid: int, *, live: bool, for_s: float | None, patience_s: float) -> None:
    """Watch, and draw a summary whatever ends it."""
    try:
        ended = os.pidfd_open(pid)
    except OSError as error:
        msg = f"process {pid} cannot be watched: {error.strerror or error}"
        raise OutsideError(msg) from error
    now_ns = time.perf_counter_ns()
    watch = Watch(pid=pid, start_ns=now_ns, end_ns=now_ns)
    try:
        where = _settle(watch, patience_s)
        with contextlib.suppress(KeyboardInterrupt):
            _follow(watch, where, ended, live=live, for_s=for_s)
    finally:
        os.close(ended)
    if live:
        sys.stderr.write("\r\x1b[K")
    size = shutil.get_terminal_size().columns
    sys.stderr.write(watched.draw(watch.summary(), width=size, encoding=sys.stderr.encoding or "utf-8"))


def _settle(watch: Watch, patience_s: float) -> Place | None:
    """Find the GIL state, once the program has one; the watch starts when it is found."""
    deadline_ns = watch.start_ns + round(patience_s * 1e9)
    while True:
        try:
            where = outside.place(watch.pid)
        except OutsideError as error:
            if not _alive(watch.pid):
                watch.unwatched = watch.unwatched or str(error)
                return None
            watch.unwatched = str(error)
            if time.perf_counter_ns() >= deadline_ns:
                return None
        else:
            watch.unwatched = None
            return where
        finally:
            watch.start_ns = watch.end_ns = time.perf_counter_ns()
        time.sleep(0.02)


def _follow(watch: Watch, where: Place | None, ended: int, *, live: bool, for_s: float | None) -> None:
    """Look until the process ends or the time is up."""
    drawn_ns = watch.start_ns
    until_ns = None if for_s is None else watch.start_ns + round(for_s * 1e9)
    over = False
    while not over and (until_ns is None or watch.end_ns < until_ns):
        watch.glance(outside.threads(watch.pid, where))
        over = _slice(watch, where, ended)
        if live and watch.end_ns - drawn_ns >= REFRESH_S * 1e9:
            drawn_ns = watch.end_ns
            line = watched.live_line(watch.summary(), width=shutil.get_terminal_size().columns)
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()


def _slice(watch: Watch, where: Place | None, ended: int) -> bool:
    """Look for a moment; tell whether the process has ended."""
    address = where.address if where is not None else 0
    watcher = Watcher(watch.pid, address, mean_interval_s=MEAN_INTERVAL_S)
    try:
        if where is None:
            over = watcher.wait(ended, SLICE_S)  # not entered, it only waits
        else:
            with watcher:
                over = watcher.wait(ended, SLICE_S)
    except WatchError:
        return not _alive(watch.pid) or watcher.wait(ended, SLICE_S)
    trace = watcher.trace()
    found = Counter(holder for holder, held in zip(trace.holder, trace.held, strict=True) if held)
    holders: Counter[int] = Counter()
    if where is not None:
        for holder, looks in found.items():
            holders[outside.native_id(watch.pid, where, holder) or 0] += looks
    watch.add(trace, time.perf_counter_ns(), holders)
    return over


def _alive(pid: int) -> bool:
    try:
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False

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
    from collections.abc import Iterator, Sequence

    from pytest_gilprobe.model import GilTrace
    from pytest_gilprobe.scan.outside import Glance

SLICE_S: Final = 0.1
"""How often the threads are looked at."""
ASKING_S: Final = 0.02
"""How often a program is asked whether it has a GIL yet."""
MEAN_INTERVAL_S: Final = 0.001
REFRESH_S: Final = 0.5
"""How often the live line is drawn anew."""
START_S: Final = 3.0
"""How long a program that was just started may take to become a Python with a GIL."""
MOST_THREADS: Final = 500
"""Threads told apart; when there are more, those that have ended are told as one."""
MOST_COLUMNS: Final = 60
"""Points of the curve over time; when there are twice as many, neighbours are joined."""


@dataclass(slots=True)
class _Thread:
    """What one thread did while it was watched."""

    name: str
    first: Glance
    last: Glance
    waiting: int = 0


@dataclass(slots=True)
class _Ended:
    """Threads that have ended, told as one."""

    threads: int = 0
    held: int = 0
    cpu_ns: int = 0
    run_queue_ns: int = 0
    waiting: int = 0

    def add(self, thread: _Thread, held: int) -> None:
        self.threads += 1
        self.held += held
        self.cpu_ns += thread.last.cpu_ns - thread.first.cpu_ns
        self.run_queue_ns += thread.last.run_queue_ns - thread.first.run_queue_ns
        self.waiting += thread.waiting


@dataclass(slots=True)
class Watch:
    """All that was seen so far, in memory that does not grow with time."""

    pid: int
    start_ns: int
    end_ns: int
    counts: Counts = field(default_factory=Counts)
    holders: Counter[int] = field(default_factory=Counter)
    threads: dict[int, _Thread] = field(default_factory=dict)
    ended: _Ended = field(default_factory=_Ended)
    glances: int = 0
    cpu_ns: tuple[int, int] | None = None
    curve: list[tuple[int, Counts]] = field(default_factory=list)
    unwatched: str | None = None
    drawn_ns: int = 0

    def restart(self, pid: int) -> None:
        """Watch another process, from now on."""
        now_ns = time.perf_counter_ns()
        self.pid, self.start_ns, self.end_ns = pid, now_ns, now_ns
        self.threads, self.curve, self.glances, self.cpu_ns = {}, [], 0, None

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
            known.waiting += bool(seen.waits)
        self.glances += bool(threads)
        if len(self.threads) > MOST_THREADS:
            for tid in self.threads.keys() - {seen.tid for seen in threads}:
                self.ended.add(self.threads.pop(tid), self.holders.pop(tid, 0))

    def burnt(self) -> None:
        """Read the process's CPU time; the first reading is where the watch starts, the last one counts."""
        now_ns = outside.cpu_ns(self.pid)
        if now_ns is not None:
            self.cpu_ns = (self.cpu_ns[0] if self.cpu_ns is not None else now_ns, now_ns)

    def summary(self) -> watched.WatchedView:
        """Turn what was seen into text and numbers to draw."""
        wall_ns, looks, glances = max(1, self.end_ns - self.start_ns), self.counts.looks, max(1, self.glances)
        ended = self.ended
        threads = [
            watched.WatchedThread(
                tid=tid,
                name=thread.name,
                held=self.holders[tid] / looks if looks else None,
                cpu=(thread.last.cpu_ns - thread.first.cpu_ns) / wall_ns,
                run_queue=(thread.last.run_queue_ns - thread.first.run_queue_ns) / wall_ns,
                waiting=thread.waiting / glances if thread.last.waits is not None else None,
            )
            for tid, thread in self.threads.items()
        ]
        cpu = (self.cpu_ns[1] - self.cpu_ns[0]) / wall_ns if self.cpu_ns is not None else None
        told = sum(self.holders[tid] for tid in self.threads)
        others = self.holders.total() - told + ended.held
        if ended.threads or others:
            threads.append(
                watched.WatchedThread(
                    tid=None,
                    name=f"{ended.threads} that ended" if ended.threads else "not told apart",
                    held=others / looks if looks else None,
                    cpu=max(ended.cpu_ns / wall_ns, (cpu or 0.0) - sum(thread.cpu for thread in threads)),
                    run_queue=ended.run_queue_ns / wall_ns,
                    waiting=ended.waiting / glances,
                )
            )
        return watched.view(
            pid=self.pid,
            wall_s=wall_ns * 1e-9,
            held=share(self.counts),
            unwatched=self.unwatched,
            curve=[found.held / found.looks if found.looks else None for _, found in self.curve],
            cpu=cpu,
            count=len(self.threads) + ended.threads,
            threads=threads,
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
    now_ns = time.perf_counter_ns()
    watch = Watch(pid=pid, start_ns=now_ns, end_ns=now_ns)
    with contextlib.suppress(KeyboardInterrupt):
        for _ in _follow(watch, for_s=for_s, patience_s=patience_s):
            if live:
                _draw_line(watch)
    if live:
        sys.stderr.write("\r\x1b[K")
    size = shutil.get_terminal_size().columns
    sys.stderr.write(watched.draw(watch.summary(), width=size, encoding=sys.stderr.encoding or "utf-8"))


def _draw_line(watch: Watch) -> None:
    if watch.end_ns - watch.drawn_ns >= REFRESH_S * 1e9:
        watch.drawn_ns = watch.end_ns
        size, encoding = shutil.get_terminal_size().columns, sys.stderr.encoding or "utf-8"
        sys.stderr.write(f"\r\x1b[K{watched.live_line(watch.summary(), width=size, encoding=encoding)}")
        sys.stderr.flush()


def _follow(watch: Watch, *, for_s: float | None, patience_s: float) -> Iterator[None]:
    """Look until the process ends or the time is up, slice by slice; one that executes another program is found anew.

    A process has a GIL only some time after it was started: so long it is asked again and again.
    """
    until_ns = None if for_s is None else watch.start_ns + round(for_s * 1e9)
    ended = _open(watch.pid)
    where, image = None, outside.image(watch.pid)
    give_up_ns = watch.start_ns + round(patience_s * 1e9) + 1
    over = False
    try:
        while not over and (until_ns is None or watch.end_ns < until_ns):
            watch.burnt()
            found = outside.image(watch.pid)
            if found is not None and found != image:
                image, where, watch.unwatched = found, None, None
                give_up_ns = time.perf_counter_ns() + round(START_S * 1e9)
            if where is None and (time.perf_counter_ns() < give_up_ns or not watch.glances):
                followed, where = watch.pid, _find(watch, children=patience_s > 0)
                if watch.pid != followed:
                    os.close(ended)
                    ended, image = _open(watch.pid), outside.image(watch.pid)
            watch.glance(outside.threads(watch.pid, where))
            over = _slice(watch, where, ended, SLICE_S if where is not None else ASKING_S)
            watch.burnt()
            yield
    finally:
        os.close(ended)


def _open(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        msg = f"process {pid} cannot be watched: {error.strerror or error}"
        raise OutsideError(msg) from error


def _find(watch: Watch, *, children: bool) -> Place | None:
    """Find the GIL state of the process, or of the first Python that it has started, as a shell or `uv run` does."""
    for pid in (watch.pid, *(outside.descendants(watch.pid) if children else ())):
        try:
            where = outside.place(pid)
        except OutsideError as error:
            if pid == watch.pid:
                ended = f"process {pid} ended before its GIL was found"
                watch.unwatched = str(error) if _alive(pid) else watch.unwatched or ended
        else:
            if pid != watch.pid:
                watch.restart(pid)
            watch.unwatched = None
            return where
    return None


def _slice(watch: Watch, where: Place | None, ended: int, for_s: float) -> bool:
    """Look for a moment; tell whether the process has ended."""
    address = where.address if where is not None else 0
    watcher = Watcher(watch.pid, address, mean_interval_s=MEAN_INTERVAL_S)
    try:
        if where is None:
            over = watcher.wait(ended, for_s)  # not entered, it only waits
        else:
            with watcher:
                over = watcher.wait(ended, for_s)
    except WatchError:
        return not _alive(watch.pid) or watcher.wait(ended, for_s)
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

"""Add up the samples and thread clocks that ``gilprobe watch`` reads of a process, in memory of bounded size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_gilprobe.observe import clocks
from pytest_gilprobe.report.watch_summary import WatchedProcess, WatchedThread
from pytest_gilprobe.scan import held_places, other_process
from pytest_gilprobe.scan.held_places import HeldPlaces
from pytest_gilprobe.scan.samples import SampleCounts, count, held_share

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import GilSamples
    from pytest_gilprobe.scan.other_process import ThreadSnapshot

MOST_THREADS: Final = 500
"""Above this number of threads of a watched process, the entries of all threads that have ended are merged into one.
The merged entry adds up their CPU time, their time in the run queue, the samples that found them holding the GIL, and
the snapshots that found them waiting for it."""
MOST_COLUMNS: Final = 60
"""Number of columns (points) to which a curve is shortened when it has twice as many: each two neighbouring columns
become one. The curve shows how the share of time for which the GIL is held changes."""


@dataclass(slots=True)
class _Thread:
    """One thread: its first and last snapshot, their number, and in how many of them it waited for the GIL."""

    first: ThreadSnapshot
    last: ThreadSnapshot
    seen: int = 0
    waiting: int = 0


@dataclass(slots=True)
class _Ended:
    """Threads that have ended, added up. ``held`` counts samples that found the GIL held by one of them."""

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
class WatchTotals:
    """Running totals of a watched process.

    Attributes:
        pid: the id of the process.
        start_ns: when the watching of this process began, by `time.perf_counter_ns`; ``end_ns`` is the moment up to
            which samples were added.
        counts: how many samples of the process's GIL were taken, and what they found.
        holders: how many samples found the GIL held, by the system's number of the holding thread; 0 is an unknown
            thread.
        threads: the first and last snapshot of each thread, by the system's number of the thread; ``ended`` is the sum
            over ended threads that were removed from ``threads``.
        snapshots: how often all threads were read.
        cpu_ns: the process's CPU time at the first and at the last reading; ``None`` before the first one.
        curve: a pair for each interval of time, in order: its length in nanoseconds, and the samples in it.
        unwatched: why the GIL is not sampled; ``None`` if it is.
        places: the places in the code that held the GIL.
    """

    pid: int
    start_ns: int
    end_ns: int
    counts: SampleCounts = field(default_factory=SampleCounts)
    holders: Counter[int] = field(default_factory=Counter)
    threads: dict[int, _Thread] = field(default_factory=dict)
    ended: _Ended = field(default_factory=_Ended)
    snapshots: int = 0
    cpu_ns: tuple[int, int] | None = None
    curve: list[tuple[int, SampleCounts]] = field(default_factory=list)
    unwatched: str | None = None
    places: HeldPlaces = field(default_factory=HeldPlaces)

    def restart(self, pid: int) -> None:
        """Start to watch process ``pid``; forget the threads, curve, CPU time and places of the process before."""
        now_ns = clocks.perf_counter_ns()
        self.pid, self.start_ns, self.end_ns = pid, now_ns, now_ns
        self.threads, self.curve, self.snapshots, self.cpu_ns = {}, [], 0, None
        self.places = HeldPlaces()

    def add_samples(self, samples: GilSamples, until_ns: int, holders: Counter[int]) -> None:
        """Add the ``samples`` of the GIL that were taken up to ``until_ns``, a moment of `time.perf_counter_ns`.

        ``holders`` counts the samples that found the GIL held, by the system's number of the holding thread; 0 is an
        unknown thread.
        """
        seen = count(samples)
        stacks = [samples.stacks[number] for number in samples.stack if number >= 0]
        self.places.add(held_places.count(stacks), len(stacks), 1)
        self.counts += seen
        self.holders += holders
        self.curve.append((until_ns - self.end_ns, seen))
        self.end_ns = until_ns
        if len(self.curve) >= 2 * MOST_COLUMNS:
            pairs = zip(self.curve[::2], self.curve[1::2], strict=True)
            self.curve = [(first[0] + second[0], first[1] + second[1]) for first, second in pairs]

    def add_threads(self, threads: Sequence[ThreadSnapshot]) -> None:
        """Record ``threads``: snapshots of all threads of the process, made at about the same moment.

        Of each thread are kept: its first and last snapshot, the number of its snapshots, and the number of those that
        found it waiting for the GIL. Above 500 threads (`MOST_THREADS`), known threads that are missing in ``threads``
        count as ended: they are added up in ``ended`` and removed.
        """
        for seen in threads:
            known = self.threads.setdefault(seen.tid, _Thread(first=seen, last=seen))
            known.last = seen
            known.seen += 1
            known.waiting += bool(seen.waits)
        self.snapshots += bool(threads)
        if len(self.threads) > MOST_THREADS:
            for tid in self.threads.keys() - {seen.tid for seen in threads}:
                self.ended.add(self.threads.pop(tid), self.holders.pop(tid, 0))

    def read_cpu(self) -> None:
        """Read the process's CPU time; `summary` uses the difference of the first and the last reading."""
        now_ns = other_process.cpu_ns(self.pid)
        if now_ns is not None:
            self.cpu_ns = (self.cpu_ns[0] if self.cpu_ns is not None else now_ns, now_ns)

    def summary(self) -> WatchedProcess:
        """Return the record of the process: how long it and each of its threads held the GIL and used a CPU, and where.

        Times are shares of the time watched: 1.0 is the whole of it, and CPU time of several threads may be more.
        """
        wall_ns = self._wall_ns
        threads = list(self._each_thread())
        seen = sum(thread.cpu for thread in threads)
        cpu = seen if self.cpu_ns is None else (self.cpu_ns[1] - self.cpu_ns[0]) / wall_ns
        threads += self._other_threads(cpu - seen)
        return WatchedProcess(
            pid=self.pid,
            wall_s=wall_ns * 1e-9,
            held=held_share(self.counts),
            unwatched=self.unwatched,
            curve=tuple(found.held / found.samples if found.samples else None for _, found in self.curve),
            cpu=cpu if self.cpu_ns is not None else sum(thread.cpu for thread in threads),
            thread_count=len(self.threads) + self.ended.threads,
            functions=self.places.functions() or (),
            threads=tuple(sorted(threads, key=lambda thread: (-(thread.held or 0), -thread.cpu))),
        )

    @property
    def _wall_ns(self) -> int:
        return max(1, self.end_ns - self.start_ns)

    def _held(self, samples: int) -> float | None:
        return samples / self.counts.samples if self.counts.samples else None

    def _each_thread(self) -> Iterator[WatchedThread]:
        for tid, thread in self.threads.items():
            held = self._held(self.holders[tid])
            waiting = self._waiting(thread, held)
            yield WatchedThread(
                tid=tid,
                name=thread.last.name,
                held=held,
                cpu=(thread.last.cpu_ns - thread.first.cpu_ns) / self._wall_ns,
                run_queue=(thread.last.run_queue_ns - thread.first.run_queue_ns) / self._wall_ns,
                waiting=waiting,
                off=self._off(thread, held, waiting),
            )

    def _waiting(self, thread: _Thread, held: float | None) -> float | None:
        """Return the share of the time for which a thread waited: at most what holding the GIL leaves of its life.

        Holding is sampled many times as often as waiting, so that it is the more precise of the two.
        """
        if thread.last.waits is None:
            return None
        snapshots = max(1, self.snapshots)
        return min(thread.waiting / snapshots, max(0.0, thread.seen / snapshots - (held or 0.0)))

    def _off(self, thread: _Thread, held: float | None, waiting: float | None) -> float | None:
        """Return the share of the watched time in which a thread lived, without the GIL and not waiting for it."""
        if held is None or waiting is None:
            return None
        return max(0.0, thread.seen / max(1, self.snapshots) - held - waiting)

    def _other_threads(self, cpu: float) -> list[WatchedThread]:
        """Put threads that ended or were too short to see into one; ``cpu`` is what no other thread accounts for."""
        ended = self.ended
        others = self.holders.total() - sum(self.holders[tid] for tid in self.threads) + ended.held
        if not ended.threads and not others:
            return []
        return [
            WatchedThread(
                tid=None,
                name=f"{ended.threads} that ended" if ended.threads else "not told apart",
                held=self._held(others),
                cpu=max(ended.cpu_ns / self._wall_ns, cpu),
                run_queue=ended.run_queue_ns / self._wall_ns,
                waiting=ended.waiting / max(1, self.snapshots),
                off=None,
            )
        ]

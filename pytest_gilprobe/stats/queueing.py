"""When a call queued for a core, as a watcher's looks show afterwards: which of them fell into the queue.

The kernel adds a stretch in the queue to a thread's ``run_delay`` when it is over. So where that has grown by d between
two looks, the thread queued for d until some moment between the two. *Source:* ``sched_info_arrive`` in the kernel's
``kernel/sched/stats.h``.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.model import GilTrace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_gilprobe.model import Sample

FOUND = 0.75
"""Share of a batch's queueing that must be found between its looks, for them to tell when it was."""

Span = tuple[int, int]
"""From a moment to another, `time.perf_counter_ns`; the first belongs to it."""


class Unqueued(NamedTuple):
    """A watched batch of one thread as if it had never queued, and what was seen while it did.

    The moments of ``trace`` are those of a clock that stands still while the thread may have queued; the batch is from
    ``start_ns`` to ``end_ns`` on it. So many ``looks`` fell into the queue for certain, and ``held`` of those found the
    GIL held.
    """

    trace: GilTrace
    start_ns: int
    end_ns: int
    looks: int
    held: int


class Stretch(NamedTuple):
    """A stretch in the queue of so many nanoseconds, which ended after one look and not after the next."""

    length_ns: int
    before_ns: int
    after_ns: int

    @property
    def possible(self) -> Span:
        """Return the span outside of which it did not lie."""
        return self.before_ns - self.length_ns, self.after_ns

    @property
    def certain(self) -> Span:
        """Return the span in which the thread queued wherever it ended; an empty one ends before its start."""
        return self.after_ns - self.length_ns, self.before_ns + 1


def unqueued(sample: Sample) -> Unqueued | None:
    """Cut the time in the queue out of a watched batch of one thread; None where looks do not show when that was."""
    threads = [thread for reading in sample.readings for thread in reading.threads]
    if sample.trace is None or len(threads) != 1 or threads[0].run_queue_ns is None:
        return None
    return without_queue(sample.trace, threads[0].start_ns, threads[0].end_ns, threads[0].run_queue_ns)


def without_queue(trace: GilTrace, start_ns: int, end_ns: int, told_ns: int) -> Unqueued | None:
    """Cut out of the time between two moments when the watched thread may have queued, ``told_ns`` in all.

    None where the looks do not show when that was.
    """
    if not trace.queue_ns:
        return None
    found = stretches(trace, start_ns, end_ns, told_ns)
    if sum(one.length_ns for one in found) < told_ns * FOUND:
        return None
    cut, certain = _apart((one.possible for one in found), start_ns, end_ns), [one.certain for one in found]
    looks = [at for at, moment in enumerate(trace.at_ns) if start_ns <= moment <= end_ns]
    kept = [at for at in looks if not _within(cut, trace.at_ns[at])]
    in_queue = [at for at in looks if _within(certain, trace.at_ns[at])]
    return Unqueued(
        trace=GilTrace(
            method=trace.method,
            at_ns=tuple(trace.at_ns[at] - _before(cut, trace.at_ns[at]) for at in kept),
            held=tuple(trace.held[at] for at in kept),
            late_ns=tuple(trace.late_ns[at] for at in kept),
            runnable=tuple(trace.runnable[at] for at in kept) if trace.runnable else (),
            same_core=tuple(trace.same_core[at] for at in kept) if trace.same_core else (),
        ),
        start_ns=start_ns,
        end_ns=end_ns - _before(cut, end_ns),
        looks=len(in_queue),
        held=sum(trace.held[at] for at in in_queue),
    )


def stretches(trace: GilTrace, start_ns: int, end_ns: int, told_ns: int) -> list[Stretch]:
    """List when the watched thread queued between two moments, in order.

    What is missing then of the ``told_ns`` nanoseconds that it queued there was after the last look.
    """
    found = [
        Stretch(has - had, before, after)
        for (before, after), (had, has) in zip(pairwise(trace.at_ns), pairwise(trace.queue_ns), strict=True)
        if has > had and after > start_ns and before < end_ns
    ]
    missing_ns = told_ns - sum(one.length_ns for one in found)
    if missing_ns > 0 and trace.at_ns and trace.at_ns[-1] < end_ns:
        found.append(Stretch(missing_ns, trace.at_ns[-1], end_ns))
    return found


def _apart(spans: Iterable[Span], start_ns: int, end_ns: int) -> list[Span]:
    """Cut spans that are in order to what lies between two moments, and each to what follows the one before it."""
    found: list[Span] = []
    for begun, ended in spans:
        first, last = max(begun, found[-1][1] if found else start_ns), min(ended, end_ns)
        if first < last:
            found.append((first, last))
    return found


def _within(spans: Sequence[Span], moment: int) -> bool:
    """Tell whether a moment lies in one of some spans, whose starts and ends are both in order."""
    at = bisect_right(spans, moment, key=lambda span: span[0])
    return at > 0 and moment < spans[at - 1][1]


def _before(spans: Sequence[Span], moment: int) -> int:
    """Return how much of the spans lies before a moment, in nanoseconds."""
    return sum(min(ended, moment) - begun for begun, ended in spans if begun < moment)

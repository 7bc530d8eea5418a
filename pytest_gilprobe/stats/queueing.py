"""When a call queued for a core, as a watcher's looks show afterwards: which of them fell into the queue.

The kernel adds a stretch in the queue to a thread's ``run_delay`` when it is over. So where that has grown by d between
two looks, the thread queued for d until some moment between the two. *Source:* ``sched_info_arrive`` in the kernel's
``kernel/sched/stats.h``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.model import GilTrace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_gilprobe.model import Sample

Span = tuple[int, int]
"""From a moment to another, `time.perf_counter_ns`; the first belongs to it."""


class Unqueued(NamedTuple):
    """A watched batch of one thread without the spans in which it queued for certain, and what was seen in those.

    The moments of ``trace`` are those of a clock that stands still in these spans; the batch is from ``start_ns`` to
    ``end_ns`` on it. It still holds the edges of the thread's stretches in the queue: ``edges_held_ns`` of them with
    the GIL. The thread queued for ``queued_ns`` in all, for ``held_ns`` of that with the GIL; of ``unknown_ns`` more
    nobody knows: there was no look in those stretches.
    """

    trace: GilTrace
    start_ns: int
    end_ns: int
    running_ns: int
    edges_held_ns: float
    held_ns: float
    unknown_ns: int
    queued_ns: int


class Stretch(NamedTuple):
    """A stretch in the queue of so many nanoseconds, which ended after one look and not after the next.

    The thread queued in the span that is ``certain`` wherever the stretch ended; one that is shorter than the time
    between the two looks has none. The rest, as long as the time between the looks, lies to both sides of it.
    """

    length_ns: int
    before_ns: int
    after_ns: int

    @property
    def certain(self) -> Span:
        """Return that span; an empty one ends before its start.

        The look before its end belongs to what is left: to the edges belong two looks on average, the one before the
        stretch ended and those from its start to the span, as to any other time so long.
        """
        return self.after_ns - self.length_ns, self.before_ns

    def is_within(self, start_ns: int, end_ns: int) -> bool:
        """Tell whether all of it lies between two moments for certain."""
        return start_ns <= self.before_ns - self.length_ns and self.after_ns <= end_ns


def unqueued(sample: Sample) -> Unqueued | None:
    """Cut the time in the queue out of a watched batch of one thread; None where looks do not show when that was."""
    threads = [thread for reading in sample.readings for thread in reading.threads]
    if sample.trace is None or len(threads) != 1 or threads[0].run_queue_ns is None:
        return None
    return without_queue(sample.trace, threads[0].start_ns, threads[0].end_ns, threads[0].run_queue_ns)


def without_queue(trace: GilTrace, start_ns: int, end_ns: int, told_ns: int) -> Unqueued | None:
    """Cut out of the time between two moments when the watched thread queued for certain, of ``told_ns`` in all.

    A thread that queues can neither take the GIL nor give it back. So the look with which a certain span ends tells
    whether the stretch was with the GIL, as do those within: the average, should other threads have passed it on. What
    no look shows is unknown. None where looks do not tell how long the thread had queued.
    """
    if not trace.queue_ns:
        return None
    cut: list[Span] = []
    edges_held = held = 0.0
    unknown = known = 0
    for one in _stretches(trace, start_ns, end_ns):
        first, last = max(one.certain[0], start_ns, cut[-1][1] if cut else start_ns), min(one.certain[1], end_ns)
        share = _held_share(trace, *one.certain) if one.certain[0] <= one.certain[1] else None
        inside = one.is_within(start_ns, end_ns)
        if share is not None and first < last:
            cut.append((first, last))
            length = one.length_ns if inside else last - first
            held += length * share
            edges_held += (length - (last - first)) * share
            known += length
        elif inside:
            unknown += one.length_ns
    unknown += max(0, told_ns - known - unknown)
    queued_ns = min(known + unknown, end_ns - start_ns)
    kept = [at for at, moment in enumerate(trace.at_ns) if start_ns <= moment <= end_ns and not _within(cut, moment)]
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
        running_ns=end_ns - start_ns - queued_ns,
        edges_held_ns=edges_held,
        held_ns=held,
        unknown_ns=min(unknown, queued_ns),
        queued_ns=queued_ns,
    )


def _stretches(trace: GilTrace, start_ns: int, end_ns: int) -> Iterator[Stretch]:
    """List when the watched thread queued, if some of it may have been between two moments, in order."""
    for (before, after), (had, has) in zip(pairwise(trace.at_ns), pairwise(trace.queue_ns), strict=True):
        if has > had and after > start_ns and before < end_ns:
            yield Stretch(has - had, before, after)


def _held_share(trace: GilTrace, first_ns: int, last_ns: int) -> float | None:
    """Return the share of the looks from one moment to another, both included, that found the GIL held."""
    looks = range(bisect_left(trace.at_ns, first_ns), bisect_right(trace.at_ns, last_ns))
    return sum(trace.held[at] for at in looks) / len(looks) if looks else None


def _within(spans: Sequence[Span], moment: int) -> bool:
    """Tell whether a moment lies in one of some spans, whose starts and ends are both in order."""
    at = bisect_right(spans, moment, key=lambda span: span[0])
    return at > 0 and moment < spans[at - 1][1]


def _before(spans: Sequence[Span], moment: int) -> int:
    """Return how much of the spans lies before a moment, in nanoseconds."""
    return sum(min(ended, moment) - begun for begun, ended in spans if begun < moment)

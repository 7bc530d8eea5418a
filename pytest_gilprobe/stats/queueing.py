"""Separate the time in which a thread queued for a CPU from the rest of a batch (calls timed together), by samples.

Each sample of the GIL records the thread's ``run_delay``, its total time in the run queue. The kernel adds a stay in
the run queue to it when the stay is over. So if ``run_delay`` has grown by d between two samples, the thread queued for
d until some moment between the two samples. *Source:* ``sched_info_arrive`` in the kernel's ``kernel/sched/stats.h``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from pytest_gilprobe.model.readings import GilSamples
from pytest_gilprobe.stats.gil_samples import SampledWindow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_gilprobe.model.readings import BatchReading

Span = tuple[int, int]
"""A span of time as its start and end, by `time.perf_counter_ns`; the start belongs to the span, the end does not."""


class QueueSplit(NamedTuple):
    """The sampled time of one thread, split into the time in which it certainly queued for a CPU and the rest.

    All times are in nanoseconds.

    Attributes:
        rest: The samples outside the time in which the thread certainly queued. That time is cut out of the clock:
            later moments, and the end, are earlier by its length. Some queueing remains, as it is not known at which
            moment between two samples the thread began or ceased to queue.
        rest_queued_held_ns: The queueing with the GIL held that ``rest`` still contains.
        running_ns: The thread's time without any queueing.
        queued_ns: All the thread's time in the run queue.
        queued_unknown_ns: The part of ``queued_ns`` in which no sample shows whether the GIL was held.
        queued_held_ns: The part of ``queued_ns`` in which samples show that the GIL was held.
    """

    rest: SampledWindow
    rest_queued_held_ns: float
    running_ns: int
    queued_ns: int
    queued_unknown_ns: int
    queued_held_ns: float

    @property
    def queued_known_ns(self) -> int:
        """The part of ``queued_ns`` in which samples show whether the GIL was held or free."""
        return self.queued_ns - self.queued_unknown_ns


def split_batch(batch: BatchReading) -> QueueSplit | None:
    """Split the time of a batch (calls timed together) into the time in which its thread queued for a CPU and the rest.

    All times in the result are in nanoseconds, moments by `time.perf_counter_ns`. The result is ``None`` if the batch
    has several threads, or if its samples or clocks do not show when the thread queued.
    """
    if batch.gil is None or len(batch.lanes) != 1:
        return None
    lane = batch.lanes[0]
    if lane.run_queue_ns is None:
        return None
    return split(SampledWindow(batch.gil, lane.start_ns, lane.end_ns), lane.run_queue_ns)


def split(window: SampledWindow, queued_ns: int) -> QueueSplit | None:
    """Split the sampled time of one thread into the time in which it queued for a CPU and the rest.

    ``window`` has the samples and the time to split; ``queued_ns`` is how many nanoseconds the thread queued in that
    time, as the system counts them. The samples may begin earlier, so that queueing which ended early in the window is
    seen. A thread that queues can neither take the GIL nor release it. So the samples in one stay in the run queue show
    whether the GIL was held for all of it. If they differ, because other threads took the GIL in turn, their mean
    counts. For a stay without a sample, it is unknown whether the GIL was held.

    Returns:
        ``None`` if the samples do not record how long the thread had queued.
    """
    samples, start_ns, end_ns = window
    if not samples.queue_ns:
        return None
    cut: list[Span] = []
    edges_held = held = 0.0
    unknown = known = 0
    for length, before, after in _stretches(window):
        # It queued for certain from (after - length) to before, wherever it ended; never, if that is not before.
        first, last = max(after - length, start_ns, cut[-1][1] if cut else start_ns), min(before, end_ns)
        share = _held_share(samples, after - length, before)
        is_inside = start_ns <= before - length and after <= end_ns
        if share is not None and first < last:
            # The sample at its end is left: so the edges have two samples on average, like any time of their length.
            cut.append((first, last))
            counted = length if is_inside else last - first
            held += counted * share
            edges_held += (counted - (last - first)) * share
            known += counted
        elif is_inside:
            unknown += length
    unknown += max(0, queued_ns - known - unknown)
    queued_ns = min(known + unknown, window.duration_ns)
    return QueueSplit(
        rest=_without(window, cut),
        rest_queued_held_ns=edges_held,
        running_ns=window.duration_ns - queued_ns,
        queued_ns=queued_ns,
        queued_unknown_ns=min(unknown, queued_ns),
        queued_held_ns=held,
    )


def _without(window: SampledWindow, cut: Sequence[Span]) -> SampledWindow:
    """Return a window with spans cut out of its clock's time; ``holder``, ``switches`` and ``queue_ns`` are lost."""
    samples = window.samples
    kept = [at for at in window.inside if not _is_in(cut, samples.at_ns[at])]
    lengths = list(accumulate((ended - begun for begun, ended in cut), initial=0))
    rest = GilSamples(
        method=samples.method,
        at_ns=tuple(samples.at_ns[at] - _length_before(cut, lengths, samples.at_ns[at]) for at in kept),
        held=tuple(samples.held[at] for at in kept),
        late_ns=tuple(samples.late_ns[at] for at in kept),
        runnable=tuple(samples.runnable[at] for at in kept) if samples.runnable else (),
        same_core=tuple(samples.same_core[at] for at in kept) if samples.same_core else (),
    )
    return SampledWindow(rest, window.start_ns, window.end_ns - _length_before(cut, lengths, window.end_ns))


def _stretches(window: SampledWindow) -> Iterator[tuple[int, int, int]]:
    """Yield the length of each stretch in the run queue that may overlap the window, and two moments.

    The stretch ended between these moments, which are those of two consecutive samples.
    """
    samples, start_ns, end_ns = window
    for (before, after), (had, has) in zip(pairwise(samples.at_ns), pairwise(samples.queue_ns), strict=True):
        if has > had and after > start_ns and before < end_ns:
            yield has - had, before, after


def _held_share(samples: GilSamples, first_ns: int, last_ns: int) -> float | None:
    """Return the share of samples from one moment to another that found the GIL held; ``None`` without samples."""
    inside = range(bisect_left(samples.at_ns, first_ns), bisect_right(samples.at_ns, last_ns))
    return sum(samples.held[at] for at in inside) / len(inside) if inside else None


def _is_in(spans: Sequence[Span], moment: int) -> bool:
    """Return whether a moment lies in one of the spans, whose starts and ends are both in order."""
    at = bisect_right(spans, moment, key=lambda span: span[0])
    return at > 0 and moment < spans[at - 1][1]


def _length_before(spans: Sequence[Span], lengths: Sequence[int], moment: int) -> int:
    """Return how much of the spans lies before a moment; ``lengths[i]`` is the length of the first ``i`` spans."""
    at = bisect_left(spans, moment, key=lambda span: span[0])
    if at == 0:
        return 0
    begun, ended = spans[at - 1]
    return lengths[at - 1] + min(ended, moment) - begun

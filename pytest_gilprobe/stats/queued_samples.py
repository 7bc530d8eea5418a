"""Find the samples that were taken while a thread waited for a CPU, from its total waiting time at each sample.

The kernel adds a wait to the thread's total only when the wait is over. So a sample that was taken in a wait does not
show it, and the first sample after the wait shows only how long it was. Such a wait may have ended at any moment
between the last two samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gilprobe.stats.gil_samples import SampledWindow

LEAST_CHANCE: Final = 0.1
"""A sample counts as possibly taken in its thread's wait for a CPU if the probability that it lies in the wait is at
least this. With a limit of 0, each sample before the end of a sleep would count: every sleep ends with a wait of some
microseconds."""


def certain(window: SampledWindow) -> frozenset[int]:
    """Return the indices of the samples in ``window`` at which the thread certainly waited for a CPU.

    If the thread's total waiting time grew by d from one sample to the next, a wait of length d ended between these two
    samples. So the wait began at least d before the later one. All samples taken less than d before the later one,
    except that one itself, therefore lie in the wait.
    """
    return frozenset(
        at for first, gap_ns, waited_ns in _waits(window) for at in _since(window, first, waited_ns - gap_ns)
    )


def possible(window: SampledWindow, run_queue_ns: int | None = None) -> frozenset[int]:
    """Return the indices of the samples in ``window`` at which the thread may have waited for a CPU.

    On a busy machine the sampler must wait for a CPU as well. Its next sample then comes so late that few samples
    certainly lie in the thread's wait. The samples that possibly lie in the wait matter too: a thread is often
    preempted at the end of a system call, so that all samples of the wait would count for that call.

    Args:
        window: The samples, of which those from its start to its end count.
        run_queue_ns: Nanoseconds for which the thread waited for a CPU from the window's start to its end. Waiting that
            no sample shows counts as one wait at the end. ``None`` if unknown.
    """
    found = {
        at
        for first, gap_ns, waited_ns in _waits(window)
        for at in _since(window, first, waited_ns - round(gap_ns * LEAST_CHANCE))
    }
    inside, queue_ns = window.inside, window.samples.queue_ns
    if run_queue_ns is not None and queue_ns and inside:
        found.update(_since(window, inside[-1], run_queue_ns - (queue_ns[inside[-1]] - queue_ns[inside[0]])))
    return frozenset(found)


def _waits(window: SampledWindow) -> Iterator[tuple[int, int, int]]:
    """Yield of each wait the last sample before its end, the time to the next sample, and its length; both in ns."""
    samples = window.samples
    if not samples.queue_ns:
        return
    for at in window.inside[:-1]:
        waited_ns = samples.queue_ns[at + 1] - samples.queue_ns[at]
        if waited_ns:
            yield at, samples.at_ns[at + 1] - samples.at_ns[at], waited_ns


def _since(window: SampledWindow, last: int, length_ns: int) -> Iterator[int]:
    """Yield the samples up to this one that were taken less than so long before it."""
    at_ns = window.samples.at_ns
    at = last
    while at >= window.inside.start and at_ns[at] > at_ns[last] - length_ns:
        yield at
        at -= 1

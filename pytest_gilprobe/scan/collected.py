"""Subtract full garbage collections from what was measured of a test's call: GIL samples, wall time and CPU time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.readings import GilSamples
    from pytest_gilprobe.scan.journal import Window


def leave_out(samples: GilSamples, window: Window, columns: Sequence[str]) -> tuple[GilSamples, Window]:
    """Return a test call's GIL samples and clocks as they would be without its full garbage collections.

    ``samples`` are the GIL samples of the call. ``window`` has the times of the call, and the begin and end of each
    collection in it (at least one). ``columns`` are the names of the fields of ``samples`` that have one value for each
    sample.

    Samples in a collection are dropped. Later samples, and the call's end, become earlier by the time that the
    collections before them took.

    During a collection, the thread either computes or queues for a CPU; the ratio of the two is assumed to be that of
    the whole call. The computing time is subtracted from the CPU times of the thread and of the process, the queueing
    time from the time for which the thread queued.
    """
    begins, ends = zip(*window.collections, strict=True)
    gone_ns = [0, *accumulate(end_ns - begin_ns for begin_ns, end_ns in window.collections)]
    # a sample is in no collection if as many have ended before it as have begun
    kept = [at for at, at_ns in enumerate(samples.at_ns) if bisect_right(begins, at_ns) == bisect_left(ends, at_ns)]
    over = [bisect_left(ends, samples.at_ns[at]) for at in kept]
    found: dict[str, Any] = {name: _chosen(getattr(samples, name), kept) for name in columns}
    found["at_ns"] = tuple(at_ns - gone_ns[spans] for at_ns, spans in zip(found["at_ns"], over, strict=True))
    if samples.queue_ns:
        queued_ns = [0, *accumulate(_queued_ns(samples, span) for span in window.collections)]
        found["queue_ns"] = tuple(ns - queued_ns[spans] for ns, spans in zip(found["queue_ns"], over, strict=True))
    queue_ns = window.run_queue_ns or 0
    waited = queue_ns / max(1, queue_ns + window.cpu_ns)
    computed_ns = round(gone_ns[-1] * (1 - waited))
    return replace(samples, **found), replace(
        window,
        end_ns=window.end_ns - gone_ns[-1],
        cpu_ns=max(0, window.cpu_ns - computed_ns),
        process_cpu_ns=max(0, window.process_cpu_ns - computed_ns),
        run_queue_ns=None if window.run_queue_ns is None else round(queue_ns - gone_ns[-1] * waited),
    )


def _chosen(column: Sequence[Any], kept: Sequence[int]) -> tuple[Any, ...]:
    return tuple(column[at] for at in kept) if column else ()


def _queued_ns(samples: GilSamples, span: tuple[int, int]) -> int:
    """Return how long a collection queued for a CPU, by the samples around it: its part of the time between them."""
    before, after = bisect_left(samples.at_ns, span[0]) - 1, bisect_right(samples.at_ns, span[1])
    if before < 0 or after == len(samples.at_ns):
        return 0
    grew_ns = samples.queue_ns[after] - samples.queue_ns[before]
    return round(grew_ns * (span[1] - span[0]) / (samples.at_ns[after] - samples.at_ns[before]))

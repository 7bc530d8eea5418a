"""Leave full garbage collections out of a test's call: the samples in them, their time, and their CPU time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.readings import GilSamples
    from pytest_gilprobe.scan.journal import Window


def leave_out(samples: GilSamples, window: Window, columns: Sequence[str]) -> tuple[GilSamples, Window]:
    """Return the samples and clocks of a test's call as if Python had not collected garbage in it.

    ``window`` has the call's clocks and its full garbage collections. ``samples`` are the samples around the call, and
    ``columns`` the names of their columns. Moments after a collection become earlier by the time that it took. No other
    Python code runs during a collection, but the collection may wait for a CPU as often as the rest of the call does.
    """
    spans = window.collections
    total_ns = sum(end_ns - begin_ns for begin_ns, end_ns in spans)
    kept = [at for at, at_ns in enumerate(samples.at_ns) if not any(begin <= at_ns <= end for begin, end in spans)]
    found: dict[str, Any] = {name: _chosen(getattr(samples, name), kept) for name in columns}
    found["at_ns"] = tuple(at_ns - _before(at_ns, spans) for at_ns in found["at_ns"])
    if samples.queue_ns:
        queued = [_queued_ns(samples, span) for span in spans]
        ends = [end_ns for _, end_ns in spans]
        gone = [sum(queued[: bisect_right(ends, samples.at_ns[at])]) for at in kept]
        found["queue_ns"] = tuple(ns - less for ns, less in zip(found["queue_ns"], gone, strict=True))
    waited = min(1.0, (window.run_queue_ns or 0) / max(1, window.end_ns - window.start_ns))
    computed_ns = round(total_ns * (1 - waited))
    return replace(samples, **found), replace(
        window,
        end_ns=window.end_ns - total_ns,
        cpu_ns=max(0, window.cpu_ns - computed_ns),
        process_cpu_ns=max(0, window.process_cpu_ns - computed_ns),
        run_queue_ns=None if window.run_queue_ns is None else round(window.run_queue_ns - total_ns * waited),
    )


def _chosen(column: Sequence[Any], kept: Sequence[int]) -> tuple[Any, ...]:
    return tuple(column[at] for at in kept) if column else ()


def _before(at_ns: int, spans: Sequence[tuple[int, int]]) -> int:
    return sum(end - begin for begin, end in spans if end < at_ns)


def _queued_ns(samples: GilSamples, span: tuple[int, int]) -> int:
    """Return how long a collection queued for a CPU, by the samples around it: its part of the time between them."""
    before, after = bisect_left(samples.at_ns, span[0]) - 1, bisect_right(samples.at_ns, span[1])
    if before < 0 or after == len(samples.at_ns):
        return 0
    grew_ns = samples.queue_ns[after] - samples.queue_ns[before]
    return round(grew_ns * (span[1] - span[0]) / (samples.at_ns[after] - samples.at_ns[before]))

"""Describe the places in the code that hold the GIL, and how much more threads could gain without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.safe_text import safe_line
from pytest_gilprobe.model.thresholds import HARDLY_HELD
from pytest_gilprobe.model.words import Gil, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.holders import Holder
    from pytest_gilprobe.model.results import GilResult, WorkloadResult

WORTH_TELLING: Final = 1.1
"""A report names a place in the code as worth changing only if the highest possible speed-up of threads would be at
least this many times as large without the GIL held there."""
LONGEST_CODE: Final = 60
"""Largest number of characters of an expression that a sentence quotes: a line of a terminal has 80."""
MOSTLY: Final = 0.5
"""A caution names a place in the code only if it holds the GIL for at least this share of the time for which the GIL is
held, by the low end of the share's interval."""


def place(holder: Holder) -> str:
    """Format a place in the code that holds the GIL: ``json.loads(raw) at shop/orders.py:10``."""
    return f"{what(holder)}{at(holder)}"


def what(holder: Holder) -> str:
    """Return the source text at a place that holds the GIL, shortened; the function's name if there is no text."""
    return safe_line(holder.code or holder.function, limit=LONGEST_CODE)


def at(holder: Holder) -> str:
    """Format the file and line of a place that holds the GIL: `` at shop/orders.py:10``; empty if unknown."""
    if holder.file is None:
        return ""
    line = "" if holder.line is None else f":{holder.line}"
    return f" at {safe_line(holder.file)}{line}"


def mostly_in(holders: Sequence[Holder | None]) -> str:
    """Format the first of ``holders``, places that hold the GIL, as the end of a caution.

    An example is ``; it does so in query(1) at app.py:10``. The result is empty if there is no such place, or if its
    share of the time for which the GIL is held may be less than `MOSTLY` (a half).
    """
    first = holders[0] if holders else None
    return "" if first is None or first.share.low < MOSTLY else f"; it does so in {place(first)}"


def ceiling_without(gil: GilResult, holder: Holder, workers: int) -> float | None:
    """Return the highest speed-up that threads could reach if the code at ``holder`` ran without the GIL.

    The GIL would then be held for the remaining share of the time only, and no number of threads exceeds one divided by
    that share. The result is at most ``workers``, and ``None`` if the GIL-held share is unknown. *Source:*
    ``threads_ceiling`` in `pytest_gilprobe.model.results.GilResult`.
    """
    if gil.held_fraction is None:
        return None
    rest = gil.held_fraction.value * (1 - holder.share.value)
    return float(workers) if rest < HARDLY_HELD else min(float(workers), 1 / rest)


def what_follows(result: WorkloadResult) -> str | None:
    """Say which speed-up threads could reach at most if the code that holds the GIL for longest ran without it.

    Return ``None`` if that is unknown or less than 1.1 times (`WORTH_TELLING`) what threads can reach today, if calls
    are not known to hold the GIL, or if calls are awaited: threads are not measured for awaited calls.

    The text says "let go of the GIL" of native code. It says "ran without the GIL" of Python code, which cannot let go
    of the GIL, but can run in a Python that has none.
    """
    gil, workers = result.gil, result.workers
    if result.status is not Status.PROBED or not gil.holders or gil.held_fraction is None:
        return None
    if result.event_loop is not None or result.verdict.gil not in {Gil.HELD, Gil.PARTIAL}:
        return None
    largest = gil.holders[0]
    ceiling = ceiling_without(gil, largest, workers)
    now = min(float(workers), gil.threads_ceiling or float(workers))
    if ceiling is None or ceiling < now * WORTH_TELLING:
        return None
    verb = "ran without the GIL" if largest.native is None else "let go of the GIL"
    share = numbers.percent(largest.share.value)
    return f"if {what(largest)} ({share}) {verb}, threads could give up to {numbers.about(ceiling)}"

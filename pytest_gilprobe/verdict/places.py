"""Say what follows from where in the code the GIL is held: the place in words, and the ceiling without that place."""

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
"""Factor by which the ceiling of threads must rise without a holder before that is told."""
LONGEST_CODE: Final = 60
"""Most characters of an expression that a sentence quotes: a line of a terminal has 80."""
MOSTLY: Final = 0.5
"""Share of the held time, by the low end of its interval, from which a caution names a place in the code."""


def place(holder: Holder) -> str:
    """Format a place: ``json.loads(raw) at shop/orders.py:10``."""
    return f"{what(holder)}{at(holder)}"


def what(holder: Holder) -> str:
    """Return a holder's source text, shortened, or else the function's name."""
    return safe_line(holder.code or holder.function, limit=LONGEST_CODE)


def at(holder: Holder) -> str:
    """Format the file and line, such as `` at shop/orders.py:10``; empty if unknown."""
    if holder.file is None:
        return ""
    line = "" if holder.line is None else f":{holder.line}"
    return f" at {safe_line(holder.file)}{line}"


def mostly_in(holders: Sequence[Holder | None]) -> str:
    """Format the place of the first holder as the end of a caution; empty without one, or with less than `MOSTLY`."""
    first = holders[0] if holders else None
    return "" if first is None or first.share.low < MOSTLY else f"; it does so in {place(first)}"


def ceiling_without(gil: GilResult, holder: Holder, workers: int) -> float | None:
    """Return the speed-up that threads could give at most if one holder ran without the GIL; ``None`` if unknown.

    The GIL would then be held for the remaining share of the time only, and no number of threads exceeds one divided by
    that share. *Source:* ``threads_ceiling`` in `pytest_gilprobe.model.results.GilResult`.
    """
    if gil.held_fraction is None:
        return None
    rest = gil.held_fraction.value * (1 - holder.share.value)
    return float(workers) if rest < HARDLY_HELD else min(float(workers), 1 / rest)


def what_follows(result: WorkloadResult) -> str | None:
    """Say how far threads could get if the largest holder ran without the GIL.

    Return ``None`` if that is unknown, if threads would gain little, if the GIL is not in the way, or if calls are
    awaited: threads are not measured for such calls.

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

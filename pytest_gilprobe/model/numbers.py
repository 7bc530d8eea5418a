"""Format numbers as text: times, sizes, percentages, speed-ups, confidence intervals."""

from __future__ import annotations

import math

from pytest_gilprobe.model.estimate import Estimate

NOT_AVAILABLE = "n/a"
"""The text shown for a value that could not be measured."""
LEAST_S = 0.5e-9
"""Shortest duration, in seconds, that a report shows: a shorter one is left out, since no clock here can measure
it."""
LEAST_CORES = 0.05
"""Smallest number of busy cores that is shown: a smaller one is within the error of a process's clocks."""
MICRO = "\N{MICRO SIGN}s"

_SECONDS_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, MICRO), (1e-9, "ns"))
_BYTE_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))
_PLAIN_LIMIT = 1e6


def seconds(value: float | None) -> str:
    """Format a duration given in seconds: ``4.1 us`` (with a micro sign), ``25 ms``, ``1.3 s``; ``None`` as ``n/a``."""
    return NOT_AVAILABLE if value is None else _scaled(value, _SECONDS_UNITS)


def size(value: float | None) -> str:
    """Format a number of bytes, such as ``41 MiB``; ``None`` as ``n/a``."""
    return NOT_AVAILABLE if value is None else _scaled(value, _BYTE_UNITS)


def percent(share: float | None) -> str:
    """Format a share (1.0 is ``100 %``) as a percentage: 0.004 as ``<1 %``, 0.996 as ``>99 %``, ``None`` as ``n/a``."""
    if share is None:
        return NOT_AVAILABLE
    value = share * 100
    if not _plain(value):
        return f"{value:.0e} %"
    rounded = round(value)
    if (rounded == 0 and value) or (rounded == 100 and not math.isclose(value, 100)):  # noqa: PLR2004
        return {0: "<1 %", 100: ">99 %" if value < rounded else ">100 %"}[rounded]
    return f"{rounded} %"


def share_span(share: Estimate) -> str:
    """Format a share's confidence interval as percentages, without its value: ``41 % to 45 %``."""
    return f"{percent(share.low)} to {percent(share.high)}"


def cores(number: float | None) -> str:
    """Format a number of cores with two significant digits, such as ``0.93``, but from 100 on as a whole number.

    The result is empty if the number is ``None`` or below `LEAST_CORES`.
    """
    if number is None or number < LEAST_CORES:
        return ""
    return f"{number:.2g}" if number < 99.5 else f"{number:.0f}"  # noqa: PLR2004 the largest of two digits


def times(factor: float | None) -> str:
    """Format a speed-up with up to three digits, such as ``1.94x``; ``None`` as ``n/a``."""
    return NOT_AVAILABLE if factor is None else f"{_factor(factor)}x"


def about(factor: float | None) -> str:
    """Format a speed-up briefly, such as ``1.9x``; ``None`` as ``n/a``.

    A speed-up from 1 to 99 is rounded to one decimal; any other has up to three digits.
    """
    if factor is None:
        return NOT_AVAILABLE
    return f"{factor:.1f}x" if round(factor, 1) >= 1 and factor < 99.5 else times(factor)  # noqa: PLR2004


def interval(estimate: Estimate | None) -> str:
    """Format an estimate's confidence interval without its value: ``[1.88, 1.99]``; ``None`` as empty text."""
    return "" if estimate is None else f"[{_factor(estimate.low)}, {_factor(estimate.high)}]"


def speedup(estimate: Estimate | None) -> str:
    """Format a speed-up with its confidence interval: ``1.94x [1.88, 1.99]``; ``None`` as ``n/a``."""
    return f"{times(estimate.value)} {interval(estimate)}" if estimate else NOT_AVAILABLE


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Format a number with its noun: ``1 worker``, ``2 workers``.

    ``plural`` is the noun for any number but 1; ``None`` takes ``noun`` with an s.
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def calls(number: float) -> str:
    """Format a predicted number of calls, such as ``1300 calls``: rounded up to two significant digits, at least 1."""
    whole = max(1, math.ceil(number))
    step = 10 ** max(0, len(str(whole)) - 2)
    return count(-(-whole // step) * step, "call")


def _plain(value: float) -> bool:
    return abs(value) < _PLAIN_LIMIT


def _factor(value: float) -> str:
    if not _plain(value):
        return f"{value:.1e}"
    if not value:
        return "0"
    if abs(value) < 0.005:  # noqa: PLR2004 the smallest that two decimals show
        return f"{value:.1g}"
    return f"{value:.{2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0}f}"  # noqa: PLR2004 three digits


def _scaled(value: float, units: tuple[tuple[float, str], ...]) -> str:
    """Write ``value`` in the largest unit that gives at least 1, in two or three digits.

    The unit is that of the value in three digits: 999.7 us is 1.0 ms, not 1000 us.
    """
    if not value:
        return f"0 {units[-1][1] if units is _BYTE_UNITS else units[0][1]}"
    digits = abs(float(f"{value:.2e}"))
    scale, unit = next((pair for pair in units if digits >= pair[0]), units[-1])
    scaled = value / scale
    if not _plain(scaled) or abs(scaled) < 0.05:  # noqa: PLR2004 the smallest that one decimal shows
        return f"{scaled:.1e} {unit}"
    whole = abs(scaled) >= 9.95 or unit == "B"  # noqa: PLR2004 the largest that one decimal shows in two digits
    return f"{scaled:.0f} {unit}" if whole else f"{scaled:.1f} {unit}"

"""Tell whether a measured value has certainly changed from one report to another, and by how much."""

from __future__ import annotations

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.comparison import Change, ChangeKind
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.verdict import margins
from pytest_gilprobe.verdict.rule import Interval

LEAST_DIFFERENCE = 0.05
"""Two values whose confidence intervals do not overlap are called different only if the larger exceeds the smaller by
at least this share. The intervals alone do not suffice: they leave out how a value varies from run to run."""
LEAST_LOSS = 0.10
"""Smallest share by which a speed-up must have fallen to count as a regression."""
Measured = tuple[Estimate, Interval]
"""An estimate, and a wider interval than the estimate's own, which gates (checks that fail a test) use."""


def shifted(
    kind: ChangeKind,
    name: str,
    where: str,
    now: Measured | None,
    was: Measured | None,
) -> Change | None:
    """Return the change of a speed-up from ``was`` to ``now``; ``None`` if it is not certain, or one value is ``None``.

    ``kind`` is the kind of change, ``name`` the name of the strategy. In the change's message, ``where`` follows the
    name, such as ``in an executor``.
    """
    by = apart(now, was)
    if by is None or now is None or was is None:
        return None
    return Change(
        kind=kind,
        strategy=name,
        before=numbers.times(was[0].value),
        after=numbers.times(now[0].value),
        message=f"{name}{where} gave {numbers.speedup(was[0])}, now {numbers.speedup(now[0])}",
        ratio=by,
    )


def widened(estimate: Estimate | None) -> Measured | None:
    """Return an estimate with the wider interval that gates (checks that fail a test) use; ``None`` for ``None``."""
    return None if estimate is None else (estimate, margins.widened(estimate))


def apart(now: Measured | None, was: Measured | None) -> Estimate | None:
    """Return ``now`` / ``was`` if the values certainly differ; else, or if one is ``None``, return ``None``.

    They differ if the intervals that come with them do not overlap, and the larger value is at least 5 % (the share
    `LEAST_DIFFERENCE`) above the smaller one.
    """
    if now is None or was is None:
        return None
    (after, (low, high)), (before, (low_before, high_before)) = now, was
    found = ratio(after, before)
    if found is None or found.value <= 0 or (low <= high_before and low_before <= high):
        return None
    return found if size(found) >= 1 + LEAST_DIFFERENCE else None


def fell(after: Estimate | None, before: Estimate | None) -> bool:
    """Return whether ``after`` is lower than ``before`` by the share `LEAST_LOSS` (10 %) or more.

    The result is ``False`` if one of them is ``None``.
    """
    return after is not None and before is not None and after.value <= before.value * (1 - LEAST_LOSS)


def ratio(after: Estimate | None, before: Estimate | None) -> Estimate | None:
    """Return ``after / before`` with its interval; ``None`` if an estimate is missing or the ratio cannot be computed.

    The estimates must be independent. The interval contains the ratios of all values in their intervals. The ratio
    cannot be computed if an interval reaches zero, or if the ratio does not fit a float. *Source*: interval arithmetic;
    Cumming and Finch, "Inference by eye", 2005.
    """
    if after is None or before is None or after.low <= 0 or before.low <= 0:
        return None
    try:
        return Estimate(
            value=after.value / before.value,
            low=after.low / before.high,
            high=after.high / before.low,
            confidence=min(after.confidence, before.confidence),
        )
    except (ValueError, OverflowError, ZeroDivisionError):
        return None


def shift(by: Estimate) -> str:
    """Format the ratio of two values as a factor of 1 or more, whichever of them is larger: ``1.38x``."""
    return numbers.times(size(by))


def size(by: Estimate) -> float:
    """Return the ratio of two values as a factor of 1 or more: the ratio itself, or its inverse if it is below 1."""
    return max(by.value, 1 / by.value)

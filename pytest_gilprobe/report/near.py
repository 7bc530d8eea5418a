"""Say by which rule two strategies are told apart, where a verdict is open between two whose speed-ups are near."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.model import gains
from pytest_gilprobe.model.thresholds import CLOSE
from pytest_gilprobe.model.words import INCONCLUSIVE, SERIAL, Status
from pytest_gilprobe.report.brief import LEAST_PROBABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gilprobe.model.results import WorkloadResult

FEWEST = 2
"""Fewest strategies, beside serial, between which a verdict must be open for the rule to be worth a line."""


def rule(results: Iterable[WorkloadResult]) -> str:
    """Return the sentence, without a full stop, that says by which rule two strategies are told apart.

    The text is empty if no verdict in ``results`` is open between two strategies, beside serial, that were measured.
    """
    if not any(map(_is_open, results)):
        return ""
    return (
        f"where a verdict is open between two strategies: the one that costs more is the answer only if it is more "
        f"than {(CLOSE - 1) * 100:.0f} % faster than the other"
    )


def _is_open(result: WorkloadResult) -> bool:
    """Return whether a verdict leaves two strategies, beside serial, that were both measured."""
    if result.status is not Status.PROBED or result.verdict.strategy != INCONCLUSIVE:
        return False
    left = (name for name, share in result.verdict.candidates.items() if share >= LEAST_PROBABLE and name != SERIAL)
    parts = (result.parallel.get(name) for name in left)
    return sum(part is not None and gains.in_pool(part, result.workers) is not None for part in parts) >= FEWEST

"""State, below a report, by which rule a verdict chooses between strategies of similar speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.model import gains
from pytest_gilprobe.model.thresholds import CLOSE, WORTH_IT
from pytest_gilprobe.model.words import INCONCLUSIVE, SERIAL, Status
from pytest_gilprobe.report.brief import LEAST_PROBABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gilprobe.model.results import WorkloadResult

FEWEST = 2
"""The rule that chooses between strategies of similar speed is shown if an inconclusive verdict leaves at least this
many parallel strategies possible."""


def rule(results: Iterable[WorkloadResult]) -> str:
    """Return the rule that chooses between strategies of similar speed, as a sentence without a full stop.

    The rule: of the strategies that are nearly as fast as the fastest, the cheapest is advised. It matters for results
    that are inconclusive because two or more parallel strategies may be the best; the text is empty without such
    results. If serial calls may be the best in one of them, too, the sentence also says when these are advised.
    """
    found = [left for left in map(_left, results) if len(left - {SERIAL}) >= FEWEST]
    if not found:
        return ""
    percent = f"{(CLOSE - 1) * 100:.0f} %"
    if max(len(left - {SERIAL}) for left in found) == FEWEST:
        said = "where a verdict is open between two strategies: the one that costs more is the answer only if it is "
        said += f"more than {percent} faster than the other"
    else:
        said = "where a verdict is open between strategies: the answer is the cheapest of those than which none is "
        said += f"more than {percent} faster"
    if any(SERIAL in left for left in found):
        said += f"; where serial is left, too: serial is the answer if none gives {WORTH_IT:g}x"
    return said


def _left(result: WorkloadResult) -> set[str]:
    """Return the answers that an open verdict leaves: serial, and strategies that were measured; else none.

    Where two strategies are left, it is open by the rule which of them is near enough to the fastest; where one and
    serial are left, by the threshold alone, which the reason of the verdict names.
    """
    if result.status is not Status.PROBED or result.verdict.strategy != INCONCLUSIVE:
        return set()
    left = {name for name, share in result.verdict.candidates.items() if share >= LEAST_PROBABLE}
    measured = {name for name, part in result.parallel.items() if gains.in_pool(part, result.workers) is not None}
    return left & (measured | {SERIAL})

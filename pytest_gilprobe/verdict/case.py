"""What the rules look at that decide which cautions (warnings in the report) a workload gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_gilprobe.model.thresholds import EXTRA_CORES

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import Evidence
    from pytest_gilprobe.model.results import StrategyResult
    from pytest_gilprobe.model.words import Bound, Gil
    from pytest_gilprobe.strategies.contract import Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a rule looks at to decide whether a workload gets a caution (a warning in the report).

    ``evidence`` is all that the verdict is based on. ``bound`` and ``gil`` are the verdict's words for what limits the
    calls and for the GIL's part. ``advised`` is the strategy that the verdict advises; ``None`` if that is ``serial``
    or ``inconclusive``.
    """

    evidence: Evidence
    bound: Bound
    gil: Gil
    advised: Strategy | None = None

    @property
    def serial(self) -> StrategyResult:
        """The results of serial calls."""
        return self.evidence.serial

    @property
    def parallel_inside(self) -> bool:
        """Whether threads that a call itself uses keep further cores busy."""
        return (self.serial.extra_cores or 0.0) > EXTRA_CORES

    def sharing(self) -> list[tuple[Strategy, StrategyResult]]:
        """List the strategies that make calls in several threads of one process, with their results."""
        shared = (one for one in self.evidence.strategies if one.one_process and not one.one_thread)
        return [(one, self.evidence.results[one.name]) for one in shared]

"""The facts on a workload from which rules decide which cautions (warnings in the report) it gets."""

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
    """The facts on a workload from which a rule decides whether the workload gets a caution (a warning in the report).

    ``evidence`` has the measurements and estimates. ``bound`` says whether calls wait or compute, ``gil`` whether they
    hold the GIL. ``advised`` is the strategy that the verdict advises; ``None`` if that is ``serial`` or
    ``inconclusive``.
    """

    evidence: Evidence
    bound: Bound
    gil: Gil
    advised: Strategy | None = None

    @property
    def serial(self) -> StrategyResult:
        """The result of the serial calls, made one after the other."""
        return self.evidence.serial

    @property
    def parallel_inside(self) -> bool:
        """Whether a call computes in several threads of its own, which keep more than one core busy."""
        return (self.serial.extra_cores or 0.0) > EXTRA_CORES

    def sharing(self) -> list[tuple[Strategy, StrategyResult]]:
        """List the strategies that make calls in several threads of one process, with their results."""
        shared = (one for one in self.evidence.strategies if one.one_process and not one.one_thread)
        return [(one, self.evidence.results[one.name]) for one in shared]

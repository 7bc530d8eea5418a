"""Turn a measurement into a workload's result, and make the results of workloads that were not measured."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.readings import Evidence
from pytest_gilprobe.model.results import StrategyResult, Verdict, WorkloadResult
from pytest_gilprobe.model.words import INCONCLUSIVE, NOT_ASKED, SERIAL, Bound, Gil, Outcome, Status
from pytest_gilprobe.stats.reduce import reduce
from pytest_gilprobe.verdict import candidates, same_call, scaling, sharing
from pytest_gilprobe.verdict.judge import judge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gilprobe.model.machine import Machine
    from pytest_gilprobe.model.readings import Measurement
    from pytest_gilprobe.model.settings import Plan
    from pytest_gilprobe.strategies.contract import Strategy


def evidence_of(measurement: Measurement, machine: Machine, strategies: tuple[Strategy, ...]) -> Evidence:
    """Reduce a measurement to the evidence for a verdict: estimates with their intervals.

    ``machine`` is what is known of the machine; ``strategies`` are the parallel ones, the least costly first (threads
    before processes).
    """
    reduced = reduce(measurement, machine, strategies)
    found = Evidence(
        measurement=measurement,
        machine=machine,
        strategies=strategies,
        results=reduced.results,
        gil=reduced.gil,
        event_loop=reduced.event_loop,
    )
    return same_call.as_measured(found)


def result_of(plan: Plan, evidence: Evidence) -> WorkloadResult:
    """Judge the evidence and return the workload's result; its ``probe_time_s`` is 0, for the caller to replace."""
    verdict = judge(evidence).verdict
    alike = not same_call.differs(evidence.measurement)
    left = candidates.left(evidence, verdict.strategy) if alike else {}
    found = WorkloadResult(
        nodeid=plan.nodeid,
        status=Status.PROBED,
        workers=plan.workers,
        probe_time_s=0.0,
        verdict=replace(verdict, candidates=left),
        strategies=evidence.results,
        gil=evidence.gil,
        event_loop=evidence.event_loop,
        callee=evidence.measurement.callee,
        transfer=evidence.measurement.transfer,
    )
    if not alike:
        return found
    if evidence.measurement.ladders:
        found = scaling.with_curve(found, evidence)
    return sharing.with_sharing(found, evidence)


def unmeasured(plan: Plan, names: Iterable[str], status: Status, reason: str) -> WorkloadResult:
    """Return the result of a workload that was not measured, with ``status`` (such as not probed) and ``reason`` (why).

    ``names`` are the names of all strategies; all of them are reported as skipped.
    """
    skipped = StrategyResult(outcome=Outcome.SKIPPED, error=reason)
    not_asked = StrategyResult(outcome=Outcome.SKIPPED, error=NOT_ASKED, impossible=True)
    asked = plan.strategies | {SERIAL}
    return WorkloadResult(
        nodeid=plan.nodeid,
        status=status,
        reason=reason,
        workers=plan.workers,
        probe_time_s=0.0,
        verdict=Verdict(bound=Bound.INCONCLUSIVE, gil=Gil.UNKNOWN, strategy=INCONCLUSIVE, speedup=None, reason=reason),
        strategies={name: skipped if name in asked else not_asked for name in names},
    )


def broken_off(plan: Plan, names: Iterable[str], error: Exception) -> WorkloadResult:
    """Return the result of a workload for which this tool failed; its reason has the error with its traceback.

    ``names`` are the names of all strategies; all of them are reported as skipped.
    """
    steps = "".join(traceback.format_exception(error)).rstrip()
    reason = f"internal error, please report it: {type(error).__name__}: {error}\n{steps}"
    return unmeasured(plan, names, Status.ERROR, reason)

"""Judge again what an evidence file keeps (a session's raw readings), by the rules of the installed version."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe import __version__
from pytest_gilprobe.model import evidence_file
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.results import StrategyResult
from pytest_gilprobe.model.words import SERIAL, Outcome, Status
from pytest_gilprobe.verdict import expectations
from pytest_gilprobe.verdict.results import broken_off, evidence_of, result_of, unmeasured

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from pytest_gilprobe.model.evidence import EvidenceRecord
    from pytest_gilprobe.model.results import Caution, WorkloadResult
    from pytest_gilprobe.strategies.contract import Strategy

NOT_KNOWN = "not known here: the plugin or conftest file that has it is needed to judge it again"
"""Why a strategy is reported as skipped if an evidence file (a session's raw readings) names it, but this process does
not have it."""


def report_again(path: str | os.PathLike[str], find: Callable[[str], Strategy | None]) -> Report:
    """Return the report that a session would make now from the readings in the evidence file ``path``.

    ``find`` returns a strategy of this process by its name, or ``None``: then the strategy is reported as skipped.

    Raises:
        ReportError: the file cannot be read, or does not hold valid evidence.
    """
    header = evidence_file.read_header(path)
    again = {one.nodeid: judged_again(one, find) for one in evidence_file.read_records(path)}
    return Report(
        tool_version=__version__,
        created=header.created,
        environment=header.environment,
        workloads=tuple(again.values()),
    )


def judged_again(record: EvidenceRecord, find: Callable[[str], Strategy | None]) -> WorkloadResult:
    """Judge the readings of one workload in an evidence file again; return what a session would report now.

    ``record`` has the readings. ``find`` returns a strategy of this process by its name, or ``None``: then the strategy
    is left out of the judgement and reported as skipped. A strategy that ``record`` does not name is not in the result.
    A workload that was not measured gets the reason that ``record`` gives.
    """
    names = (SERIAL, *record.strategies)
    found = tuple(strategy for name in record.strategies if (strategy := find(name)) is not None)
    result = _judged(record, names, found)
    missing = StrategyResult(outcome=Outcome.SKIPPED, error=NOT_KNOWN, impossible=True)
    return replace(
        result,
        nodeid=record.nodeid,
        probe_time_s=record.probe_time_s,
        strategies={name: result.strategies.get(name, missing) for name in names},
    )


def _judged(record: EvidenceRecord, names: tuple[str, ...], strategies: tuple[Strategy, ...]) -> WorkloadResult:
    measurement, machine = record.measurement, record.machine
    if measurement is None or machine is None or not measurement.rounds or record.status is Status.NOT_PROBED:
        nothing = unmeasured(record.plan, names, record.status, record.reason or "not measured")
        return _with(record.added, replace(nothing, bad_ends=record.bad_ends))
    try:
        result = result_of(record.plan, evidence_of(measurement, machine, strategies))
    except Exception as error:  # noqa: BLE001 - one workload's evidence does not keep the others from their verdicts
        return broken_off(record.plan, names, error)
    added = record.added if result.verdict.strategy == record.strategy else ()
    return _with((*expectations.check(record.plan.expectation, result).cautions, *added), result)


def _with(cautions: tuple[Caution, ...], result: WorkloadResult) -> WorkloadResult:
    return replace(result, verdict=replace(result.verdict, cautions=(*result.verdict.cautions, *cautions)))

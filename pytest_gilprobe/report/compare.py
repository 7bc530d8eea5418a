"""Compare several reports: return one `Comparison`, or raise an error that says why they cannot be compared.

Each report but the first is compared with one other report, its reference. As a rule, the reference is the first
report. If a report is of a run without the GIL, its reference is a run of the same Python version with the GIL on a
machine that looks the same, if there is one. Speed-ups are compared if the numbers of workers agree. Times of serial
calls are compared, as ratios, if the machines look alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pytest_gilprobe.model.comparison import Cell, Column, CompareError, Comparison, Row
from pytest_gilprobe.model.report import Environment, Report
from pytest_gilprobe.model.results import WorkloadResult
from pytest_gilprobe.verdict import differences, shifts

_FEWEST = 2


def compare(reports: Sequence[tuple[str, Report]]) -> Comparison:
    """Compare reports workload by workload.

    Each report is compared with the first one. A report of a run without the GIL is compared with one of the same
    Python version with the GIL instead, if there is one from a machine that looks the same.

    Args:
        reports: at least two pairs of a name to show, such as the file's name, and the report.

    Raises:
        CompareError: there are fewer than two reports, or no workload appears in two of the reports.
    """
    if len(reports) < _FEWEST:
        msg = f"nothing to compare: found {len(reports)} report, needed: at least {_FEWEST}"
        raise CompareError(msg)
    columns = _columns(reports)
    found = [{workload.nodeid: workload for workload in report.workloads} for _, report in reports]
    often = Counter(nodeid for each in found for nodeid in each)
    shared = [nodeid for nodeid, reports_with_it in often.items() if reports_with_it >= _FEWEST]
    if not shared:
        sets = ", ".join(f"{name} has {len(each)}" for (name, _), each in zip(reports, found, strict=True))
        msg = f"nothing to compare: no workload is in two of the reports ({sets})"
        raise CompareError(msg)
    rows = tuple(_row(nodeid, columns, [each.get(nodeid) for each in found]) for nodeid in shared)
    return Comparison(
        columns=columns,
        rows=rows,
        unshared=tuple(tuple(nodeid for nodeid in each if often[nodeid] < _FEWEST) for each in found),
    )


# Columns


def _columns(reports: Sequence[tuple[str, Report]]) -> tuple[Column, ...]:
    environments = [report.environment for _, report in reports]
    names = [f"{at}. {name}" for at, (name, _) in enumerate(reports, 1)]
    labels = _unique(
        [each.label for each in environments],
        [f"{each.label} ({each.python})" for each in environments],
        [f"{each.label} ({name})" for each, (name, _) in zip(environments, reports, strict=True)],
        names,
    )
    return tuple(
        Column(label=said, name=name, report=report, reference=_reference(at, environments))
        for at, (said, (name, report)) in enumerate(zip(labels, reports, strict=True))
    )


def _unique(*choices: list[str]) -> list[str]:
    """Take the first way of naming in which no two reports share a name."""
    return next((labels for labels in choices if len(set(labels)) == len(labels)), choices[-1])


def _reference(at: int, environments: Sequence[Environment]) -> int | None:
    if at == 0:
        return None
    own = environments[at]
    if own.gil_enabled:
        return 0
    siblings = [
        position
        for position, other in enumerate(environments)
        if other.gil_enabled and _version(other) == _version(own) and own.looks_like(other)
    ]
    return min(siblings, key=lambda position: environments[position].free_threaded_build, default=0)


def _version(environment: Environment) -> tuple[str, ...]:
    return (environment.implementation, *environment.python.split(".")[:2])


# Rows


def _row(nodeid: str, columns: Sequence[Column], results: Sequence[WorkloadResult | None]) -> Row:
    return Row(nodeid=nodeid, cells=tuple(_cell(at, columns, results) for at in range(len(columns))))


def _cell(at: int, columns: Sequence[Column], results: Sequence[WorkloadResult | None]) -> Cell | None:
    new, reference = results[at], columns[at].reference
    if new is None:
        return None
    old = None if reference is None else results[reference]
    if reference is None or old is None:
        return Cell(result=new)
    same_machine = columns[at].report.environment.looks_like(columns[reference].report.environment)
    ratio = None
    if same_machine and new.serial is not None and old.serial is not None:
        ratio = shifts.ratio(new.serial.call_s, old.serial.call_s)
    return Cell(result=new, serial_ratio=ratio, changes=differences.changes(new, old, same_machine=same_machine))

"""Choose the texts of a comparison of reports, for every output format: columns, cells, changes, and cautions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pytest_gilprobe.model import gains, numbers
from pytest_gilprobe.model.comparison import Cell, Change, ChangeKind, Column, Comparison, Row
from pytest_gilprobe.model.report import SCHEMA_VERSION, Environment, Report
from pytest_gilprobe.model.results import StrategyResult
from pytest_gilprobe.model.safe_text import safe_line
from pytest_gilprobe.model.words import Status
from pytest_gilprobe.report import comparison_words, layout, machine_layout, near
from pytest_gilprobe.report.comparison_views import CellView, ColumnView, ComparisonView, RowView, SpeedupView
from pytest_gilprobe.report.curves_across import curves_across
from pytest_gilprobe.report.views import Fact, Note

if TYPE_CHECKING:
    from pytest_gilprobe.strategies.registry import Strategies

MARKS = (
    "* other advice than in the report that it is compared with; *? so it seems, but the intervals overlap, so it "
    "may be chance"
)
SCALE = "speed-ups are those of a pool, dispatch included"
"""Sentence below a comparison's table that says what the speed-ups in it include."""
SERIAL_TIME = (
    "a serial call's wall time, net of waits for a CPU (on Linux, with no more workers than CPUs), as a multiple of "
    "the reference's"
)
"""Explanation, for the readers of a comparison, of the figure that it shows as ``serial time``."""
_CAUTIONS = {
    "compilers-differ": "different compilers built the Pythons, so calls may be faster or slower for that reason alone",
    "machines-differ": "the machines differ, so only ratios within each run are compared",
    "start-methods-differ": "worker processes were started differently; processes may differ for that reason alone",
    "versions-differ": "the reports were made by different versions of pytest-gilprobe",
    "workers-differ": "the worker counts differ; speed-ups are compared only where they agree",
    "ceilings-differ": "the control loop scaled differently, so a machine was busy in one run; run again when idle",
}
_BOTH = 2
_CEILINGS_DIFFER = 0.15
"""If the speed-ups of the same control in two runs differ by more than this share, a machine was busy in one run."""
_NAMES_SHOWN = 5


def comparison_view(comparison: Comparison, strategies: Strategies) -> ComparisonView:
    """Turn a comparison of reports into texts that every output format can draw.

    ``strategies`` are the registered strategies, which provide the colors and icons of the answers.
    """
    shared = _shared_facts(comparison.columns)
    moves = [change for change in comparison.changes if change.kind is ChangeKind.MOVED]
    cells = [cell for row in comparison.rows for cell in row.cells if cell is not None]
    timed = f"serial time: {SERIAL_TIME}" if any(cell.serial_ratio for cell in cells) else ""
    rule = near.rule(cell.result for cell in cells)
    return ComparisonView(
        title="GIL probe: comparison",
        marks="; ".join(filter(None, (MARKS if moves else "", SCALE, timed, rule))),
        summary=_summary(comparison, sum(change.real for change in moves)),
        columns=tuple(_column(column, comparison.columns, shared) for column in comparison.columns),
        facts=shared,
        notes=comparison_words.notes(comparison),
        warnings=(*_cautions(comparison), *_unshared(comparison)),
        rows=tuple(_row(row, strategies, number) for number, row in enumerate(comparison.rows, 1)),
        tool=f"schema {SCHEMA_VERSION}",
        serial_time=SERIAL_TIME,
        rule=rule,
        curves=curves_across(comparison, strategies),
    )


def _summary(comparison: Comparison, moved: int) -> str:
    shared, columns = comparison.shared_by_all, len(comparison.columns)
    reports = "both reports" if columns == _BOTH else f"all {columns} reports"
    said = f"{numbers.count(shared, 'workload')} in {reports}"
    some = len(comparison.rows) - shared
    others = f", {some} in some of them" if some else ""
    return f"{said}{others}: {numbers.count(moved, 'move')} to another strategy"


def _column(column: Column, columns: Sequence[Column], shared: Sequence[Fact]) -> ColumnView:
    return ColumnView(
        label=safe_line(column.label),
        facts=tuple(fact for fact in _facts(column) if fact not in shared),
        against="" if column.reference is None else safe_line(columns[column.reference].label),
    )


def _shared_facts(columns: Sequence[Column]) -> tuple[Fact, ...]:
    """Find what is the same in all reports, to be said once."""
    first, *others = map(_facts, columns)
    return tuple(fact for fact in first if all(fact in facts for facts in others))


def _facts(column: Column) -> tuple[Fact, ...]:
    machine = column.report.environment
    facts = (
        ("report", safe_line(column.name)),
        ("Python", f"{machine_layout.python(machine)} ({machine_layout.build(machine)})"),
        ("compiler", safe_line(machine.compiler)),
        ("platform", safe_line(machine.platform)),
        ("CPUs", machine_layout.cpus(machine)),
        ("ceiling", machine_layout.ceiling(machine)),
        ("start method", safe_line(machine.start_method)),
    )
    return tuple(Fact(label=label, value=value) for label, value in facts if value)


def _row(row: Row, strategies: Strategies, number: int) -> RowView:
    measured = [cell.result for cell in row.cells if cell and cell.result.status is Status.PROBED]
    first, *others = (list(result.parallel) for result in measured) if measured else [[]]
    shared = [name for name in first if all(name in names for names in others)]
    cells = tuple(None if cell is None else _cell(cell, shared, strategies) for cell in row.cells)
    return RowView(number=number, nodeid=safe_line(row.nodeid), cells=cells)


def _cell(cell: Cell, shared: Sequence[str], strategies: Strategies) -> CellView:
    result, serial = cell.result, cell.serial_ratio
    moved = next((change for change in cell.changes if change.kind is ChangeKind.MOVED), None)
    return CellView(
        answer=layout.answer_view(result, strategies),
        speedups=tuple(
            _speedup(name, result.parallel[name], result.workers) for name in shared if name in result.parallel
        ),
        serial=numbers.times(serial.value) if serial else "",
        serial_interval=numbers.interval(serial),
        change=_was(moved),
        real=moved is not None and moved.real,
    )


def _speedup(name: str, part: StrategyResult, workers: int) -> SpeedupView:
    speedup = gains.in_pool(part, workers)
    return SpeedupView(
        strategy=name,
        value=numbers.times(speedup.value) if speedup else layout.no_speedup(part.outcome),
        interval=numbers.interval(speedup),
        outcome=str(part.outcome),
    )


def _was(moved: Change | None) -> str:
    if moved is None:
        return ""
    return f"was {moved.before}" if moved.real else f"was {moved.before}; the intervals overlap"


# Why to read it with care


def _cautions(comparison: Comparison) -> Iterator[Note]:
    reports = [column.report for column in comparison.columns]
    machines = [report.environment for report in reports]
    found = {
        "compilers-differ": [one.compiler for one in machines],
        "machines-differ": [f"{one.system}, {one.cpus_usable} of {one.cpus_logical} CPUs" for one in machines],
        "start-methods-differ": [one.start_method for one in machines],
        "versions-differ": [report.tool_version for report in reports],
    }
    for slug, values in found.items():
        if len(set(values)) > 1:
            yield _caution(slug, values, comparison.columns)
    results = [[cell.result for cell in row.cells if cell and cell.result.serial] for row in comparison.rows]
    if any(len({result.workers for result in each}) > 1 for each in results):
        yield _caution("workers-differ", map(_workers, reports), comparison.columns)
    if _ceilings_differ(machines):
        ceilings = (numbers.times(machine_layout.ceiling_gain(one)) for one in machines)
        yield _caution("ceilings-differ", ceilings, comparison.columns)


def _caution(slug: str, values: Iterable[str], columns: Iterable[Column]) -> Note:
    """Say why a comparison must be read with care; the values are in the order of the columns."""
    by_value: dict[str, list[str]] = {}
    for column, value in zip(columns, values, strict=True):
        by_value.setdefault(safe_line(value), []).append(safe_line(column.label))
    listed = "; ".join(f"{', '.join(labels)}: {value}" for value, labels in by_value.items())
    return Note(kind="caution", label="caution", lines=(f"{_CAUTIONS[slug]} ({listed})",), slug=slug)


def _workers(report: Report) -> str:
    found = sorted({workload.workers for workload in report.workloads if workload.serial})
    return " to ".join(map(str, dict.fromkeys(found[:1] + found[-1:]))) or "none"


def _ceilings_differ(machines: Iterable[Environment]) -> bool:
    """Tell whether the same control ran differently well: then a machine was busy in one run and not in another."""
    by_workers: dict[int | None, list[float]] = {}
    for one in machines:
        if gain := machine_layout.ceiling_gain(one):
            by_workers.setdefault(one.ceiling_workers, []).append(gain)
    return any(min(found) < max(found) * (1 - _CEILINGS_DIFFER) for found in by_workers.values())


def _unshared(comparison: Comparison) -> Iterator[Note]:
    for column, nodeids in zip(comparison.columns, comparison.unshared, strict=True):
        if nodeids:
            names = [safe_line(nodeid) for nodeid in nodeids[:_NAMES_SHOWN]]
            more = [f"and {len(nodeids) - _NAMES_SHOWN} more"] if len(nodeids) > _NAMES_SHOWN else []
            said = f"{numbers.count(len(nodeids), 'workload')} only in {safe_line(column.label)}, left out: "
            yield Note(kind="caution", label="caution", lines=(said + ", ".join([*names, *more]),), slug="sets-differ")

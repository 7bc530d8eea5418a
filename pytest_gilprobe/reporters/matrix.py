"""What to say of a comparison: columns, cells, what changed in words, and why to read it with care."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_gilprobe.comparison import Change, ChangeKind, Column, Comparison, Reservation, Row
from pytest_gilprobe.model import SCHEMA_VERSION, Estimate, Status, WorkloadResult
from pytest_gilprobe.reporters import changes, layout, numbers
from pytest_gilprobe.reporters.inert import inert
from pytest_gilprobe.reporters.views import CellView, ColumnView, ComparisonView, Fact, Note, RowView

MARKS = "* the advice moved against the reference; ? it moved, but within the intervals"
_RESERVATIONS = {
    "machines-differ": "the machines differ, so only ratios within each run are compared",
    "start-methods-differ": "worker processes were started differently; processes may differ for that reason alone",
    "versions-differ": "the reports were made by different versions of pytest-gilprobe",
    "workers-differ": "the worker counts differ; speed-ups are compared only where they agree",
    "ceilings-differ": "the control loop scaled differently, so a machine was busy in one run; run again when idle",
}
_TWICE = 2
_NAMES_SHOWN = 5


def comparison_view(comparison: Comparison) -> ComparisonView:
    """Lay out a comparison: the same content for every medium."""
    shared = _shared_facts(comparison.columns)
    moved = {changes.where(change): change for change in comparison.changes if change.kind is ChangeKind.MOVED}
    return ComparisonView(
        title="GIL probe: comparison",
        marks=MARKS if moved else "",
        summary=_summary(comparison),
        columns=tuple(_column(column, comparison.columns, shared) for column in comparison.columns),
        facts=shared,
        notes=changes.notes(comparison),
        warnings=(*_reservations(comparison), *_unshared(comparison)),
        rows=tuple(_row(row, number, moved) for number, row in enumerate(comparison.rows, 1)),
        tool=f"schema {SCHEMA_VERSION}",
    )


def _summary(comparison: Comparison) -> str:
    shared, columns = comparison.shared_by_all, len(comparison.columns)
    moved = sum(change.kind is ChangeKind.MOVED and change.real for change in comparison.changes)
    reports = "both reports" if columns == _TWICE else f"all {columns} reports"
    said = f"{numbers.count(shared, 'workload')} in {reports}"
    some = len(comparison.rows) - shared
    others = f", {some} in some of them" if some else ""
    return f"{said}{others}: {numbers.count(moved, 'move')} to another strategy"


def _column(column: Column, columns: Sequence[Column], shared: Sequence[Fact]) -> ColumnView:
    return ColumnView(
        label=inert(column.label),
        facts=tuple(fact for fact in _facts(column) if fact not in shared),
        against="" if column.reference is None else inert(columns[column.reference].label),
    )


def _shared_facts(columns: Sequence[Column]) -> tuple[Fact, ...]:
    """Find what is the same in all reports, to be said once."""
    first, *others = map(_facts, columns)
    return tuple(fact for fact in first if all(fact in facts for facts in others))


def _facts(column: Column) -> tuple[Fact, ...]:
    machine = column.report.environment
    facts = (
        ("report", inert(column.name)),
        ("Python", f"{layout.python(machine)} ({layout.build(machine)})"),
        ("compiler", inert(machine.compiler)),
        ("platform", inert(machine.platform)),
        ("CPUs", layout.cpus(machine)),
        ("ceiling", layout.ceiling(machine)),
        ("start method", inert(machine.start_method)),
    )
    return tuple(Fact(label=label, value=value) for label, value in facts if value)


def _row(row: Row, number: int, moved: dict[tuple[str, int], Change]) -> RowView:
    cells = [
        None if cell is None else _cell(cell, row.serial_ratios[at], moved.get((row.nodeid, at)))
        for at, cell in enumerate(row.cells)
    ]
    return RowView(number=number, nodeid=inert(row.nodeid), cells=tuple(cells))


def _cell(result: WorkloadResult, serial: Estimate | None, moved: Change | None) -> CellView:
    speedup = result.threads.speedup
    instead = layout.no_speedup(result.threads.outcome) if result.status is Status.PROBED else ""
    return CellView(
        answer=layout.answer(result),
        threads=numbers.times(speedup.value) if speedup else instead,
        interval=numbers.interval(speedup),
        outcome=str(result.threads.outcome),
        serial=numbers.times(serial.value) if serial else "",
        serial_interval=numbers.interval(serial),
        change=_was(moved),
        real=moved is not None and moved.real,
    )


def _was(moved: Change | None) -> str:
    if moved is None:
        return ""
    return f"was {moved.before}" if moved.real else f"was {moved.before}, within the intervals"


# Why to read it with care


def _reservations(comparison: Comparison) -> Iterator[Note]:
    for reservation in comparison.warnings:
        yield Note(kind="caution", label="caution", lines=(_reserved(reservation, comparison),), slug=reservation.slug)


def _reserved(reservation: Reservation, comparison: Comparison) -> str:
    by_value: dict[str, list[str]] = {}
    for column, value in zip(comparison.columns, reservation.values, strict=True):
        by_value.setdefault(inert(value), []).append(inert(column.label))
    listed = "; ".join(f"{', '.join(labels)}: {value}" for value, labels in by_value.items())
    return f"{_RESERVATIONS[reservation.slug]} ({listed})"


def _unshared(comparison: Comparison) -> Iterator[Note]:
    for column, nodeids in zip(comparison.columns, comparison.unshared, strict=True):
        if nodeids:
            names = [inert(nodeid) for nodeid in nodeids[:_NAMES_SHOWN]]
            more = [f"and {len(nodeids) - _NAMES_SHOWN} more"] if len(nodeids) > _NAMES_SHOWN else []
            said = f"{numbers.count(len(nodeids), 'workload')} only in {inert(column.label)}, left out: "
            yield Note(kind="caution", label="caution", lines=(said + ", ".join([*names, *more]),), slug="sets-differ")

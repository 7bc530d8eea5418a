"""What to say of a comparison: columns, cells, what changed in words, and why to read it with care."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from pytest_gilprobe import compare
from pytest_gilprobe.comparison import Change, ChangeKind, Column, Comparison, Reservation, Row
from pytest_gilprobe.model import SCHEMA_VERSION, Estimate, Status, WorkloadResult
from pytest_gilprobe.reporters import layout, numbers
from pytest_gilprobe.reporters.inert import inert
from pytest_gilprobe.reporters.views import CellView, ColumnView, ComparisonView, Fact, Note, RowView

SAME = "no difference that the intervals support"
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
    names = _short_names(comparison.rows)
    notes = tuple(_sentences(comparison, names))
    moved = {_where(change): change for change in comparison.changes if change.kind is ChangeKind.MOVED}
    return ComparisonView(
        title="GIL probe: comparison",
        marks=MARKS if moved else "",
        summary=_summary(comparison),
        columns=tuple(_column(column, comparison.columns) for column in comparison.columns),
        notes=notes or (Note(kind="reason", label="same", lines=(SAME,)),),
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


def _column(column: Column, columns: Sequence[Column]) -> ColumnView:
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
    return ColumnView(
        label=inert(column.label),
        facts=tuple(Fact(label=label, value=value) for label, value in facts if value),
        against="" if column.reference is None else inert(columns[column.reference].label),
    )


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
        serial="" if serial is None else numbers.speedup(serial),
        change=_was(moved),
        real=moved is not None and moved.real,
    )


def _was(moved: Change | None) -> str:
    if moved is None:
        return ""
    return f"was {moved.before}" if moved.real else f"was {moved.before}, within the intervals"


# What changed, in words


def _short_names(rows: Iterable[Row]) -> dict[str, str]:
    """Name each workload by its test alone where that is unique, else by its whole node id."""
    tests = {row.nodeid: row.nodeid.partition("::")[2] or row.nodeid for row in rows}
    often = Counter(tests.values())
    return {nodeid: inert(test if often[test] == 1 else nodeid) for nodeid, test in tests.items()}


def _sentences(comparison: Comparison, names: dict[str, str]) -> Iterator[Note]:
    """One sentence for each workload and report with changes: moves first, then what broke, then numbers."""
    rows = {row.nodeid: row for row in comparison.rows}
    grouped = [(key, list(group)) for key, group in groupby(comparison.changes, _where)]
    for (nodeid, at), changes in sorted(grouped, key=lambda item: (_rank(item[1]), item[0][1])):
        row, column = rows[nodeid], comparison.columns[at]
        against = comparison.columns[changes[0].reference].label
        parts = [_phrase(change, row, inert(against)) for change in changes]
        worse = any(change.worse for change in changes)
        yield Note(
            kind="warning" if worse else "change",
            label=inert(column.label),
            lines=(f"{names[nodeid]} {'; '.join(parts)}",),
        )


def _where(change: Change) -> tuple[str, int]:
    return change.nodeid, change.column


def _rank(changes: Sequence[Change]) -> int:
    kinds = {change.kind for change in changes if change.real}
    return next((at for at, kind in enumerate(ChangeKind) if kind in kinds), len(ChangeKind))


def _phrase(change: Change, row: Row, against: str) -> str:
    new, old = row.cells[change.column], row.cells[change.reference]
    if change.kind is ChangeKind.MOVED:
        return _moved(change, new)
    if change.kind is ChangeKind.OUTCOME:
        return f"{change.strategy}: {change.after} (in {against}: {change.before})"
    if change.kind is ChangeKind.SPEEDUP and new and old and change.strategy:
        after, before = compare.part(new, change.strategy).speedup, compare.part(old, change.strategy).speedup
        return f"{change.strategy} give {numbers.times_or(after)} instead of {numbers.times_or(before)} in {against}"
    return f"its serial calls are {_slower(change.ratio)} than in {against}"


def _moved(change: Change, new: WorkloadResult | None) -> str:
    said = f"moves from {change.before} to {change.after}"
    if not change.real:
        return f"{said}, but the intervals do not support a difference"
    gain = layout.answer_speedup(new) if new else ""
    return f"{said}, {gain}" if gain else said


def _slower(ratio: Estimate | None) -> str:
    if ratio is None:
        return numbers.NOT_AVAILABLE
    slower = ratio.value > 1
    factor = ratio.value if slower else 1 / ratio.value
    word = "slower" if slower else "faster"
    return f"{numbers.about(factor)} {word}" if factor >= _TWICE else f"{numbers.percent(abs(ratio.value - 1))} {word}"


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

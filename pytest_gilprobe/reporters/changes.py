"""What changed from one report to another, in words: a sentence for each move, and one for all that shifted alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from pytest_gilprobe import compare
from pytest_gilprobe.comparison import Change, ChangeKind, Comparison, Row
from pytest_gilprobe.model import Estimate, Strategy, WorkloadResult
from pytest_gilprobe.reporters import layout, numbers
from pytest_gilprobe.reporters.inert import inert
from pytest_gilprobe.reporters.views import Note

SAME = "no difference that the intervals support"
MOST_NAMED = 8
"""Workloads that one sentence names; the table has them all."""
_ALONE = (ChangeKind.MOVED, ChangeKind.OUTCOME)
_TWICE = 2


def notes(comparison: Comparison) -> tuple[Note, ...]:
    """Say what changed: moves first, then what broke, then report by report what gained, lost or slowed down."""
    names = _short_names(comparison.rows)
    rows = {row.nodeid: row for row in comparison.rows}
    grouped = [list(group) for _, group in groupby(comparison.changes, where)]
    alone = [group for group in grouped if any(change.kind in _ALONE for change in group)]
    shifted = [change for group in grouped if group not in alone for change in group]
    said = [_sentence(group, rows, names, comparison) for group in sorted(alone, key=_rank)]
    said += _shifts(shifted, rows, names, comparison)
    return tuple(said) or (Note(kind="reason", label="same", lines=(SAME,)),)


def where(change: Change) -> tuple[str, int]:
    """Give the cell of a comparison that a change is about: its workload and its report."""
    return change.nodeid, change.column


def _short_names(rows: Iterable[Row]) -> dict[str, str]:
    """Name each workload by its test alone where that is unique, else by its whole node id."""
    tests = {row.nodeid: row.nodeid.partition("::")[2] or row.nodeid for row in rows}
    often = Counter(tests.values())
    return {nodeid: inert(test if often[test] == 1 else nodeid) for nodeid, test in tests.items()}


# One workload in one report


def _rank(group: Sequence[Change]) -> tuple[int, int]:
    kinds = {change.kind for change in group if change.real}
    return next((at for at, kind in enumerate(ChangeKind) if kind in kinds), len(ChangeKind)), group[0].column


def _sentence(group: Sequence[Change], rows: dict[str, Row], names: dict[str, str], comparison: Comparison) -> Note:
    nodeid, at = where(group[0])
    against = inert(comparison.columns[group[0].reference].label)
    parts = [_phrase(change, rows[nodeid], against) for change in group]
    return Note(
        kind="warning" if any(change.worse for change in group) else "change",
        label=inert(comparison.columns[at].label),
        lines=(f"{names[nodeid]} {'; '.join(parts)}",),
    )


def _phrase(change: Change, row: Row, against: str) -> str:
    if change.kind is ChangeKind.MOVED:
        return _moved(change, row.cells[change.column])
    if change.kind is ChangeKind.OUTCOME:
        return f"{change.strategy}: {change.after} (in {against}: {change.before})"
    if change.kind is ChangeKind.SPEEDUP:
        return f"{change.strategy} give {_instead(change, row)} in {against}"
    slower = change.ratio is not None and change.ratio.value > 1
    return f"its serial calls are {_factor(change.ratio)} {'slower' if slower else 'faster'} than in {against}"


def _moved(change: Change, new: WorkloadResult | None) -> str:
    said = f"moves from {change.before} to {change.after}"
    if not change.real:
        return f"{said}, but the intervals do not support a difference"
    gain = layout.answer_speedup(new) if new else ""
    return f"{said}, {gain}" if gain else said


def _instead(change: Change, row: Row) -> str:
    new, old = row.cells[change.column], row.cells[change.reference]
    if new is None or old is None or change.strategy is None:
        return numbers.NOT_AVAILABLE
    after, before = compare.part(new, change.strategy).speedup, compare.part(old, change.strategy).speedup
    return f"{numbers.times_or(after)} instead of {numbers.times_or(before)}"


def _factor(ratio: Estimate | None) -> str:
    """Say how far from 1 a ratio of times is: in per cent, from twice on as a factor."""
    if ratio is None:
        return numbers.NOT_AVAILABLE
    factor = max(ratio.value, 1 / ratio.value)
    return numbers.about(factor) if factor >= _TWICE else numbers.percent(abs(ratio.value - 1))


# Many workloads in one report


def _shifts(
    changes: Iterable[Change], rows: dict[str, Row], names: dict[str, str], comparison: Comparison
) -> Iterator[Note]:
    """Say in one sentence what shifted the same way in one report, the largest shift first."""
    for key, group in groupby(sorted(changes, key=_direction), _direction):
        column, _, strategy, up = key
        largest = sorted(group, key=_size, reverse=True)
        against = inert(comparison.columns[largest[0].reference].label)
        if strategy == Strategy.SERIAL:
            what = f"serial calls are {'slower' if up else 'faster'} than in {against}"
            each = [f"{names[change.nodeid]} {_factor(change.ratio)}" for change in largest[:MOST_NAMED]]
        else:
            what = f"{strategy} give {'more' if up else 'less'} than in {against}"
            each = [
                f"{names[change.nodeid]} {_instead(change, rows[change.nodeid])}" for change in largest[:MOST_NAMED]
            ]
        more = [f"and {len(largest) - MOST_NAMED} more"] if len(largest) > MOST_NAMED else []
        yield Note(
            kind="warning" if any(change.worse for change in largest) else "change",
            label=inert(comparison.columns[column].label),
            lines=(f"{what}: {', '.join([*each, *more])}",),
        )


def _direction(change: Change) -> tuple[int, int, str, bool]:
    order = list(ChangeKind).index(change.kind)
    return change.column, order, str(change.strategy), change.ratio is not None and change.ratio.value > 1


def _size(change: Change) -> float:
    ratio = 1.0 if change.ratio is None else change.ratio.value
    return max(ratio, 1 / ratio)

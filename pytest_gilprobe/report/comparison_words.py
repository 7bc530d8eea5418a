"""Describe in sentences what differs between the reports of a comparison.

A workload has a sentence of its own if anything but its speed-ups and times changed. The other workloads share a
sentence if their speed-ups or times changed in the same direction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from pytest_gilprobe.model.comparison import Change, ChangeKind, Comparison, Row
from pytest_gilprobe.model.safe_text import ERROR_LIMIT, safe_line
from pytest_gilprobe.report.views import Note
from pytest_gilprobe.verdict import shifts

SAME = "no difference that the intervals support"
UNSUPPORTED = "which may be chance, since intervals leave room for the same answer"
MOST_NAMED = 8
"""Largest number of workloads that are named in a sentence on a change that they share; any others are only counted."""
_SHIFTS = frozenset({ChangeKind.EXECUTOR, ChangeKind.SPEEDUP, ChangeKind.SERIAL})
"""Kinds of change that one sentence tells of many workloads, unless something else changed in the same workload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A cell in which something changed: its workload's name, its column's position, and the labels of both reports."""

    name: str
    column: int
    label: str
    against: str
    changes: tuple[Change, ...]

    @property
    def rank(self) -> tuple[int, int]:
        """The place of its sentence: by the weightiest change, then by column."""
        kinds = [_order(change.kind) for change in self.changes if change.real]
        return min(kinds, default=len(ChangeKind)), self.column


def notes(comparison: Comparison) -> tuple[Note, ...]:
    """Return one note for each sentence on what changed between the reports.

    First come the sentences on one workload each, the most important first: those on changed advice, then those on
    strategies that ended in another way, and so on. Then come sentences on several workloads whose speed-ups or times
    changed in the same direction. If nothing changed, the result is one note that says so.
    """
    places = [*_places(comparison)]
    shifted = [place for place in places if all(change.kind in _SHIFTS for change in place.changes)]
    alone = sorted((place for place in places if place not in shifted), key=lambda place: place.rank)
    return (*map(_sentence, alone), *_shifts(shifted)) or (Note(kind="reason", label="same", lines=(SAME,)),)


def _places(comparison: Comparison) -> Iterator[_Place]:
    names, columns = _short_names(comparison.rows), comparison.columns
    for row in comparison.rows:
        for at, (cell, column) in enumerate(zip(row.cells, columns, strict=True)):
            if cell is not None and cell.changes and column.reference is not None:
                yield _Place(
                    name=names[row.nodeid],
                    column=at,
                    label=safe_line(column.label),
                    against=safe_line(columns[column.reference].label),
                    changes=cell.changes,
                )


def _short_names(rows: Iterable[Row]) -> dict[str, str]:
    """Name each workload by its test alone where that is unique, else by its whole node id."""
    tests = {row.nodeid: row.nodeid.partition("::")[2] or row.nodeid for row in rows}
    often = Counter(tests.values())
    return {nodeid: safe_line(test if often[test] == 1 else nodeid) for nodeid, test in tests.items()}


def _order(kind: ChangeKind) -> int:
    return list(ChangeKind).index(kind)


# One workload in one report


def _sentence(place: _Place) -> Note:
    clauses = [change.message if change.real else f"{change.message}, {UNSUPPORTED}" for change in place.changes]
    said = safe_line("; ".join(clauses), limit=ERROR_LIMIT)
    return _note(place, f"{place.name}, against {place.against}: {said}", place.changes)


def _note(place: _Place, line: str, changes: Iterable[Change]) -> Note:
    kind = "warning" if any(change.worse for change in changes) else "change"
    return Note(kind=kind, label=place.label, lines=(line,))


# Many workloads in one report


def _shifts(places: Iterable[_Place]) -> Iterator[Note]:
    """Say in one sentence what shifted the same way in one report, the largest shift first."""
    changes = sorted(((place, change) for place in places for change in place.changes), key=_direction)
    for (_, _, _, is_more), group in groupby(changes, _direction):
        largest = sorted(group, key=lambda pair: _size(pair[1]), reverse=True)
        place, first = largest[0]
        each = [f"{where.name} {_amount(change)}" for where, change in largest[:MOST_NAMED]]
        more = [f"and {len(largest) - MOST_NAMED} more"] if len(largest) > MOST_NAMED else []
        line = f"{_what(first, is_more=is_more)} than in {place.against}: {', '.join([*each, *more])}"
        yield _note(place, line, [change for _, change in largest])


def _direction(pair: tuple[_Place, Change]) -> tuple[int, int, str, bool]:
    place, change = pair
    return place.column, _order(change.kind), str(change.strategy), change.ratio is not None and change.ratio.value > 1


def _what(change: Change, *, is_more: bool) -> str:
    if change.kind is ChangeKind.SERIAL:
        return f"serial calls are {'slower' if is_more else 'faster'}"
    where = " in an executor" if change.kind is ChangeKind.EXECUTOR else " (calls alone)"
    return f"{'more' if is_more else 'less'} speed-up of {change.strategy}{where}"


def _amount(change: Change) -> str:
    if change.kind is ChangeKind.SERIAL and change.ratio is not None:
        return shifts.shift(change.ratio)
    return f"{change.after} instead of {change.before}"


def _size(change: Change) -> float:
    ratio = 1.0 if change.ratio is None else change.ratio.value
    return max(ratio, 1 / ratio)

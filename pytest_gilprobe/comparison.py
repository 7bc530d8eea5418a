"""The records of a comparison: columns, rows, what changed, and why to read it with care."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pytest_gilprobe.model import Estimate, GilprobeError, Report, Strategy, WorkloadResult


class CompareError(GilprobeError):
    """Reports that cannot be compared: one line with the reason."""


class ChangeKind(StrEnum):
    """What is different between a report and its reference."""

    MOVED = "moved"
    OUTCOME = "outcome"
    SPEEDUP = "speedup"
    SERIAL = "serial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference in one workload.

    ``column`` and ``reference`` are positions of reports. ``before`` and ``after`` are strategies (``moved``) or
    outcomes (``outcome``); ``ratio`` is after / before of a speed-up (``speedup``) or of a serial call's wall time
    (``serial``). ``real`` is false where the advice moved although no interval supports a difference. ``worse`` says
    that the new report lost something: a slower call, less speed-up in the strategy that the reference advised, a
    strategy that broke.
    """

    kind: ChangeKind
    nodeid: str
    column: int
    reference: int
    strategy: Strategy | None = None
    before: str = ""
    after: str = ""
    ratio: Estimate | None = None
    real: bool = True
    worse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One report. ``reference`` is the position of the report it is held against, ``None`` for the first."""

    label: str
    name: str
    report: Report
    reference: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One workload that at least two reports have; ``cells`` are in the order of the columns, ``None`` where absent.

    ``serial_ratios`` are wall times of a serial call against the column's reference, ``None`` where not comparable.
    """

    nodeid: str
    cells: tuple[WorkloadResult | None, ...]
    serial_ratios: tuple[Estimate | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Why a comparison must be read with care. ``values`` are in the order of the columns."""

    slug: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Several reports side by side. ``unshared`` holds, per column, the node ids that no other report has."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    changes: tuple[Change, ...]
    warnings: tuple[Reservation, ...]
    unshared: tuple[tuple[str, ...], ...]

    @property
    def shared_by_all(self) -> int:
        """How many workloads every report has."""
        return sum(None not in row.cells for row in self.rows)

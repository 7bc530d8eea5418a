"""The records of a comparison of reports: columns, rows and changes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.results import WorkloadResult


class CompareError(GilprobeError):
    """Reports cannot be compared; the message is one line with the reason."""


class ChangeKind(StrEnum):
    """The kinds of difference between two results of one workload, the most important first.

    Attributes:
        MOVED: another strategy is advised.
        OUTCOME: a strategy ended in another way, such as ``failed`` instead of ``ok``.
        EXECUTOR: a strategy has another speed-up in its executor.
        SPEEDUP: a strategy has another measured speed-up of the calls alone, without an executor.
        CURVE: a strategy's curve (throughput by number of workers) shows another gain, or calls that fail.
        BOUND: calls that waited compute now, or the reverse.
        GIL: a GIL that was released is held now, or the reverse.
        SERIAL: a serial call takes another time.
    """

    MOVED = "moved"
    OUTCOME = "outcome"
    EXECUTOR = "executor"
    SPEEDUP = "speedup"
    CURVE = "curve"
    BOUND = "bound"
    GIL = "gil"
    SERIAL = "serial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two results of one workload.

    Attributes:
        kind: what changed.
        strategy: the strategy whose outcome, speed-up, curve or time changed; ``None`` for the other kinds of change.
        before: the older result's value in short, such as a strategy, an outcome or ``1.94x``.
        after: the newer result's value, in the same form.
        message: a clause that describes the difference, with the confidence intervals of values that have them.
        ratio: newer / older speed-up, gain or wall time of a serial call; ``None`` for the other kinds.
        real: whether the confidence intervals support the change; always true, except for other advice (``MOVED``).
        worse: whether the change is a certain regression, which a gate on regressions reports.
    """

    kind: ChangeKind
    strategy: str | None = None
    before: str
    after: str
    message: str
    ratio: Estimate | None = None
    real: bool = True
    worse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One report of a comparison.

    ``label`` tells it from the other reports, such as ``3.13t``. ``name`` is the name that the report was given, such
    as its file. ``reference`` is the position, from 0, of the column that it is compared with; ``None`` for the first
    column.
    """

    label: str
    name: str
    report: Report
    reference: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One workload's result in one report of a comparison.

    ``changes`` are the differences from the result in the report that this one is compared with. ``serial_ratio`` is
    the wall time of a serial call in this report divided by that in the other; ``None`` if the two cannot be compared,
    for instance because the reports are from different machines.
    """

    result: WorkloadResult
    serial_ratio: Estimate | None = None
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One workload, by its ``nodeid``, that at least two reports have.

    ``cells`` has one cell for each column; ``None`` if that report lacks the workload.
    """

    nodeid: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Several reports side by side.

    ``columns`` are the reports, ``rows`` the workloads that at least two of them have. ``unshared`` has, for each
    column, the node ids that no other report has.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    unshared: tuple[tuple[str, ...], ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        """All changes, of all workloads in all reports."""
        return tuple(change for row in self.rows for cell in row.cells if cell for change in cell.changes)

    @property
    def shared_by_all(self) -> int:
        """The number of workloads that occur in every report."""
        return sum(None not in row.cells for row in self.rows)

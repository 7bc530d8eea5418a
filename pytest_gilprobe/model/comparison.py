"""The records of a comparison of reports: columns, rows and changes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.results import WorkloadResult


class CompareError(GilprobeError):
    """Raised if reports cannot be compared; the message is one line with the reason."""


class ChangeKind(StrEnum):
    """The kinds of difference between an older and a newer result of one workload, the most important first.

    Attributes:
        MOVED: another strategy (a way to make calls, such as ``threads``) is advised.
        OUTCOME: a strategy ended in another way, such as ``failed`` instead of ``ok``.
        EXECUTOR: a strategy's speed-up in an executor, with its costs of dispatch and moving data, differs.
        SPEEDUP: a strategy's measured speed-up of the calls alone, without an executor, differs.
        CURVE: with some number of workers, a strategy's speed-up over one worker differs, or its calls now fail.
        BOUND: calls that mostly waited now mostly compute, or the reverse.
        GIL: calls that released the GIL now hold it, or the reverse.
        SERIAL: the wall time of a serial call differs.
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
    """One difference between an older and a newer result of one workload.

    Attributes:
        kind: what changed.
        strategy: the strategy whose outcome, speed-up, curve (throughput by number of workers) or time changed;
            ``None`` for the other kinds of change.
        before: the older result's value in short, such as a strategy, an outcome or ``1.94x``.
        after: the newer result's value, in the same form.
        message: a clause that describes the difference, with the confidence intervals of values that have them.
        ratio: the newer value divided by the older one, if the values are speed-ups (over serial calls or over one
            worker) or wall times of a serial call; else ``None``.
        real: whether the confidence intervals support the change. It can be false only if another strategy is advised
            (``MOVED``); other changes without that support are left out.
        worse: whether the newer result is certainly worse, so that a session that forbids regressions fails.
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

    ``label`` is a short text that tells it from the other reports, such as ``3.13t``. ``name`` is the name under which
    the user gave the report, such as its file. ``reference`` is the position, from 0, of the report with which this one
    is compared; ``None`` for the first report.
    """

    label: str
    name: str
    report: Report
    reference: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One workload's result in one report of a comparison.

    Each report but the first is compared with another one, its reference. ``changes`` are the differences from the
    reference's result. ``serial_ratio`` is the wall time of a serial call in this report divided by that in the
    reference; ``None`` if the two times cannot be compared, for instance because the reports are from different
    machines.
    """

    result: WorkloadResult
    serial_ratio: Estimate | None = None
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One workload, by its ``nodeid``, that at least two reports have.

    ``cells`` has the workload's result in each report, in the order of the reports; ``None`` for a report that lacks
    it.
    """

    nodeid: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Several reports side by side.

    ``columns`` are the reports. ``rows`` are the workloads that at least two reports have. ``unshared`` has, for each
    report, the node ids that only this report has.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    unshared: tuple[tuple[str, ...], ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        """The differences between results of the same workload, for all workloads and all reports, in one tuple."""
        return tuple(change for row in self.rows for cell in row.cells if cell for change in cell.changes)

    @property
    def shared_by_all(self) -> int:
        """The number of workloads that occur in every report."""
        return sum(None not in row.cells for row in self.rows)

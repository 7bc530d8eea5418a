"""The records of a comparison of reports that every output format draws from: columns, rows, cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gilprobe.report.curve_views import CurveView
    from pytest_gilprobe.report.views import AnswerView, Fact, Note


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnView:
    """One report of a comparison.

    ``label`` is the report's name in the drawing. ``facts`` describe the Python and the machine, without the facts that
    all reports share. ``against`` is the label of the report that this one is compared with; it is empty for the first
    report.
    """

    label: str
    facts: tuple[Fact, ...]
    against: str

    def value(self, label: str) -> str:
        """Return the value of the fact called ``label``, or an empty text if the column does not have that fact."""
        return next((fact.value for fact in self.facts if fact.label == label), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedupView:
    """The speed-up of one strategy in a pool, as text.

    ``value`` is the speed-up, such as ``1.94x``, and ``interval`` its confidence interval. ``outcome`` is how the
    strategy ended, such as ``ok`` or ``hung``. If there is no speed-up, ``interval`` is empty, and ``value`` is the
    outcome, or ``n/a`` if the outcome is ``ok``.
    """

    strategy: str
    value: str
    interval: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellView:
    """One workload in one report of a comparison.

    Attributes:
        answer: the workload's answer in this report.
        speedups: this report's speed-ups of the parallel strategies that all reports which probed this workload have in
            common.
        serial: this report's wall time of a serial call divided by the reference report's; empty if not compared.
        serial_interval: the confidence interval of ``serial``; empty if ``serial`` is empty.
        change: the reference report's advice, such as ``was threads``, with a hint if the intervals overlap; empty if
            this report gives the same advice.
        real: whether the confidence intervals support the change of advice; false if there is no change.
    """

    answer: AnswerView
    speedups: tuple[SpeedupView, ...]
    serial: str
    serial_interval: str
    change: str
    real: bool

    @property
    def brief(self) -> tuple[str, ...]:
        """One line for each speed-up, without its interval."""
        return tuple(f"{one.strategy} {one.value}" for one in self.speedups)

    @property
    def facts(self) -> tuple[str, ...]:
        """One line for each speed-up, with its interval, and one for the serial time if it was compared."""
        speedups = [f"{one.strategy} {one.value} {one.interval}".rstrip() for one in self.speedups]
        serial = [f"serial time {self.serial} {self.serial_interval}"] if self.serial else []
        return (*speedups, *serial)

    @property
    def mark(self) -> str:
        """``*`` if the advice differs from the reference's, ``*?`` if the intervals do not support that, else empty."""
        return ("*" if self.real else "*?") if self.change else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowView:
    """One workload, called ``nodeid``, in all reports; ``number`` is the row's number, from 1.

    ``cells`` has a cell for each report; the cell is ``None`` if that report does not have the workload.
    """

    number: int
    nodeid: str
    cells: tuple[CellView | None, ...]

    @property
    def answer(self) -> str:
        """``changed`` if the advice changed in any report, else ``same``: the HTML page filters rows by this word."""
        return "changed" if any(cell and cell.change for cell in self.cells) else "same"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvesAcross:
    """How the throughput of one workload with one strategy grows with the number of workers, in several reports.

    ``curves`` has one curve, named after its report, for each report that has such a curve.
    """

    nodeid: str
    strategy: str
    curves: tuple[CurveView, ...]

    @property
    def workers(self) -> tuple[int, ...]:
        """The numbers of workers that any of the reports measured."""
        return tuple(sorted({point.workers for curve in self.curves for point in curve.points}))

    def cells(self, curve: CurveView) -> tuple[str, ...]:
        """Return a text for each number in `workers`, such as ``197 ±3 % 1.9x``: throughput, margin and gain.

        The throughput is in calls per second. The margin is how far its confidence interval reaches, as a share of the
        throughput. The gain is the throughput as a multiple of one worker's. ``*`` marks the number of workers that is
        enough. The text is ``-`` where ``curve`` was not measured.
        """
        points = {}
        for point in curve.points:
            rate = f"{point.rate}{'*' if point.is_enough else ''}"
            points[point.workers] = f"{rate} \N{PLUS-MINUS SIGN}{point.margin} {point.gain}".rstrip()
        return tuple(points.get(workers, "-") for workers in self.workers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonView:
    """A whole comparison as texts, ready to draw.

    Attributes:
        title: the heading; ``summary`` counts the workloads, and those whose advice changed.
        marks: the text below the table that explains its marks and figures, for drawings without a legend.
        columns: the reports; ``rows`` are the workloads.
        facts: what is the same in all reports.
        notes: the changes in words; ``warnings`` are the cautions.
        tool: the version of the JSON schema.
        serial_time: what the serial times of the comparison are.
        rule: the rule that chooses between strategies of similar speed; empty if no inconclusive verdict depends on it.
        curves: the curves of each workload and strategy for which at least two reports have a curve.
    """

    title: str
    summary: str
    marks: str
    columns: tuple[ColumnView, ...]
    facts: tuple[Fact, ...]
    notes: tuple[Note, ...]
    warnings: tuple[Note, ...]
    rows: tuple[RowView, ...]
    tool: str
    serial_time: str
    rule: str = ""
    curves: tuple[CurvesAcross, ...] = ()

    @property
    def fact_labels(self) -> tuple[str, ...]:
        """The labels of the facts that not all reports share."""
        return tuple(dict.fromkeys(fact.label for column in self.columns for fact in column.facts))

"""Define the records from which every output format draws a comparison of reports: columns, rows, cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gilprobe.report.curve_views import CurveView
    from pytest_gilprobe.report.views import AnswerView, Fact, Note


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnView:
    """One report of a comparison.

    ``label`` is the name that is shown for the report. ``facts`` describe its file, its Python and its machine, without
    the facts that are the same in all reports. ``against`` is the label of the report with which this one is compared;
    it is empty for the first report.
    """

    label: str
    facts: tuple[Fact, ...]
    against: str

    def value(self, label: str) -> str:
        """Return the value of the report's fact called ``label``, such as ``CPUs``; empty if `facts` lacks it."""
        return next((fact.value for fact in self.facts if fact.label == label), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedupView:
    """The speed-up of one strategy over serial calls, as texts; it includes what a pool (executor) costs, if known.

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
    """One workload in one report of a comparison, as texts; the reference is the report with which it is compared.

    Attributes:
        answer: what this report advises for the workload, such as ``threads``.
        speedups: the speed-up of each parallel strategy here; strategies that another report did not measure for this
            workload are left out.
        serial: the wall time of a serial call here divided by that in the reference; empty if they are not compared.
        serial_interval: the confidence interval of ``serial``; empty if ``serial`` is empty.
        change: what the reference advises if it is something else, such as ``was threads``, with a hint if the
            confidence intervals overlap; empty if both advise the same.
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
        """One line for each strategy: its name and speed-up, without the confidence interval."""
        return tuple(f"{one.strategy} {one.value}" for one in self.speedups)

    @property
    def facts(self) -> tuple[str, ...]:
        """One line for each strategy: its name, speed-up and confidence interval.

        A last line says how many times as long a serial call takes here as in the reference (the report to compare
        with). There is no last line if serial calls are not compared.
        """
        speedups = [f"{one.strategy} {one.value} {one.interval}".rstrip() for one in self.speedups]
        serial = [f"serial time {self.serial} {self.serial_interval}"] if self.serial else []
        return (*speedups, *serial)

    @property
    def mark(self) -> str:
        """``*`` if this report and its reference (the report to compare with) advise different strategies.

        The mark is ``*?`` if the difference may be chance, because the confidence intervals allow that the same
        strategy is the best in both. The mark is empty if the advice is the same, or if either is inconclusive.
        """
        return ("*" if self.real else "*?") if self.change else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowView:
    """A row of a comparison's table: one workload, whose name is ``nodeid``, in all reports.

    ``number`` is the row's number, from 1. ``cells`` has an entry for each report: ``None`` if it lacks the workload.
    """

    number: int
    nodeid: str
    cells: tuple[CellView | None, ...]

    @property
    def answer(self) -> str:
        """Whether any report advises another strategy than the report to compare with: ``changed`` or ``same``.

        The HTML page filters rows by this word.
        """
        return "changed" if any(cell and cell.change for cell in self.cells) else "same"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvesAcross:
    """Curves of one workload with one strategy in several reports: throughput by number of workers.

    ``nodeid`` names the workload. ``curves`` are named after their reports; a report may lack such a curve.
    """

    nodeid: str
    strategy: str
    curves: tuple[CurveView, ...]

    @property
    def workers(self) -> tuple[int, ...]:
        """All numbers of workers at which at least one curve has a point, the smallest first."""
        return tuple(sorted({point.workers for curve in self.curves for point in curve.points}))

    def cells(self, curve: CurveView) -> tuple[str, ...]:
        """Format the point of ``curve`` at each number in `workers`, such as ``197* ±3 % 1.9x``; ``-`` if it has none.

        A text has the throughput in calls per second, the distance to the farther end of its confidence interval in
        percent of the throughput, and the throughput as a multiple of one worker's, if known. ``*`` marks the smallest
        number of workers that gives 90 % of the highest throughput.
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
        title: the heading.
        summary: a line that counts the workloads, and the changes of advice that the confidence intervals support.
        marks: an explanation of the table's speed-ups and marks, such as ``*``, for drawings without a legend.
        columns: one column of the table for each report.
        facts: the facts on Python and machine that are the same in all reports.
        notes: the changes in words.
        warnings: the reasons to read the comparison with care.
        rows: one row of the table for each workload.
        tool: the version of the reports' JSON schema, such as ``schema 1``.
        serial_time: an explanation of the figure ``serial time``.
        rule: how the answer is chosen between strategies of similar speed; empty if no inconclusive verdict needs it.
        curves: the curves (throughput by number of workers) of each workload and strategy for which at least two
            reports have one.
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
        """The labels, such as ``Python``, of the facts that differ between reports."""
        return tuple(dict.fromkeys(fact.label for column in self.columns for fact in column.facts))

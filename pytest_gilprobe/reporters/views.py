"""The records between what is said and how it is drawn: text that is safe on one line, and shares of a width."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.reporters.pictures import Bar, Scale, Slice

_SPEAK_FOR_THEMSELVES = ("report", "Python")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A labelled value in a report's head."""

    label: str
    value: str

    @property
    def said(self) -> str:
        """The value in a sentence, with its label unless it speaks for itself."""
        return self.value if self.label in _SPEAK_FOR_THEMSELVES else f"{self.label} {self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many workloads got one answer."""

    answer: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something said under a workload, in at least one line.

    ``kind`` is ``reason``, ``caution``, ``pool`` or an outcome; in a comparison ``change`` or ``warning``.
    """

    kind: str
    label: str
    lines: tuple[str, ...]
    slug: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyView:
    """One strategy of a workload.

    ``value`` and ``interval`` are its speed-up, or the outcome and nothing; ``extra`` is what else was measured.
    """

    name: str
    outcome: str
    value: str
    interval: str
    per_call: str
    extra: str
    bar: Bar | None
    slices: tuple[Slice, ...]

    @property
    def speedup(self) -> str:
        """The speed-up with its interval, on one line."""
        return f"{self.value} {self.interval}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadView:
    """One workload.

    ``answer`` is a `Recommendation`'s word, ``scanned``, ``not probed`` or ``error``; ``broken`` says that a strategy
    failed, hung or crashed. ``sort_by`` holds the numbers behind ``cpu``, ``per_call``, the speed-ups in threads and
    processes, and ``gil_share``, separated by commas and empty where unknown, for a medium that can sort.
    """

    number: int
    nodeid: str
    answer: str
    answer_speedup: str
    bound: str
    cpu: str
    per_call: str
    gil: str
    gil_share: str
    broken: bool
    notes: tuple[Note, ...]
    strategies: tuple[StrategyView, ...]
    code: str
    scale: Scale | None
    sort_by: str = ""

    @property
    def probed(self) -> bool:
        """Whether there are numbers to show."""
        return bool(self.strategies)

    @property
    def noted(self) -> bool:
        """Whether it has a caution or a failure."""
        return any(note.kind not in ("reason", "pool", "moving") for note in self.notes)

    @property
    def threads(self) -> StrategyView:
        """The strategy of that name; only where ``probed``."""
        return self.strategies[1]

    @property
    def processes(self) -> StrategyView:
        """The strategy of that name; only where ``probed``."""
        return self.strategies[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportView:
    """A whole report, ready to draw. ``lead`` and ``notes`` are what a scan says of the whole suite."""

    title: str
    facts: tuple[Fact, ...]
    total: str
    problems: str
    counts: tuple[Count, ...]
    workloads: tuple[WorkloadView, ...]
    created: str
    tool: str
    lead: str = ""
    notes: tuple[Note, ...] = ()

    @property
    def summary(self) -> str:
        """Everything that was counted, in one line."""
        said = ", ".join(f"{count.number} {count.answer}" for count in self.counts)
        return "; ".join(filter(None, [f"{self.total}: {said}" if said else self.total, self.problems]))

    @property
    def probed(self) -> tuple[WorkloadView, ...]:
        """The workloads with numbers, in the report's order."""
        return tuple(workload for workload in self.workloads if workload.probed)

    @property
    def not_probed(self) -> tuple[WorkloadView, ...]:
        """The workloads without numbers; their only note says why."""
        return tuple(workload for workload in self.workloads if not workload.probed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnView:
    """One report's column, with the facts in which it differs from others."""

    label: str
    facts: tuple[Fact, ...]
    against: str

    def value(self, label: str) -> str:
        """Give the fact of that label, or nothing."""
        return next((fact.value for fact in self.facts if fact.label == label), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class CellView:
    """One workload in one report.

    ``threads`` is the speed-up in threads with its ``interval``, or the outcome, or empty where nothing was probed.
    ``serial`` is the wall time of a serial call as a multiple of the reference's with its interval, or empty.
    ``change`` says what moved against the reference, or is empty, and ``real`` whether the intervals support it.
    """

    answer: str
    threads: str
    interval: str
    outcome: str
    serial: str
    serial_interval: str
    change: str
    real: bool

    @property
    def facts(self) -> tuple[str, ...]:
        """What is known beside the answer, a line each."""
        threads = f"threads {self.threads} {self.interval}".rstrip() if self.threads else ""
        serial = f"serial time {self.serial} {self.serial_interval}" if self.serial else ""
        return tuple(filter(None, (threads, serial)))

    @property
    def mark(self) -> str:
        """A mark beside the answer: ``*`` moved against the reference, ``?`` moved within the intervals."""
        return ("*" if self.real else "?") if self.change else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowView:
    """One workload across the reports; a cell is ``None`` where the report does not have it."""

    number: int
    nodeid: str
    cells: tuple[CellView | None, ...]

    @property
    def answer(self) -> str:
        """``changed`` or ``same``: what a row is filtered by."""
        return "changed" if any(cell and cell.change for cell in self.cells) else "same"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonView:
    """A whole comparison, ready to draw.

    ``notes`` are what changed, ``warnings`` why to read it with care; ``facts`` are those that all reports share.
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

    @property
    def fact_labels(self) -> tuple[str, ...]:
        """Which facts differ between reports."""
        return tuple(dict.fromkeys(fact.label for column in self.columns for fact in column.facts))

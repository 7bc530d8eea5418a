"""Define the records from which every output format draws a report: table titles and cells, notes, bars."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_gilprobe.report.curve_views import CurveView
from pytest_gilprobe.report.geometry import Bar, Scale, Slice
from pytest_gilprobe.report.holder_views import WhereView
from pytest_gilprobe.report.loop_views import LoopView

COLORS = frozenset({"blue", "green", "cyan", "purple", "pink", "orange", "yellow", "red", "gray"})
"""Names of the colors that an answer may have; each output format chooses its own shades of them."""
_SPEAK_FOR_THEMSELVES = ("report", "Python")
_NEUTRAL = ("reason", "pool", "moving", "holder", "loop", "blocker", "extensions", "sharing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A fact in a report's head: its ``value``, and the ``label`` that says what the value is, such as ``CPUs``."""

    label: str
    value: str

    @property
    def said(self) -> str:
        """The label and the value, such as ``load 0.52``; the value alone if the label is ``report`` or ``Python``."""
        return self.value if self.label in _SPEAK_FOR_THEMSELVES else f"{self.label} {self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerView:
    """The answer for one workload (which strategy to use, such as threads, if any), and how it is shown.

    Attributes:
        word: the name of the advised strategy, or ``inconclusive``; if no strategy was tried, ``scanned``,
            ``one run only``, ``not probed`` or ``error`` (this package failed).
        color: one of `COLORS`.
        icon: an SVG path on a grid of 16 by 16.
        speedup: the speed-up predicted for the advised parallel strategy, such as ``1.9x``; empty if none is advised.
        is_open: whether the answer is ``inconclusive``.
        left: the possible strategies of an inconclusive answer, such as ``threads or processes``; else empty.
        odds: the probabilities of these strategies in percent, such as ``60 : 40``; else empty.
    """

    word: str
    color: str
    icon: str
    speedup: str = ""
    is_open: bool = False
    left: str = ""
    odds: str = ""

    @property
    def text(self) -> str:
        """The answer in one line, such as ``threads 1.9x``, or ``inconclusive: threads or processes (60 : 40)``."""
        left = f": {self.left} ({self.odds})" if self.left else ""
        return f"{self.word} {self.speedup}".rstrip() + left

    @property
    def asked(self) -> str:
        """The possible strategies of an inconclusive answer: ``threads or processes?``; else the answer in one line."""
        return f"{self.left}?" if self.left else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many workloads of a report (``number``) got the same ``answer``."""

    answer: AnswerView
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A remark on a workload, comparison or scan: ``label`` is its title, ``lines`` is its text of one or more lines.

    ``slug`` identifies the message, or is empty. ``kind`` says what the remark is about: ``reason`` (of the answer),
    ``caution``, ``pool`` (cost of an executor), ``moving`` (cost of moving data), ``holder`` (where in the code the GIL
    is held), ``sharing`` (what threads share), ``loop`` (how long the event loop is blocked), ``blocker`` (where in the
    code it is blocked), ``extensions`` (extension modules in subinterpreters), or, for a strategy that failed, its
    outcome. A comparison also has the kinds ``change`` and ``warning``, a scan ``finding``, ``workers`` and ``group``.
    """

    kind: str
    label: str
    lines: tuple[str, ...]
    slug: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyView:
    """The results of one strategy (a way to make calls, such as threads) for one workload, as texts.

    Attributes:
        name: the strategy's name.
        color: one of `COLORS`.
        icon: an SVG path on a grid of 16 by 16.
        outcome: how the strategy ended, such as ``ok`` or ``hung``.
        value: the speed-up over serial calls; if it was not measured, the outcome, or ``n/a`` for the outcome ``ok``.
        interval: the confidence interval of the speed-up; empty if there is none.
        extra: the other measurements, such as the CPU time of a call, in one line.
        bar: the bar of the speed-up; ``None`` if the speed-up was not measured.
        slices: the parts of a bar that shows how the strategy spent its time; empty if not known.
        sort_key: the speed-up as a plain number; empty if there is none.
    """

    name: str
    color: str
    icon: str
    outcome: str
    value: str
    interval: str
    extra: str
    bar: Bar | None
    slices: tuple[Slice, ...]
    sort_key: str = ""

    @property
    def speedup(self) -> str:
        """The speed-up and its confidence interval, such as ``1.94x [1.88, 1.99]``; without a speed-up, the outcome."""
        return f"{self.value} {self.interval}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class BriefView:
    """What the short report (the one without ``-v``) says of a workload; each text may be empty.

    ``call`` is the time of one call. ``measured`` is that time and what limits the call, such as ``CPU-bound``.
    ``others`` names each strategy that is not the answer, with its speed-up, or with its outcome if it has none.
    ``why`` is the reason of the answer, and ``advice`` what to do about it.
    """

    call: str = ""
    measured: str = ""
    others: str = ""
    why: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadView:
    """One workload (the calls of one test that were measured), as texts.

    Attributes:
        number: the workload's place in the report, from 1.
        nodeid: the workload's name.
        answer: the advised strategy, or another word if none is advised, such as ``inconclusive``.
        bound: what limits calls, such as ``I/O``, ``CPU`` or ``mixed``.
        cpu: the share of a CPU that calls use, in percent.
        per_call: the wall time of one call.
        gil: whether calls hold the GIL, in a word such as ``held`` or ``released``.
        gil_share: the share of the time for which the GIL is held, in percent; empty if not known.
        gil_extra: the longest hold of the GIL, and the limit it sets to the speed-up of threads, each only if known.
        broken: whether any strategy failed, hung or crashed.
        notes: the remarks on the workload, such as the reason and cautions.
        strategies: the strategies that the user asked for, ``serial`` first; empty without measurements.
        code: the code to paste, or comments that say why there is none; empty if no function is known.
        scale: the axis of the speed-ups; ``None`` without measurements.
        sort_keys: plain numbers for ``cpu``, ``per_call`` and ``gil_share``, each empty if unknown.
        where: where in the code the GIL is held.
        loop: how calls block their event loop.
        brief: what the short report says.
        curves: the throughput by number of workers, one curve for each strategy that has one.
    """

    number: int
    nodeid: str
    answer: AnswerView
    bound: str
    cpu: str
    per_call: str
    gil: str
    gil_share: str
    gil_extra: str
    broken: bool
    notes: tuple[Note, ...]
    strategies: tuple[StrategyView, ...]
    code: str
    scale: Scale | None
    sort_keys: tuple[str, str, str]
    where: WhereView = field(default_factory=WhereView)
    loop: LoopView = field(default_factory=LoopView)
    brief: BriefView = field(default_factory=BriefView)
    curves: tuple[CurveView, ...] = ()

    @property
    def probed(self) -> bool:
        """Whether the workload has measurements to show."""
        return bool(self.strategies)

    @property
    def noted(self) -> bool:
        """Whether any note on the workload is a caution (a warning), or tells that a strategy did not end ``ok``."""
        return any(note.kind not in _NEUTRAL for note in self.notes)

    @property
    def gil_text(self) -> str:
        """Whether calls hold the GIL, and for which share of the time, such as ``held 97 %``; no share if unknown."""
        return f"{self.gil} {self.gil_share}".rstrip()

    @property
    def parallel(self) -> tuple[StrategyView, ...]:
        """The workload's strategies except ``serial``."""
        return self.strategies[1:]

    def strategy(self, name: str) -> StrategyView | None:
        """Return the strategy called ``name``, or ``None`` if this workload does not have that strategy."""
        return next((one for one in self.strategies if one.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportView:
    """A whole report as texts, ready to draw.

    Attributes:
        title: the heading.
        facts: what is known of the Python and the machine with which the report was made.
        total: the number of workloads as text, such as ``3 workloads``.
        problems: how often strategies failed, hung or crashed, such as ``2 hung in threads``; empty if none did.
        counts: how many workloads got each answer.
        columns: the names of all strategies except ``serial`` that at least one workload has.
        workloads: the workloads, in the report's order.
        created: when the report was made.
        tool: the name and version of this package, such as ``pytest-gilprobe 1.0``.
        lead: the summary of a scan (one measured run of a whole test suite); empty for any other report.
        notes: the notes on the scan; empty for any other report.
        rule: how the answer is chosen between strategies of similar speed; empty if no inconclusive verdict needs it.
    """

    title: str
    facts: tuple[Fact, ...]
    total: str
    problems: str
    counts: tuple[Count, ...]
    columns: tuple[str, ...]
    workloads: tuple[WorkloadView, ...]
    created: str
    tool: str
    lead: str = ""
    notes: tuple[Note, ...] = ()
    rule: str = ""

    @property
    def headers(self) -> tuple[str, ...]:
        """The column titles of the table of workloads, such as ``CPU``, and one for each parallel strategy."""
        return ("workload", "strategy", "bound", "CPU", "per call", *self.columns, "GIL held")

    def cells(self, workload: WorkloadView) -> tuple[str, ...]:
        """Return a workload's row of the table: one text for each title in `headers`.

        The cell of a strategy that the workload lacks is empty.
        """
        speedups = ("" if one is None else one.speedup for one in map(workload.strategy, self.columns))
        figures = (workload.bound, workload.cpu, workload.per_call, *speedups, workload.gil_text)
        return (workload.nodeid, workload.answer.text, *figures)

    def sort_keys(self, workload: WorkloadView) -> str:
        """Return the numbers by which the HTML page sorts a workload's row, joined by commas; an unknown one is empty.

        They are the CPU share, the time of a call, each strategy's speed-up, and the share of time with the GIL held.
        """
        cpu, per_call, gil = workload.sort_keys
        speedups = ("" if one is None else one.sort_key for one in map(workload.strategy, self.columns))
        return ",".join((cpu, per_call, *speedups, gil))

    @property
    def summary(self) -> str:
        """One line that counts the workloads, each answer, and failures: ``3 workloads: serial 2, threads 1``."""
        said = ", ".join(f"{count.answer.word} {count.number}" for count in self.counts)
        return "; ".join(filter(None, [f"{self.total}: {said}" if said else self.total, self.problems]))

    @property
    def probed(self) -> tuple[WorkloadView, ...]:
        """The workloads that have measurements, in the report's order."""
        return tuple(workload for workload in self.workloads if workload.probed)

    @property
    def not_probed(self) -> tuple[WorkloadView, ...]:
        """The workloads without measurements; the only note of each workload says why."""
        return tuple(workload for workload in self.workloads if not workload.probed)

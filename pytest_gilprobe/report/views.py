"""The records that every output format draws from: table titles and cells, notes, bars."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_gilprobe.report.curve_views import CurveView
from pytest_gilprobe.report.geometry import Bar, Scale, Slice
from pytest_gilprobe.report.holder_views import WhereView
from pytest_gilprobe.report.loop_views import LoopView

COLORS = frozenset({"blue", "green", "cyan", "purple", "pink", "orange", "yellow", "red", "gray"})
"""Colors that an answer may have; each output format chooses its own shades."""
_SPEAK_FOR_THEMSELVES = ("report", "Python")
_NEUTRAL = ("reason", "pool", "moving", "holder", "loop", "blocker", "extensions", "sharing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A labelled value in a report's head."""

    label: str
    value: str

    @property
    def said(self) -> str:
        """The label and the value; of a report's name or a Python version the value alone."""
        return self.value if self.label in _SPEAK_FOR_THEMSELVES else f"{self.label} {self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerView:
    """A workload's answer: ``word`` is a strategy, ``inconclusive``, ``scanned``, ``not probed`` or ``error``.

    ``color`` is one of `COLORS`; ``icon`` is an SVG path on a grid of 16 by 16. ``speedup`` is the speed-up that the
    advice promises, or empty. ``is_open`` is true if the answer is ``inconclusive``; then ``left`` has the strategies
    that may be the answer, and ``odds`` their odds, both empty where that is not known.
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
        """The word, followed by the speed-up if there is one, or by what an open answer leaves."""
        left = f": {self.left} ({self.odds})" if self.left else ""
        return f"{self.word} {self.speedup}".rstrip() + left

    @property
    def asked(self) -> str:
        """The same in short: ``threads or processes?`` of an open answer."""
        return f"{self.left}?" if self.left else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many workloads got one answer."""

    answer: AnswerView
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A remark of at least one line on a workload, comparison or scan; ``slug`` identifies the message, or is empty.

    ``kind`` is ``reason``, ``caution``, ``pool`` (cost of an executor), ``moving`` (cost of moving data), ``holder``
    (where in the code the GIL is held), ``sharing`` (what threads share), ``loop`` (blocks of the event loop),
    ``blocker`` (where in the code) or an outcome; in a comparison also ``change`` or ``warning``, in a scan also
    ``finding``, ``workers`` or ``group``.
    """

    kind: str
    label: str
    lines: tuple[str, ...]
    slug: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyView:
    """One strategy of a workload.

    ``value`` is the speed-up or, without one, the outcome or ``n/a``; then ``bar`` is ``None``. ``sort_key`` is the
    speed-up as a plain number, or empty. ``extra`` lists the other measurements.
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
        """``value`` and ``interval`` on one line."""
        return f"{self.value} {self.interval}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class BriefView:
    """What the short report says of a workload.

    ``call`` is the time of a call, ``measured`` that and what it is bound by, ``others`` what a pool of each other
    strategy gives, ``why`` the reason of the answer, ``advice`` what to do about it; each may be empty.
    """

    call: str = ""
    measured: str = ""
    others: str = ""
    why: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadView:
    """One workload.

    ``strategies`` are the strategies that the user asked for: ``serial``, then the others; empty without measurements.
    ``broken`` is true if one strategy failed, hung or crashed. ``gil_extra`` lists the other observations of the GIL.
    ``sort_keys`` are plain numbers for ``cpu``, ``per_call`` and ``gil_share``, each empty if unknown. ``where`` says
    where in the code the GIL is held, ``loop`` how calls block their event loop, ``curves`` how throughput grows.
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
        """Whether the workload has a note on a caution or on a strategy whose outcome is not ``ok``."""
        return any(note.kind not in _NEUTRAL for note in self.notes)

    @property
    def gil_text(self) -> str:
        """The verdict on the GIL in a word, and the share of the time for which the GIL was held, if known."""
        return f"{self.gil} {self.gil_share}".rstrip()

    @property
    def parallel(self) -> tuple[StrategyView, ...]:
        """Every strategy but ``serial``."""
        return self.strategies[1:]

    def strategy(self, name: str) -> StrategyView | None:
        """Return the strategy called ``name``, or ``None`` if this workload does not have that strategy."""
        return next((one for one in self.strategies if one.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportView:
    """A whole report, ready to draw.

    ``columns`` are the names of all strategies except ``serial`` that at least one workload has. ``lead`` and ``notes``
    describe a scan of a whole test suite; they are empty for any other report. ``rule`` is by which rule two strategies
    are told apart, empty unless a verdict is open by it.
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
        """The column titles of the table of workloads, the same in every output format; `cells` returns a row."""
        return ("workload", "strategy", "bound", "CPU", "per call", *self.columns, "GIL held")

    def cells(self, workload: WorkloadView) -> tuple[str, ...]:
        """Return a workload's cells under `headers`; the cell of a strategy that the workload lacks is empty."""
        speedups = ("" if one is None else one.speedup for one in map(workload.strategy, self.columns))
        figures = (workload.bound, workload.cpu, workload.per_call, *speedups, workload.gil_text)
        return (workload.nodeid, workload.answer.text, *figures)

    def sort_keys(self, workload: WorkloadView) -> str:
        """Return plain numbers to sort by, joined by commas: one for each column of `headers` from ``CPU`` on."""
        cpu, per_call, gil = workload.sort_keys
        speedups = ("" if one is None else one.sort_key for one in map(workload.strategy, self.columns))
        return ",".join((cpu, per_call, *speedups, gil))

    @property
    def summary(self) -> str:
        """One line with the number of workloads, of each answer, and of each kind of failure."""
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

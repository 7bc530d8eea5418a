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
    """A value in a report's head, and the ``label`` that says what it is."""

    label: str
    value: str

    @property
    def said(self) -> str:
        """The label and the value, such as ``load 0.52``; the value alone if the label is ``report`` or ``Python``."""
        return self.value if self.label in _SPEAK_FOR_THEMSELVES else f"{self.label} {self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerView:
    """A workload's answer, and how it is shown.

    Attributes:
        word: a strategy, ``inconclusive``, ``scanned``, ``one run only``, ``not probed`` or ``error``.
        color: one of `COLORS`.
        icon: an SVG path on a grid of 16 by 16.
        speedup: the speed-up that the advice promises, such as ``1.9x``; empty if it promises none.
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
        """The word, followed by the speed-up if there is one, or by `left` and `odds` if these are known."""
        left = f": {self.left} ({self.odds})" if self.left else ""
        return f"{self.word} {self.speedup}".rstrip() + left

    @property
    def asked(self) -> str:
        """The strategies in `left`, with a question mark: ``threads or processes?``; `text` if `left` is empty."""
        return f"{self.left}?" if self.left else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """The ``number`` of workloads that got one ``answer``."""

    answer: AnswerView
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A remark on a workload, comparison or scan: a ``label`` as its title, and at least one of ``lines``.

    ``slug`` identifies the message, or is empty. ``kind`` says what the remark is about: ``reason`` (of the answer),
    ``caution``, ``pool`` (cost of an executor), ``moving`` (cost of moving data), ``holder`` (where in the code the GIL
    is held), ``sharing`` (what threads share), ``loop`` (how long the event loop is blocked), ``blocker`` (where in the
    code it is blocked), ``extensions`` (extension modules in subinterpreters), or the outcome of a strategy that is not
    ``ok``. A comparison also has the kinds ``change`` and ``warning``, a scan ``finding``, ``workers`` and ``group``.
    """

    kind: str
    label: str
    lines: tuple[str, ...]
    slug: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyView:
    """One strategy of a workload, as texts.

    Attributes:
        name: the strategy's name; ``color`` and ``icon`` are as in `AnswerView`.
        outcome: how the strategy ended, such as ``ok`` or ``hung``.
        value: the speed-up; without one the outcome, or ``n/a`` if that is ``ok``.
        interval: the confidence interval of the speed-up; empty if there is none.
        extra: the other measurements, in one line.
        bar: the bar of the speed-up; ``None`` if there is no speed-up.
        slices: the parts of the strategy's time; empty if not known.
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
        """``value`` and ``interval`` on one line."""
        return f"{self.value} {self.interval}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class BriefView:
    """What the short report says of a workload; each text may be empty.

    ``call`` is the time of one call. ``measured`` is that time and what limits the call, such as ``CPU-bound``.
    ``others`` gives the speed-up, or else the outcome, of each strategy that is not the answer. ``why`` is the reason
    of the answer, and ``advice`` what to do about it.
    """

    call: str = ""
    measured: str = ""
    others: str = ""
    why: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadView:
    """One workload, as texts.

    Attributes:
        number: the workload's place in the report, from 1; ``nodeid`` is its name, ``answer`` its answer.
        bound: what calls are bound by; ``cpu`` is the share of a CPU that they use, ``per_call`` the time of one.
        gil: whether calls hold the GIL, in a word such as ``held`` or ``released``; ``gil_share`` is the share of the
            time for which it is held, empty if not known.
        gil_extra: the other observations of the GIL, in one line.
        broken: whether any strategy failed, hung or crashed.
        notes: the remarks on the workload, such as the reason and cautions.
        strategies: those that the user asked for, ``serial`` first; empty without measurements.
        code: the code to paste, or comments that say why there is none; empty if no function is known.
        scale: the axis of the speed-ups; ``None`` without measurements.
        sort_keys: plain numbers for ``cpu``, ``per_call`` and ``gil_share``, each empty if unknown.
        where: where in the code the GIL is held.
        loop: how calls block their event loop.
        brief: what the short report says.
        curves: how throughput grows with the number of workers, one curve for each strategy that has one.
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
    """A whole report as texts, ready to draw.

    Attributes:
        title: the heading; ``workloads`` are the workloads in the report's order.
        facts: the Python and the machine that the report was made on.
        total: the number of workloads in words; ``counts`` has the number of each answer.
        problems: the number of each kind of failure; empty if there was none.
        columns: the names of all strategies except ``serial`` that at least one workload has.
        created: when the report was made; ``tool`` is the version of this package that made it.
        lead: the summary of a scan of a whole test suite; empty for any other report.
        notes: the notes on the scan; empty for any other report.
        rule: the rule that chooses between strategies of similar speed; empty if no inconclusive verdict depends on it.
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

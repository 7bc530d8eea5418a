"""Choose the texts of a report, for every output format: headings, rows, words and formatted numbers.

Every text is safe to show on one line: control characters have become visible escapes. The modules of the output
formats compute nothing; they arrange these texts, and escape their own format's markup.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model import gains, numbers
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.report import Environment, Report
from pytest_gilprobe.model.results import GilResult, StrategyResult, WorkloadResult
from pytest_gilprobe.model.safe_text import ERROR_LIMIT, safe_line
from pytest_gilprobe.model.words import BROKEN, INCONCLUSIVE, SERIAL, Bound, Gil, Outcome, Status
from pytest_gilprobe.report import (
    brief,
    curve_layout,
    holder_layout,
    loop_layout,
    machine_layout,
    near,
    scan_layout,
    snippets,
    workload_notes,
)
from pytest_gilprobe.report.geometry import Scale, bar, scale_for, slices
from pytest_gilprobe.report.views import COLORS, AnswerView, Count, Fact, ReportView, StrategyView, WorkloadView
from pytest_gilprobe.verdict import places

if TYPE_CHECKING:
    from pytest_gilprobe.strategies.registry import Strategies

SCANNED = "scanned"
NOT_PROBED = "not probed"
ONE_RUN = "one run only"
"""The answer shown for a workload that was measured in one run only, because its call takes too long to be repeated."""
TOOL_ERROR = "error"
_NO_STRATEGY = {
    INCONCLUSIVE: ("yellow", "M4.7 5.6a3.3 3.3 0 1 1 5.2 2.7c-1.2.8-1.9 1.2-1.9 2.5M8 13.4v.4"),
    SCANNED: ("gray", "M1.5 8c3.5-5.5 9.5-5.5 13 0c-3.5 5.5-9.5 5.5-13 0M8 8v.01"),
    ONE_RUN: ("gray", "M6 5l2-1.5v9M5.5 12.5h5"),
    NOT_PROBED: ("gray", "M4 8h8"),
    TOOL_ERROR: ("red", "M3.5 3.5l9 9M12.5 3.5l-9 9"),
}
"""Color and icon of the answers that are no strategy, in the order in which they are counted."""
_UNKNOWN = ("gray", "M8 1.5L14.5 8L8 14.5L1.5 8z")
"""Color and icon of a strategy that is not registered here, because the report is from elsewhere."""


def report_view(report: Report, strategies: Strategies) -> ReportView:
    """Turn a report into texts that every output format can draw.

    ``strategies`` are the registered strategies, which provide colors, icons and code to paste. A strategy of the
    report that is not among them gets a generic color and icon.
    """
    workloads = tuple(
        workload_view(workload, strategies, report.environment, number)
        for number, workload in enumerate(report.workloads, 1)
    )
    found = dict.fromkeys(part.name for workload in workloads for part in workload.parallel)
    return ReportView(
        title="GIL probe",
        facts=facts(report),
        total=numbers.count(len(workloads), "workload") if workloads else "no workloads",
        problems=_problems(workloads),
        counts=_counts(workloads, strategies),
        columns=tuple(sorted(found, key=_order(strategies))),
        workloads=workloads,
        created=safe_line(report.created),
        tool=f"pytest-gilprobe {safe_line(report.tool_version)}",
        lead=scan_layout.headline(report.scan) if report.scan else "",
        notes=tuple(scan_layout.notes(report.scan, report.workloads)) if report.scan else (),
        rule=near.rule(report.workloads),
    )


def workload_view(
    result: WorkloadResult, strategies: Strategies, environment: Environment | None = None, number: int = 1
) -> WorkloadView:
    """Turn the result of one workload into texts that every output format can draw.

    ``strategies`` are the registered strategies, which provide colors, icons and code. ``environment`` describes the
    machine; if it is ``None``, the limits that the machine sets to speed-ups are not shown. ``number`` is the
    workload's place in the report, from 1.
    """
    verdict, serial, gil = result.verdict, result.serial, result.gil
    measured = result.status in (Status.PROBED, Status.SCANNED) and serial is not None
    scale = scale_for(result, environment) if measured else None
    utilization, call_s = (serial.utilization, serial.call_s) if serial else (None, None)
    held, ceiling_of_threads = gil.held_fraction, numbers.times(gil.threads_ceiling) if gil.threads_ceiling else None
    return WorkloadView(
        number=number,
        nodeid=safe_line(result.nodeid),
        answer=answer_view(result, strategies),
        bound={Bound.IO: "I/O", Bound.CPU: "CPU"}.get(verdict.bound, str(verdict.bound)),
        cpu=numbers.percent(utilization.value if utilization else None),
        per_call=numbers.seconds(call_s.value if call_s else None),
        gil=str(verdict.gil),
        gil_share=numbers.percent(held.value) if held and verdict.gil is not Gil.ABSENT else "",
        gil_extra=_known({"longest hold": _longest_hold(gil), "ceiling of threads": ceiling_of_threads}),
        broken=measured and any(part.broken for part in result.parallel.values()),
        notes=tuple(workload_notes.notes(result)) if measured else (workload_notes.why_not(result, answer(result)),),
        strategies=tuple(_strategy_views(result, strategies, scale)) if scale else (),
        code=_code(result, strategies) if measured and result.callee is not None else "",
        scale=scale,
        sort_keys=(_sort_key(utilization), _sort_key(call_s), _sort_key(held)),
        where=holder_layout.where_view(result),
        loop=loop_layout.loop_view(result),
        brief=brief.brief_view(result),
        curves=curve_layout.curve_views(result, strategies, environment) if measured else (),
    )


def answer(result: WorkloadResult) -> str:
    """Return a workload's answer: the name of the advised strategy, or ``inconclusive``.

    If no strategy was tried, the answer is ``scanned`` (run once, in a scan), ``one run only`` (too slow to repeat),
    ``not probed`` (for another reason) or ``error`` (this package failed).
    """
    if result.status is Status.PROBED:
        return safe_line(result.verdict.strategy)
    if result.status is Status.SCANNED:
        return SCANNED
    if result.status is Status.NOT_PROBED:
        return ONE_RUN if brief.is_one_run(result) else NOT_PROBED
    return TOOL_ERROR


def answer_speedup(result: WorkloadResult) -> str:
    """Format the speed-up predicted for the advised parallel strategy, such as ``1.9x``; empty if none is advised."""
    promises = result.status is Status.PROBED and result.verdict.strategy not in (SERIAL, INCONCLUSIVE)
    return numbers.about(result.verdict.speedup) if promises and result.verdict.speedup is not None else ""


def answer_view(result: WorkloadResult, strategies: Strategies) -> AnswerView:
    """Return how a workload's answer is shown: its word, color, icon, and predicted speed-up.

    An inconclusive answer has the possible strategies and their probabilities in place of the speed-up.
    """
    word = answer(result)
    color, icon = _NO_STRATEGY.get(word) or _appearance(word, strategies)
    left, odds = brief.candidates(result.verdict) if word == INCONCLUSIVE else ("", "")
    gain, is_open = answer_speedup(result), word == INCONCLUSIVE
    return AnswerView(word=word, color=color, icon=icon, speedup=gain, is_open=is_open, left=left, odds=odds)


def no_speedup(outcome: Outcome) -> str:
    """Return the text for a speed-up that was not measured: how the strategy failed, or ``n/a`` if it ended ``ok``."""
    return numbers.NOT_AVAILABLE if outcome is Outcome.OK else str(outcome)


def left_out(number: int) -> str:
    """Return the line that says that a drawing of limited size leaves out ``number`` workloads."""
    return f"{numbers.count(number, 'more workload')}: see the JSON report"


# A report's head


def facts(report: Report) -> tuple[Fact, ...]:
    """Return the facts at the head of a report that are known, such as Python, CPUs, workers and load."""
    machine = report.environment
    load = machine.load_average_1min
    found = {
        "Python": f"{machine_layout.python(machine)} ({machine_layout.build(machine)})",
        "CPUs": machine_layout.cpus(machine),
        "workers": _workers(report.workloads),
        "ceiling": machine_layout.ceiling(machine),
        "start method": safe_line(machine.start_method),
        "load": numbers.NOT_AVAILABLE if load is None else f"{load:.2f}",
        "platform": safe_line(machine.platform),
        "joined from": numbers.count(len(report.shards), "report") if report.shards else "",
    }
    return tuple(Fact(label=label, value=value) for label, value in found.items() if value)


def _workers(workloads: Sequence[WorkloadResult]) -> str:
    probed = [workload for workload in workloads if workload.status is Status.PROBED]
    found = sorted({workload.workers for workload in probed})
    if not found:
        return ""
    without = sum(not workload.scaling for workload in probed)
    tried = str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"
    if not without:
        return tried
    if without == len(probed):
        return f"{tried} (others not tried: --gilprobe-scale)"
    return f"{tried} (the only ones tried in {without} of {len(probed)} workloads; others: --gilprobe-scale)"


def _counts(workloads: Iterable[WorkloadView], strategies: Strategies) -> tuple[Count, ...]:
    """Count the answers: strategies from the cheapest on, then what is no strategy."""
    words = Counter(workload.answer.word for workload in workloads)
    first = {workload.answer.word: workload.answer for workload in workloads}
    return tuple(
        Count(answer=replace(first[word], speedup=""), number=words[word])
        for word in sorted(words, key=_order(strategies))
    )


def _order(strategies: Strategies) -> Callable[[str], int]:
    """Return the sort key of words: registered strategies, others as they come, what is no strategy."""
    known, others = strategies.names, tuple(_NO_STRATEGY)

    def position(word: str) -> int:
        if word in known:
            return known.index(word)
        return len(known) + (others.index(word) + 1 if word in others else 0)

    return position


def _problems(workloads: Iterable[WorkloadView]) -> str:
    found = Counter(note.label for workload in workloads for note in workload.notes if note.kind in BROKEN)
    return ", ".join(f"{number} {label}" for label, number in sorted(found.items()))


# A workload's strategies


def _appearance(name: str, strategies: Strategies) -> tuple[str, str]:
    """Give a strategy's color and icon."""
    strategy = strategies.get(name)
    if strategy is None:
        return _UNKNOWN
    return strategy.color if strategy.color in COLORS else _UNKNOWN[0], strategy.icon


def _strategy_views(result: WorkloadResult, strategies: Strategies, scale: Scale) -> Iterator[StrategyView]:
    """Lay out serial and whatever else was asked for."""
    serial = result.serial
    if serial is not None:
        yield _strategy_view(SERIAL, serial, result.workers, _appearance(SERIAL, strategies), scale)
    for name, part in result.parallel.items():
        if workload_notes.asked_for(part):
            yield _strategy_view(name, part, result.workers, _appearance(name, strategies), scale)


def _strategy_view(
    name: str, part: StrategyResult, workers: int, appearance: tuple[str, str], scale: Scale
) -> StrategyView:
    is_base, speedup = name == SERIAL, gains.in_pool(part, workers) if part.outcome is Outcome.OK else None
    value = "1x" if is_base else numbers.times(speedup.value) if speedup else no_speedup(part.outcome)
    return StrategyView(
        name=safe_line(name),
        color=appearance[0],
        icon=appearance[1],
        outcome=str(part.outcome),
        value=value,
        interval="" if is_base else numbers.interval(speedup),
        extra=_known(_extra(part, workers)),
        bar=bar(None if is_base else speedup, scale) if is_base or speedup else None,
        slices=slices(part.shares),
        sort_key=_sort_key(speedup),
    )


def _extra(part: StrategyResult, workers: int) -> dict[str, str | None]:
    alone, own = gains.alone(part, workers) if part.pool_speedup else None, numbers.cores(part.extra_cores)
    return {
        "in larger tasks" if part.executor else "calls alone": numbers.speedup(alone) if alone else None,
        "calls per task": str(part.executor.calls_per_task) if part.executor else None,
        "CPU per call": _seconds(part.cpu_s_per_call.value if part.cpu_s_per_call else None),
        "first call": _seconds(part.first_call_s),
        "own threads": f"{own} more cores" if own else None,
        "dispatch": _seconds(part.dispatch_s_per_call),
        "transfer": _seconds(part.transfer_s_per_call),
        "start-up with pytest": _seconds(part.start_up_s),
        "memory per worker": numbers.size(part.rss_bytes_per_worker) if part.rss_bytes_per_worker else None,
        "calls": None if part.calls is None else str(part.calls),
        "rounds": None if part.rounds is None else str(part.rounds),
    }


def _seconds(value: float | None) -> str | None:
    return None if value is None or value < numbers.LEAST_S else numbers.seconds(value)


def _longest_hold(gil: GilResult) -> str | None:
    where = "" if gil.longest_holder is None else f" in {places.place(gil.longest_holder)}"
    return None if gil.longest_hold_s is None else f"{numbers.seconds(gil.longest_hold_s)}{where}"


def _known(figures: Mapping[str, str | None]) -> str:
    return ", ".join([f"{label} {value}" for label, value in figures.items() if value is not None])


def _sort_key(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate.value:.6g}"


def _code(result: WorkloadResult, strategies: Strategies) -> str:
    return "\n".join(safe_line(line, limit=ERROR_LIMIT) for line in snippets.code(result, strategies).text.splitlines())

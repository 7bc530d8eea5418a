"""What to say: a report as headings, rows and formatted numbers, for any medium to draw.

Everything said is safe on one line (see `pytest_gilprobe.reporters.inert`); a medium escapes its own markup and does
no arithmetic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pytest_gilprobe import advice
from pytest_gilprobe.model import (
    Bound,
    Environment,
    Gil,
    Outcome,
    ProcessesResult,
    Recommendation,
    Report,
    SerialResult,
    Status,
    ThreadsResult,
    Transfer,
    WorkloadResult,
)
from pytest_gilprobe.reporters import numbers, scanned
from pytest_gilprobe.reporters.inert import inert, inert_lines
from pytest_gilprobe.reporters.pictures import Scale, bar, scale_for, slices
from pytest_gilprobe.reporters.views import Count, Fact, Note, ReportView, StrategyView, WorkloadView

SCANNED = "scanned"
NOT_PROBED = "not probed"
TOOL_ERROR = "error"
_POOL_DIFFERS = 0.1
_BROKEN = (Outcome.FAILED, Outcome.HUNG, Outcome.CRASHED)
ANSWERS = (*map(str, Recommendation), SCANNED, NOT_PROBED, TOOL_ERROR)
"""Every word that an answer can be, in the order in which they are counted."""


def report_view(report: Report) -> ReportView:
    """Lay out a report: the same content for every medium."""
    workloads = tuple(
        workload_view(workload, report.environment, number) for number, workload in enumerate(report.workloads, 1)
    )
    return ReportView(
        title="GIL probe",
        facts=_facts(report),
        total=numbers.count(len(workloads), "workload") if workloads else "no workloads",
        problems=_problems(workloads),
        counts=_counts(workloads),
        workloads=workloads,
        created=inert(report.created),
        tool=f"pytest-gilprobe {inert(report.tool_version)}",
        lead=scanned.headline(report.scan) if report.scan else "",
        notes=tuple(scanned.notes(report.scan)) if report.scan else (),
    )


def workload_view(result: WorkloadResult, environment: Environment | None = None, number: int = 1) -> WorkloadView:
    """Lay out one workload; ``number`` is its position in the report, from 1."""
    verdict, serial = result.verdict, result.serial
    measured = result.status in (Status.PROBED, Status.SCANNED) and serial is not None
    strategies: tuple[StrategyView, ...] = ()
    scale = None
    if serial is not None and measured:
        scale = scale_for(result, environment)
        strategies = (
            _serial_view(serial, scale),
            _strategy_view("threads", result.threads, scale),
            _strategy_view("processes", result.processes, scale),
        )
    held = serial.gil_held_fraction if serial else None
    return WorkloadView(
        number=number,
        nodeid=inert(result.nodeid),
        answer=answer(result),
        answer_speedup=answer_speedup(result),
        bound=_bound(verdict.bound),
        cpu=numbers.percent(serial.cpu_utilization.value if serial else None),
        per_call=numbers.seconds(serial.wall_s_per_call.value if serial else None),
        gil=_gil(verdict.gil),
        gil_share=numbers.percent(held.value) if held and verdict.gil is not Gil.ABSENT else "",
        broken=measured and any(part.outcome in _BROKEN for part in (result.threads, result.processes)),
        notes=tuple(_notes(result)) if measured else (_why_not(result),),
        strategies=strategies,
        code="\n".join(map(inert, advice.code(result).splitlines())) if measured and result.callee is not None else "",
        scale=scale,
        sort_by=_sort_by(result),
    )


def answer(result: WorkloadResult) -> str:
    """Give the answer in a word: a strategy, ``inconclusive``, ``scanned``, ``not probed`` or ``error``."""
    if result.status is Status.PROBED:
        return str(result.verdict.strategy)
    if result.status is Status.SCANNED:
        return SCANNED
    return NOT_PROBED if result.status is Status.NOT_PROBED else TOOL_ERROR


def build(environment: Environment) -> str:
    """Say the two facts about the GIL: how Python was built, and whether the GIL is on."""
    kind = "free-threaded build" if environment.free_threaded_build else "standard build"
    return f"{kind}, GIL {'on' if environment.gil_enabled else 'off'}"


def python(environment: Environment) -> str:
    """Name the Python: ``CPython 3.13.0``."""
    return f"{inert(environment.implementation)} {inert(environment.python)}"


def left_out(number: int) -> str:
    """Say that a drawing with limited room does not show everything."""
    return f"{numbers.count(number, 'more workload')}: see the JSON report"


# A report's head


def _facts(report: Report) -> tuple[Fact, ...]:
    machine = report.environment
    facts = [
        Fact(label="Python", value=f"{python(machine)} ({build(machine)})"),
        Fact(label="CPUs", value=cpus(machine)),
        Fact(label="workers", value=_workers(report.workloads)),
        Fact(label="ceiling", value=ceiling(machine)),
        Fact(label="start method", value=inert(machine.start_method)),
        Fact(label="load", value=_load(machine)),
        Fact(label="platform", value=inert(machine.platform)),
    ]
    return tuple(fact for fact in facts if fact.value)


def cpus(machine: Environment) -> str:
    """Say how many CPUs may be used, and of how many where that differs."""
    of_all = "" if machine.cpus_usable == machine.cpus_logical else f" of {machine.cpus_logical}"
    return f"{machine.cpus_usable}{of_all} usable"


def _workers(workloads: Iterable[WorkloadResult]) -> str:
    found = sorted({workload.workers for workload in workloads if workload.status is Status.PROBED})
    if not found:
        return ""
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def ceiling(machine: Environment) -> str:
    """Say how far the control scaled on this machine: ``1.96x in 2 processes``."""
    if machine.scaling_ceiling is None:
        return numbers.NOT_AVAILABLE
    within = f" in {numbers.count(machine.ceiling_workers, 'process', 'processes')}" if machine.ceiling_workers else ""
    return f"{numbers.times(machine.scaling_ceiling)}{within}"


def _load(machine: Environment) -> str:
    return numbers.NOT_AVAILABLE if machine.load_average_1min is None else f"{machine.load_average_1min:.2f}"


def _counts(workloads: Iterable[WorkloadView]) -> tuple[Count, ...]:
    found = Counter(workload.answer for workload in workloads)
    return tuple(Count(answer=word, number=found[word]) for word in ANSWERS if found[word])


def _problems(workloads: Iterable[WorkloadView]) -> str:
    kinds = tuple(map(str, _BROKEN))
    found = Counter(note.label for workload in workloads for note in workload.notes if note.kind in kinds)
    return ", ".join(f"{number} {label}" for label, number in sorted(found.items()))


# A workload


def _bound(bound: Bound) -> str:
    return {Bound.IO: "I/O", Bound.CPU: "CPU"}.get(bound, str(bound))


def _gil(gil: Gil) -> str:
    return str(gil)


def answer_speedup(result: WorkloadResult) -> str:
    """Give the speed-up that the advice promises, ``1.9x``; nothing for serial or inconclusive."""
    verdict = result.verdict
    scaled = verdict.strategy in (Recommendation.THREADS, Recommendation.PROCESSES) and verdict.speedup is not None
    return numbers.about(verdict.speedup) if scaled and result.status is Status.PROBED else ""


def _serial_view(serial: SerialResult, scale: Scale) -> StrategyView:
    extra = [
        ("CPU per call", numbers.seconds(serial.cpu_s_per_call.value)),
        ("first call", numbers.seconds(serial.first_call_s) if serial.first_call_s is not None else ""),
        ("longest hold", numbers.seconds(serial.longest_hold_s) if serial.longest_hold_s is not None else ""),
        ("native threads", numbers.percent(serial.native_cpu_share) if serial.native_cpu_share else ""),
        ("calls", str(serial.calls)),
        ("rounds", str(serial.rounds)),
    ]
    return StrategyView(
        name="serial",
        outcome=str(Outcome.OK),
        value="1x",
        interval="",
        per_call=numbers.seconds(serial.wall_s_per_call.value),
        extra=_known(extra),
        bar=bar(None, scale),
        slices=slices(serial.shares),
    )


def _strategy_view(name: str, result: ThreadsResult | ProcessesResult, scale: Scale) -> StrategyView:
    measured = result.outcome is Outcome.OK and result.speedup is not None
    return StrategyView(
        name=name,
        outcome=str(result.outcome),
        value=numbers.times(result.speedup.value) if measured and result.speedup else no_speedup(result.outcome),
        interval=numbers.interval(result.speedup) if measured else "",
        per_call=numbers.seconds(result.wall_s_per_call.value if result.wall_s_per_call else None),
        extra=_known(_strategy_extra(result)),
        bar=bar(result.speedup, scale) if measured else None,
        slices=slices(result.shares),
    )


def no_speedup(outcome: Outcome) -> str:
    """Say what stands in a speed-up's place: the outcome, or ``n/a`` where it is ``ok``."""
    return numbers.NOT_AVAILABLE if outcome is Outcome.OK else str(outcome)


def _strategy_extra(result: ThreadsResult | ProcessesResult) -> list[tuple[str, str]]:
    hand_out = result.hand_out_s_per_call
    extra = [
        ("in a pool", numbers.speedup(result.pool_speedup) if result.pool_speedup else ""),
        ("hand-out", "" if hand_out is None else numbers.seconds(hand_out)),
    ]
    if isinstance(result, ThreadsResult):
        held, ceiling = result.gil_held_fraction, result.ceiling
        extra.append(("GIL held", numbers.percent(held.value) if held else ""))
        extra.append(("ceiling", "" if ceiling is None else numbers.times(ceiling)))
        return extra
    transfer, rss = result.transfer_s_per_call, result.rss_bytes_per_worker
    extra.append(("transfer", "" if transfer is None else numbers.seconds(transfer)))
    extra.append(("start-up", "" if result.start_up_s is None else numbers.seconds(result.start_up_s)))
    extra.append(("memory per worker", "" if rss is None else numbers.size(rss)))
    return extra


def _known(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join([f"{label} {value}" for label, value in pairs if value])


def _notes(result: WorkloadResult) -> Iterable[Note]:
    yield Note(kind="reason", label="why", lines=inert_lines(result.verdict.reason) or (numbers.NOT_AVAILABLE,))
    if result.status is Status.SCANNED:  # that no strategy was tried is what a scan is
        return
    pools = [_pool("threads", result.threads), _pool("processes", result.processes)]
    if any(pools):
        yield Note(kind="pool", label="in a pool", lines=(", ".join(filter(None, pools)),))
    if result.transfer is not None:
        yield Note(kind="moving", label="moving its data", lines=(_moving(result.transfer),))
    for name, part in (("threads", result.threads), ("processes", result.processes)):
        if part.outcome is not Outcome.OK:
            lines = inert_lines(part.error or "") or ("no further detail",)
            yield Note(kind=str(part.outcome), label=f"{part.outcome} in {name}", lines=lines)
    for caution in result.verdict.cautions:
        lines = inert_lines(caution.message) or (numbers.NOT_AVAILABLE,)
        yield Note(kind="caution", label="caution", lines=lines, slug=inert(caution.slug))


def _pool(name: str, part: ThreadsResult | ProcessesResult) -> str:
    """Tell the pool's predicted speed-up where handing out the calls costs a visible part of it."""
    if part.speedup is None or part.pool_speedup is None:
        return ""
    costs = part.pool_speedup.value < part.speedup.value * (1 - _POOL_DIFFERS)
    return f"{name} {numbers.speedup(part.pool_speedup)}" if costs else ""


def _moving(transfer: Transfer) -> str:
    """Tell what it costs to move a call's data, by each way that was measured."""
    shared = (transfer.shared_parent_s or 0.0) + (transfer.shared_worker_s or 0.0)
    ways = [
        ("a Pipe", transfer.pipe_s),
        ("a Queue", transfer.queue_s),
        ("shared memory", shared or None),
    ]
    told = ", ".join(f"{numbers.seconds(seconds)} through {way}" for way, seconds in ways if seconds is not None)
    return f"{numbers.size(transfer.argument_bytes)} there, {numbers.size(transfer.result_bytes)} back: {told}"


def _sort_by(result: WorkloadResult) -> str:
    serial, threads, processes = result.serial, result.threads.speedup, result.processes.speedup
    if serial is None:
        return ""
    estimates = (serial.cpu_utilization, serial.wall_s_per_call, threads, processes, serial.gil_held_fraction)
    return ",".join(["" if estimate is None else f"{estimate.value:.6g}" for estimate in estimates])


def _why_not(result: WorkloadResult) -> Note:
    lines = inert_lines(result.reason or result.verdict.reason) or ("no reason was recorded",)
    return Note(kind="reason", label=answer(result), lines=lines)

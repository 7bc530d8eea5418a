"""One fixed, rich report for every drawing: each bound, strategy and outcome, and hostile names.

Its numbers agree with each other, as those of a real report do.
"""

from __future__ import annotations

from dataclasses import replace

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.holders import CodePlace, HeldStack, Holder
from pytest_gilprobe.model.report import Environment, Report
from pytest_gilprobe.model.results import (
    Caution,
    Contrast,
    GilResult,
    StrategyResult,
    TimeShares,
    Verdict,
    WorkloadResult,
)
from pytest_gilprobe.model.words import INCONCLUSIVE, SERIAL, Bound, Gil, GilMethod, Outcome, Status

HOSTILE_NODEID = "tests/test_hostile.py::test_markup[<script>alert(1)</script>|\"'`*_\x1b[31m\u202e\ud800&amp;]"
HOSTILE_ERROR = "ValueError: <img src=x onerror=alert(1)> | `code`\n\x1b[2Jsecond line \u2066\udcff"

ENVIRONMENT = Environment(
    python="3.13.0",
    implementation="CPython",
    free_threaded_build=False,
    gil_enabled=True,
    compiler="GCC 12.2.0",
    platform="Linux-6.1-x86_64",
    machine="x86_64",
    cpus_usable=2,
    cpus_logical=4,
    start_method="spawn",
    switch_interval_s=0.005,
    load_average_1min=0.31,
    scaling_ceiling=1.96,
    ceiling_workers=2,
)


OUTER = CodePlace(function="test_orders", file="tests/test_orders.py", line=9)
STACKS = (
    HeldStack(share=0.61, frames=(OUTER, CodePlace(function="loads", file="json/__init__.py", line=346))),
    HeldStack(share=0.30, frames=(OUTER, CodePlace(function="total<b>|`", file="shop/orders.py", line=12))),
    HeldStack(share=0.09, frames=(OUTER,)),
)
HOLDERS = (
    Holder(
        share=Estimate(value=0.61, low=0.58, high=0.64),
        function="test_orders",
        file="tests/test_orders.py",
        line=9,
        code="json.loads(raw)",
        native="self.scan_once",
        library="json/__init__.py: loads",
    ),
    Holder(
        share=Estimate(value=0.3, low=0.27, high=0.33),
        function="total<b>|`",
        file="shop/orders.py",
        line=12,
        code="total += '<i>|`*&amp;' < price \x1b[31m\u202e",
    ),
    Holder(share=Estimate(value=0.09, low=0.06, high=0.12), function="<module>"),
)
HELD_SOMEWHERE = 0.975
"""The share of a GIL of which it is known where in the code it is held: at `HOLDERS`."""


def estimate(value: float, spread: float = 0.03) -> Estimate:
    """Make an estimate with a symmetric interval of ``spread`` (a share of the value) to each side."""
    return Estimate(value=value, low=round(value * (1 - spread), 9), high=round(value * (1 + spread), 9))


def shares(
    *, held: float | None, free: float | None, wait: float | None, blocked: float, queue: float | None = 0.01
) -> TimeShares:
    """Make shares; ``cpu`` is the sum of the two parts, or 0.5 where the GIL was not watched."""
    cpu = 0.5 if held is None or free is None else round(held + free, 3)
    return TimeShares(cpu=cpu, cpu_with_gil=held, cpu_without_gil=free, gil_wait=wait, blocked=blocked, run_queue=queue)


def serial(wall_s: float, utilization: float, held: float | None) -> StrategyResult:
    """Make the serial base of a workload: on the CPU for ``utilization`` of its time, with the GIL for ``held``."""
    with_gil = None if held is None else min(held, utilization)
    return StrategyResult(
        outcome=Outcome.OK,
        calls=120,
        rounds=6,
        wall_s_per_call=estimate(wall_s),
        cpu_s_per_call=estimate(wall_s * utilization),
        cpu_utilization=estimate(utilization, 0.005),
        run_queue_share=0.01,
        first_call_s=wall_s * 1.5,
        extra_cores=0.0,
        shares=shares(
            held=with_gil,
            free=None if with_gil is None else round(utilization - with_gil, 3),
            wait=None,
            blocked=round(0.99 - (0.5 if with_gil is None else utilization), 3),
        ),
    )


def gil(held: float | None) -> GilResult:
    """Make what was seen of a GIL that was held for a share of the time; nothing where it was not watched."""
    if held is None:
        return GilResult()
    return GilResult(
        held_fraction=estimate(held, 0.02),
        method=GilMethod.MEMORY,
        longest_hold_s=0.004,
        threads_ceiling=1 / held if held else None,
        holders=HOLDERS if held == HELD_SOMEWHERE else None,
        stacks=STACKS if held == HELD_SOMEWHERE else None,
    )


def tried(
    speedup: float, time: TimeShares, *, call_s: float, pool: float, start_up_s: float | None, dispatch_s: float
) -> StrategyResult:
    """Make the result of two lanes that ended well, for a workload whose serial calls take ``call_s``."""
    return StrategyResult(
        outcome=Outcome.OK,
        calls=240,
        rounds=6,
        speedup=estimate(speedup),
        pool_speedup=estimate(pool),
        wall_s_per_call=estimate(call_s / speedup),
        cpu_s_per_call=estimate(time.cpu * 2 * call_s / speedup),
        cpu_utilization=estimate(time.cpu, 0.005),
        run_queue_share=time.run_queue,
        start_up_s=start_up_s,
        rss_bytes_per_worker=41 * 1024 * 1024,
        dispatch_s_per_call=dispatch_s,
        shares=time,
    )


def threads(
    speedup: float,
    *,
    call_s: float = 0.025,
    pool: float | None = None,
    wait: float = 0.0,
    held: float = 0.5,
    free: float = 0.0,
) -> StrategyResult:
    """Make a result in threads that ended well."""
    return tried(
        speedup,
        shares(held=held, free=free, wait=wait, blocked=round(0.99 - held - free, 3)),
        call_s=call_s,
        pool=speedup * 0.97 if pool is None else pool,
        start_up_s=None,
        dispatch_s=0.00002,
    )


def processes(
    speedup: float, *, call_s: float = 0.025, pool: float | None = None, held: float = 0.95, free: float = 0.02
) -> StrategyResult:
    """Make a result in processes that ended well."""
    return replace(
        tried(
            speedup,
            shares(held=held, free=free, wait=None, blocked=round(0.98 - held - free, 3), queue=0.02),
            call_s=call_s,
            pool=speedup * 0.9 if pool is None else pool,
            start_up_s=0.24,
            dispatch_s=0.00009,
        ),
        transfer_s_per_call=0.00012,
    )


def broken(outcome: Outcome, error: str | None) -> StrategyResult:
    """Make the result of a strategy that ended in this way."""
    return StrategyResult(outcome=outcome, error=error)


def verdict(
    bound: Bound,
    gil: Gil,
    strategy: str,
    speedup: float | None,
    reason: str,
    *cautions: tuple[str, str],
) -> Verdict:
    """Make a verdict; each caution is a slug and a message. The reason's second clause is why, the others advice."""
    _, why, *advice = [*reason.split("; "), ""]
    return Verdict(
        bound=bound,
        gil=gil,
        strategy=strategy,
        candidates={} if strategy == INCONCLUSIVE else {strategy: 1.0},
        speedup=speedup,
        workers=None if strategy in (SERIAL, INCONCLUSIVE) else 2,
        reason=reason,
        why=why,
        advice="; ".join(filter(None, advice)),
        cautions=tuple(Caution(slug=slug, message=message) for slug, message in cautions),
    )


def probed(
    nodeid: str, said: Verdict, base: StrategyResult, in_threads: StrategyResult, in_processes: StrategyResult
) -> WorkloadResult:
    """Make a workload that was probed with two workers; its GIL is held for the share of serial calls."""
    if in_threads.speedup and in_processes.speedup:
        ratio = estimate(in_processes.speedup.value / in_threads.speedup.value)
        in_processes = replace(in_processes, over={"threads": Contrast(ratio=ratio)})
    return WorkloadResult(
        nodeid=nodeid,
        status=Status.PROBED,
        workers=2,
        probe_time_s=1.2,
        verdict=said,
        strategies={SERIAL: base, "threads": in_threads, "processes": in_processes},
        gil=gil(base.shares.cpu_with_gil if base.shares else None),
    )


def with_parts(result: WorkloadResult, **parts: StrategyResult) -> WorkloadResult:
    """Change what a workload measured of some strategies, or add strategies."""
    return replace(result, strategies={**result.strategies, **parts})


def not_probed(nodeid: str, reason: str, status: Status = Status.NOT_PROBED) -> WorkloadResult:
    """Make a workload that was not measured."""
    skipped = StrategyResult(outcome=Outcome.SKIPPED, error=reason)
    return WorkloadResult(
        nodeid=nodeid,
        status=status,
        reason=reason,
        workers=2,
        probe_time_s=0.0,
        verdict=verdict(Bound.INCONCLUSIVE, Gil.UNKNOWN, INCONCLUSIVE, None, reason),
        strategies=dict.fromkeys((SERIAL, "threads", "processes"), skipped),
    )


def workloads() -> tuple[WorkloadResult, ...]:
    """Make the workloads of the rich report."""
    return (
        probed(
            "sample_workloads/test_scenarios.py::test_download_files",
            verdict(
                Bound.IO,
                Gil.RELEASED,
                "threads",
                1.96,
                "I/O-bound (3 % of one core): 2 threads give 2.0x; a waiting thread releases the GIL",
            ),
            serial(0.0251, 0.031, 0.02),
            threads(2.0, call_s=0.0251, pool=1.96, held=0.02, free=0.01),
            processes(1.97, call_s=0.0251, pool=1.93, held=0.02, free=0.01),
        ),
        probed(
            "sample_workloads/test_scenarios.py::test_data_crunching",
            verdict(
                Bound.CPU,
                Gil.HELD,
                "processes",
                1.9,
                "CPU-bound (98 % of one core): 2 threads give 1.0x, 2 processes give 1.9x; the threads take turns: "
                "the GIL is held for 98 % of the time",
                (
                    "busy-machine",
                    "the load average was 1.8 on 2 CPUs: run again on an idle machine for a tighter interval",
                ),
            ),
            serial(0.0134, 0.98, 0.975),
            threads(1.01, call_s=0.0134, pool=1.0, wait=0.48, held=0.49, free=0.005),
            processes(1.94, call_s=0.0134, pool=1.9),
        ),
        probed(
            "sample_workloads/test_scenarios.py::test_simple_scripting",
            verdict(
                Bound.CPU,
                Gil.HELD,
                SERIAL,
                1.0,
                "CPU-bound (99 % of one core): 2 threads give 0.17x, 2 processes give 0.05x; "
                "dispatching a call takes 20 µs to processes; keep it serial, or hand a pool 50 calls at a time",
            ),
            serial(0.0000041, 0.99, 0.99),
            threads(0.98, call_s=0.0000041, pool=0.17, wait=0.48, held=0.49),
            processes(1.91, call_s=0.0000041, pool=0.05),
        ),
        probed(
            "sample_workloads/native/test_hashing.py::TestHashing::test_one_mebibyte[sha256]",
            verdict(
                Bound.CPU,
                Gil.PARTIAL,
                "threads",
                1.87,
                "CPU-bound (99 % of one core): 2 threads give 1.9x; the GIL is held for 30 % of the time, so threads "
                "overlap",
            ),
            serial(0.00064, 0.99, 0.3),
            threads(1.93, call_s=0.00064, pool=1.87, wait=0.01, held=0.3, free=0.66),
            processes(1.94, call_s=0.00064, pool=1.81, held=0.29, free=0.67),
        ),
        probed(
            "tests/test_shared.py::test_counter",
            verdict(
                Bound.CPU,
                Gil.HELD,
                "processes",
                1.84,
                "CPU-bound (97 % of one core): 2 processes give 1.8x; threads are out: an assertion failed there",
                ("unsafe-in-threads", "in threads it failed: do not run it in threads before that is mended"),
            ),
            serial(0.0021, 0.97, 0.965),
            broken(Outcome.FAILED, "AssertionError: assert 1987 == 2000"),
            processes(1.9, call_s=0.0021, pool=1.84, held=0.93, free=0.01),
        ),
        probed(
            "tests/test_shared.py::test_barrier",
            verdict(Bound.MIXED, Gil.UNKNOWN, INCONCLUSIVE, None, "hung in threads, crashed in processes"),
            serial(0.031, 0.55, None),
            broken(Outcome.HUNG, "still running after 60 s; killed"),
            replace(broken(Outcome.CRASHED, "worker ended by signal 11 (SIGSEGV)"), start_up_s=0.25),
        ),
        probed(
            HOSTILE_NODEID,
            replace(
                verdict(
                    Bound.INCONCLUSIVE,
                    Gil.RELEASED,
                    INCONCLUSIVE,
                    None,
                    "between two kinds (80 % of one core): 2 threads give 1.3x, processes failed; in a pool: threads "
                    "1.26x to 1.34x; a quieter machine or max_time=20 may settle it",
                ),
                candidates={SERIAL: 0.4, "threads": 0.6},
            ),
            serial(0.6, 0.8, 0.1),
            threads(1.3, call_s=0.6, pool=1.3, held=0.07, free=0.45),
            broken(Outcome.FAILED, HOSTILE_ERROR),
        ),
        not_probed("tests/test_skipped.py::test_skipped", "skipped in its normal run: needs a network"),
        not_probed("tests/test_broken.py::test_tool", "worker could not be started", Status.ERROR),
    )


def rich_report() -> Report:
    """Make the fixed report that the golden files draw."""
    return Report(tool_version="0.1.0", created="2025-06-01T12:00:00Z", environment=ENVIRONMENT, workloads=workloads())

"""One fixed, rich report for every drawing: each bound, GIL part, strategy and outcome, and hostile names."""

from __future__ import annotations

from pytest_gilprobe.model import (
    Bound,
    Caution,
    Environment,
    Estimate,
    Gil,
    GilMethod,
    Outcome,
    ProcessesResult,
    Recommendation,
    Report,
    SerialResult,
    Status,
    ThreadsResult,
    TimeShares,
    Verdict,
    WorkloadResult,
)

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


def estimate(value: float, spread: float = 0.03) -> Estimate:
    """Make an estimate with a symmetric interval of ``spread`` (a share of the value) to each side."""
    return Estimate(value=value, low=round(value * (1 - spread), 9), high=round(value * (1 + spread), 9))


def shares(
    *, held: float | None, free: float | None, wait: float | None, blocked: float, queue: float | None = 0.01
) -> TimeShares:
    """Make shares; ``cpu`` is the sum of the two parts, or 0.5 where the GIL was not watched."""
    cpu = 0.5 if held is None or free is None else round(held + free, 3)
    return TimeShares(cpu=cpu, cpu_with_gil=held, cpu_without_gil=free, gil_wait=wait, blocked=blocked, run_queue=queue)


def serial(wall_s: float, utilization: float, held: float | None) -> SerialResult:
    """Make the serial base of a workload that is on the CPU for ``utilization`` of its time."""
    on_cpu_held = None if held is None else round(utilization * held, 3)
    return SerialResult(
        calls=120,
        rounds=6,
        wall_s_per_call=estimate(wall_s),
        cpu_s_per_call=estimate(wall_s * utilization),
        cpu_utilization=estimate(utilization, 0.005),
        gil_held_fraction=None if held is None else estimate(held, 0.02),
        gil_method=None if held is None else GilMethod.MEMORY,
        longest_hold_s=0.004,
        run_queue_share=0.01,
        native_cpu_share=0.0,
        first_call_s=wall_s * 1.5,
        shares=shares(
            held=on_cpu_held,
            free=None if on_cpu_held is None else round(utilization - on_cpu_held, 3),
            wait=None,
            blocked=round(0.99 - (0.5 if on_cpu_held is None else utilization), 3),
        ),
    )


def threads(speedup: float, *, wait: float = 0.0, held: float = 0.5, free: float = 0.0) -> ThreadsResult:
    """Make a threads result that ended well."""
    return ThreadsResult(
        outcome=Outcome.OK,
        speedup=estimate(speedup),
        pool_speedup=estimate(speedup * 0.97),
        wall_s_per_call=estimate(0.025 / speedup),
        cpu_s_per_call=estimate(0.024),
        gil_held_fraction=estimate(0.9),
        ceiling=1.02,
        hand_out_s_per_call=0.00002,
        run_queue_share=0.01,
        shares=shares(held=held, free=free, wait=wait, blocked=round(0.99 - held - free, 3)),
    )


def processes(speedup: float, *, pool: float | None = None, held: float = 0.95, free: float = 0.02) -> ProcessesResult:
    """Make a processes result that ended well."""
    return ProcessesResult(
        outcome=Outcome.OK,
        speedup=estimate(speedup),
        pool_speedup=estimate(speedup * 0.9 if pool is None else pool),
        wall_s_per_call=estimate(0.025 / speedup),
        cpu_s_per_call=estimate(0.025),
        start_up_s=0.24,
        rss_bytes_per_worker=41 * 1024 * 1024,
        transfer_s_per_call=0.00012,
        hand_out_s_per_call=0.00009,
        run_queue_share=0.02,
        shares=shares(held=held, free=free, wait=None, blocked=round(0.98 - held - free, 3), queue=0.02),
    )


def verdict(
    bound: Bound,
    gil: Gil,
    strategy: Recommendation,
    speedup: float | None,
    reason: str,
    *cautions: tuple[str, str],
) -> Verdict:
    """Make a verdict; each caution is a slug and a message."""
    return Verdict(
        bound=bound,
        gil=gil,
        strategy=strategy,
        speedup=speedup,
        reason=reason,
        cautions=tuple(Caution(slug=slug, message=message) for slug, message in cautions),
    )


def probed(
    nodeid: str, said: Verdict, base: SerialResult, in_threads: ThreadsResult, in_processes: ProcessesResult
) -> WorkloadResult:
    """Make a workload that was probed with two workers."""
    return WorkloadResult(
        nodeid=nodeid,
        status=Status.PROBED,
        workers=2,
        probe_time_s=1.2,
        verdict=said,
        serial=base,
        threads=in_threads,
        processes=in_processes,
    )


def not_probed(nodeid: str, reason: str, status: Status = Status.NOT_PROBED) -> WorkloadResult:
    """Make a workload that was not measured."""
    return WorkloadResult(
        nodeid=nodeid,
        status=status,
        reason=reason,
        workers=2,
        probe_time_s=0.0,
        verdict=verdict(Bound.INCONCLUSIVE, Gil.UNKNOWN, Recommendation.INCONCLUSIVE, None, reason),
        serial=None,
        threads=ThreadsResult(outcome=Outcome.SKIPPED, error=reason),
        processes=ProcessesResult(outcome=Outcome.SKIPPED, error=reason),
    )


def workloads() -> tuple[WorkloadResult, ...]:
    """Make the workloads of the rich report."""
    return (
        probed(
            "sample_workloads/test_scenarios.py::test_download_files",
            verdict(
                Bound.IO,
                Gil.RELEASED,
                Recommendation.THREADS,
                1.98,
                "I/O-bound (3 % of one core): 2 threads give 2.0x; a waiting thread releases the GIL",
            ),
            serial(0.0251, 0.031, 0.6),
            threads(2.0, held=0.02, free=0.01),
            processes(1.97, held=0.02, free=0.01),
        ),
        probed(
            "sample_workloads/test_scenarios.py::test_data_crunching",
            verdict(
                Bound.CPU,
                Gil.HELD,
                Recommendation.PROCESSES,
                1.9,
                "CPU-bound (98 % of one core): 2 threads give 1.0x, 2 processes 1.9x; the GIL serialises the threads",
                (
                    "busy-machine",
                    "the load average was 1.8 on 2 CPUs: run again on an idle machine for a tighter interval",
                ),
            ),
            serial(0.0134, 0.98, 0.999),
            threads(1.01, wait=0.48, held=0.49, free=0.01),
            processes(1.94),
        ),
        probed(
            "sample_workloads/test_scenarios.py::test_simple_scripting",
            verdict(
                Bound.CPU,
                Gil.HELD,
                Recommendation.SERIAL,
                1.0,
                "a call takes 4.1 us, handing it to a pool 20 us: keep it serial",
            ),
            serial(0.0000041, 1.0, 1.0),
            threads(0.98, wait=0.47, held=0.5),
            processes(1.91, pool=0.05),
        ),
        probed(
            "sample_workloads/native/test_hashing.py::TestHashing::test_one_mebibyte[sha256]",
            verdict(Bound.CPU, Gil.PARTIAL, Recommendation.THREADS, 1.87, "native code that releases the GIL for 93 %"),
            serial(0.00064, 0.996, 0.07),
            threads(1.93, held=0.07, free=0.9),
            processes(1.94, held=0.07, free=0.9),
        ),
        probed(
            "tests/test_shared.py::test_counter",
            verdict(
                Bound.CPU,
                Gil.HELD,
                Recommendation.PROCESSES,
                1.7,
                "unsafe in threads: an assertion failed there that holds serially",
                ("unsafe", "the workload failed in threads: shared state without a lock"),
            ),
            serial(0.0021, 0.97, 0.98),
            ThreadsResult(outcome=Outcome.FAILED, error="AssertionError: assert 1987 == 2000"),
            processes(1.9),
        ),
        probed(
            "tests/test_shared.py::test_barrier",
            verdict(
                Bound.MIXED, Gil.UNKNOWN, Recommendation.INCONCLUSIVE, None, "hung in threads, crashed in processes"
            ),
            serial(0.031, 0.55, None),
            ThreadsResult(outcome=Outcome.HUNG, error="still running after 60 s; killed"),
            ProcessesResult(outcome=Outcome.CRASHED, error="worker ended by signal 11 (SIGSEGV)", start_up_s=0.25),
        ),
        probed(
            HOSTILE_NODEID,
            verdict(
                Bound.INCONCLUSIVE,
                Gil.ABSENT,
                Recommendation.INCONCLUSIVE,
                None,
                "the interval [1.1, 1.5] straddles 1.3: a quieter machine or --gilprobe-max-time=20 would settle it",
            ),
            serial(0.6, 0.8, 0.0),
            threads(1.3, held=0.0, free=0.8),
            ProcessesResult(outcome=Outcome.FAILED, error=HOSTILE_ERROR),
        ),
        not_probed("tests/test_skipped.py::test_skipped", "skipped in its normal run: needs a network"),
        not_probed("tests/test_broken.py::test_tool", "worker could not be started", Status.ERROR),
    )


def rich_report() -> Report:
    """Make the fixed report that the golden files draw."""
    return Report(tool_version="0.1.0", created="2025-06-01T12:00:00Z", environment=ENVIRONMENT, workloads=workloads())

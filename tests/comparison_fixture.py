"""Reports that differ from the fixed one in known ways, for every drawing of a comparison."""

from __future__ import annotations

from dataclasses import replace

from reports_fixture import estimate, processes, rich_report, serial, threads, verdict, with_parts

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.results import StrategyResult
from pytest_gilprobe.model.words import Bound, Gil

CRUNCHING = "sample_workloads/test_scenarios.py::test_data_crunching"


def with_workload(report: Report, nodeid: str, **changes: object) -> Report:
    """Change one workload of a report: fields by their names, strategies by theirs."""
    parts = {name: part for name, part in changes.items() if isinstance(part, StrategyResult)}
    fields = {name: value for name, value in changes.items() if name not in parts}
    changed = (
        with_parts(replace(workload, **fields), **parts) if workload.nodeid == nodeid else workload  # type: ignore[arg-type]
        for workload in report.workloads
    )
    return replace(report, workloads=tuple(changed))


def free_threaded_report() -> Report:
    """The fixed report on a free-threaded build: data crunching moves to threads, its serial call is 8 % slower."""
    report = rich_report()
    environment = replace(report.environment, free_threaded_build=True, gil_enabled=False)
    return with_workload(
        replace(report, environment=environment),
        CRUNCHING,
        verdict=verdict(Bound.CPU, Gil.ABSENT, "threads", 1.9, "2 threads give 1.9x"),
        serial=replace(serial(0.0134, 0.98, None), wall_s_per_call=estimate(0.0134 * 1.08, 0.005)),
        threads=threads(1.93),
        processes=processes(1.94),
    )


def precise_report() -> Report:
    """The fixed report with a tight interval around data crunching's serial call, so that 8 % can be told."""
    tight = Estimate(value=0.0134, low=0.01338, high=0.01342)
    return with_workload(rich_report(), CRUNCHING, serial=replace(serial(0.0134, 0.98, 0.999), wall_s_per_call=tight))

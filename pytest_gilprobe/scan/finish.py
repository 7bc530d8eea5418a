"""Finish the scan of a test suite: make its report, draw the report for the terminal and write the report's files."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest_gilprobe
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.scans import SuiteWorkers
from pytest_gilprobe.observe import clocks, interpreter, machine
from pytest_gilprobe.report import scan_terminal
from pytest_gilprobe.scan import suite_file
from pytest_gilprobe.scan.messages import DrawnReport, DrawnText, SessionEnd
from pytest_gilprobe.scan.suite import ScanResult
from pytest_gilprobe.stats import suite_workers
from pytest_gilprobe.workers.child import control

_LOOPS: Final = 10


def report_of(found: ScanResult, session: SessionEnd, folder: Path) -> Report:
    """Return the report of a test suite's scan (its measurement during a normal run), dated now.

    ``found`` has the scan's results, and ``session`` the facts that only the scanned pytest process knows. ``folder``
    is the scan's temporary folder: if pytest has left the times of its tests there, the report also predicts how long
    the suite would take with ``pytest -n``.

    The report describes the Python and the machine of the process that calls this function. So that must be the scanned
    process, or one with the same Python on the same machine.
    """
    here = interpreter.environment(start_method="none started", scaling_ceiling=None, ceiling_workers=None)
    return Report(
        tool_version=pytest_gilprobe.__version__,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        environment=replace(here, gil_enabled=session.gil_enabled, switch_interval_s=session.switch_interval_s),
        workloads=found.results,
        scan=replace(found.scan, suite_workers=_suite_workers(folder)),
    )


def _suite_workers(folder: Path) -> SuiteWorkers | None:
    """Predict what pytest-xdist would give; ``None`` if the times of the whole suite are unknown."""
    try:
        times = suite_file.read(folder / suite_file.NAME)
    except (OSError, ValueError):
        return None
    return suite_workers.predict(times, cpus=machine.usable_cpus(), loop_s=_loop_s())


def _loop_s() -> float:
    """Return how long one call of the control takes on this machine: the shortest of several."""
    took_ns = []
    for _ in range(_LOOPS):
        start_ns = clocks.thread_time_ns()
        control.loop()
        took_ns.append(clocks.thread_time_ns() - start_ns)
    return min(took_ns) * 1e-9


def write_and_draw(report: Report, session: SessionEnd, folder: str | None) -> DrawnReport:
    """Draw ``report`` for the terminal that ``session`` describes, and write the report's files into ``folder``.

    In GitHub Actions, the job's step summary is written as well. If ``folder`` is ``None``, nothing at all is written.
    The result has the drawn text, and an error message for each place that could not be written to.
    """
    problems: tuple[str, ...] = ()
    if folder is not None:
        from pytest_gilprobe.report import files  # noqa: PLC0415 - only for those who want files
        from pytest_gilprobe.strategies.registry import BUILT_IN  # noqa: PLC0415

        problems = files.write(report, Path(folder), BUILT_IN)
    drawn = scan_terminal.draw(report, width=session.width, encoding=session.encoding, tracers=session.tracers)
    return DrawnReport(pieces=tuple(DrawnText(text=text, style=style) for text, style in drawn), problems=problems)

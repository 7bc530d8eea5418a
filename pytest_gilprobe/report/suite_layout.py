"""Say how long ``pytest -n N`` (pytest-xdist with N workers) would run a scanned suite, and which N is enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.safe_text import safe_line
from pytest_gilprobe.model.scans import SuiteRun, SuiteWorkers
from pytest_gilprobe.model.thresholds import CPU_ABOVE, IO_BELOW

LABEL: Final = "pytest -n"
TITLES: Final = (LABEL, "time", "speed-up", "workers idle")


def lines(found: SuiteWorkers) -> Iterator[str]:
    """Yield lines of text on how many workers ``pytest -n`` (pytest-xdist) should have.

    They are the answer in one sentence, a line with the predicted time and speed-up for each number of workers, and the
    long tests for which other workers wait at the end of the run.
    """
    yield answer(found)
    for run in found.runs:
        number, *cells = row(found, run)
        yield f"-n {number}: {cells[0]}, {cells[1]}"
    if found.long_tests:
        yield tail(found)
    yield from (f"{safe_line(test.nodeid)} ({numbers.seconds(test.wall_s)})" for test in found.long_tests)


def answer(found: SuiteWorkers) -> str:
    """Return one sentence that says how many pytest-xdist workers are enough, the time predicted with them, and why."""
    where = f"on {numbers.count(round(found.cpus), 'CPU')}"
    took = numbers.seconds(found.wall_s)
    run = next((run for run in found.runs if run.workers == found.enough_workers), None)
    if run is None:
        each = numbers.seconds(found.start_s + found.collection_s)
        gains = any(run.wall_s < found.wall_s for run in found.runs)
        makes = "would hardly make it faster" if gains else "would not make it faster"
        said = f"this suite takes {took}, and pytest -n {makes} {where} (predicted)"
        return f"{said}: each worker takes {each} to start and collect"
    speedup = _speedup(found, run)
    said = (
        f"pytest -n {run.workers} would take about {numbers.seconds(run.wall_s)} instead of {took}, {speedup}, {where}"
    )
    said += " (predicted)"
    return f"{said}; {_why(found)}"


def tail(found: SuiteWorkers) -> str:
    """Return the line above the list of long tests: those for which other workers wait at the end of the run.

    The line says what to do about them. It is empty if there are no such tests.
    """
    if not found.long_tests:
        return ""
    alone = len(found.long_tests) == 1
    which, them = ("this test", "it") if alone else ("these tests", "them")
    return f"at the end other workers wait for {which}: split {them}, run {them} first, or try --dist worksteal"


def row(found: SuiteWorkers, run: SuiteRun) -> tuple[str, str, str, str]:
    """Return a table row on ``run``, the predicted run with one number of pytest-xdist workers.

    The cells are the number of workers, the time of the run, its speed-up and the share of the workers' time for which
    they are idle. The speed-up is over the run without pytest-xdist, whose time is in ``found``.
    """
    return str(run.workers), numbers.seconds(run.wall_s), _speedup(found, run), numbers.percent(run.idle)


def _speedup(found: SuiteWorkers, run: SuiteRun) -> str:
    return numbers.about(found.wall_s / run.wall_s if run.wall_s else None)


def _why(found: SuiteWorkers) -> str:
    busy = found.cpu_s / found.wall_s if found.wall_s else 0.0
    said = f"it uses {numbers.percent(busy)} of one CPU"
    if busy < IO_BELOW:
        return f"{said}: it waits, so more workers than CPUs may pay"
    if busy > CPU_ABOVE:
        return f"{said}: it computes, so more workers than CPUs do not pay"
    return f"{said}: it computes and waits"

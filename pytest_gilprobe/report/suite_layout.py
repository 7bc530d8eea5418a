"""Say what ``pytest -n N`` would give for a scanned suite: one sentence, a row for each number, and the long tests."""

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
    """Yield lines on how many workers ``pytest -n`` should have.

    They are the answer, the predicted time and speed-up for each number of workers, and the long tests that other
    workers wait for at the end.
    """
    yield answer(found)
    for run in found.runs:
        number, *cells = row(found, run)
        yield f"-n {number}: {cells[0]}, {cells[1]}"
    if found.long_tests:
        yield tail(found)
    yield from (f"{safe_line(test.nodeid)} ({numbers.seconds(test.wall_s)})" for test in found.long_tests)


def answer(found: SuiteWorkers) -> str:
    """Return in one sentence how many pytest-xdist workers are enough, what they would give, and why."""
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
    """Return the line that introduces the long tests, which other workers wait for at the end; empty if none."""
    if not found.long_tests:
        return ""
    alone = len(found.long_tests) == 1
    which, them = ("this test", "it") if alone else ("these tests", "them")
    return f"at the end other workers wait for {which}: split {them}, run {them} first, or try --dist worksteal"


def row(found: SuiteWorkers, run: SuiteRun) -> tuple[str, str, str, str]:
    """Return a table row on ``run``, the prediction for one number of workers.

    The cells are the number of workers, the time, the speed-up and the share of time for which workers are idle.
    ``found`` has the time without workers, to which the speed-up refers.
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

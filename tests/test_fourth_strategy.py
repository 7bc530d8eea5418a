"""A strategy that a conftest file registers is measured, judged, advised, drawn, compared and gated like any other.

Nothing of the package knows the three strategies of this file: one that gains, one that does not, and one whose lanes
are processes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pytest_gilprobe import cli, read_report
from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.results import WorkloadResult
from pytest_gilprobe.model.words import INCONCLUSIVE, Bound, Outcome, Status

CONFTEST = """
import contextlib
import threading

from pytest_gilprobe.strategies.processes import Processes
from pytest_gilprobe.strategies.threads import Threads
from pytest_gilprobe.workers.child import batch


class Lanes(Threads):
    name = "lanes"
    rank = 25
    by_default = False
    color = "purple"

    def lanes_text(self, workers):
        return f"{workers} lanes"

    def why_advised(self, evidence, bound, gil):
        return "nobody stands in the way of a lane"

    def code(self, callee, workers, calls_per_task):
        return [f"results = in_lanes({workers}, {callee.name})"]


class Turns(Threads):
    name = "turns"
    rank = 30
    by_default = False

    def lanes_text(self, workers):
        return f"{workers} lanes in turns"

    def run(self, work, question):
        lock = threading.Lock()

        @contextlib.contextmanager
        def lane(number):
            with work.lane(number) as call:

                def turn():
                    with lock:
                        call()

                yield turn

        return batch.run_threads([lane(number) for number in range(question.lanes)], question.calls)


class Islands(Processes):
    name = "islands"
    rank = 50
    by_default = False

    def lanes_text(self, workers):
        return f"{workers} islands"


def pytest_gilprobe_strategies():
    return [Islands(), Turns(), Lanes()]
"""
TESTS = """
import time
import pytest

@pytest.mark.gilprobe(strategies=("lanes", "turns", "islands"), max_time=4)
def test_all(gilprobe):
    gilprobe(time.sleep, 0.03)

@pytest.mark.gilprobe(strategies=("lanes", "turns"), expect="lanes", min_speedup=1.2)
def test_right():
    time.sleep(0.03)

@pytest.mark.gilprobe(strategies=("lanes", "turns"), expect="turns")
def test_wrong():
    time.sleep(0.03)
"""
FLAGS = ("-p", "no:cacheprovider", "--gilprobe-report", "--gilprobe-workers=2", "-v")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one session with these strategies left and printed."""

    folder: Path
    status: int
    output: str

    @property
    def report(self) -> Report:
        return read_report(self.folder / "reports/gilprobe.json")

    def workload(self, name: str) -> WorkloadResult:
        (found,) = [one for one in self.report.workloads if one.nodeid.endswith(f"::{name}")]
        return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Run the session, once for all tests of this file."""
    folder = tmp_path_factory.mktemp("fourth")
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "test_it.py").write_text(TESTS, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    own = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pytest_gilprobe.plugin", "COLUMNS": "140"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *FLAGS],
        cwd=folder,
        env=os.environ | own,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Seen(folder=folder, status=done.returncode, output=done.stdout + done.stderr)


def test_it_is_measured(seen: Seen) -> None:
    """Each has calls, rounds and a speed-up of its own; those that were not asked for are skipped."""
    found = seen.workload("test_all")
    assert found.status is Status.PROBED, seen.output
    assert list(found.strategies) == ["serial", "threads", "lanes", "turns", "processes", "interpreters", "islands"]
    ended = {name: part.outcome for name, part in found.parallel.items()}
    assert ended == {
        "threads": Outcome.SKIPPED,
        "lanes": Outcome.OK,
        "turns": Outcome.OK,
        "interpreters": Outcome.SKIPPED,
        "processes": Outcome.SKIPPED,
        "islands": Outcome.OK,
    }
    gains = {name: part.speedup.value for name, part in found.parallel.items() if part.speedup is not None}
    assert gains["turns"] < 1.5 < min(gains["lanes"], gains["islands"])
    assert set(found.strategies["turns"].over) == {"lanes"}
    assert all(found.strategies[name].dispatch_s_per_call for name in gains)
    assert found.strategies["islands"].start_up_s


def test_it_is_judged_and_advised(seen: Seen) -> None:
    """The cheapest of those that gain is the advice, for the reason that it gives itself."""
    verdict = seen.workload("test_all").verdict
    assert verdict.strategy in {"lanes", INCONCLUSIVE}, seen.output
    assert verdict.bound is Bound.IO
    assert "lanes" in verdict.candidates
    assert re.search(r"2 lanes give [12]\.\dx, 2 lanes in turns give [01]\.\dx", verdict.reason)
    assert "2 islands give " in verdict.reason
    decided = verdict.strategy == "lanes"
    assert ("nobody stands in the way of a lane" in verdict.reason) is decided
    assert not decided or verdict.candidates == {"lanes": 1.0}


def test_it_is_drawn_in_every_medium(seen: Seen) -> None:
    """Terminal, Markdown, HTML and JSON have its name, its speed-up and its code."""
    assert re.search(r"^test_it.py::test_right PASSED \((lanes [12]\.\dx|inconclusive)", seen.output, re.MULTILINE), (
        seen.output
    )
    header = next(line for line in seen.output.splitlines() if line.startswith("workload"))
    assert {"lanes", "turns", "islands"} <= set(header.split())
    markdown, page, text = (
        (seen.folder / f"reports/gilprobe.{suffix}").read_text("utf-8") for suffix in ("md", "html", "json")
    )
    for name in ("lanes", "turns", "islands"):
        assert all(name in drawn for drawn in (markdown, page, text))
    assert "in_lanes(2, sleep)" in page


def test_it_is_gated(seen: Seen) -> None:
    """An expectation that holds passes; one that does not fails with the names."""
    assert "test_right PASSED" in seen.output
    if seen.workload("test_wrong").verdict.strategy == INCONCLUSIVE:
        assert (seen.status, "3 passed" in seen.output) == (pytest.ExitCode.OK, True)
    else:
        assert seen.status == pytest.ExitCode.TESTS_FAILED
        assert "test_wrong - gilprobe: expected turns; found lanes" in seen.output
        assert "1 failed, 2 passed" in seen.output


def test_it_is_compared(seen: Seen, capsys: pytest.CaptureFixture[str]) -> None:
    """``gilprobe compare`` tells what became of it, and fails where it got worse."""
    first = seen.folder / "reports/gilprobe.json"
    second = seen.folder / "later.json"
    broken = {"lanes": replace(seen.workload("test_all").strategies["lanes"], outcome=Outcome.FAILED, error="why")}
    changed = [
        replace(one, strategies={**one.strategies, **broken}) if one.nodeid.endswith("::test_all") else one
        for one in seen.report.workloads
    ]
    report_json.write_atomic(second, report_json.to_json(replace(seen.report, workloads=tuple(changed))))
    for form in ("terminal", "markdown", "html"):
        assert cli.main(["compare", str(first), str(second), "--format", form]) == cli.OK
        assert "lanes" in capsys.readouterr().out
    assert cli.main(["compare", str(first), str(second), "--fail-on=regression"]) == cli.WORSE
    assert "in lanes it was ok, now it failed" in capsys.readouterr().err

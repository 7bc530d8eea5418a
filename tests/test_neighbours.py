"""Other plugins.

Installed together, nothing breaks, nothing of theirs is written twice, nothing is timed under a tracer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
import sessions

from pytest_gilprobe.plugin.config import Settings
from pytest_gilprobe.plugin.xdist import Controller

if TYPE_CHECKING:
    from pathlib import Path

TWO = """
import time
import pytest

@pytest.mark.gilprobe
def test_one():
    time.sleep(0.005)

@pytest.mark.gilprobe
def test_two():
    time.sleep(0.005)

def test_three():
    pass
"""

THREADS = "--gilprobe-strategies=threads"
"""Where it does not matter what is tried: what a pool of processes costs need not be measured then."""
NOTES = """
def note(line):
    with open("notes.txt", "a") as notes:
        notes.write(line + "\\n")

def pytest_gilprobe_result(item, result):
    note(f"{item.name} {hasattr(item.config, 'workerinput')}")

def pytest_gilprobe_report(config, report):
    note(f"{len(report.workloads)} {hasattr(config, 'workerinput')}")
"""


class TestXdist:
    """pytest-xdist."""

    @pytest.mark.thorough
    def test_one_worker(self, tmp_path: Path) -> None:
        """With one worker marked tests are probed, and the controller's single report has the results.

        The worker's hook sees each result, the controller's the report.
        """
        pytest.importorskip("xdist")
        sessions.write(tmp_path, NOTES, name="conftest.py")
        sessions.write(tmp_path, TWO)
        seen = sessions.run(tmp_path, "-n1", f"--junitxml={tmp_path / 'junit.xml'}", alone=False)
        assert seen.exit_status == pytest.ExitCode.OK, seen.output
        assert [seen.outcomes(f"::{name}") for name in ("test_one", "test_two")] == [("probed", "ok", "ok")] * 2, (
            seen.output
        )
        assert seen.output.count("2 workloads") == 1
        given = [one.get("name") for one in ET.parse(tmp_path / "junit.xml").iter("property")]  # noqa: S314
        assert [given.count(f"gilprobe_{name}") for name in ("strategy", "speedup_threads", "result")] == [2, 2, 0]
        assert (tmp_path / "notes.txt").read_text().splitlines() == ["test_one True", "test_two True", "2 False"]

    def test_several_workers(self, tmp_path: Path) -> None:
        """With several workers marked tests run once and are not probed, which one line says."""
        pytest.importorskip("xdist")
        sessions.write(tmp_path, TWO)
        seen = sessions.run(tmp_path, "-p", "xdist", "-n2")
        assert seen.exit_status == pytest.ExitCode.OK, seen.output
        assert "3 passed" in seen.output
        assert [line for line in seen.output.splitlines() if line.startswith("gilprobe:")][-1].startswith(
            "gilprobe: 2 marked tests were not probed"
        )
        assert seen.workloads == {}

    @pytest.mark.parametrize(
        ("flags", "status", "start"),
        [
            ((), pytest.ExitCode.OK, "gilprobe: 2 marked tests were not probed, nor any gate checked"),
            (
                ("--gilprobe-fail-on=inconclusive",),
                pytest.ExitCode.TESTS_FAILED,
                "ERROR: --gilprobe-fail-on=inconclusive: 2 marked tests were not probed, nor any gate checked",
            ),
        ],
    )
    def test_gates_that_several_workers_cannot_check(
        self, pytester: pytest.Pytester, flags: tuple[str, ...], status: pytest.ExitCode, start: str
    ) -> None:
        """Where open answers are to fail, not measuring at all fails the session, and a line says what to do."""
        config = pytester.parseconfig("-p", "no:asyncio", *flags)
        controller = Controller(config, lambda: Settings.from_pytest(config))
        if flags:
            controller.start_reporting()
        controller.pytest_testnodedown(SimpleNamespace(workeroutput={"gilprobe_not_probed": 2}))
        session: Any = SimpleNamespace(config=config, exitstatus=pytest.ExitCode.OK)
        controller.pytest_sessionfinish(session)
        assert session.exitstatus is status
        lines: list[str] = []
        screen: Any = SimpleNamespace(verbosity=0, line=lambda line, **_: lines.append(line))
        controller.pytest_terminal_summary(screen)
        assert lines == [f"{start}: several pytest-xdist workers disturb each other; use -n 0 or -n 1"]

    def test_nothing_marked(self, tmp_path: Path) -> None:
        """Where no test is marked nothing is said."""
        pytest.importorskip("xdist")
        sessions.write(tmp_path, "def test_plain(): pass")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *sessions.QUIET, "-p", "xdist", "-n2"],
            cwd=tmp_path,
            env=os.environ | sessions.ALONE,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == pytest.ExitCode.OK, done.stdout
        assert "gilprobe:" not in done.stdout


CODE = """
def used(value):
    if value:
        return 1
    return 2

def unused():
    return 3
"""
COVERED = """
import sys, time
import pytest
from code_ import used

@pytest.mark.gilprobe
def test_used():
    used(1)
    time.sleep(0.005)
    assert sys.gettrace() is None or "PYTEST_GILPROBE_WORKER" not in __import__("os").environ
"""


def _missing(folder: Path) -> list[int]:
    report = folder / "coverage.json"
    command = [sys.executable, "-m", "coverage", "json", "-q", "-o", str(report), "--include=code_.py"]
    subprocess.run(command, cwd=folder, check=True, timeout=60, capture_output=True)
    missing: list[int] = json.loads(report.read_text("utf-8"))["files"]["code_.py"]["missing_lines"]
    return missing


@pytest.mark.slow
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
@pytest.mark.parametrize("patched", ["", "patch = subprocess,_exit\nparallel = true\n"], ids=["plain", "patch"])
def test_coverage(patched: str, start_method: str, tmp_path: Path) -> None:
    """Coverage is what it is without the plugin, and workers neither trace nor write data."""
    (tmp_path / "code_.py").write_text(CODE, encoding="utf-8")
    (tmp_path / ".coveragerc").write_text(f"[run]\nsource = .\n{patched}", encoding="utf-8")
    sessions.write(tmp_path, COVERED)
    seen = _covered(tmp_path, start_method)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    assert seen.one("::test_used")["status"] == "probed", seen.one("::test_used")
    assert "traced" not in [caution["slug"] for caution in seen.one("::test_used")["verdict"]["cautions"]]
    assert len(list(tmp_path.glob(".coverage*"))) == 2, "the settings and one data file"
    assert _missing(tmp_path) == [5, 8]


def _covered(folder: Path, start_method: str) -> sessions.Session:
    """Run a session under coverage, as if this one were not."""
    os_environ = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "GILPROBE_"))}
    reports = folder / "gilprobe-reports"
    flags = [
        "--cov=.",
        "--cov-report=",
        f"--gilprobe-start-method={start_method}",
        f"--gilprobe-report-dir={reports}",
        "--gilprobe-max-time=1",
    ]
    done = subprocess.run(
        sessions.command(*flags),
        cwd=folder,
        env=os_environ,
        capture_output=True,
        text=True,
        timeout=sessions.SESSION_S,
        check=False,
    )
    workloads = json.loads((reports / "gilprobe.json").read_text("utf-8"))["workloads"]
    return sessions.Session(
        exit_status=done.returncode,
        output=done.stdout + done.stderr,
        workloads={one["nodeid"]: one for one in workloads},
    )


@pytest.mark.thorough
def test_timeout(tmp_path: Path) -> None:
    """pytest-timeout limits the test, not its probe, in the parent and in workers."""
    pytest.importorskip("pytest_timeout")
    sessions.write(tmp_path, "import time, pytest\n@pytest.mark.gilprobe\ndef test_slow():\n    time.sleep(0.3)\n")
    seen = sessions.run(tmp_path, "-p", "timeout", "--timeout=1", budget_s=4)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    assert seen.outcomes("::test_slow") == ("probed", "ok", "ok"), seen.output


@pytest.mark.thorough
def test_faulthandler_timeout(tmp_path: Path) -> None:
    """Pytest's own limit, which prints stacks or ends the session, is no limit on a probe either."""
    sessions.write(
        tmp_path,
        "import time, pytest\n@pytest.mark.gilprobe\ndef test_slow():\n    time.sleep(0.2)\n",
        ini="faulthandler_timeout = 1\n",
    )
    seen = sessions.run(tmp_path, THREADS, budget_s=3)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    assert "Timeout" not in seen.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "flags"),
    [
        ("pytest_rerunfailures", ("--reruns=2",)),
        ("pytest_randomly", ("-p", "pytest_randomly")),
        ("pytest_benchmark", ()),
        ("pytest_mock", ()),
    ],
)
def test_installed_together(module: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    """Plugins that rerun, reorder, benchmark or patch leave the results as they are."""
    pytest.importorskip(module)
    sessions.write(tmp_path, TWO)
    seen = sessions.run(tmp_path, *flags, alone=False)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    assert {workload["status"] for workload in seen.workloads.values()} == {"probed"}, seen.output


OWN_LOOP = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    for item in session.items:
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
    return True
"""


def test_plugin_that_owns_the_run(tmp_path: Path) -> None:
    """A plugin that runs the tests in its own way does so in pytest's own process; workers serve all the same."""
    sessions.write(tmp_path, OWN_LOOP, name="conftest.py")
    sessions.write(tmp_path, TWO)
    seen = sessions.run(tmp_path, THREADS)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    assert "3 passed" in seen.output
    assert [seen.one(f"::{name}")["status"] for name in ("test_one", "test_two")] == ["probed"] * 2, seen.output


OWN_CASES = """
import pytest
from _pytest.unittest import TestCaseFunction

@pytest.fixture(autouse=True)
def runs_the_case_itself(monkeypatch):
    monkeypatch.setattr(TestCaseFunction, "runtest", lambda self: self.instance(result=self))
"""
CASE = """
import time, unittest
import pytest

@pytest.mark.gilprobe
class TestCase(unittest.TestCase):
    def test_one(self):
        time.sleep(0.005)
"""


def test_plugin_that_runs_test_cases_itself(tmp_path: Path) -> None:
    """A test case that a plugin calls without pytest's help, as pytest-django does, is probed like any other."""
    sessions.write(tmp_path, OWN_CASES, name="conftest.py")
    sessions.write(tmp_path, CASE)
    seen = sessions.run(tmp_path, THREADS)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    assert seen.one("::test_one")["status"] == "probed", seen.output
    assert seen.one("::test_one")["strategies"]["serial"]["wall_s_per_call"]["value"] > 0.004


@pytest.mark.thorough
def test_forked_worker_that_cannot_set_up(tmp_path: Path) -> None:
    """What a session has changed for good may keep a forked worker from setting up; the reason says what helps."""
    conftest = """
    import pytest
    def pytest_sessionstart():
        import math
        math.guarded = hasattr(math, "guarded")
    @pytest.fixture
    def guarded():
        import math
        assert not math.guarded, "guarded twice"
    """
    sessions.write(tmp_path, conftest, name="conftest.py")
    sessions.write(tmp_path, "import pytest\n@pytest.mark.gilprobe\ndef test_one(guarded):\n    sum(range(1000))\n")
    forked = sessions.run(tmp_path, "--gilprobe-start-method=fork").one("::test_one")
    assert forked["status"] == "not_probed"
    assert "guarded twice" in forked["reason"]
    assert "--gilprobe-start-method=spawn" in forked["reason"]
    spawned = sessions.run(tmp_path, THREADS, "--gilprobe-start-method=spawn").one("::test_one")
    assert spawned["status"] == "probed", spawned["reason"]


def test_nothing_of_the_users_is_touched(tmp_path: Path) -> None:
    """Workers write no cache, log, JUnit XML or temporary folder of the session's."""
    source = (
        TWO + "\ndef test_folder(tmp_path):\n    (tmp_path / 'x').touch()\n"
        "test_folder.pytestmark = [pytest.mark.gilprobe]\n"
    )
    sessions.write(tmp_path, source, ini="log_file = log.txt\nlog_file_level = INFO\n")
    flags = (THREADS, f"--basetemp={tmp_path / 'temp'}", "--junitxml=junit.xml", "-p", "cacheprovider")
    seen = sessions.run(tmp_path, *flags)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    assert seen.one("::test_folder")["status"] == "probed"
    assert sorted(path.name for path in (tmp_path / "temp").iterdir() if not path.is_symlink()) == ["test_folder0"]
    cases = list(ET.parse(tmp_path / "junit.xml").iter("testcase"))  # noqa: S314 - our own file
    assert len(cases) == 4

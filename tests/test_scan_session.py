"""``--gilprobe-scan``, end to end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pytest_gilprobe
from pytest_gilprobe.observe import interpreter

LINUX = pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs /proc")
FLAGS = ("--gilprobe-scan", "--gilprobe-report", "-p", "no:cacheprovider")
pytestmark = pytest.mark.usefixtures("alone")
SPIN = """
import time
def spin(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until: pass
"""


def _run(pytester: pytest.Pytester, *flags: str) -> tuple[pytest.RunResult, dict[str, Any]]:
    result = pytester.runpytest_subprocess(*FLAGS, *flags)
    path = pytester.path / "reports" / "gilprobe.json"
    return result, json.loads(path.read_text("utf-8")) if path.exists() else {}


def _held(report: dict[str, Any], name: str) -> float | None:
    found = next(one for one in report["workloads"] if one["nodeid"].endswith(name))
    share = found["gil"]["held_fraction"]
    return None if share is None else float(share["value"])


@LINUX
@pytest.mark.skipif(not interpreter.gil_enabled(), reason="there is no GIL")
def test_a_scan_tells_waiting_from_computing_and_runs_nothing_twice(pytester: pytest.Pytester) -> None:
    """Each test runs once, and its report says whether it waited, computed, or held the GIL asleep."""
    pytester.makepyfile(
        SPIN
        + """
import ctypes, pathlib
def test_sleeps():
    time.sleep(0.2)
    with open("ran.txt", "a") as file: file.write("x")
def test_spins(): spin(0.2)
def test_blocks(): ctypes.PyDLL(None).usleep(200_000)
"""
    )
    result, report = _run(pytester)
    result.assert_outcomes(passed=3)
    assert (pytester.path / "ran.txt").read_text() == "x"
    assert {one["status"] for one in report["workloads"]} == {"scanned"}
    assert (_held(report, "test_sleeps") or 0) < 0.2
    assert (_held(report, "test_spins") or 0) > 0.8
    assert (_held(report, "test_blocks") or 0) > 0.8
    slugs = {finding["slug"]: finding["names"] for finding in report["scan"]["findings"]}
    assert [name.rpartition("::")[2] for name in slugs["scan-blocks"]] == ["test_blocks"]
    assert [name.rpartition("::")[2] for name in slugs["scan-waits"]] == ["test_sleeps"]
    assert report["scan"]["lost"] == 0
    shown = "\n".join(result.outlines)
    command = shown[shown.index("pytest --gilprobe-all") :].partition("\n\n")[0].splitlines()
    named = [line.removesuffix(" \\").strip() for line in command if "::" in line]
    assert {name.rpartition("::")[2] for name in named} == {"test_sleeps", "test_spins", "test_blocks"}
    result.stdout.fnmatch_lines(["*gilprobe scan*", "3 tests, 3 long enough*", "*test_blocks*"])
    blocking = next(one for one in report["workloads"] if one["nodeid"].endswith("test_blocks"))
    assert blocking["gil"]["holders"][0]["code"] == "ctypes.PyDLL(None).usleep(200_000)"
    functions = {one["function"] for one in report["scan"]["functions"]}
    assert {"test_blocks", "spin"} <= functions
    result.stdout.fnmatch_lines(["where the project's functions hold the GIL*", "where these tests hold the GIL*"])


@LINUX
def test_a_scan_without_holders_reads_no_stacks(pytester: pytest.Pytester) -> None:
    """What the option leaves out is null."""
    pytester.makepyfile(SPIN + "def test_spins(): spin(0.1)\n")
    result, report = _run(pytester, "--gilprobe-holders=off")
    result.assert_outcomes(passed=1)
    assert report["scan"]["functions"] is None
    assert report["workloads"][0]["gil"]["holders"] is None


@LINUX
def test_short_tests_are_reported_in_groups(pytester: pytest.Pytester) -> None:
    """Tests of microseconds are in the groups of their file, and of fixtures that they or the project ask for."""
    pytester.makepyfile(
        """
        import pytest
        @pytest.fixture
        def inner(): return 1
        @pytest.fixture
        def thing(inner): return 1
        @pytest.mark.usefixtures("doctest_namespace")
        @pytest.mark.parametrize("number", range(100))
        def test_short(thing, number, tmp_path_factory): pass
        """
    )
    _, report = _run(pytester)
    groups = {(group["kind"], group["name"]): group["tests"] for group in report["scan"]["groups"]}
    alone = report["scan"]["tests_alone"]
    file = next(name for kind, name in groups if kind == "file")
    assert report["scan"]["tests"] == 100
    assert groups["file", file] == 100 - alone
    fixtures = {name: tests for (kind, name), tests in groups.items() if kind == "fixture"}
    assert fixtures == dict.fromkeys(["inner", "thing", "tmp_path_factory", "doctest_namespace"], 100 - alone)


@LINUX
def test_with_xdist_every_worker_is_watched_and_one_report_written(pytester: pytest.Pytester) -> None:
    """Tests of all workers are in one report."""
    pytest.importorskip("xdist")
    pytester.makepyfile(SPIN + "".join(f"\ndef test_{number}(): spin(0.15)\n" for number in range(4)))
    result, report = _run(pytester, "-p", "xdist", "-n", "2")
    result.assert_outcomes(passed=4)
    assert report["scan"]["tests"] == 4
    assert report["scan"]["died_in"] is None


@LINUX
def test_a_pytest_that_is_killed_is_reported_by_its_watcher(pytester: pytest.Pytester) -> None:
    """The watcher outlives pytest just long enough to name the test and write the report."""
    pytester.makepyfile(
        """
        import os, signal, time
        def test_lives(): time.sleep(0.1)
        def test_dies(): os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    command = [sys.executable, "-m", "pytest", *FLAGS]
    with subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        _, said = run.communicate(timeout=60)  # ends when the watcher has closed standard error too
    assert run.returncode == -9
    assert b"died in " in said
    assert b"::test_dies" in said
    report = json.loads((pytester.path / "reports" / "gilprobe.json").read_text("utf-8"))
    assert report["scan"]["died_in"].endswith("::test_dies")
    assert [one["nodeid"].rpartition("::")[2] for one in report["workloads"]] == ["test_lives"]


@pytest.mark.thorough
@LINUX
def test_a_watcher_that_is_killed_is_reported_and_no_test_is_lost(pytester: pytest.Pytester) -> None:
    """What it had not read is reported without the GIL, and why."""
    pytester.makepyfile(
        """
        import os, pathlib, signal, time
        def test_before(): time.sleep(0.1)
        def test_is_noted(): time.sleep(0.5)
        def test_kills():
            for path in pathlib.Path("/proc").glob("[0-9]*"):
                try:
                    parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                    if parent == os.getpid() and b"scan.watcher" in (path / "cmdline").read_bytes():
                        os.kill(int(path.name), signal.SIGKILL)
                except OSError: pass
            time.sleep(0.1)
        def test_after(): time.sleep(0.1)
        """
    )
    result, report = _run(pytester)
    result.assert_outcomes(passed=4)
    assert report["scan"]["tests"] == 4
    assert "the watcher ended before the tests did, with status -9" in report["scan"]["unwatched"]
    order = [one["nodeid"].rpartition("::")[2] for one in report["workloads"]]
    assert order == ["test_before", "test_is_noted", "test_kills", "test_after"]


@pytest.mark.thorough
@LINUX
def test_a_test_that_closes_the_pipe_does_not_end_the_watching(pytester: pytest.Pytester) -> None:
    """The watcher goes on where its standard input ends while pytest lives."""
    pytester.makepyfile(
        SPIN
        + """
import os
def test_closes():
    for number in range(3, 64):
        try:
            if os.readlink(f"/proc/self/fd/{number}").startswith("pipe:"): os.close(number)
        except OSError: pass
    time.sleep(0.1)
def test_after(): spin(0.15)
"""
    )
    _, report = _run(pytester)
    assert report["scan"]["died_in"] is None
    assert [one["nodeid"].rpartition("::")[2] for one in report["workloads"]] == ["test_closes", "test_after"]


def test_a_gil_that_cannot_be_watched_is_reported_and_so_is_the_rest(pytester: pytest.Pytester) -> None:
    """Without an address wall and CPU time are still reported, and why the GIL is not."""
    pytester.makeconftest(
        """
        from pytest_gilprobe.observe.gil_address import Location
        import pytest_gilprobe.scan.session as room
        room.locate = lambda: Location(address=None, reason="for the test's sake")
        """
    )
    pytester.makepyfile("import time\ndef test_sleeps(): time.sleep(0.1)\n")
    result, report = _run(pytester)
    assert report["scan"]["unwatched"] == "for the test's sake"
    (found,) = report["workloads"]
    assert (found["verdict"]["bound"], found["gil"]["held_fraction"]) == ("io", None)
    result.stdout.fnmatch_lines(["caution: the GIL was not watched: for the test's sake"])


@LINUX
def test_pytest_imports_no_records_and_nothing_that_draws(pytester: pytest.Pytester) -> None:
    """What a report needs is imported beside pytest, not in it, and there is a report all the same."""
    pytester.makeconftest(
        """
        import sys
        def pytest_unconfigure(config):
            print("imported", *sorted(sys.modules))
        """
    )
    pytester.makepyfile("def test_a(): pass")
    result, report = _run(pytester)
    (imported,) = [line for line in result.outlines if line.startswith("imported")]
    modules = set(imported.split()[1:])
    assert "pytest_gilprobe.scan.session" in modules
    assert not modules & {
        "numpy",
        "jinja2",
        "tabulate",
        "pytest_gilprobe.model.results",
        "pytest_gilprobe.model.readings",
    }
    rooms = {name.split(".")[1] for name in modules if name.startswith("pytest_gilprobe.")}
    assert rooms <= {"hookspecs", "model", "observe", "plugin", "scan"}
    assert report["scan"]["tests"] == 1
    result.stdout.fnmatch_lines(["*gilprobe scan*", "1 test, *"])


@pytest.mark.thorough
@LINUX
def test_where_the_watcher_draws_nothing_pytest_does(pytester: pytest.Pytester) -> None:
    """A watcher that cannot draw, or leave what it drew, has taken notes; pytest reads them and draws by itself."""
    pytester.makeconftest(
        """
        import pytest_gilprobe.scan.session as room
        settings = room.WatcherSettings
        room.WatcherSettings = lambda **given: settings(**{**given, "drawing": given["drawing"] + "/no/such/folder"})
        """
    )
    pytester.makepyfile("import time\ndef test_a(): time.sleep(0.1)")
    result, report = _run(pytester)
    assert result.ret == 0
    assert report["scan"]["tests"] == 1
    result.stdout.fnmatch_lines(["*gilprobe scan*", "1 test, *"])


@LINUX
@pytest.mark.parametrize("hook", ["", "def pytest_gilprobe_report(config, report): pass"])
def test_the_step_summary_of_a_workflow_gets_the_report(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    """With a report, ``GITHUB_STEP_SUMMARY`` is appended to, whether the watcher writes it or pytest."""
    summary = pytester.path / "summary.md"
    summary.write_text("before\n", "utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    pytester.makeconftest(hook)
    pytester.makepyfile("def test_a(): pass")
    result, _ = _run(pytester)
    assert result.ret == 0
    markdown = (pytester.path / "reports" / "gilprobe.md").read_text("utf-8")
    assert summary.read_text("utf-8") == f"before\n{markdown}\n"
    assert "1 test, " in markdown


@pytest.mark.parametrize("flags", [(), ("-p", "xdist", "-n", "1")])
def test_a_hook_gets_the_report_before_it_is_written(pytester: pytest.Pytester, flags: tuple[str, ...]) -> None:
    """``pytest_gilprobe_report`` is called once, in the process that the user started, with the whole report.

    A marked test is not probed: it runs once.
    """
    if flags:
        pytest.importorskip("xdist")
    pytester.makeconftest(
        """
        import pathlib
        def pytest_gilprobe_report(config, report):
            written = pathlib.Path("reports/gilprobe.json").exists()
            with open("hook.txt", "a") as file: file.write(f"{report.scan.tests} {written}")
        """
    )
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.gilprobe
        def test_marked():
            with open("ran.txt", "a") as file: file.write("x")
        def test_b(): pass
        """
    )
    result, report = _run(pytester, *flags)
    assert result.ret == 0
    assert (pytester.path / "ran.txt").read_text() == "x"
    assert (pytester.path / "hook.txt").read_text() == "2 False"
    assert report["scan"]["tests"] == 2
    result.stdout.fnmatch_lines(["*gilprobe scan*", "2 tests, *"])


@pytest.mark.thorough
@LINUX
@pytest.mark.parametrize("forbidden", ["flag", "variable"])
def test_a_watcher_writes_no_compiled_files_where_pytest_must_not(pytester: pytest.Pytester, forbidden: str) -> None:
    """``python -B`` and ``PYTHONDONTWRITEBYTECODE`` hold for the processes that pytest starts, too."""
    package = pytester.path / "package" / "pytest_gilprobe"
    shutil.copytree(Path(pytest_gilprobe.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    pytester.makepyfile("def test_a(): pass")
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    if forbidden == "variable":
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, *(["-B"] if forbidden == "flag" else []), "-m", "pytest", *FLAGS]
    run = subprocess.run(command, cwd=pytester.path, env=environment, capture_output=True, check=False)
    assert run.returncode == 0
    assert json.loads((pytester.path / "reports" / "gilprobe.json").read_text("utf-8"))["scan"]["tests"] == 1
    assert not list(package.rglob("__pycache__"))


@pytest.mark.thorough
@LINUX
def test_a_tracer_that_is_gone_at_the_end_is_named(pytester: pytest.Pytester) -> None:
    """pytest-cov stops its tracer before the session is over; the report says all the same that Python was traced."""
    pytest.importorskip("pytest_cov")
    pytester.makepyfile("def test_a(): pass")
    result, _ = _run(pytester, "-p", "pytest_cov", "--cov")
    assert "Python code was traced" in " ".join(result.outlines)


@pytest.mark.parametrize("flags", [("--collect-only",), ("--gilprobe-disable",)])
def test_nothing_is_watched_where_nothing_is_asked(pytester: pytest.Pytester, flags: tuple[str, ...]) -> None:
    """Collecting only, or disabled, leaves no report."""
    pytester.makepyfile("def test_a(): pass")
    result, report = _run(pytester, *flags)
    assert result.ret == 0
    assert report == {}


def test_a_report_folder_that_cannot_be_written_is_an_error_of_its_own(pytester: pytest.Pytester) -> None:
    """The results are printed all the same, and the exit status shows it."""
    pytester.makepyfile("def test_a(): pass")
    (pytester.path / "taken").write_text("a file")
    result, _ = _run(pytester, "--gilprobe-report-dir=taken")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*gilprobe scan*", "1 test, *", "ERROR: --gilprobe-report-dir: *"])

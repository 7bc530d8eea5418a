"""`pytest_gilprobe.plugin` and `pytest_gilprobe.session`: real sessions with real workers, seen from outside."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pytest_gilprobe import serialize
from pytest_gilprobe.model import Recommendation, Report, Status
from pytest_gilprobe.options import INSIDE_WORKER

QUICK = ("-p", "no:cacheprovider", "--gilprobe-max-time=0.5", "--gilprobe-workers=2")

SLEEPS = """
import time
import pytest

@pytest.mark.gilprobe
def test_waits():
    time.sleep(0.02)
"""


@pytest.fixture(autouse=True)
def no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what else is installed out of the sessions: they start twice as fast."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_gilprobe.plugin")


def run(pytester: pytest.Pytester, *flags: str) -> pytest.RunResult:
    """Run a whole session in a process of its own, with a budget of half a second per probe."""
    return pytester.runpytest_subprocess(*QUICK, *flags, timeout=60)


def report_of(pytester: pytest.Pytester, folder: str = "reports") -> Report:
    """Read the report that a session left."""
    return serialize.read(pytester.path / folder / "gilprobe.json")


def test_marked_test_gets_one_line(pytester: pytest.Pytester) -> None:
    """Without the flag a probed session ends with a line per workload, and leaves no file."""
    pytester.makepyfile(SLEEPS)
    result = run(pytester)
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*gilprobe: 1 workload (details: --gilprobe-report)*", "*test_waits*"])
    assert not (pytester.path / "reports").exists()


def test_waiting_is_told_from_computing(pytester: pytest.Pytester) -> None:
    """Of a sleep and a loop, the report says threads and processes, or that it cannot tell; never the opposite."""
    pytester.makepyfile(
        SLEEPS
        + """
@pytest.mark.gilprobe(max_time=3)
def test_computes():
    sum(i * i for i in range(50_000))
"""
    )
    result = run(pytester, "--gilprobe-report")
    result.assert_outcomes(passed=2)
    waits, computes = report_of(pytester).workloads
    assert {waits.status, computes.status} == {Status.PROBED}
    assert waits.verdict.strategy in {Recommendation.THREADS, Recommendation.INCONCLUSIVE}
    no_gil = {Recommendation.THREADS} if not getattr(sys, "_is_gil_enabled", lambda: True)() else set()
    assert computes.verdict.strategy in {Recommendation.PROCESSES, Recommendation.INCONCLUSIVE} | no_gil
    result.stdout.fnmatch_lines(["*= gilprobe =*", "*test_waits*", "*test_computes*"])


def test_report_leaves_three_files(pytester: pytest.Pytester) -> None:
    """With the flag, JSON, Markdown and HTML are in the folder asked for, and the header names the flags."""
    pytester.makepyfile(SLEEPS)
    result = run(pytester, "--gilprobe-report", "--gilprobe-report-dir=out/there")
    assert sorted(path.name for path in (pytester.path / "out/there").iterdir()) == [
        "gilprobe.html",
        "gilprobe.json",
        "gilprobe.md",
    ]
    assert report_of(pytester, "out/there").workloads[0].nodeid.endswith("::test_waits")
    result.stdout.fnmatch_lines(["gilprobe: report, report-dir=out/there, workers=2, max-time=0.5"])


def test_verdict_stands_beside_passed(pytester: pytest.Pytester) -> None:
    """Under ``-v`` the line of a probed test carries its verdict."""
    pytester.makepyfile(SLEEPS)
    result = run(pytester, "-v")
    result.stdout.re_match_lines([r".*::test_waits PASSED \(.*(threads|inconclusive).*\)"])


def test_quiet_session_says_less(pytester: pytest.Pytester) -> None:
    """Under ``-q`` the lines stand without a heading, under ``-qq`` there are none."""
    pytester.makepyfile("import pytest\n@pytest.mark.gilprobe\n@pytest.mark.skip\ndef test_waits(): pass")
    quiet = run(pytester, "-q").stdout.str()
    assert "details:" not in quiet
    assert "test_waits" in quiet
    assert "test_waits" not in run(pytester, "-qq").stdout.str()


def test_what_did_not_pass_is_not_probed(pytester: pytest.Pytester) -> None:
    """Skipped, failed, errored, expected-to-fail: not probed, each with its reason, and pytest's outcomes stand."""
    pytester.makepyfile(
        """
import pytest

pytestmark = pytest.mark.gilprobe

@pytest.mark.skip(reason="not today")
def test_skipped(): pass

def test_skips_itself(): pytest.skip("after all not")

def test_fails(): assert 1 == 2

@pytest.fixture
def broken(): raise RuntimeError

def test_errors(broken): pass

@pytest.mark.xfail
def test_fails_as_expected(): assert False

@pytest.mark.xfail
def test_passes_unexpectedly(): pass
"""
    )
    result = run(pytester, "--gilprobe-report")
    result.assert_outcomes(skipped=2, failed=1, errors=1, xfailed=1, xpassed=1)
    found = {one.nodeid.rpartition("::")[2]: one for one in report_of(pytester).workloads}
    assert {one.status for one in found.values()} == {Status.NOT_PROBED}
    assert {name: one.reason for name, one in found.items()} == {
        "test_skipped": "skipped in its setup: not today",
        "test_skips_itself": "skipped in its call: after all not",
        "test_fails": "failed in its call when pytest ran it; mend that first",
        "test_errors": "errored in its setup when pytest ran it; mend that first",
        "test_fails_as_expected": "it is expected to fail (xfail)",
        "test_passes_unexpectedly": "it is expected to fail (xfail)",
    }


def test_parent_runs_the_test_once(pytester: pytest.Pytester) -> None:
    """In pytest's own process a marked test is called once, as ever; repeats happen in workers."""
    pytester.makepyfile(
        """
import os, time, pytest

@pytest.mark.gilprobe(strategies="threads")
def test_it():
    with open("calls.txt", "a") as calls:
        calls.write(f"{os.environ.get('PYTEST_GILPROBE_WORKER', 'parent')}\\n")
    time.sleep(0.03)
"""
    )
    run(pytester).assert_outcomes(passed=1)
    calls = (pytester.path / "calls.txt").read_text().split()
    assert calls.count("parent") == 1
    assert len(set(calls)) >= 2


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_every_start_method_works(pytester: pytest.Pytester, method: str) -> None:
    """Workers start by fork, forkserver or spawn, and the report says which."""
    pytester.makepyfile(SLEEPS)
    run(pytester, "--gilprobe-report", f"--gilprobe-start-method={method}").assert_outcomes(passed=1)
    found = report_of(pytester)
    assert found.environment.start_method == method
    assert found.workloads[0].status is Status.PROBED
    assert (found.workloads[0].processes.start_up_s or 0) > 0


def test_fixtures_are_the_workers_own(pytester: pytest.Pytester) -> None:
    """Each worker sets fixtures up for itself, a module's once for all tests, and each thread has its ``tmp_path``."""
    pytester.makepyfile(
        """
import os, threading, time, pytest

@pytest.fixture(scope="module")
def kept():
    with open("module.txt", "a") as note:
        note.write(f"{os.getpid()}\\n")
    yield

@pytest.mark.gilprobe
def test_one(kept, tmp_path):
    lane = threading.current_thread() is not threading.main_thread()
    with open("folders.txt", "a") as note:
        note.write(f"{os.getpid()} {threading.get_ident()} {lane} {tmp_path}\\n")
    time.sleep(0.03)

@pytest.mark.gilprobe
def test_two(kept):
    time.sleep(0.03)
"""
    )
    run(pytester).assert_outcomes(passed=2)
    pids = (pytester.path / "module.txt").read_text().split()
    assert len(pids) == len(set(pids)) == 3
    lanes = [line.split() for line in (pytester.path / "folders.txt").read_text().splitlines()]
    in_threads = {(pid, folder) for pid, _, lane, folder in lanes if lane == "True"}
    assert len(in_threads) == 2


def test_disabled_plugin_runs_tests_once(pytester: pytest.Pytester) -> None:
    """``--gilprobe-disable`` runs marked tests as if the plugin were absent, whatever else is asked for."""
    pytester.makepyfile(SLEEPS)
    result = run(pytester, "--gilprobe-disable", "--gilprobe-report")
    result.assert_outcomes(passed=1)
    assert "workload" not in result.stdout.str()
    assert not (pytester.path / "reports").exists()


def test_all_probes_unmarked_tests(pytester: pytest.Pytester) -> None:
    """``--gilprobe-all`` treats every test as marked."""
    pytester.makepyfile("import time\ndef test_unmarked(): time.sleep(0.02)")
    run(pytester, "--gilprobe-all", "--gilprobe-report").assert_outcomes(passed=1)
    assert report_of(pytester).workloads[0].status is Status.PROBED


def test_what_is_not_a_function_is_not_probed(pytester: pytest.Pytester) -> None:
    """A doctest under ``--gilprobe-all`` has no call to repeat, and is told so."""
    pytester.maketxtfile(test_doc=">>> 1 + 1\n2\n")
    run(pytester, "--gilprobe-all", "--gilprobe-report", "--doctest-glob=*.txt").assert_outcomes(passed=1)
    only = report_of(pytester).workloads[0]
    assert only.status is Status.NOT_PROBED
    assert only.reason is not None
    assert "DoctestItem" in only.reason


def test_no_marked_test_and_report_says_so(pytester: pytest.Pytester) -> None:
    """Where nothing was probed the report says how to have something probed, and an empty report is left."""
    pytester.makepyfile("def test_unmarked(): pass")
    result = run(pytester, "--gilprobe-report")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["gilprobe: no test was probed: mark one with @pytest.mark.gilprobe, or use --gilprobe-all"]
    )
    assert report_of(pytester).workloads == ()


def test_no_marked_test_and_no_flag_is_silence(pytester: pytest.Pytester) -> None:
    """Merely installed, the plugin prints nothing."""
    pytester.makepyfile("def test_unmarked(): pass")
    result = pytester.runpytest_subprocess(timeout=60)
    assert "gilprobe" not in result.stdout.str()
    assert result.ret == pytest.ExitCode.OK


def test_collect_only_starts_nothing(pytester: pytest.Pytester) -> None:
    """``--collect-only`` collects."""
    pytester.makepyfile(SLEEPS)
    result = run(pytester, "--collect-only", "--gilprobe-report")
    assert result.ret == pytest.ExitCode.OK
    assert "no test was probed" not in result.stdout.str()
    assert not (pytester.path / "reports").exists()


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("2", "takes keywords only, found (2,), allowed: workers, max_time"),
        ("threads=2", "has no keyword 'threads', allowed: workers, max_time"),
        ("workers=1", "(workers=...): found 1, allowed: 'auto' or a whole number from 2"),
        ("expect='async'", "(expect=...): found 'async', allowed: one or more of 'serial'"),
    ],
)
def test_bad_marker_is_a_usage_error_at_collection(pytester: pytest.Pytester, mark: str, said: str) -> None:
    """A marker that cannot be read ends the session before any test ran, and names the test."""
    pytester.makepyfile(test_bad=f"import pytest\n@pytest.mark.gilprobe({mark})\ndef test_it(): print('it ran')")
    result = run(pytester, "-s")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: test_bad.py::test_it: @pytest.mark.gilprobe{' ' * (said[0] != '(')}{said}" in result.stderr.str()
    assert "it ran" not in result.stdout.str()


def test_bad_flag_is_a_usage_error(pytester: pytest.Pytester) -> None:
    """A flag that cannot be read ends the session with one line."""
    result = run(pytester, "--gilprobe-workers=1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --gilprobe-workers: found '1', allowed: 'auto' or a whole number from 2 *"])


def test_unwritable_folder_keeps_the_results(pytester: pytest.Pytester) -> None:
    """A report folder that cannot be made costs the files, not the report on the screen; the exit status says so."""
    pytester.makepyfile(SLEEPS)
    (pytester.path / "taken").write_text("a file")
    result = run(pytester, "--gilprobe-report", "--gilprobe-report-dir=taken")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*test_waits*", "ERROR: --gilprobe-report-dir: could not write to *"])


def test_result_travels_in_user_properties(pytester: pytest.Pytester) -> None:
    """JUnit XML carries the verdict in short properties and the whole result in one."""
    pytester.makepyfile(SLEEPS)
    run(pytester, "--junit-xml=junit.xml", "-o", "junit_family=xunit1").assert_outcomes(passed=1)
    tree = ET.parse(pytester.path / "junit.xml")  # noqa: S314 - written by pytest, just now
    found = {one.get("name"): one.get("value") for one in tree.iter("property")}
    assert found["gilprobe_status"] == "probed"
    assert found["gilprobe_strategy"] in {"threads", "inconclusive"}
    assert json.loads(found["gilprobe"] or "")["nodeid"].endswith("::test_waits")


def test_deselected_tests_are_not_probed(pytester: pytest.Pytester) -> None:
    """What ``-k`` leaves out is not a workload."""
    pytester.makepyfile(SLEEPS + "\n@pytest.mark.gilprobe\ndef test_other(): time.sleep(0.02)\n")
    run(pytester, "-k", "waits", "--gilprobe-report").assert_outcomes(passed=1, deselected=1)
    assert [one.nodeid.rpartition("::")[2] for one in report_of(pytester).workloads] == ["test_waits"]


def test_session_inside_a_worker_never_probes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pytest session that a worker's workload starts runs its tests once and starts no workers."""
    monkeypatch.setenv(INSIDE_WORKER, "1")
    pytester.makepyfile(SLEEPS)
    result = run(pytester)
    result.assert_outcomes(passed=1)
    assert "workload" not in result.stdout.str()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs to leave this process one CPU")
def test_machine_with_one_cpu_says_what_it_cannot_tell(pytester: pytest.Pytester) -> None:
    """On one usable CPU the probe runs, and does not claim that computing gains nothing from processes."""
    cpu = min(os.sched_getaffinity(0))
    pytester.makeconftest(f"import os\nos.sched_setaffinity(0, {{{cpu}}})")
    pytester.makepyfile(
        "import pytest\n@pytest.mark.gilprobe(max_time=2)\ndef test_computes(): sum(i * i for i in range(50_000))"
    )
    run(pytester, "--gilprobe-report").assert_outcomes(passed=1)
    found = report_of(pytester)
    assert found.environment.cpus_usable == 1
    only = found.workloads[0]
    assert only.status is Status.PROBED
    assert only.verdict.strategy is not Recommendation.SERIAL
    assert "more-workers-than-cpus" in {caution.slug for caution in only.verdict.cautions}


def test_nothing_is_left_beside_the_report(pytester: pytest.Pytester) -> None:
    """A probed session leaves what it would without the plugin, and its report."""
    pytester.makepyfile(SLEEPS)
    before = set(pytester.path.iterdir())
    run(pytester, "--gilprobe-report", "-p", "no:cacheprovider").assert_outcomes(passed=1)
    new = {path.name for path in set(pytester.path.iterdir()) - before}
    own = {"__pycache__", "stdout", "stderr", "runpytest-0", "runpytest-current"}
    assert new - own == {"reports"}


def test_script_without_a_guard_is_not_run_again(pytester: pytest.Pytester) -> None:
    """A script that calls ``pytest.main()`` at its top level starts once, under spawn too."""
    pytester.makepyfile(SLEEPS)
    Path(pytester.path, "script.py").write_text(
        "import pytest, sys\nprint('script starts')\n"
        "flags = ['-p', 'no:cacheprovider', '--gilprobe-max-time=0.5', '--gilprobe-start-method=spawn']\n"
        "sys.exit(pytest.main(flags))\n"
    )
    result = pytester.run(sys.executable, "script.py", timeout=60)
    assert result.ret == 0
    assert result.stdout.str().count("script starts") == 1
    result.stdout.fnmatch_lines(["*gilprobe: 1 workload*"])


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_parameters_whose_ids_are_escaped_are_found(pytester: pytest.Pytester, method: str) -> None:
    """Ids drawn by a function, that pytest escapes, name the same tests in a worker, however it was started."""
    pytester.makepyfile(
        """
        import time, pytest
        NAMES = ["gr\u00f6\u00dfe", "\x1b[31mred", "back\\slash", "plain"]
        @pytest.mark.gilprobe(max_time=1)
        @pytest.mark.parametrize("name", NAMES, ids=lambda name: name)
        def test_it(name):
            time.sleep(0.01)
        """
    )
    run(pytester, "--gilprobe-report", f"--gilprobe-start-method={method}").assert_outcomes(passed=4)
    assert [one.status for one in report_of(pytester).workloads] == [Status.PROBED] * 4


@pytest.mark.parametrize("method", [name for name in multiprocessing.get_all_start_methods() if name != "fork"])
def test_worker_survives_warnings_as_errors(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Installed from a wheel, whose files pytest knows, the package may be imported before pytest without a warning."""
    pytester.makepyfile(SLEEPS)
    pytester.makeini("[pytest]\nfilterwarnings =\n    error\n    ignore:.*asyncio_default_fixture_loop_scope")
    installed = pytester.mkdir("installed")
    files = {
        "METADATA": "Metadata-Version: 2.1\nName: installed\nVersion: 1\n",
        "RECORD": "pytest_gilprobe/__init__.py,,\n",
        "entry_points.txt": "[pytest11]\ninstalled = json\n",
    }
    for name, text in files.items():
        (installed / "installed-1.dist-info").mkdir(exist_ok=True)
        (installed / "installed-1.dist-info" / name).write_text(text, "utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(installed), os.environ.get("PYTHONPATH")])))
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    monkeypatch.delenv("PYTEST_PLUGINS")
    result = run(pytester, "--gilprobe-report", f"--gilprobe-start-method={method}")
    result.assert_outcomes(passed=1)
    assert report_of(pytester).workloads[0].reason is None

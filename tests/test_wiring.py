"""`pytest_gilprobe.plugin` and `pytest_gilprobe.plugin.session`: real sessions with real workers, seen from outside."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import sessions

from pytest_gilprobe import INSIDE_WORKER
from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.words import INCONCLUSIVE, Status

SKIPPED = """
import pytest

@pytest.mark.gilprobe(expect="threads")
@pytest.mark.skip
def test_skipped(): pass
"""

SLEEPS = """
import time
import pytest

@pytest.mark.gilprobe
def test_waits():
    time.sleep(0.02)
"""


HOOKS = """
import pytest_gilprobe

def pytest_gilprobe_result(item, result):
    assert isinstance(result, pytest_gilprobe.WorkloadResult)
    print("RESULT", item.name, result.status, *(caution.slug for caution in result.verdict.cautions))

def pytest_gilprobe_report(config, report):
    assert isinstance(report, pytest_gilprobe.Report)
    written = (config.rootpath / "out").exists()
    print("REPORT", len(report.workloads), written)
"""
pytestmark = pytest.mark.usefixtures("alone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a session printed, and the folder that it ran in."""

    folder: Path
    stdout: pytest.LineMatcher

    def report(self) -> Report:
        return report_json.read(self.folder / "out" / "there" / "gilprobe.json")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Run one session with a report, verbose, of a test that waits and one that is skipped; its conftest has hooks."""
    folder = tmp_path_factory.mktemp("seen")
    sessions.write(folder, SLEEPS + SKIPPED)
    sessions.write(folder, HOOKS, name="conftest.py")
    flags = ("--gilprobe-report", "--gilprobe-report-dir=out/there", "--gilprobe-max-time=3", "-v", "-s")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *sessions.quick(),
            *flags,
            "--junit-xml=junit.xml",
            "-o",
            "junit_family=xunit1",
        ],
        cwd=folder,
        env=os.environ | sessions.ALONE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr
    return Seen(folder=folder, stdout=pytest.LineMatcher(done.stdout.splitlines()))


def run(pytester: pytest.Pytester, *flags: str) -> pytest.RunResult:
    """Run a whole session in a process of its own, with a budget of half a second per probe."""
    return pytester.runpytest_subprocess(*sessions.quick(), *flags, timeout=120)


def report_of(pytester: pytest.Pytester, folder: str = "reports") -> Report:
    """Read the report that a session left."""
    return report_json.read(pytester.path / folder / "gilprobe.json")


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
@pytest.mark.gilprobe(max_time=1.5)
def test_computes():
    sum(i * i for i in range(50_000))
"""
    )
    result = run(pytester, "--gilprobe-report")
    result.assert_outcomes(passed=2)
    waits, computes = report_of(pytester).workloads
    assert {waits.status, computes.status} == {Status.PROBED}
    assert waits.verdict.strategy in {"threads", INCONCLUSIVE}
    no_gil = set() if getattr(sys, "_is_gil_enabled", lambda: True)() else {"threads"}
    assert computes.verdict.strategy in {"processes", INCONCLUSIVE} | no_gil
    result.stdout.fnmatch_lines(["*= gilprobe: *", "*test_waits*", "*test_computes*"])


def test_report_leaves_three_files_and_nothing_else(seen: Seen) -> None:
    """With the flag, JSON, Markdown and HTML are in the folder asked for, and the header names the flags."""
    assert sorted(path.name for path in (seen.folder / "out/there").iterdir()) == [
        "gilprobe.html",
        "gilprobe.json",
        "gilprobe.md",
    ]
    assert seen.report().workloads[0].nodeid.endswith("::test_waits")
    seen.stdout.fnmatch_lines(["gilprobe: report, report-dir=out/there, workers=2, max-time=3"])
    left = {path.name for path in seen.folder.iterdir()} - {"__pycache__"}
    assert left == {"conftest.py", "junit.xml", "out", "pytest.ini", "test_it.py"}


def test_verdict_stands_beside_passed(seen: Seen) -> None:
    """Under ``-v`` the line of a probed test carries its verdict."""
    seen.stdout.re_match_lines([r".*PASSED \(.*(threads|inconclusive).*\)"])


@pytest.mark.thorough
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
    """``--gilprobe-all`` treats every test as marked; a doctest has no call to repeat, and its result says so."""
    pytester.makepyfile("import time\ndef test_unmarked(): time.sleep(0.02)")
    pytester.maketxtfile(test_doc=">>> 1 + 1\n2\n")
    flags = ("--gilprobe-all", "--gilprobe-report", "--gilprobe-strategies=threads", "--doctest-glob=*.txt")
    run(pytester, *flags).assert_outcomes(passed=2)
    found = {one.nodeid.rpartition("::")[2]: one for one in report_of(pytester).workloads}
    assert {name: one.status for name, one in found.items()} == {
        "test_unmarked": Status.PROBED,
        "test_doc.txt": Status.NOT_PROBED,
    }
    assert "DoctestItem" in (found["test_doc.txt"].reason or "")


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
    result = pytester.runpytest_subprocess(timeout=120)
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
    pytester.makepyfile(SKIPPED)
    (pytester.path / "taken").write_text("a file")
    result = run(pytester, "--gilprobe-report", "--gilprobe-report-dir=taken")
    result.assert_outcomes(skipped=1)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*test_skipped*", "ERROR: --gilprobe-report-dir: could not write to *"])


def test_junit_xml_has_short_properties(seen: Seen) -> None:
    """JUnit XML carries each verdict in a few words, and nothing of a test that was not probed but that."""
    tree = ET.parse(seen.folder / "junit.xml")  # noqa: S314 - written by pytest, just now
    waits, skipped = (
        {one.get("name", ""): one.get("value", "") for one in case.iter("property")} for case in tree.iter("testcase")
    )
    assert waits["gilprobe_strategy"] in {"threads", INCONCLUSIVE}
    for name, part in seen.report().workloads[0].parallel.items():
        if part.pool_speedup is not None:
            assert float(waits[f"gilprobe_speedup_{name}"]) == pytest.approx(min(part.pool_speedup.value, 2), abs=0.01)
    assert set(waits) - {"gilprobe_cautions"} == {
        "gilprobe_status",
        "gilprobe_bound",
        "gilprobe_gil",
        "gilprobe_strategy",
        "gilprobe_speedup_threads",
        "gilprobe_speedup_processes",
    }
    assert max(map(len, waits.values())) < 200
    assert skipped == {"gilprobe_status": "not_probed"}


def test_hooks_see_results_and_the_report(seen: Seen) -> None:
    """Each result as soon as it is there, gates applied, and the report before it is written."""
    seen.stdout.fnmatch_lines(["*RESULT test_waits probed*", "*RESULT test_skipped not_probed*", "*REPORT 2 False"])
    text = seen.stdout.str()
    assert (text.count("RESULT"), text.count("REPORT")) == (2, 1)


def test_report_hook_without_a_report_file(pytester: pytest.Pytester) -> None:
    """A session that has probed something has a report for the hook, asked for or not; one that has not, has none."""
    pytester.makeconftest(HOOKS)
    pytester.makepyfile(SKIPPED)
    run(pytester, "-s").stdout.fnmatch_lines(["*REPORT 1 *"])
    pytester.makepyfile("def test_plain(): pass")
    assert "REPORT" not in run(pytester, "-s").stdout.str()


@pytest.mark.thorough
def test_paths_of_the_ini_file_do_not_depend_on_the_folder(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session started in a folder below writes its report beside the ini file, and reads its baseline from there."""
    pytester.makeini("[pytest]\ngilprobe_report = true\ngilprobe_report_dir = out/there")
    below = pytester.mkdir("below")
    (below / "test_it.py").write_text(SKIPPED)
    monkeypatch.chdir(below)
    run(pytester).assert_outcomes(skipped=1)
    assert report_of(pytester, "out/there").workloads[0].nodeid == "below/test_it.py::test_skipped"
    pytester.makeini("[pytest]\ngilprobe_baseline = out/there/gilprobe.json")
    result = run(pytester)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"against {pytester.path}/out/there/gilprobe.json: 0 regressions*"])


def test_strategies_of_the_session(pytester: pytest.Pytester) -> None:
    """``--gilprobe-strategies`` says what is tried where a marker does not."""
    pytester.makepyfile(SLEEPS + "\n@pytest.mark.gilprobe(strategies='processes')\ndef test_own(): time.sleep(0.02)\n")
    run(pytester, "--gilprobe-report", "--gilprobe-strategies=threads").assert_outcomes(passed=2)
    tried = [
        [name for name, part in one.parallel.items() if not part.impossible]  # a busy machine may leave no time for it
        for one in report_of(pytester).workloads
    ]
    assert tried == [["threads"], ["processes"]]
    wrong = run(pytester, "--gilprobe-strategies=fibres")
    assert wrong.ret == pytest.ExitCode.USAGE_ERROR
    wrong.stderr.fnmatch_lines(["*--gilprobe-strategies*found 'fibres', allowed: one or more of 'serial', 'tasks', *"])


def test_deselected_tests_are_not_probed(pytester: pytest.Pytester) -> None:
    """What ``-k`` leaves out is not a workload."""
    pytester.makepyfile(SKIPPED + "\n@pytest.mark.gilprobe\ndef test_other(): pass\n")
    run(pytester, "-k", "skipped", "--gilprobe-report").assert_outcomes(skipped=1, deselected=1)
    assert [one.nodeid.rpartition("::")[2] for one in report_of(pytester).workloads] == ["test_skipped"]


def test_session_inside_a_worker_never_probes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pytest session that a worker's workload starts runs its tests once and starts no workers."""
    monkeypatch.setenv(INSIDE_WORKER, "1")
    pytester.makepyfile(SLEEPS)
    result = run(pytester)
    result.assert_outcomes(passed=1)
    assert "workload" not in result.stdout.str()


@pytest.mark.thorough
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
    assert only.verdict.strategy != "serial"
    assert "more-workers-than-cpus" in {caution.slug for caution in only.verdict.cautions}


@pytest.mark.thorough
def test_script_without_a_guard_is_not_run_again(pytester: pytest.Pytester) -> None:
    """A script that calls ``pytest.main()`` at its top level starts once, under spawn too."""
    pytester.makepyfile(SLEEPS)
    Path(pytester.path, "script.py").write_text(
        "import pytest, sys\nprint('script starts')\n"
        "flags = ['-p', 'no:cacheprovider', '--gilprobe-max-time=0.5', '--gilprobe-start-method=spawn']\n"
        "sys.exit(pytest.main(flags))\n"
    )
    result = pytester.run(sys.executable, "script.py", timeout=120)
    assert result.ret == 0
    assert result.stdout.str().count("script starts") == 1
    result.stdout.fnmatch_lines(["*gilprobe: 1 workload*"])


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, marks=[] if method == "spawn" else pytest.mark.thorough)
        for method in multiprocessing.get_all_start_methods()
    ],
)
def test_every_start_method_works(pytester: pytest.Pytester, method: str) -> None:
    """Workers start by fork, forkserver or spawn, and the report says which.

    Ids drawn by a function, that pytest escapes, name the same tests in a worker, however it was started.
    """
    pytester.makepyfile(
        """
        import time, pytest
        NAMES = ["gr\u00f6\u00dfe", "\x1b[31mred", "back\\slash", "plain"]
        @pytest.mark.gilprobe
        @pytest.mark.parametrize("name", NAMES, ids=lambda name: name)
        def test_it(name):
            time.sleep(0.01)
        """
    )
    run(pytester, "--gilprobe-report", f"--gilprobe-start-method={method}").assert_outcomes(passed=4)
    found = report_of(pytester)
    assert found.environment.start_method == method
    assert len(found.workloads) == 4
    for one in found.workloads:
        assert one.status is Status.PROBED or "time was up" in (one.reason or ""), one.reason  # of a busy machine
    assert (found.workloads[0].strategies["processes"].start_up_s or 0) > 0


@pytest.mark.thorough
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

"""Free-threaded builds in whole sessions: who switched the GIL on, and one interpreter as two columns."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import sessions

from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.words import INCONCLUSIVE, Gil, Status
from pytest_gilprobe.observe import interpreter
from pytest_gilprobe.observe.gil_switch import SwitchedOnBy

free_threaded = pytest.mark.skipif(
    not interpreter.free_threaded_build(), reason="takes a free-threaded build of Python"
)

COMPUTES = """
import pytest

@pytest.mark.gilprobe(max_time=3)
def test_computes():
    sum(i * i for i in range(50_000))
"""
IMPORTS_IN_A_CALL = """
import pytest

@pytest.mark.gilprobe
def test_computes():
    import gilful
    sum(i * i for i in range(10_000))
"""


@pytest.fixture(autouse=True)
def no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what else is installed out of the sessions, and leave the GIL to Python."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_gilprobe.plugin")
    monkeypatch.delenv("PYTHON_GIL", raising=False)


@pytest.fixture
def gilful(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> str:
    """Build an extension module that needs the GIL, and return its name."""
    compiler = shutil.which("cc")
    headers = Path(sysconfig.get_path("include"))
    if compiler is None or not (headers / "Python.h").exists():
        pytest.skip("takes a C compiler and Python's headers")
    source = Path(__file__).with_name("gilful.c")
    target = pytester.path / f"gilful{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run([compiler, "-shared", "-fPIC", f"-I{headers}", source, "-o", target], check=True)
    monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=os.pathsep)
    return "gilful"


def test_culprit_is_read_out_of_the_warning() -> None:
    """Each module that CPython names in its warning is known, once; other warnings name nobody."""
    culprits = SwitchedOnBy(("first",))
    for module in ("pkg._fast", "first", "pkg._fast"):
        culprits.note(
            RuntimeWarning(
                f"The global interpreter lock (GIL) has been enabled to load module '{module}', which has not "
                "declared that it can run safely without the GIL."
            )
        )
    culprits.note(UserWarning("the GIL is fine, and 'module' is only a word"))
    assert culprits.names == ("first", "pkg._fast")


@free_threaded
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_module_that_switched_the_gil_on_is_named(pytester: pytest.Pytester, gilful: str, method: str) -> None:
    """A test file that imports an extension made for the GIL has it named.

    Beside the verdict and in the environment.
    """
    pytester.makepyfile(f"import {gilful}\n{COMPUTES}")
    pytester.runpytest_subprocess(
        *sessions.quick(), "--gilprobe-report", f"--gilprobe-start-method={method}", timeout=120
    ).assert_outcomes(passed=1, warnings=1)
    report = report_json.read(pytester.path / "reports/gilprobe.json")
    assert report.environment.gil_enabled
    assert report.environment.gil_switched_on_by == (gilful,)
    (workload,) = report.workloads
    (message,) = [each.message for each in workload.verdict.cautions if each.slug == "gil-switched-on"]
    assert gilful in message


@free_threaded
def test_module_imported_by_a_call_is_named(pytester: pytest.Pytester, gilful: str) -> None:
    """The import may as well be inside the call: then the GIL was off when the worker was ready."""
    pytester.makepyfile(IMPORTS_IN_A_CALL)
    result = pytester.runpytest_subprocess(
        *sessions.quick(), "--gilprobe-report", "--gilprobe-start-method=spawn", timeout=120
    )
    result.assert_outcomes(passed=1, warnings=1)
    (workload,) = report_json.read(pytester.path / "reports/gilprobe.json").workloads
    (message,) = [each.message for each in workload.verdict.cautions if each.slug == "gil-switched-on"]
    assert gilful in message


SWITCHED_ON_FAILS = ("-p", "no:cacheprovider", "--gilprobe-fail-on=gil-switched-on")
NEVER_PROBED = """
import pytest

@pytest.mark.gilprobe
def test_skips_itself():
    import gilful
    pytest.skip("not here")
"""
IMPORTS_IN_A_WORKER_ONLY = """
import os, pytest, pytest_gilprobe

if pytest_gilprobe.INSIDE_WORKER in os.environ:
    import gilful

@pytest.mark.gilprobe(max_time=1)
def test_fails_in_a_worker():
    assert pytest_gilprobe.INSIDE_WORKER not in os.environ
"""


@free_threaded
@pytest.mark.parametrize(
    ("source", "arguments", "named"),
    [
        ("import gilful\ndef test_it(): pass", ("--gilprobe-scan",), True),
        ("import gilful\ndef test_it(): pass", ("-p", "_hypothesis_pytestplugin"), True),
        ("import gilful\ndef test_it(): pass", ("-p", "xdist", "-n", "2"), True),
        ("import gilful\ndef test_it(): pass", ("-W", "ignore::RuntimeWarning"), False),
        (NEVER_PROBED, (), True),
        (IMPORTS_IN_A_WORKER_ONLY, ("--gilprobe-start-method=spawn",), True),
    ],
    ids=["scan", "no probe, beside hypothesis", "xdist", "hidden", "skipped", "in a worker"],
)
def test_a_session_whose_gil_an_import_switched_on_fails(
    pytester: pytest.Pytester, gilful: str, source: str, arguments: tuple[str, ...], *, named: bool
) -> None:
    """In a scan, without a probe, in a worker, under pytest-xdist: the gate does not need a probed test."""
    if "xdist" in arguments:
        pytest.importorskip("xdist")
    pytester.makepyfile(source)
    result = pytester.runpytest_subprocess(*SWITCHED_ON_FAILS, *arguments, timeout=90)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (said,) = [line for line in result.outlines if line.startswith("ERROR: --gilprobe-fail-on=gil-switched-on: ")]
    assert (f"the GIL was switched on to load {gilful}; " in said) == named
    assert "1 GIL switched on" in result.outlines[-1]
    assert pytester.runpytest_subprocess("-p", "no:cacheprovider", "--gilprobe-scan").ret == pytest.ExitCode.OK


@pytest.mark.parametrize("forced", ["0", "1"])
def test_a_gil_that_no_import_switched_on_fails_no_session(
    pytester: pytest.Pytester, gilful: str, monkeypatch: pytest.MonkeyPatch, forced: str
) -> None:
    """A build that has its GIL, one that was told to have it, and one that was told not to, are as asked for."""
    if interpreter.free_threaded_build():
        monkeypatch.setenv("PYTHON_GIL", forced)
    pytester.makepyfile(f"import {gilful}\ndef test_it(): pass")
    result = pytester.runpytest_subprocess(*SWITCHED_ON_FAILS, "--gilprobe-scan", timeout=90)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*switched on*")


@free_threaded
def test_one_interpreter_is_two_columns(pytester: pytest.Pytester, gilful: str) -> None:
    """With ``--gilprobe-ab-gil`` all is probed without the GIL and with it, whatever was imported.

    Both reports and their comparison are left.
    """
    pytester.makepyfile(
        f"import {gilful}\n{COMPUTES}\n@pytest.mark.gilprobe\n@pytest.mark.skip\ndef test_skipped(): pass\n"
    )
    result = pytester.runpytest_subprocess(*sessions.quick(), "--gilprobe-report", "--gilprobe-ab-gil", timeout=90)
    result.assert_outcomes(passed=1, skipped=1, warnings=1)
    without = report_json.read(pytester.path / "reports/gilprobe-gil0.json")
    with_ = report_json.read(pytester.path / "reports/gilprobe-gil1.json")
    assert without.workloads == report_json.read(pytester.path / "reports/gilprobe.json").workloads
    assert (without.environment.gil_enabled, with_.environment.gil_enabled) == (False, True)
    assert without.workloads[0].verdict.gil is Gil.ABSENT
    assert with_.workloads[0].verdict.gil in {Gil.HELD, Gil.UNKNOWN}
    assert with_.workloads[0].verdict.strategy in {"processes", INCONCLUSIVE}
    assert without.workloads[0].verdict.strategy in {"threads", INCONCLUSIVE}
    assert without.workloads[1].status is with_.workloads[1].status is Status.NOT_PROBED
    for suffix in ("md", "html"):
        assert "GIL on" in (pytester.path / f"reports/gilprobe-ab-gil.{suffix}").read_text("utf-8")
    result.stdout.fnmatch_lines(["*= gilprobe: with the GIL and without =*", "*GIL on*"])


@free_threaded
def test_command_line_that_fixes_the_gil_is_told(pytester: pytest.Pytester) -> None:
    """``-X gil=1`` goes before what a worker is asked for: the half that cannot be had is not probed, and says so."""
    pytester.makepyfile(COMPUTES)
    command = [
        sys.executable,
        "-X",
        "gil=1",
        "-m",
        "pytest",
        *sessions.quick(),
        "--gilprobe-report",
        "--gilprobe-ab-gil",
    ]
    assert pytester.run(*command, timeout=120).ret == pytest.ExitCode.OK
    (without,) = report_json.read(pytester.path / "reports/gilprobe-gil0.json").workloads
    (with_,) = report_json.read(pytester.path / "reports/gilprobe-gil1.json").workloads
    assert without.status is Status.NOT_PROBED
    assert "its GIL is on although it was started to have it off" in str(without.reason)
    assert with_.status is Status.PROBED


@free_threaded
def test_start_method_that_hands_the_gil_on_is_refused(pytester: pytest.Pytester) -> None:
    """A forked worker has the GIL of its parent, so two columns and ``fork`` are a usage error."""
    result = pytester.runpytest_subprocess("--gilprobe-ab-gil", "--gilprobe-start-method=fork")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--gilprobe-ab-gil*'fork'*allowed: 'spawn'*"])


@pytest.mark.skipif(interpreter.free_threaded_build(), reason="here it is allowed")
def test_build_with_a_gil_has_no_two_columns(pytester: pytest.Pytester) -> None:
    """On a build that always has its GIL the flag is a usage error that says what it takes."""
    result = pytester.runpytest_subprocess("--gilprobe-ab-gil")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--gilprobe-ab-gil: this Python always has its GIL; it takes a free-threaded build*"])


@pytest.mark.skipif(
    not interpreter.free_threaded_build() or sys.version_info[:2] != (3, 13),
    reason="only the free-threaded build of CPython 3.13 makes classes immortal when threads begin",
)
def test_classes_are_immortal_in_threads(pytester: pytest.Pytester) -> None:
    """As in any program with threads: else those would take turns at counting references to a class."""
    pytester.makepyfile(
        """
        import pytest, sys, threading
        from pathlib import Path

        class Own:
            pass

        WRITTEN = []

        def refer():
            if not WRITTEN and threading.current_thread() is not threading.main_thread():
                WRITTEN.append(True)
                Path("counted").write_text(str(sys.getrefcount(Own)))

        @pytest.mark.gilprobe(max_time=5, strategies="threads")
        def test_refers(gilprobe):
            gilprobe(refer)
        """
    )
    pytester.runpytest_subprocess("--gilprobe-report", timeout=90).assert_outcomes(passed=1)
    counted = pytester.path / "counted"
    if not counted.exists():
        pytest.skip("too busy a machine: there was no time for threads")
    assert int(counted.read_text("utf-8")) > 2**31

"""`pytest_gilprobe.plugin.gate_failures`: expectations, and what a session forbids, as pytest reports them."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

pytestmark = pytest.mark.usefixtures("alone")

QUICK = ("-p", "no:cacheprovider", "--gilprobe-max-time=1", "--gilprobe-workers=2")
WAITS = """
import time
import pytest

@pytest.mark.gilprobe({marks})
def test_waits():
    time.sleep(0.02)
"""
UNUSED = """
import pytest

@pytest.mark.gilprobe(expect="threads")
def test_unused(gilprobe):
    pass
"""
"""A test that is not probed: with `STRICT` its gate fails, and no time is spent on measuring."""
STRICT = "--gilprobe-fail-on=inconclusive"


def run(pytester: pytest.Pytester, *flags: str) -> pytest.RunResult:
    """Run a whole session in a process of its own."""
    return pytester.runpytest_subprocess(*QUICK, *flags, timeout=60)


def test_expectations_that_hold(pytester: pytest.Pytester) -> None:
    """A sleep is what it is expected to be, and passes."""
    marks = ["expect_bound='io'", "expect=('threads', 'processes'), min_speedup=1.1", ""]
    pytester.makepyfile(**{f"test_{number}": WAITS.format(marks=one) for number, one in enumerate(marks)})
    result = run(pytester)
    result.assert_outcomes(passed=3)
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.thorough
def test_failure_has_a_section_of_its_own(pytester: pytest.Pytester) -> None:
    """A failed expectation fails the test; its section has expectation, finding, evidence and remedy.

    JUnit XML has the failure with its message, beside the short properties of every probed test.
    """
    pytester.makepyfile(WAITS.format(marks="expect_bound='cpu'"))
    result = run(pytester, "--junit-xml=junit.xml")
    result.assert_outcomes(failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "*= FAILURES =*",
            "gilprobe: expected expect_bound='cpu'; found 'io'",
            "*gilprobe expectation*",
            "expected: expect_bound='cpu'",
            "found:    'io'",
            "evidence: a call uses * of one core; io is under 35 %, cpu over 80 %",
            "remedy:   find what the calls now wait for, or expect 'io'",
            "FAILED *::test_waits - gilprobe: *",
        ]
    )
    root = ET.parse(pytester.path / "junit.xml").getroot()  # noqa: S314 - our own file
    (failure,) = root.iter("failure")
    assert failure.get("message") == "gilprobe: expected expect_bound='cpu'; found 'io'"
    assert failure.text is not None
    assert "remedy:   find what the calls now wait for" in failure.text
    assert any(one.get("name") == "gilprobe_strategy" for one in root.iter("property"))


@pytest.mark.parametrize("style", ["line", "short", "no"])
def test_traceback_styles(pytester: pytest.Pytester, style: str) -> None:
    """Every style of tracebacks copes with a failure that has none."""
    pytester.makepyfile(UNUSED)
    result = run(pytester, STRICT, f"--tb={style}")
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    if style == "line":
        result.stdout.fnmatch_lines(["*.py:*: gilprobe: expected a verdict; found inconclusive"])


def test_debugger_is_entered(pytester: pytest.Pytester) -> None:
    """``--pdb`` stops at a failed expectation, with the result at hand; the failure is reported as without it."""
    pytester.makepyfile(UNUSED)
    pytester.makepyfile(
        recorder="""
        import pdb

        class Recorder(pdb.Pdb):
            def interaction(self, frame, traceback, *arguments):
                error = getattr(traceback, "__traceback__", traceback)
                while error.tb_next is not None:
                    error = error.tb_next
                found = error.tb_frame.f_locals
                print("ENTERED", found["result"].status, [one.found for one in found["failures"]])
        """
    )
    result = run(pytester, STRICT, "--pdb", "--pdbcls=recorder:Recorder", "-s")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*gilprobe expectation*", "*entering PDB*", "ENTERED not_probed ['inconclusive']"])


@pytest.mark.thorough
def test_first_failure_stops_and_is_run_again(pytester: pytest.Pytester) -> None:
    """``-x`` and ``--lf`` take a failed expectation for a failure like any other."""
    pytester.makepyfile(f"{UNUSED}\n\ndef test_second():\n    pass\n")
    flags = ("--gilprobe-max-time=1", "--gilprobe-workers=2", STRICT)
    pytester.runpytest_subprocess(*flags, "-x", timeout=60).assert_outcomes(failed=1)
    pytester.runpytest_subprocess(*flags, "--lf", timeout=60).assert_outcomes(failed=1, deselected=0)


def test_xdist_worker(pytester: pytest.Pytester) -> None:
    """A failed expectation in a pytest-xdist worker reaches the controller's report as it is."""
    pytest.importorskip("xdist")
    pytester.makepyfile(UNUSED)
    result = run(pytester, STRICT, "-p", "xdist", "-n1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*gilprobe expectation*", "FAILED *::test_unused - gilprobe: expected *"])


@pytest.mark.thorough
def test_unsafe_in_threads(pytester: pytest.Pytester) -> None:
    """A test that fails in threads passes, unless ``unsafe`` is to fail."""
    pytester.makepyfile(
        """
        import threading, time
        import pytest

        @pytest.mark.gilprobe(strategies="threads")
        def test_it():
            time.sleep(0.01)
            assert threading.current_thread() is threading.main_thread()
        """
    )
    run(pytester).assert_outcomes(passed=1)
    result = run(pytester, "--gilprobe-fail-on=unsafe,hung")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*gilprobe: expected safe in threads; found failed in threads"])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ("--gilprobe-fail-on=slow",),
            "*--gilprobe-fail-on: found 'slow', allowed: * of 'unsafe', 'hung', 'inconclusive', 'regression'*",
        ),
        (("--gilprobe-fail-on=regression",), "*--gilprobe-fail-on=regression needs --gilprobe-baseline=FILE*"),
        (("--gilprobe-baseline=missing.json",), "*--gilprobe-baseline: *missing.json: cannot be read*"),
    ],
)
def test_wrong_options(pytester: pytest.Pytester, flags: tuple[str, ...], said: str) -> None:
    """What cannot be followed is a usage error with the flag, what was found and what is allowed."""
    pytester.makepyfile(UNUSED)
    result = run(pytester, *flags)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])


def test_regression_fails_the_session(pytester: pytest.Pytester) -> None:
    """Against a baseline in which threads were fine, a test that fails in them now is listed, and fatal where asked."""
    pytester.makepyfile(WAITS.format(marks="strategies='threads', max_time=1.5"))
    run(pytester, "--gilprobe-report", "--gilprobe-report-dir=before")
    pytester.makepyfile(
        """
        import threading, time
        import pytest

        @pytest.mark.gilprobe(strategies="threads", max_time=1.5)
        def test_waits():
            time.sleep(0.02)
            assert threading.current_thread() is threading.main_thread()
        """
    )
    (module,) = pytester.path.glob("test_*.py")
    baseline = "--gilprobe-baseline=before/gilprobe.json"
    listed = run(pytester, baseline)
    listed.assert_outcomes(passed=1)
    assert listed.ret == pytest.ExitCode.OK
    beside = ("-p", "_hypothesis_pytestplugin")  # it looks into every entry that pytest's last line counts
    failed = run(pytester, baseline, "--gilprobe-fail-on=regression", "--junit-xml=junit.xml", *beside)
    found = (pytester.path / "junit.xml").read_text("utf-8")
    assert re.search(r'<property name="gilprobe_regression" value="[^"]*in threads it was ok, now it failed"', found)
    assert failed.ret == pytest.ExitCode.TESTS_FAILED
    failed.stdout.fnmatch_lines(
        [
            "*gilprobe baseline*",
            "against before/gilprobe.json: 1 regression*",
            f"  regression: {module.name}::test_waits: *in threads it was ok, now it failed",
            "*1 passed, 1 regression in *",
        ]
    )

"""`pytest_gilprobe.gating`: expectations, and what a session forbids, as pytest reports them."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

QUICK = ("-p", "no:cacheprovider", "--gilprobe-max-time=1", "--gilprobe-workers=2")
WAITS = """
import time
import pytest

@pytest.mark.gilprobe({marks})
def test_waits():
    time.sleep(0.02)
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep other plugins out of the sessions."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_gilprobe.plugin")


def run(pytester: pytest.Pytester, *flags: str) -> pytest.RunResult:
    """Run a whole session in a process of its own."""
    return pytester.runpytest_subprocess(*QUICK, *flags, timeout=60)


@pytest.mark.parametrize("marks", ["expect_bound='io'", "expect=('threads', 'processes'), min_speedup=1.1", ""])
def test_expectation_that_holds(pytester: pytest.Pytester, marks: str) -> None:
    """A sleep is what it is expected to be, and passes."""
    pytester.makepyfile(WAITS.format(marks=marks))
    result = run(pytester)
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK


def test_failure_has_a_section_of_its_own(pytester: pytest.Pytester) -> None:
    """A failed expectation fails the test; its section has expectation, finding, evidence and remedy."""
    pytester.makepyfile(WAITS.format(marks="expect_bound='cpu'"))
    result = run(pytester)
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


@pytest.mark.parametrize("style", ["line", "short", "no"])
def test_traceback_styles(pytester: pytest.Pytester, style: str) -> None:
    """Every style of tracebacks copes with a failure that has none."""
    pytester.makepyfile(WAITS.format(marks="min_speedup=9"))
    result = run(pytester, f"--tb={style}")
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    if style == "line":
        result.stdout.fnmatch_lines(["*.py:*: gilprobe: expected min_speedup=9 of threads or processes; found *"])


def test_junit(pytester: pytest.Pytester) -> None:
    """JUnit XML has the failure with its message, and still the whole result."""
    pytester.makepyfile(WAITS.format(marks="expect_bound='cpu'"))
    run(pytester, "--junit-xml=junit.xml")
    root = ET.parse(pytester.path / "junit.xml").getroot()  # noqa: S314 - our own file
    (failure,) = root.iter("failure")
    assert failure.get("message") == "gilprobe: expected expect_bound='cpu'; found 'io'"
    assert any(one.get("name") == "gilprobe" for one in root.iter("property"))


def test_unsafe_in_threads(pytester: pytest.Pytester) -> None:
    """A test that fails in threads passes, unless ``unsafe`` is to fail."""
    pytester.makepyfile(
        """
        import threading, time
        import pytest

        @pytest.mark.gilprobe
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
            "*--gilprobe-fail-on: found 'slow', allowed: of 'unsafe', 'hung', 'inconclusive', 'regression'*",
        ),
        (("--gilprobe-fail-on=regression",), "*--gilprobe-fail-on=regression needs --gilprobe-baseline=FILE*"),
        (("--gilprobe-baseline=missing.json",), "*--gilprobe-baseline: *missing.json: cannot be read*"),
    ],
)
def test_wrong_options(pytester: pytest.Pytester, flags: tuple[str, ...], said: str) -> None:
    """What cannot be followed is a usage error with the flag, what was found and what is allowed."""
    pytester.makepyfile(WAITS.format(marks=""))
    result = run(pytester, *flags)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])


def test_regression_fails_the_session(pytester: pytest.Pytester) -> None:
    """Against a baseline in which threads were fine, a test that fails in them now is listed, and fatal where asked."""
    pytester.makepyfile(WAITS.format(marks="max_time=3"))
    run(pytester, "--gilprobe-report", "--gilprobe-report-dir=before")
    pytester.makepyfile(
        """
        import threading, time
        import pytest

        @pytest.mark.gilprobe(max_time=3)
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
    failed = run(pytester, baseline, "--gilprobe-fail-on=regression")
    assert failed.ret == pytest.ExitCode.TESTS_FAILED
    failed.stdout.fnmatch_lines(
        [
            "*gilprobe baseline*",
            "against before/gilprobe.json: 1 regression",
            f"  regression: {module.name}::test_waits: *threads were ok, failed now",
        ]
    )

"""Report a failed gate as pytest reports a failed test: as an exception of the test's call, with an explanation.

A gate is something that a test's result must meet: an expectation of the marker, such as ``min_speedup=``, or the
absence of a finding that ``--gilprobe-fail-on`` names.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.words import FailOn
from pytest_gilprobe.plugin.config import refuse, strategies_of
from pytest_gilprobe.verdict import expectations
from pytest_gilprobe.verdict.gating import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.report import Report
    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.model.settings import Plan
    from pytest_gilprobe.plugin.config import Settings

SECTION = "gilprobe expectation"
FAILED_GATE = "gilprobe: expected"
"""First words of the error message of a test that passed but whose result is not as the user expects. The message is in
pytest's summary and in JUnit XML."""


class GateError(GilprobeError):
    """A test passed, but its ``result`` is not what the marker or ``--gilprobe-fail-on`` asks for.

    ``str()`` describes all failures on one line.
    """

    def __init__(self, result: WorkloadResult, failures: Sequence[Failure]) -> None:
        """Keep the result, for the debugger, and make the message from the failures' headlines."""
        super().__init__(f"gilprobe: {' and '.join(failure.headline() for failure in failures)}")
        self.result = result


def apply(  # noqa: PLR0913, PLR0917 - what was found and asked for, and the three objects of pytest's hook
    result: WorkloadResult,
    plan: Plan,
    settings: Settings,
    item: pytest.Item,
    call: pytest.CallInfo[None],
    report: pytest.TestReport,
) -> WorkloadResult:
    """Make a test that passed fail if its ``result`` is not as expected; return ``result`` with further cautions.

    The expectations are those of the marker, in ``plan``, and of ``--gilprobe-fail-on``, in ``settings``. A caution
    warns of an expectation that could not be checked, for example. ``item``, ``call`` and ``report`` are those of
    pytest's hook ``pytest_runtest_makereport``. A failure is set in ``call``, so that ``--pdb`` enters the debugger,
    and in ``report``.
    """
    one_process = frozenset(one.name for one in strategies_of(item.config) if one.one_process)
    found = expectations.check(plan.expectation, result, settings.fail_on, one_process)
    if found.failures:
        call.excinfo = failure = _raised(result, found.failures)
        report.outcome = "failed"
        report.longrepr = shown = failure.getrepr(style="value")
        shown.addsection(SECTION, "\n\n".join(one.text() for one in found.failures))
        if shown.reprcrash is not None:  # the test's own place, for pytest's summary
            shown.reprcrash.path, line, _ = item.location
            shown.reprcrash.lineno, shown.reprcrash.message = (line or 0) + 1, str(failure.value)
    verdict = replace(result.verdict, cautions=(*result.verdict.cautions, *found.cautions))
    return replace(result, verdict=verdict)


def _raised(result: WorkloadResult, failures: Sequence[Failure]) -> pytest.ExceptionInfo[GateError]:
    """Raise the failure where a debugger finds ``result`` and ``failures`` as local variables, and catch it."""
    try:
        raise GateError(result, failures)  # noqa: TRY301 - so that this frame is in the traceback
    except GateError as error:
        return pytest.ExceptionInfo.from_exception(error)


def fail_session(session: pytest.Session, what: str, number: int) -> None:
    """Make a session that passed fail, and show why in pytest's last line, as in ``1 passed, 2 regressions``.

    ``what`` is the word in that line, such as ``regressions``, and ``number`` is the count before it. pytest counts the
    entries of its statistics, so ``number`` empty objects are put there. A session in which no test ran fails, too.
    """
    if session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    shown: pytest.TerminalReporter | None = session.config.pluginmanager.get_plugin("terminalreporter")
    if shown is not None:
        shown.stats[what] = [SimpleNamespace() for _ in range(number)]


def read_baseline(settings: Settings) -> Report | None:
    """Return the earlier report that ``--gilprobe-baseline`` names, to compare with; ``None`` if it names none.

    Raises `pytest.UsageError` if that file cannot be read, and if ``--gilprobe-fail-on`` has ``regression`` but no
    baseline is set.
    """
    if settings.baseline is None:
        if FailOn.REGRESSION in settings.fail_on:
            refuse("--gilprobe-fail-on=regression needs --gilprobe-baseline=FILE, an earlier gilprobe.json")
        return None
    try:
        return report_json.read(settings.baseline)
    except report_json.ReportError as error:
        refuse(f"--gilprobe-baseline: {error}")

"""Report a failed gate as pytest reports a failed test: as an exception of the test's call, with a section.

A gate is an expectation of the marker, or a finding that ``fail-on`` names.
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
"""Start of the message, in pytest's summary and in JUnit XML, of a test that fails because of a gate."""


class GateError(GilprobeError):
    """A test passed, but its ``result`` does not meet an expectation; ``str()`` describes the failures on one line."""

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
    """Make a test's call fail if a gate (expectation or ``fail-on``) fails; return ``result`` with the gates' cautions.

    ``plan`` and ``settings`` have the gates. ``item``, ``call`` and ``report`` are the objects of pytest's hook. The
    failure is set in ``call``, so that ``--pdb`` enters the debugger, and in ``report``.
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

    ``what`` is the word in that line, and ``number`` is its count. pytest counts the entries of its statistics, so
    ``number`` empty objects are put there. They are objects because other plugins look for attributes of every entry.
    """
    if session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    shown: pytest.TerminalReporter | None = session.config.pluginmanager.get_plugin("terminalreporter")
    if shown is not None:
        shown.stats[what] = [SimpleNamespace() for _ in range(number)]


def read_baseline(settings: Settings) -> Report | None:
    """Return the report in the session's baseline file; ``None`` if no baseline is set.

    Raises `pytest.UsageError` if the file cannot be read, or if ``fail-on`` has ``regression`` and no baseline is set.
    """
    if settings.baseline is None:
        if FailOn.REGRESSION in settings.fail_on:
            refuse("--gilprobe-fail-on=regression needs --gilprobe-baseline=FILE, an earlier gilprobe.json")
        return None
    try:
        return report_json.read(settings.baseline)
    except report_json.ReportError as error:
        refuse(f"--gilprobe-baseline: {error}")

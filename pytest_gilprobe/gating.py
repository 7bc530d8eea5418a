"""A gate's findings as pytest reports them: a failed call, with a section of its own that says all of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_gilprobe import gate, serialize
from pytest_gilprobe.config import refuse
from pytest_gilprobe.model import FailOn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest

    from pytest_gilprobe.config import Plan, Settings
    from pytest_gilprobe.model import Report, WorkloadResult

SECTION = "gilprobe expectation"
FAILED_GATE = "gilprobe: expected"
"""How the message of a test that its gate failed begins, in pytest's summary and in JUnit XML."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """Where a failure is and what it is in a line: what pytest's summary and JUnit XML look for in a report."""

    path: str
    lineno: int
    message: str

    def __str__(self) -> str:
        """Write it as ``--tb=line`` shows it."""
        return f"{self.path}:{self.lineno}: {self.message}"


class NotAsExpected:
    """The representation of a failed expectation, in place of a traceback.

    It has the two things that pytest asks a representation for, ``toterminal`` and ``reprcrash``; pytest-xdist
    sends it as text.
    """

    def __init__(self, crash: Crash) -> None:
        """Keep what is to be said."""
        self.reprcrash = crash

    def toterminal(self, tw: Any) -> None:
        """Write one line; the section holds the rest. ``tw`` is pytest's TerminalWriter, which has no public name."""
        tw.line(str(self), red=True)

    def __str__(self) -> str:
        """Say what was expected and what was found."""
        return self.reprcrash.message


def apply(
    result: WorkloadResult, plan: Plan, settings: Settings, item: pytest.Item, report: pytest.TestReport
) -> WorkloadResult:
    """Fail the report of a call where the gate says so; return the result with the gate's cautions in it."""
    found = gate.check(plan.expectation, result, settings.fail_on)
    if found.failures:
        _fail(report, item, found.failures)
    if not found.cautions:
        return result
    verdict = replace(result.verdict, cautions=(*result.verdict.cautions, *found.cautions))
    return replace(result, verdict=verdict)


def _fail(report: pytest.TestReport, item: pytest.Item, failures: Sequence[gate.Failure]) -> None:
    path, line, _ = item.location
    message = "gilprobe: " + " and ".join(failure.headline() for failure in failures)
    report.outcome = "failed"
    report.longrepr = NotAsExpected(Crash(path=path, lineno=(line or 0) + 1, message=message))  # type: ignore[assignment]
    report.sections.append((SECTION, "\n\n".join(failure.text() for failure in failures)))


def read_baseline(settings: Settings, folder: Path) -> Report | None:
    """Read the session's baseline.

    Raises `pytest.UsageError` where it cannot be read, or is missing though regressions are to fail.
    """
    if settings.baseline is None:
        if FailOn.REGRESSION in settings.fail_on:
            refuse("--gilprobe-fail-on=regression needs --gilprobe-baseline=FILE, an earlier gilprobe.json")
        return None
    try:
        return serialize.read(folder / settings.baseline)
    except serialize.ReportError as error:
        refuse(f"--gilprobe-baseline: {error}")

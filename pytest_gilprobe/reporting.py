"""What a session found, shown and written: in pytest's own process, or in pytest-xdist's controller for its workers."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

import pytest_gilprobe
from pytest_gilprobe import baseline, gating, host
from pytest_gilprobe.model import FailOn, Report
from pytest_gilprobe.reporters import numbers, terminal

if TYPE_CHECKING:
    from pytest_gilprobe.config import Settings
    from pytest_gilprobe.model import Environment, WorkloadResult


class Reporting:
    """A session's results: beside each test, at the end of the screen, in files, against a baseline."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        """Read the baseline; what cannot be read is a usage error."""
        self._config = config
        self._settings = settings
        self._baseline = gating.read_baseline(settings, config.invocation_params.dir)
        self._held: baseline.Held | None = None
        self._unwritten: list[str] = []
        self.results: dict[str, WorkloadResult] = {}
        self.environment: Environment | None = None
        """Where the results were measured; set at the session's end."""
        self.with_gil: tuple[dict[str, WorkloadResult], Environment] | None = None
        """The same tests' results with the GIL on, where they were probed twice."""

    def is_open(self, result: WorkloadResult) -> bool:
        """Tell whether a workload seems worse than in the baseline, and more rounds should decide it."""
        before = () if self._baseline is None else self._baseline.workloads
        return any(old.nodeid == result.nodeid and baseline.is_open(result, old) for old in before)

    def finish(self, session: pytest.Session) -> None:
        """Write the files and hold the results against the baseline.

        A file that cannot be written makes a green session fail; so does a regression, where that is asked for.
        """
        if self._settings.report:
            self._write_files()
        if self._baseline is not None:
            self._held = baseline.hold(self.report(), self._baseline)
            asked = FailOn.REGRESSION in self._settings.fail_on
            if asked and self._held.regressions and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self._unwritten and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def report(self) -> Report:
        """Put the report together."""
        here = self.environment or host.environment(
            start_method="none started", scaling_ceiling=None, ceiling_workers=None
        )
        return self._report(self.results, here)

    @staticmethod
    def _report(results: dict[str, WorkloadResult], here: Environment) -> Report:
        return Report(
            tool_version=pytest_gilprobe.__version__,
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            environment=here,
            workloads=tuple(results.values()),
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport | pytest.CollectReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Put the verdict beside ``PASSED``."""
        result = self.results.get(report.nodeid)
        if (
            result is None
            or getattr(report, "when", None) != "call"
            or not report.passed
            or hasattr(report, "wasxfail")
        ):
            return None
        return "passed", ".", (f"PASSED ({terminal.word(result)})", {"green": True})

    def _write_files(self) -> None:
        from pytest_gilprobe.publish import publish  # noqa: PLC0415 - only for those who want files

        folder = self._config.invocation_params.dir / self._settings.report_dir
        self._unwritten.extend(publish(self.report(), folder))
        if self.with_gil is not None and not self._unwritten:
            from pytest_gilprobe import abgil  # noqa: PLC0415 - rarely asked for

            self._unwritten.extend(abgil.publish(self.report(), self._report(*self.with_gil), folder))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the report, or a line per workload."""
        write = terminalreporter
        if not self.results:
            if self._settings.report:
                write.line("gilprobe: no test was probed: mark one with @pytest.mark.gilprobe, or use --gilprobe-all")
        elif self._settings.report:
            write.section("gilprobe", sep="=", bold=True)
            for text, style in terminal.draw(self.report(), **self._page(terminalreporter)):
                write.write(text, **style)
        elif terminalreporter.verbosity > -2:  # noqa: PLR2004 - -qq asks for silence
            self._lines(terminalreporter)
        if self.with_gil is not None and self.results:
            self._two_columns(terminalreporter, self._report(*self.with_gil))
        if self._held is not None:
            write.section("gilprobe baseline", sep="-")
            for line, is_failure in baseline.lines(self._held, str(self._settings.baseline)):
                write.line(line, red=is_failure)
        for message in self._unwritten:
            write.line(f"ERROR: {message}", red=True)

    def _two_columns(self, terminalreporter: pytest.TerminalReporter, with_gil: Report) -> None:
        """Print the same workloads with the GIL and without."""
        from pytest_gilprobe import abgil  # noqa: PLC0415 - rarely asked for

        comparison = abgil.compared(self.report(), with_gil)
        terminalreporter.section("gilprobe: with the GIL and without", sep="=", bold=True)
        if comparison is not None:
            for text, style in terminal.draw_comparison(comparison, **self._page(terminalreporter)):
                terminalreporter.write(text, **style)

    def _lines(self, terminalreporter: pytest.TerminalReporter) -> None:
        if terminalreporter.verbosity >= 0:
            found = numbers.count(len(self.results), "workload")
            terminalreporter.section(f"gilprobe: {found} (details: --gilprobe-report)", sep="-")
        for result in self.results.values():
            line = terminal.one_line(result, **self._page(terminalreporter))
            terminalreporter.line(line, **terminal.style(result))

    @staticmethod
    def _page(terminalreporter: pytest.TerminalReporter) -> dict[str, Any]:
        writer = terminalreporter.config.get_terminal_writer()
        encoding = getattr(writer._file, "encoding", None) or "utf-8"  # noqa: SLF001 - no public name tells
        return {"width": writer.fullwidth, "encoding": encoding}

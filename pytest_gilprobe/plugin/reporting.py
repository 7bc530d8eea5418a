"""Show a session's results and write them to files; with pytest-xdist, this is done in its controller process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.words import FailOn
from pytest_gilprobe.plugin import gate_failures
from pytest_gilprobe.plugin.config import strategies_of
from pytest_gilprobe.probing.assembly import environment_of, report_of
from pytest_gilprobe.report import brief_terminal, comparison_terminal, terminal
from pytest_gilprobe.verdict import baseline, differences

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_gilprobe.model.report import Environment, Report
    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.plugin.config import Settings
    from pytest_gilprobe.plugin.evidence import SessionEvidence


class Reporting:
    """Plugin that shows a session's results, writes them to files, and compares them with a baseline (earlier report).

    Another plugin sets the attributes: the one that probes, or under pytest-xdist the one that gathers results.

    Attributes:
        results: the result of each test by its node id, added test by test.
        with_gil: under ``--gilprobe-ab-gil``, the results with the GIL by node id; ``results`` has those without it.
        environments: descriptions of the machine and the Python: one, or under ``--gilprobe-ab-gil`` two, without and
            with the GIL. Set at the session's end; empty if no worker of pytest-xdist sent one.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        """Read the baseline, if one is set. Raises `pytest.UsageError` if it cannot be read."""
        self._config = config
        self._settings = settings
        self._strategies = strategies_of(config)
        self._baseline = gate_failures.read_baseline(settings)
        self._compared: baseline.Differences | None = None
        self._unwritten: tuple[str, ...] = ()
        self._made: Report | None = None
        self._evidence: SessionEvidence | None = None
        self.results: dict[str, WorkloadResult] = {}
        self.with_gil: dict[str, WorkloadResult] = {}
        self.environments: list[Environment] = []

    def is_open(self, result: WorkloadResult) -> bool:
        """Return whether more measurements are needed to decide if a test is worse than in the baseline.

        ``result`` is what the test's probe has found so far. Without a baseline (an earlier report), return ``False``.
        """
        before = () if self._baseline is None else self._baseline.workloads
        return any(old.nodeid == result.nodeid and differences.is_open(result, old) for old in before)

    def regression(self, result: WorkloadResult) -> str:
        """Describe in what a test's ``result`` is worse than in the baseline, an earlier report.

        The text is empty if nothing is worse, if there is no baseline, or if ``fail-on`` does not have ``regression``.
        """
        if self._baseline is None or FailOn.REGRESSION not in self._settings.fail_on:
            return ""
        before = [old for old in self._baseline.workloads if old.nodeid == result.nodeid]
        same = environment_of(None).looks_like(self._baseline.environment)
        return "; ".join(message for old in before for message in baseline.losses(result, old, same_machine=same))

    def keep_evidence(self, packed: Sequence[bytes]) -> None:
        """Keep ``packed``, the raw readings of one test, until `finish` writes them to files.

        They are one compressed line, or under ``--gilprobe-ab-gil`` two: without the GIL, then with it.
        """
        from pytest_gilprobe.plugin.evidence import SessionEvidence  # noqa: PLC0415 - only for those who keep it

        if self._evidence is None:
            self._evidence = SessionEvidence(self._settings.report_dir)
        self._evidence.keep(packed)

    # At the session's end

    def finish(self, session: pytest.Session) -> None:
        """At the session's end, call the hook ``pytest_gilprobe_report``, write files, and compare with the baseline.

        The baseline is an earlier report. A session that passed fails if a file cannot be written, or if a test is
        worse than in the baseline and ``fail-on`` has ``regression``.
        """
        report = self._made = self._report()
        if self.results or self._settings.report:
            self._config.hook.pytest_gilprobe_report(config=self._config, report=report)
        if self._settings.report:
            self._write_files(report)
        if self._evidence is not None:
            halves = [report, self._report(with_gil=True)] if self._settings.ab_gil else [report]
            self._unwritten = (*self._unwritten, *self._evidence.write(halves))
        if self._baseline is not None:
            self._compared = baseline.since(self._baseline, report)
            if FailOn.REGRESSION in self._settings.fail_on and self._compared.regressions:
                number = len(self._compared.regressions)
                gate_failures.fail_session(session, "regression" if number == 1 else "regressions", number)
        if self._unwritten and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def _write_files(self, report: Report) -> None:
        from pytest_gilprobe.report import files  # noqa: PLC0415 - only for those who want files

        self._unwritten = files.write(report, self._settings.report_dir, self._strategies)
        if self._settings.ab_gil and not self._unwritten:
            from pytest_gilprobe.plugin import ab_gil  # noqa: PLC0415 - rarely asked for

            both = {False: report, True: self._report(with_gil=True)}
            self._unwritten = files.write_pair(both, ab_gil.compared(both), self._settings.report_dir, self._strategies)

    def _report(self, *, with_gil: bool = False) -> Report:
        """Put a report together; where no worker has said where it measured, it was here."""
        here = self.environments[-1 if with_gil else 0] if self.environments else environment_of(None)
        return report_of((self.with_gil if with_gil else self.results).values(), here)

    # On the screen

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport | pytest.CollectReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Return ``PASSED`` with the verdict, such as ``threads 1.9x``, for the passed call of a probed test.

        For any other ``report``, return ``None``: pytest then decides.
        """
        result = self.results.get(report.nodeid)
        is_call = getattr(report, "when", None) == "call" and report.passed and not hasattr(report, "wasxfail")
        if result is None or not is_call:
            return None
        return "passed", ".", (f"PASSED ({terminal.word(result, self._strategies)})", {"green": True})

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the report, or without ``--gilprobe-report`` one line for each test; then any comparisons.

        Results with the GIL are compared with those without it (``--gilprobe-ab-gil``), and all with those of an
        earlier report (``--gilprobe-baseline``).
        """
        write, report = terminalreporter, self._made or self._report()
        if not self.results:
            if self._settings.report:
                write.line("gilprobe: no test was probed: mark one with @pytest.mark.gilprobe, or use --gilprobe-all")
        elif self._settings.report:
            self._whole_or_short(write, report)
        elif write.verbosity > -2:  # noqa: PLR2004 - -qq asks for silence
            self._lines(write, report)
        if self._settings.ab_gil and self.results:
            self._with_and_without_gil(write, report)
        if self._compared is not None:
            write.section("gilprobe baseline", sep="-")
            for line, is_failure in baseline.lines(self._compared, self._shown(self._settings.baseline)):
                write.line(line, red=is_failure)
        self._say_what_is_written(write)

    def _whole_or_short(self, write: pytest.TerminalReporter, report: Report) -> None:
        """Print the report: all of it with ``-v``."""
        whole = write.verbosity > 0
        write.section("gilprobe" if whole else f"gilprobe: {brief_terminal.title(report)}", sep="=", bold=True)
        for text, style in (terminal.draw if whole else brief_terminal.draw)(report, self._strategies, **_page(write)):
            write.write(text, **style)

    def _say_what_is_written(self, write: pytest.TerminalReporter) -> None:
        """Say where the evidence is, and which files could not be written."""
        if self._evidence is not None and not self._unwritten and write.verbosity >= 0:
            write.line(f"gilprobe: the evidence is kept in {self._shown(self._evidence.path)}")
        for message in self._unwritten:
            write.line(f"ERROR: {message}", red=True)

    def _lines(self, write: pytest.TerminalReporter, report: Report) -> None:
        if write.verbosity >= 0:
            found = numbers.count(len(self.results), "workload")
            write.section(f"gilprobe: {found} (details: --gilprobe-report)", sep="-")
        for text, style in brief_terminal.draw_answers(report, self._strategies, **_page(write)):
            write.write(text, **style)

    def _with_and_without_gil(self, write: pytest.TerminalReporter, report: Report) -> None:
        """Print the same workloads with the GIL and without."""
        from pytest_gilprobe.plugin import ab_gil  # noqa: PLC0415 - rarely asked for

        comparison = ab_gil.compared({False: report, True: self._report(with_gil=True)})
        write.section("gilprobe: with the GIL and without", sep="=", bold=True)
        if comparison is not None:
            for text, style in comparison_terminal.draw(comparison, self._strategies, **_page(write)):
                write.write(text, **style)

    def _shown(self, path: Path | None) -> str:
        """Write a path as seen from where pytest was started."""
        here = self._config.invocation_params.dir
        return str(path.relative_to(here) if path is not None and path.is_relative_to(here) else path)


def _page(write: pytest.TerminalReporter) -> dict[str, Any]:
    writer = write.config.get_terminal_writer()
    encoding = getattr(writer._file, "encoding", None) or "utf-8"  # noqa: SLF001 - no public name tells
    return {"width": writer.fullwidth, "encoding": encoding}

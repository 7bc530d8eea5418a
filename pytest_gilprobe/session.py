"""The plugin's busy half: registered only in a session that has something to probe.

A marked test runs as ever. When its call has passed, and before that is reported, it is probed: so the verdict can stand beside ``PASSED`` and
travel in the report. The workers are asked for when the first marked test is about to be set up: they start while it runs, and a fork
then happens between two tests, with no test's patches in force.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import pytest

import pytest_gilprobe
from pytest_gilprobe import config as configuration
from pytest_gilprobe import host, serialize
from pytest_gilprobe.machine import Surveyor
from pytest_gilprobe.model import Report, Status
from pytest_gilprobe.probe import Prober, unmeasured
from pytest_gilprobe.progress import Progress
from pytest_gilprobe.reporters import numbers, terminal
from pytest_gilprobe.workers.arguments import spec_for
from pytest_gilprobe.workers.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from pytest_gilprobe.config import Plan, Settings
    from pytest_gilprobe.model import WorkloadResult

PROPERTY = "gilprobe"
"""The user property that carries a whole result, as JSON; shorter ones beside it start with this and an underscore."""


class ProbeSession:
    """Probes the marked tests of one session and reports on them."""

    def __init__(
        self, session: pytest.Session, settings: Settings, keywords: dict[pytest.Item, dict[str, Any]]
    ) -> None:
        """Prepare for the tests in ``keywords``, each with what its marks say."""
        self._session = session
        self._settings = settings
        self._cpus = host.usable_cpus()
        self._plans = {
            item: configuration.plan_for(item.nodeid, said, settings, self._cpus) for item, said in keywords.items()
        }
        self._keep = _kept_collectors(session.items, keywords)
        self._results: dict[str, WorkloadResult] = {}
        self._prober: Prober | None = None
        self._progress = Progress(session.config)
        self._interrupted = False
        self._unwritten: list[str] = []

    # While tests run

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Have the workers start before the first marked test does."""
        plan = self._plans.get(item)
        if plan is not None:
            self._ready_prober().pool.start(plan.workers)
        return (yield)

    def _ready_prober(self) -> Prober:
        if self._prober is None:
            pool = Pool(
                spec=spec_for(self._session.config, tuple(self._plans)),
                start_method=self._settings.start_method,
                timeout_s=self._settings.timeout_s,
            )
            self._prober = Prober(pool=pool, surveyor=Surveyor(pool), progress=self._progress.show)
        return self._prober

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Probe a marked test that has passed its call; say why not where it has not."""
        report = yield
        plan = self._plans.get(item)
        if plan is None:
            return report
        result: WorkloadResult | None = None
        if (why := _why_not(item, report)) is not None:
            result = unmeasured(item.nodeid, Status.NOT_PROBED, why, plan.workers)
        elif report.when == "call":
            result = self._probe(item, plan, call.duration)
        if result is not None:
            self._results[item.nodeid] = result
            item.user_properties[:] = [*_others(item.user_properties), *_properties(result)]
            report.user_properties[:] = [*_others(report.user_properties), *_properties(result)]
        return report

    def _probe(self, item: pytest.Item, plan: Plan, duration_s: float) -> WorkloadResult:
        hooks = item.config.hook
        if hasattr(hooks, "pytest_timeout_cancel_timer"):  # a test's time limit is not a limit on its probe
            hooks.pytest_timeout_cancel_timer(item=item)
        try:
            return self._ready_prober().probe(plan, keep=self._keep[item], known_call_s=duration_s)
        finally:
            self._progress.clear()

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport | pytest.CollectReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Put the verdict beside ``PASSED``."""
        result = self._results.get(report.nodeid)
        if result is None or getattr(report, "when", None) != "call" or not report.passed:
            return None
        return "passed", ".", (f"PASSED ({terminal.word(result)})", {"green": True})

    # At the end

    def pytest_keyboard_interrupt(self) -> None:
        """Remember that the user wants out."""
        self._interrupted = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """End the workers and write the files; a file that cannot be written makes a green session fail."""
        self._end_workers()
        if self._settings.report:
            self._write_files()
        if self._unwritten and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_unconfigure(self) -> None:
        """End the workers of a session that did not get as far as its finish."""
        self._end_workers()

    def _end_workers(self) -> None:
        if self._prober is not None:
            (self._prober.pool.abandon if self._interrupted else self._prober.pool.close)()

    def _report(self) -> Report:
        machine = self._prober.surveyor.any_machine() if self._prober is not None else None
        method = self._prober.pool.start_method if self._prober is not None else self._settings.start_method
        return Report(
            tool_version=pytest_gilprobe.__version__,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            environment=host.environment(
                start_method=method or "none started",
                scaling_ceiling=machine.scaling.value if machine is not None and machine.scaling is not None else None,
                ceiling_workers=machine.scaling_workers if machine is not None else None,
            ),
            workloads=tuple(self._results.values()),
        )

    def _write_files(self) -> None:
        from pytest_gilprobe.reporters import html, markdown  # noqa: PLC0415 - only for those who want files

        folder = self._session.config.invocation_params.dir / self._settings.report_dir
        report = self._report()
        drawings = {
            "gilprobe.json": serialize.to_json,
            "gilprobe.md": markdown.draw,
            "gilprobe.html": html.draw,
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, draw in drawings.items():
                serialize.write_atomic(folder / name, draw(report))
        except (OSError, serialize.ReportError) as error:
            self._unwritten.append(f"--gilprobe-report-dir: could not write to {folder}: {error}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the report, or a line per workload."""
        write = terminalreporter
        if not self._results:
            if self._settings.report:
                write.line("gilprobe: no test was probed: mark one with @pytest.mark.gilprobe, or use --gilprobe-all")
        elif self._settings.report:
            write.section("gilprobe", sep="=", bold=True)
            for text, style in terminal.draw(self._report(), **self._page(terminalreporter)):
                write.write(text, **style)
        elif terminalreporter.verbosity > -2:  # noqa: PLR2004 - -qq asks for silence
            self._lines(terminalreporter)
        for message in self._unwritten:
            write.line(f"ERROR: {message}", red=True)

    def _lines(self, terminalreporter: pytest.TerminalReporter) -> None:
        if terminalreporter.verbosity >= 0:
            found = numbers.count(len(self._results), "workload")
            terminalreporter.section(f"gilprobe: {found} (details: --gilprobe-report)", sep="-")
        for result in self._results.values():
            line = terminal.one_line(result, **self._page(terminalreporter))
            terminalreporter.line(line, **terminal.style(result))

    @staticmethod
    def _page(terminalreporter: pytest.TerminalReporter) -> dict[str, Any]:
        writer = terminalreporter.config.get_terminal_writer()
        encoding = getattr(writer._file, "encoding", None) or "utf-8"  # noqa: SLF001 - no public name tells
        return {"width": writer.fullwidth, "encoding": encoding}


def _why_not(item: pytest.Item, report: pytest.TestReport) -> str | None:
    """Say why a test is not probed, given the report of one of its phases; None is no reason yet."""
    if hasattr(report, "wasxfail"):
        return "it is expected to fail (xfail)"
    if report.skipped:
        return f"skipped in its {report.when}: {_skip_reason(report)}"
    if report.failed:
        verb = "failed" if report.when == "call" else "errored"
        return f"{verb} in its {report.when} when pytest ran it; mend that first"
    if report.when == "call" and not isinstance(item, pytest.Function):
        return f"not a Python test function but a {type(item).__name__}: there is no call to repeat"
    return None


def _skip_reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return report.longreprtext


def _properties(result: WorkloadResult) -> list[tuple[str, object]]:
    """Describe a result as user properties: short ones to read, and one that holds all of it."""
    verdict = result.verdict
    short = {
        "status": result.status,
        "strategy": verdict.strategy,
        "bound": verdict.bound,
        "gil": verdict.gil,
        "threads_speedup": result.threads.speedup.value if result.threads.speedup is not None else None,
        "processes_speedup": result.processes.speedup.value if result.processes.speedup is not None else None,
        "reason": verdict.reason,
    }
    named = [(f"{PROPERTY}_{name}", str(value)) for name, value in short.items() if value is not None]
    return [*named, (PROPERTY, serialize.workload_to_json(result))]


def _others(properties: Sequence[tuple[str, object]]) -> list[tuple[str, object]]:
    return [pair for pair in properties if pair[0] != PROPERTY and not pair[0].startswith(f"{PROPERTY}_")]


def _kept_collectors(items: Sequence[pytest.Item], marked: dict[pytest.Item, Any]) -> dict[pytest.Item, int]:
    """For each marked test, count the collectors that a worker may keep set up after it, from the session down.

    They are those that it shares with every test up to and including the next marked one: what pytest itself keeps. After the last one, none.
    """
    kept = {}
    upcoming: pytest.Item | None = None
    shared = 0
    chain: list[Any] = []
    for item in reversed(items):
        if upcoming is not None:
            own = item.listchain()
            common = next((n for n, (a, b) in enumerate(zip(own, chain, strict=False)) if a is not b), len(chain))
            shared = min(shared, common)
        if item in marked:
            kept[item] = shared if upcoming is not None else 0
            upcoming, chain = item, item.listchain()
            shared = len(chain)
    return kept

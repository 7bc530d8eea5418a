"""Run ``--gilprobe-scan`` in pytest's process: clock each test's call, start a watcher process, show one report.

The watcher samples the GIL, sums up, and draws and writes the report. So pytest stays fast: it imports the modules that
make reports only if the watcher fails or if a plugin's hook takes the report. Just before and after each test's call,
pytest reads the wall clock, the CPU clocks and how long the thread has queued for a CPU, and writes a record to memory.
With pytest-xdist, each worker has a watcher, which leaves notes (a line for each test) in the controller's folder; the
controller reads them.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_gilprobe.observe import clocks, interpreter, machine
from pytest_gilprobe.observe.gil_address import locate
from pytest_gilprobe.scan import launch, suite_file, used_fixtures
from pytest_gilprobe.scan.collector_clock import CollectionClock
from pytest_gilprobe.scan.journal import DRAWN, NOTED, READY, Journal
from pytest_gilprobe.scan.launch import WatcherProcess
from pytest_gilprobe.scan.messages import DrawnReport, SessionEnd, WatcherSettings, from_text, to_text
from pytest_gilprobe.scan.suite_clock import SuiteClock

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_gilprobe.plugin.config import Settings

MEAN_INTERVAL_S: Final = 0.001
"""Mean pause between two samples of the GIL, in seconds, if the watcher process has a CPU that the tests do not use.
Sampling keeps a sixth of that CPU busy. A test's call of 20 ms or more gets enough samples for an estimate."""
SHARED_INTERVAL_S: Final = 0.005
"""Mean pause between two samples of the GIL, in seconds, if the watcher process shares all CPUs with the tests: at
`MEAN_INTERVAL_S`, it would take a sixth of a CPU away from them."""
PATIENCE_S: Final = 0.3
"""Longest time, in seconds, for which the first test waits until the watcher process is ready. The wait is needed only
if pytest collects the tests faster than the watcher starts, which usually takes 0.1 s."""

_INPUT: Final = "gilprobe_scan"


def register(config: pytest.Config, settings: Settings) -> None:
    """Register the plugins for a scan: tests run normally while their times are taken and the GIL is sampled.

    ``settings`` says where report files go, and whether to find out where in the code the GIL is held. In a worker of
    pytest-xdist, results are only written to files for its controller; any other process shows the report.
    """
    given: dict[str, Any] | None = getattr(config, "workerinput", None)
    if given is None:
        folder = Path(tempfile.mkdtemp(prefix="gilprobe-scan-"))
        report_folder = str(config.invocation_params.dir / settings.report_dir) if settings.report else None
        watched = ScanSession(folder, 1, report_folder, holders=settings.holders)
        config.pluginmanager.register(ScanReport(watched, folder, report_folder), "gilprobe-scan-report")
        config.pluginmanager.register(watched, "gilprobe-scan")
        config.pluginmanager.register(watched.suite, "gilprobe-scan-suite")
    elif _INPUT in given:
        processes = int(given.get("workercount", 1))
        watched = ScanSession(Path(given[_INPUT]), processes, None, holders=settings.holders, silent=True)
        config.pluginmanager.register(watched, "gilprobe-scan")


class ScanSession:
    """Plugin that clocks the tests of one pytest process, and runs the watcher process that samples its GIL."""

    def __init__(
        self, folder: Path, processes: int, report_folder: str | None, *, holders: bool, silent: bool = False
    ) -> None:
        """Store where and how to scan; `pytest_sessionstart` then starts the watcher (the process that samples).

        Args:
            folder: folder for the files by which pytest and the watcher exchange clocks, notes and the report.
            processes: how many pytest processes with a watcher share the machine.
            report_folder: folder for the report's files, which the watcher writes; ``None`` writes none.
            holders: whether the watcher finds out where in the code the GIL is held.
            silent: whether the watcher only takes notes, because the controller of pytest-xdist reports.
        """
        self._folder, self._name = folder, uuid.uuid4().hex[:12]
        self._report_folder = report_folder
        self._holders, self._silent = holders, silent
        crowded = machine.usable_cpus() <= processes
        self._mean_interval_s = SHARED_INTERVAL_S if crowded else MEAN_INTERVAL_S
        self._journal: Journal | None = None
        self._watcher: WatcherProcess | None = None
        self._unwatched: str | None = None
        self._finished = False
        self._tracers: tuple[str, ...] = ()
        self._thread = threading.get_ident()
        self._pid = interpreter.getpid()
        self._queue = clocks.RunQueueClock()
        self._collections = CollectionClock()
        self.suite = SuiteClock()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Start the watcher process, except in pytest-xdist's controller, which runs no test."""
        if session.config.pluginmanager.has_plugin("dsession"):
            return
        capture = session.config.pluginmanager.get_plugin("capturemanager")
        uncaptured = capture.global_and_fixture_disabled() if capture is not None else contextlib.nullcontext()
        try:
            self._journal = Journal.create(self._path("journal"))
            with uncaptured:  # the watcher of a pytest that died writes where pytest would have
                self._watcher = WatcherProcess(self._watcher_settings(), self._journal)
        except OSError as error:
            self._journal, self._unwatched = None, f"the watcher could not be started: {error}"

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Tell the watcher process just before the first test to sample the GIL, and after the last test to stop."""
        if self._journal is not None and self._watcher is not None:
            location = locate()
            self._unwatched = location.reason
            in_main_thread = threading.current_thread() is threading.main_thread()
            self._journal.start(location.address or 0, (location.thread_state or 0) if in_main_thread else 0)
            self._watcher.has_reached(READY, PATIENCE_S)
        self._tracers = interpreter.tracers()
        self._collections.start()
        try:
            return (yield)
        finally:
            self._collections.stop()
            self._write_times(session)
            self._finish(session.config)
            if self._silent:
                self.drawn_report()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Read the clocks just before and after a test's call, and record them for the watcher process."""
        journal = self._journal
        if journal is None or interpreter.getpid() != self._pid or threading.get_ident() != self._thread:
            return (yield)
        journal.begin(item.nodeid)
        queued_ns = self._queue.read_ns()
        process_ns, cpu_ns, start_ns = clocks.process_time_ns(), clocks.thread_time_ns(), clocks.perf_counter_ns()
        try:
            return (yield)
        finally:
            end_ns = clocks.perf_counter_ns()
            cpu_ns, process_ns = clocks.thread_time_ns() - cpu_ns, clocks.process_time_ns() - process_ns
            queued_end_ns = self._queue.read_ns()
            queue_ns = None if queued_ns is None or queued_end_ns is None else queued_end_ns - queued_ns
            window = (start_ns, end_ns, cpu_ns, process_ns, queue_ns)
            journal.end(window, item.nodeid, " ".join(used_fixtures.names(item)), self._collections.take())

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Wait until the watcher process has ended, and kill it if it does not end in time."""
        self._finish(config)
        if self._watcher is not None:
            watcher, self._watcher = self._watcher, None
            watcher.end()

    def session_end(self, config: pytest.Config) -> SessionEnd:
        """Return what a report needs of the pytest process, such as the terminal's width and the GIL's state."""
        width, encoding = 80, "utf-8"
        if config.pluginmanager.has_plugin("terminalreporter"):
            writer = config.get_terminal_writer()
            width = writer.fullwidth
            encoding = getattr(writer._file, "encoding", None) or encoding  # noqa: SLF001 - no public name tells
        return SessionEnd(
            width=width,
            encoding=encoding,
            tracers=tuple(dict.fromkeys((*self._tracers, *interpreter.tracers()))),
            gil_enabled=interpreter.gil_enabled(),
            switch_interval_s=sys.getswitchinterval(),
            unwatched=self._unwatched,
            pytest_reports=bool(config.hook.pytest_gilprobe_report.get_hookimpls()),
        )

    def drawn_report(self) -> DrawnReport | None:
        """Wait for the report that the watcher process draws, and return it.

        The result is ``None`` if the watcher drew no report, did not start or died.
        """
        if self._journal is None or self._watcher is None:
            if self._unwatched is not None:
                self._note_the_rest(self._unwatched)
            return None
        if not self._watcher.has_reached(NOTED, launch.NOTES_S):
            watcher, self._watcher = self._watcher, None
            self._unwatched = f"the watcher ended before the tests did, with status {watcher.end()}"
            self._note_the_rest(self._unwatched)
        elif not self._silent and self._watcher.has_reached(DRAWN, launch.DRAWING_S):
            with contextlib.suppress(OSError, ValueError):
                return from_text(DrawnReport, self._path("drawing").read_text("ascii"))
        return None

    def _path(self, kind: str) -> Path:
        return self._folder / f"{self._name}.{kind}"

    def _watcher_settings(self) -> WatcherSettings:
        return WatcherSettings(
            parent=self._pid,
            journal=str(self._path("journal")),
            notes=str(self._path("notes")),
            drawing=str(self._path("drawing")),
            mean_interval_s=self._mean_interval_s,
            holders=self._holders,
            silent=self._silent,
            report_folder=self._report_folder,
            site_packages=tuple(path for path in sys.path if Path(path).name in used_fixtures.SITE_PACKAGES),
            gil_enabled=interpreter.gil_enabled(),
            switch_interval_s=sys.getswitchinterval(),
        )

    def _write_times(self, session: pytest.Session) -> None:
        """Write how long the suite's parts took, for the process that draws the report."""
        times = self.suite.times(session.testscollected)
        if times is not None:
            with contextlib.suppress(OSError):
                suite_file.write(self._folder / suite_file.NAME, times)

    def _finish(self, config: pytest.Config) -> None:
        """Let the watcher finish, and do not wait: what it does then takes none of pytest's time."""
        if self._finished:
            return
        self._finished = True
        if self._journal is not None:
            self._journal.finish(to_text(self.session_end(config)))
        if self._watcher is not None:
            self._watcher.wake()

    def _note_the_rest(self, unwatched: str) -> None:
        """Note why the GIL was not watched, and the tests that a watcher which ended early has not read."""
        from pytest_gilprobe.scan.notes import WatchEnd  # noqa: PLC0415 - a watcher that lives reads all
        from pytest_gilprobe.scan.samples import PendingSamples  # noqa: PLC0415

        # notes are read in the order of their names: these come after what the watcher noted
        with contextlib.suppress(OSError), self._path("rest.notes").open("w", encoding="ascii") as notes:
            for window in self._journal.take() if self._journal is not None else ():
                notes.write(to_text(PendingSamples().take(window)) + "\n")
            notes.write(to_text(WatchEnd(unwatched=unwatched)) + "\n")


class ScanReport:
    """Plugin that shows a scan's one report, in the pytest process that the user started."""

    def __init__(self, watched: ScanSession, folder: Path, report_folder: str | None) -> None:
        """Prepare to show the report of ``watched``, the plugin that clocks this process's tests.

        ``folder`` has the scan's temporary files and is removed at the end. The report's files are written into
        ``report_folder``; ``None`` writes none.
        """
        self._watched = watched
        self._folder = folder
        self._report_folder = report_folder
        self._drawn: DrawnReport | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell ``node``, a worker of pytest-xdist, in which folder it shall leave its results for this process."""
        node.workerinput[_INPUT] = str(self._folder)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Get the report that the terminal summary will show.

        The watcher process draws the report. If it drew none, the report is made here from the watchers' notes (a line
        for each test); without notes there is no report. If a file of the report could not be written, a session that
        passed fails as a usage error.
        """
        self._drawn = self._watched.drawn_report() or self._report(session.config)
        if self._drawn is not None and self._drawn.problems and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def _report(self, config: pytest.Config) -> DrawnReport | None:
        """Read all notes and report what is in them, where no watcher does; ``None`` where there are no notes."""
        from pytest_gilprobe.scan import finish, notes  # noqa: PLC0415 - see this module's first lines

        end = self._watched.session_end(config)
        found = notes.sum_up(self._folder, gil_absent=not end.gil_enabled)
        if found is None:
            return None
        report = finish.report_of(found, end, self._folder)
        config.hook.pytest_gilprobe_report(config=config, report=report)
        return finish.write_and_draw(report, end, self._report_folder)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the scan's report, if there is one, and the files that could not be written."""
        if self._drawn is None:
            return
        terminalreporter.section("gilprobe scan", sep="=", bold=True)
        for piece in self._drawn.pieces:
            terminalreporter.write(piece.text, **piece.style)
        for problem in self._drawn.problems:
            terminalreporter.line(f"ERROR: {problem}", red=True)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Remove the temporary folder by which pytest and its watcher processes exchange files."""
        shutil.rmtree(self._folder, ignore_errors=True)

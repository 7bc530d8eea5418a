"""``--gilprobe-scan``, pytest's side: clocks around each test's call, a watcher beside the process, one report.

With pytest-xdist every worker is watched, and leaves its notes in the controller's folder; the controller reads them
all. What a test pays is four clock readings and two of the run queue, outside its window, and a record in memory.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_gilprobe import host
from pytest_gilprobe.gil.locate import locate
from pytest_gilprobe.model import GilprobeError
from pytest_gilprobe.scan import launch
from pytest_gilprobe.scan.journal import Journal
from pytest_gilprobe.scan.orders import Orders

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Generator

    from pytest_gilprobe.config import Settings
    from pytest_gilprobe.model import Report

MEAN_INTERVAL_S: Final = 0.001
"""A look a millisecond: a call of 20 ms gets an interval of its own, and the watcher takes 3 to 5 % of another core."""

CROWDED_INTERVAL_S: Final = 0.005
"""Where watcher and tests must share cores: at a look a millisecond the watcher would take 3 to 5 % of them."""

PATIENCE_S: Final = 0.3
"""A watcher is up 0.1 s after it was started, which is before collection is over but for the smallest suites. They wait
for it so long at most: the first tests would otherwise go unwatched."""

_INPUT: Final = "gilprobe_scan"


def register(config: pytest.Config, settings: Settings) -> None:
    """Scan this session: a worker of pytest-xdist leaves notes, any other process reports."""
    given: dict[str, Any] | None = getattr(config, "workerinput", None)
    if given is None:
        folder = Path(tempfile.mkdtemp(prefix="gilprobe-scan-"))
        config.pluginmanager.register(ScanReport(config, settings, folder), "gilprobe-scan-report")
        report_folder = config.invocation_params.dir / settings.report_dir if settings.report else None
        config.pluginmanager.register(ScanSession(folder, 1, report_folder), "gilprobe-scan")
    elif _INPUT in given:
        watched = ScanSession(Path(given[_INPUT]), int(given.get("workercount", 1)), None, silent=True)
        config.pluginmanager.register(watched, "gilprobe-scan")


class ScanSession:
    """One pytest process whose tests are watched."""

    def __init__(self, folder: Path, processes: int, report_folder: Path | None, *, silent: bool = False) -> None:
        """Prepare; nothing is started before the session is.

        Args:
            folder: where journal and notes are put.
            processes: how many such pytest processes share the machine.
            report_folder: where a watcher writes a report if this process dies; None is nowhere.
            silent: whether a watcher leaves even the words about that to others.
        """
        name = uuid.uuid4().hex[:12]
        self._journal_path, self._notes_path = folder / f"{name}.journal", folder / f"{name}.notes"
        self._rest_path = folder / f"{name}-rest.notes"
        self._report_folder = report_folder
        self._silent = silent
        crowded = host.usable_cpus() <= processes
        self._mean_interval_s = CROWDED_INTERVAL_S if crowded else MEAN_INTERVAL_S
        self._journal: Journal | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._refused: str | None = None
        self._thread = threading.get_ident()
        self._pid = host.getpid()
        self._queue = host.RunQueueClock()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Start the watcher, so that it is up when collection is over; the controller of pytest-xdist runs no test."""
        if session.config.pluginmanager.has_plugin("dsession"):
            return
        orders = Orders(
            parent=self._pid,
            journal=str(self._journal_path),
            notes=str(self._notes_path),
            mean_interval_s=self._mean_interval_s,
            silent=self._silent,
            report_folder=str(self._report_folder) if self._report_folder is not None else None,
        )
        capture = session.config.pluginmanager.get_plugin("capturemanager")
        seen = capture.global_and_fixture_disabled() if capture is not None else contextlib.nullcontext()
        try:
            self._journal = Journal.create(self._journal_path)
            with seen:  # the watcher of a pytest that died speaks where pytest would have
                self._watcher = launch.start(orders)
        except OSError as error:
            self._journal, self._refused = None, f"the watcher could not be started: {error}"

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Have the watcher look from the first test to the last."""
        if self._journal is not None:
            location = locate()
            self._refused = location.reason
            until_ns = host.perf_counter_ns() + round(PATIENCE_S * 1e9)
            while not self._journal.watcher_is_up and host.perf_counter_ns() < until_ns:
                host.sleep(0.005)
            self._journal.start(location.address or 0)
        try:
            return (yield)
        finally:
            self._end()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Read the clocks around a test's call, and around nothing else."""
        journal = self._journal
        if journal is None or host.getpid() != self._pid or threading.get_ident() != self._thread:
            return (yield)
        journal.begin(item.nodeid)
        queued_ns = self._queue.read_ns()
        process_ns, cpu_ns, start_ns = host.process_time_ns(), host.thread_time_ns(), host.perf_counter_ns()
        try:
            return (yield)
        finally:
            end_ns, cpu_end_ns, process_end_ns = host.perf_counter_ns(), host.thread_time_ns(), host.process_time_ns()
            queued_end_ns = self._queue.read_ns()
            queue_ns = None if queued_ns is None or queued_end_ns is None else queued_end_ns - queued_ns
            clocks = (start_ns, end_ns, cpu_end_ns - cpu_ns, process_end_ns - process_ns, queue_ns)
            journal.end(clocks, item.nodeid, " ".join(_fixtures(item)))

    def pytest_unconfigure(self) -> None:
        """End the watcher of a session that did not get as far as its tests."""
        self._end()

    def _end(self) -> None:
        if self._journal is not None:
            self._journal.finish()
        if self._watcher is not None:
            watcher, self._watcher = self._watcher, None
            launch.end(watcher)
            if watcher.returncode:
                self._refused = f"the watcher ended before the tests did, with status {watcher.returncode}"
            if self._refused is not None:
                self._note_the_rest(self._refused)

    def _note_the_rest(self, refused: str) -> None:
        """Note why the GIL was not watched, and the tests of which a watcher that ended early has read nothing."""
        from pytest_gilprobe.scan.tally import Looks  # noqa: PLC0415 - a watcher that lives reads all

        with contextlib.suppress(OSError), self._rest_path.open("w", encoding="ascii") as notes:
            for window in self._journal.take() if self._journal is not None else ():
                notes.write(Looks().call(window).to_line() + "\n")
            notes.write(json.dumps({"unwatched": refused}) + "\n")


class ScanReport:
    """The one report of a scan, made by the process that the user started."""

    def __init__(self, config: pytest.Config, settings: Settings, folder: Path) -> None:
        """Prepare; ``folder`` is this object's to remove at the end."""
        self._config = config
        self._settings = settings
        self._folder = folder
        self._report: Report | None = None
        self._unwritten: str | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of pytest-xdist where its notes go."""
        node.workerinput[_INPUT] = str(self._folder)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Read all notes and write the files; a file that cannot be written makes a green session fail."""
        from pytest_gilprobe.scan.files import scan_report, write_files  # noqa: PLC0415 - not before the tests have run
        from pytest_gilprobe.scan.notes import Notes  # noqa: PLC0415

        notes = Notes(self._folder)
        if not notes.found:
            return

        self._report = scan_report(notes.reduce())
        if not self._settings.report:
            return
        try:
            write_files(self._report, self._config.invocation_params.dir / self._settings.report_dir)
        except GilprobeError as error:
            self._unwritten = f"--gilprobe-report-dir: {error}"
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what the scan found."""
        writer = terminalreporter.config.get_terminal_writer()
        if self._report is not None:
            terminalreporter.section("gilprobe scan", sep="=", bold=True)
            from pytest_gilprobe.reporters import scan_terminal  # noqa: PLC0415 - not before the tests have run

            encoding = getattr(writer._file, "encoding", None) or "utf-8"  # noqa: SLF001 - no public name tells
            for text, style in scan_terminal.draw(
                self._report, width=writer.fullwidth, encoding=encoding, tracers=host.tracers()
            ):
                terminalreporter.write(text, **style)
        if self._unwritten is not None:
            terminalreporter.line(f"ERROR: {self._unwritten}", red=True)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Remove journals and notes."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _fixtures(item: pytest.Item) -> list[str]:
    """Name the fixtures of a test; what ``parametrize`` gives directly is an argument, no fixture."""
    given: set[str] = set()
    if hasattr(item, "callspec"):
        for mark in item.iter_markers("parametrize"):
            names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
            indirect = mark.kwargs.get("indirect", next(iter(mark.args[2:]), False))
            names = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
            given.update(() if indirect is True else set(names) - set(indirect or ()))
    given.add("request")
    names = getattr(item, "fixturenames", ())
    return [name for name in names if name not in given and not name.startswith("_xunit_")]

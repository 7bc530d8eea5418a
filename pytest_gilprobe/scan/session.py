"""``--gilprobe-scan``, pytest's side: clocks around each test's call, a watcher beside the process, one report.

With pytest-xdist every worker is watched, and leaves its notes in the controller's folder; the controller reads them
all. What a test pays is four clock readings and two of the run queue, outside its window, and a record in memory. What
a session pays is kept small by having the watcher sum up, draw and write, and import what that needs while pytest
collects: nothing of it is imported here, unless the watcher cannot.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_gilprobe import host
from pytest_gilprobe.gil.locate import locate
from pytest_gilprobe.scan import launch
from pytest_gilprobe.scan.journal import NOTED, TOLD, UP, Journal
from pytest_gilprobe.scan.orders import Farewell, Orders, Told

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Generator

    from pytest_gilprobe.config import Settings

MEAN_INTERVAL_S: Final = 0.001
"""A look a millisecond: a call of 20 ms gets an interval of its own, and the watcher takes 3 to 5 % of another core."""

CROWDED_INTERVAL_S: Final = 0.005
"""Where watcher and tests must share cores: at a look a millisecond the watcher would take 3 to 5 % of them."""

PATIENCE_S: Final = 0.3
"""A watcher is up 0.1 s after it was started, which is before collection is over but for the smallest suites. They wait
for it so long at most: the first tests would otherwise go unwatched."""

_INPUT: Final = "gilprobe_scan"
_SITE_PACKAGES: Final = ("site-packages", "dist-packages")


def register(config: pytest.Config, settings: Settings) -> None:
    """Scan this session: a worker of pytest-xdist leaves notes, any other process reports."""
    given: dict[str, Any] | None = getattr(config, "workerinput", None)
    if given is None:
        folder = Path(tempfile.mkdtemp(prefix="gilprobe-scan-"))
        report_folder = config.invocation_params.dir / settings.report_dir if settings.report else None
        watched = ScanSession(folder, 1, report_folder)
        config.pluginmanager.register(ScanReport(watched, folder, report_folder), "gilprobe-scan-report")
        config.pluginmanager.register(watched, "gilprobe-scan")
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
            report_folder: where the watcher writes the report's files; None is nowhere.
            silent: whether the watcher leaves it to others to tell of the scan.
        """
        name = uuid.uuid4().hex[:12]
        self._journal_path, self._notes_path = folder / f"{name}.journal", folder / f"{name}.notes"
        # read in the order of their names, so that the rest comes after what the watcher noted
        self._rest_path, self._told_path = folder / f"{name}.rest.notes", folder / f"{name}.told"
        self._report_folder = report_folder
        self._silent = silent
        crowded = host.usable_cpus() <= processes
        self._mean_interval_s = CROWDED_INTERVAL_S if crowded else MEAN_INTERVAL_S
        self._journal: Journal | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._refused: str | None = None
        self._finished = False
        self._tracers: tuple[str, ...] = ()
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
            told=str(self._told_path),
            mean_interval_s=self._mean_interval_s,
            silent=self._silent,
            report_folder=str(self._report_folder) if self._report_folder is not None else None,
            site_packages=tuple(path for path in sys.path if Path(path).name in _SITE_PACKAGES),
            gil_enabled=host.gil_enabled(),
            switch_interval_s=sys.getswitchinterval(),
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
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Have the watcher look from the first test to the last."""
        if self._journal is not None:
            location = locate()
            self._refused = location.reason
            self._journal.start(location.address or 0)
            until_ns = host.perf_counter_ns() + round(PATIENCE_S * 1e9)
            while not self._journal.has_reached(UP) and host.perf_counter_ns() < until_ns:
                host.sleep(0.001)
        self._tracers = host.tracers()
        try:
            return (yield)
        finally:
            self._finish(session.config)
            if self._silent:
                self.told()

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

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """See the watcher's end."""
        self._finish(config)
        if self._watcher is not None:
            watcher, self._watcher = self._watcher, None
            launch.end(watcher)

    def farewell(self, config: pytest.Config) -> Farewell:
        """Say what only this process can know, for whoever draws the report."""
        width, encoding = 80, "utf-8"
        if config.pluginmanager.has_plugin("terminalreporter"):
            writer = config.get_terminal_writer()
            width = writer.fullwidth
            encoding = getattr(writer._file, "encoding", None) or encoding  # noqa: SLF001 - no public name tells
        return Farewell(
            width=width,
            encoding=encoding,
            tracers=tuple(dict.fromkeys((*self._tracers, *host.tracers()))),
            gil_enabled=host.gil_enabled(),
            switch_interval_s=sys.getswitchinterval(),
            refused=self._refused,
        )

    def told(self) -> Told | None:
        """Wait for what the watcher tells; None where it tells nothing, and has taken notes or died."""
        if self._journal is None or self._watcher is None:
            if self._refused is not None:
                self._note_the_rest(self._refused)
            return None
        if not self._reached(NOTED, launch.FAREWELL_S):
            watcher, self._watcher = self._watcher, None
            launch.end(watcher)
            self._refused = f"the watcher ended before the tests did, with status {watcher.returncode}"
            self._note_the_rest(self._refused)
        elif not self._silent and self._reached(TOLD, launch.TELLING_S):
            with contextlib.suppress(OSError, ValueError):
                return Told.from_text(self._told_path.read_text("ascii"))
        return None

    def _finish(self, config: pytest.Config) -> None:
        """Tell the watcher that the tests are over, and do not wait: what it does then takes no time of pytest's."""
        if self._finished:
            return
        self._finished = True
        if self._journal is not None:
            self._journal.finish(self.farewell(config).to_text())
        if self._watcher is not None:
            launch.wake(self._watcher)

    def _reached(self, stage: int, patience_s: float) -> bool:
        """Wait until the watcher has come as far as that; no descriptor is waited at, as a test may have closed any."""
        until_ns = host.perf_counter_ns() + round(patience_s * 1e9)
        while self._journal is not None and self._watcher is not None and not self._journal.has_reached(stage):
            if self._watcher.poll() is not None or host.perf_counter_ns() > until_ns:
                return self._journal.has_reached(stage)
            host.sleep(0.001)
        return True

    def _note_the_rest(self, refused: str) -> None:
        """Note why the GIL was not watched, and the tests of which a watcher that ended early has read nothing."""
        from pytest_gilprobe.scan.tally import Looks  # noqa: PLC0415 - a watcher that lives reads all

        with contextlib.suppress(OSError), self._rest_path.open("w", encoding="ascii") as notes:
            for window in self._journal.take() if self._journal is not None else ():
                notes.write(Looks().call(window).to_line() + "\n")
            notes.write(json.dumps({"unwatched": refused}) + "\n")


class ScanReport:
    """The one report of a scan, shown by the process that the user started."""

    def __init__(self, watched: ScanSession, folder: Path, report_folder: Path | None) -> None:
        """Prepare; ``folder`` is this object's to remove at the end."""
        self._watched = watched
        self._folder = folder
        self._report_folder = report_folder
        self._told: Told | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of pytest-xdist where its notes go."""
        node.workerinput[_INPUT] = str(self._folder)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Have the scan told; a file that cannot be written makes a green session fail."""
        self._told = self._watched.told() or self._tell(session.config)
        if self._told is not None and self._told.unwritten is not None and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def _tell(self, config: pytest.Config) -> Told | None:
        """Read all notes and tell what is in them, where no watcher does; None where there are none."""
        from pytest_gilprobe.scan.notes import Notes  # noqa: PLC0415 - see this module's first lines
        from pytest_gilprobe.scan.telling import tell  # noqa: PLC0415

        notes, farewell = Notes(self._folder), self._watched.farewell(config)
        if not notes.found:
            return None
        return tell(notes.reduce(gil_absent=not farewell.gil_enabled), farewell, self._report_folder)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what the scan found."""
        if self._told is None:
            return
        terminalreporter.section("gilprobe scan", sep="=", bold=True)
        for text, style in self._told.segments:
            terminalreporter.write(text, **style)
        if self._told.unwritten is not None:
            terminalreporter.line(f"ERROR: --gilprobe-report-dir: {self._told.unwritten}", red=True)

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

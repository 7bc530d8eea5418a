"""Run the watcher: the process beside pytest that samples pytest's GIL and takes notes.

The watcher samples the GIL in pytest's memory. It reads the clocks of test calls from a file that both processes map
into memory. It writes a line of notes for each test, and one at the end. When the tests are over, it draws the report
and writes the report's files, unless pytest does so itself. If pytest dies, the watcher shows the report so far on
standard error, unless it was told to be silent. How it works:

* It starts with only the standard library and this package, so that it is ready in about 60 ms. The modules for drawing
  are imported from pytest's site packages, before the tests begin; if that fails, pytest draws the report itself.
* Its standard input is a pipe whose other end pytest holds, so the end of pytest wakes it. The pipe is only a hint: a
  process that pytest left behind may hold the other end too, and a test may close it. So the watcher checks five times
  a second whether pytest is still its parent.
* Only pytest waits for the watcher: for a moment before the first test, and at the end of the session.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_gilprobe.model.scans import BETWEEN_TESTS
from pytest_gilprobe.observe.frame_reader import FrameReader
from pytest_gilprobe.observe.gil_sampler import GilSampler, SamplingError
from pytest_gilprobe.observe.held_stacks import HeldStacks
from pytest_gilprobe.observe.source_code import is_tests_caller
from pytest_gilprobe.scan import frame_reference
from pytest_gilprobe.scan.journal import DRAWN, IMPORTING, NOTED, READY, Journal
from pytest_gilprobe.scan.messages import DrawnReport, SessionEnd, WatcherSettings, from_text, to_text
from pytest_gilprobe.scan.notes import WatchEnd
from pytest_gilprobe.scan.samples import MOST_KEPT, PendingSamples
from pytest_gilprobe.scan.suite import SuiteTotals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

SLICE_S: Final = 0.2
"""Seconds for which the watcher process samples the GIL without interruption. Then it reads the clocks of the tests
that have ended, and checks whether pytest still runs."""
_WAITING_S: Final = 0.02
"""How often to look whether tests have begun."""
_COLLECTING: Final = 3
"""After so many looks in vain pytest is collecting a suite that takes its time, and there is time to import."""
_DYING_S: Final = 0.02
"""Between the moment at which a dying process loses its files and the one at which it is no longer the parent."""

_DRAWING: Final = ("datetime", "tabulate", "pytest_gilprobe.report.scan_terminal", "pytest_gilprobe.scan.finish")
_WRITING: Final = (
    "jinja2",
    "pytest_gilprobe.model.report_json",
    "pytest_gilprobe.strategies.registry",
    "pytest_gilprobe.report.files",
)
"""What reporting needs, in pieces of 1 to 20 ms: tests that begin meanwhile wait for the piece at hand."""


def main(argv: Sequence[str]) -> int:
    """Sample pytest's GIL and take notes until the tests are over or pytest dies; draw the report; return 0.

    The first item of ``argv`` has the settings from pytest (`WatcherSettings`) as JSON. They may say to draw no report.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, whose end ends the watcher
    settings = from_text(WatcherSettings, argv[0])
    sys.path += [path for path in settings.site_packages if path not in sys.path]
    journal = Journal.open(Path(settings.journal))
    with Path(settings.notes).open("w", encoding="ascii") as notes:
        watch = _Watch(settings, journal, notes)
        end = watch.run()
        notes.write(to_text(end) + "\n")
    journal.reach(NOTED)
    if settings.silent:
        return 0
    if end.died_in is not None:
        _report_death(settings, watch.totals, end)
    elif not (session := from_text(SessionEnd, journal.message)).pytest_reports:
        with contextlib.suppress(Exception):  # pytest then finds no drawing and reports by itself
            drawn = _report(settings, session, watch.totals, end)
            Path(settings.drawing).write_text(to_text(drawn), "ascii")
    journal.reach(DRAWN)
    return 0


def _report(settings: WatcherSettings, session: SessionEnd, totals: SuiteTotals, end: WatchEnd) -> DrawnReport:
    """Make the report, write its files where they are wanted, and draw it."""
    from pytest_gilprobe.scan import finish  # noqa: PLC0415 - what it needs is not found everywhere

    absent = not session.gil_enabled
    found = totals.result(gil_absent=absent, unwatched=end.unwatched, lost=end.lost, died_in=end.died_in)
    folder = Path(settings.notes).parent
    return finish.write_and_draw(finish.report_of(found, session, folder), session, settings.report_folder)


def _report_death(settings: WatcherSettings, totals: SuiteTotals, end: WatchEnd) -> None:
    """Show on standard error that pytest died and what was seen until then, and remove what it left behind."""
    from pytest_gilprobe.report import scan_layout  # noqa: PLC0415 - mostly nobody dies

    sys.stderr.write(f"\n{scan_layout.died(end.died_in or '', settings.parent)}\n")
    session = SessionEnd(gil_enabled=settings.gil_enabled, switch_interval_s=settings.switch_interval_s)
    try:
        drawn = _report(settings, session, totals, end)
        sys.stderr.write("".join(piece.text for piece in drawn.pieces))
        sys.stderr.writelines(f"gilprobe: {problem}\n" for problem in drawn.problems)
    finally:
        shutil.rmtree(Path(settings.notes).parent, ignore_errors=True)


class _Watch:
    """The watching of one pytest process."""

    def __init__(self, settings: WatcherSettings, journal: Journal, notes: TextIO) -> None:
        self._settings = settings
        self._journal = journal
        self._notes = notes
        self.totals = SuiteTotals()
        self._samples = PendingSamples()
        self._stacks: HeldStacks | None = None
        self._unwatched: str | None = None
        self._hint = sys.stdin.fileno()

    def run(self) -> WatchEnd:
        """Sample and take notes until pytest has ended."""
        if self._settings.holders:
            self._stacks = stacks_of(self._settings.parent)
        self._journal.reach(READY)
        over = self._wait_for_tests()
        while not over and not self._journal.finished:
            over = self._sample(SLICE_S)
            self._note()
        self._note()
        if not self._journal.finished:
            died_in = self._journal.inside or BETWEEN_TESTS
            return WatchEnd(died_in=died_in, lost=self._journal.lost, unwatched=self._unwatched)
        unwatched = self._unwatched or from_text(SessionEnd, self._journal.message).unwatched
        return WatchEnd(lost=self._journal.lost, unwatched=unwatched)

    def _wait_for_tests(self) -> bool:
        """Wait until tests begin, and import meanwhile; return whether pytest has ended instead."""
        over, waited = False, 0
        while not over and not self._journal.begun:
            over = self._wait(_WAITING_S)
            waited += 1
            if waited == _COLLECTING:
                self._import()
        return over

    def _import(self) -> None:
        """Import what reporting needs, piece by piece; tests that begin wait for the piece at hand at most."""
        needed = () if self._settings.silent else _DRAWING
        for name in (*needed, *(_WRITING if needed and self._settings.report_folder is not None else ())):
            self._journal.reach(IMPORTING)
            if self._journal.begun:
                break
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
            self._journal.reach(READY)
        self._journal.reach(READY)

    def _sample(self, for_s: float) -> bool:
        """Sample the GIL for a while; return whether pytest has ended."""
        if not self._journal.address or self._unwatched is not None:
            return self._wait(for_s)
        mean_s = self._settings.mean_interval_s * self._samples.thinned
        pid, address = self._settings.parent, self._journal.address
        try:
            watch = GilSampler(pid, address, mean_interval_s=mean_s, stacks=self._stacks)
            if self._stacks is not None and self._journal.thread:
                watch.watch_loop(self._journal.thread)
            with watch as sampler:
                hinted = sampler.sample_until(self._hint, for_s)
        except SamplingError as error:
            over = self._wait(0)
            self._unwatched = None if over else str(error)  # a pytest that has ended cannot be read either
            return over
        self._samples.add(sampler.samples())
        return self._over(hinted=hinted)

    def _wait(self, for_s: float) -> bool:
        return self._over(hinted=bool(select.select([self._hint], (), (), for_s)[0]))

    def _over(self, *, hinted: bool) -> bool:
        """Return whether pytest has ended; a hint from a test that closed the pipe is the last one."""
        if hinted and not self._journal.finished:
            time.sleep(_DYING_S)
            self._hint = os.pipe()[0]
        return os.getppid() != self._settings.parent

    def _note(self) -> None:
        """Write a line for each test that has ended, and limit the samples of one that goes on."""
        for window in self._journal.take():
            call = self._samples.take(window)
            self._notes.write(to_text(call) + "\n")
            self.totals.add(call)
        self._notes.flush()
        if len(self._samples) > MOST_KEPT:
            self._samples.thin()


def stacks_of(pid: int) -> HeldStacks | None:
    """Return a reader of the stacks of process ``pid``: per thread, the functions being executed.

    The result is ``None`` if the process cannot be read or runs another Python than this process.
    """
    own = frame_reference.own_layout()
    layout = frame_reference.layout_in(pid, own) if own is not None else None
    if layout is None:
        return None
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    return HeldStacks(FrameReader(memory, layout, is_tests_caller))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))

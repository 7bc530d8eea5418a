"""The process beside pytest that watches its GIL, and outlives it only to say that it died.

It reads pytest's memory and the journal, and writes its notes: a line for each test, and a last one. When the tests
are over it tells what was found, unless it is silent. What it rests on:

* It is started with nothing but the standard library and this package: no site packages, no environment of pytest's
  meaning, nothing of coverage's. It is up in about 60 ms. What drawing needs is looked for in pytest's site packages,
  after all else, and imported before the tests begin; where that fails, pytest tells by itself.
* Its standard input is a pipe whose other end pytest holds: pytest's end, whatever the reason, wakes it at once. That
  is a hint only. A process that pytest left behind may hold that end too, and a test may close it; who the parent is
  tells for sure, and is asked five times a second.
* Nobody waits for it but pytest at its very end, and then for two seconds at most.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_gilprobe.gil.watch import Watcher, WatchError
from pytest_gilprobe.scan import launch
from pytest_gilprobe.scan.journal import NOTED, STARTING, TOLD, UP, Journal
from pytest_gilprobe.scan.orders import Farewell, Orders
from pytest_gilprobe.scan.reduce import Reduction
from pytest_gilprobe.scan.tally import MOST_LOOKS, Looks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

SLICE_S: Final = 0.2
"""How often the journal is read, and the parent asked for."""

_DYING_S: Final = 0.02
"""Between the moment at which a dying process loses its files and the one at which it is no longer the parent."""

_IMPATIENT_S: Final = 0.02
"""How often to look whether tests have begun."""

_SETTLED: Final = 3
"""After so many looks in vain pytest is collecting a suite that takes its time, and there is time to import."""

_DRAWING: Final = (
    "datetime",
    "tabulate",
    "pytest_gilprobe.host",
    "pytest_gilprobe.reporters.inert",
    "pytest_gilprobe.reporters.screen",
    "pytest_gilprobe.reporters.scan_terminal",
    "pytest_gilprobe.scan.telling",
)
_WRITING: Final = (
    "jinja2",
    "pytest_gilprobe.serialize",
    "pytest_gilprobe.reporters.layout",
    "pytest_gilprobe.reporters.markdown",
    "pytest_gilprobe.reporters.html",
)
"""What telling needs, in pieces of 1 to 20 ms: tests that begin meanwhile wait for the piece at hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastLine:
    """How the watching ended. ``inside`` is the test that was running then; ``died``.

    It was not pytest who ended it.
    """

    died: bool
    inside: str | None
    lost: int
    unwatched: str | None
    watcher_cpu_ns: int

    def to_line(self) -> str:
        """Write it as one line of JSON."""
        return json.dumps({"end": asdict(self)})


def main(argv: Sequence[str]) -> int:
    """Watch until pytest ends; ``argv`` is one argument, `Orders` as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest; its end is ours
    orders = Orders.from_text(argv[0])
    sys.path += [path for path in orders.site_packages if path not in sys.path]
    journal = Journal.open(Path(orders.journal))
    with Path(orders.notes).open("w", encoding="ascii") as notes:
        watching = _Watching(orders, journal, notes)
        last = watching.run()
        notes.write(last.to_line() + "\n")
    journal.reach(NOTED)
    if not orders.silent and last.died:  # reports want site packages: the rest of this process's life is another's
        speaker = launch.command("obituary", orders.to_text(), alone=False)
        os.execv(speaker[0], speaker)  # noqa: S606 - our own module
    if not orders.silent:
        _tell(orders, Farewell.from_text(journal.farewell), watching.found, last)
        journal.reach(TOLD)
    return 0


def _tell(orders: Orders, farewell: Farewell, found: Reduction, last: LastLine) -> None:
    """Sum up, draw and write, for pytest to show; where that fails, it finds nothing told and does it by itself."""
    with contextlib.suppress(Exception):
        from pytest_gilprobe.scan.telling import tell  # noqa: PLC0415 - what it needs is not found everywhere

        folder = Path(orders.report_folder) if orders.report_folder is not None else None
        scanned = found.result(gil_absent=not farewell.gil_enabled, unwatched=last.unwatched, lost=last.lost)
        Path(orders.told).write_text(tell(scanned, farewell, folder).to_text(), "ascii")


class _Watching:
    """One watcher's work."""

    def __init__(self, orders: Orders, journal: Journal, notes: TextIO) -> None:
        self._orders = orders
        self._journal = journal
        self._notes = notes
        self.found = Reduction()
        self._looks = Looks()
        self._thinned = 1
        self._unwatched: str | None = None
        self._hint = sys.stdin.fileno()

    def run(self) -> LastLine:
        """Look and take notes until pytest has ended."""
        over = False
        self._journal.reach(UP)
        waited = 0
        while not over and not self._journal.begun:
            over = self._wait(_IMPATIENT_S)
            waited += 1
            if waited == _SETTLED:
                self._get_ready()
        while not over and not self._journal.finished:
            over = self._look(SLICE_S)
            self._note()
        self._note()
        return LastLine(
            died=not self._journal.finished,
            inside=self._journal.inside,
            lost=self._journal.lost,
            unwatched=self._unwatched or self._refused(),
            watcher_cpu_ns=time.process_time_ns(),
        )

    def _get_ready(self) -> None:
        """Import what telling needs, piece by piece; tests that begin wait for the piece at hand at most."""
        needed = () if self._orders.silent else _DRAWING
        for name in (*needed, *(_WRITING if needed and self._orders.report_folder is not None else ())):
            self._journal.reach(STARTING)
            if self._journal.begun:
                break
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
            self._journal.reach(UP)
        self._journal.reach(UP)

    def _refused(self) -> str | None:
        """Say why pytest did not want its GIL watched, if it had time to."""
        return Farewell.from_text(self._journal.farewell).refused if self._journal.finished else None

    def _look(self, for_s: float) -> bool:
        """Look at the GIL for a while; tell whether pytest has ended."""
        if not self._journal.address or self._unwatched is not None:
            return self._wait(for_s)
        mean_s = self._orders.mean_interval_s * self._thinned
        try:
            with Watcher(self._orders.parent, self._journal.address, mean_interval_s=mean_s) as watcher:
                hinted = watcher.wait(self._hint, for_s)
        except WatchError as error:
            over = self._wait(0)
            self._unwatched = None if over else str(error)  # a pytest that is gone cannot be read either
            return over
        self._looks.add(watcher.trace())
        return self._over(hinted=hinted)

    def _wait(self, for_s: float) -> bool:
        return self._over(hinted=bool(select.select([self._hint], (), (), for_s)[0]))

    def _over(self, *, hinted: bool) -> bool:
        """Tell whether pytest has ended; a hint that came from a test which closed the pipe is the last one."""
        if hinted and not self._journal.finished:
            time.sleep(_DYING_S)
            self._hint = os.pipe()[0]
        return os.getppid() != self._orders.parent

    def _note(self) -> None:
        """Write a line for each test that has ended, and bound the looks into one that goes on."""
        for window in self._journal.take():
            call = self._looks.call(window)
            self._notes.write(call.to_line() + "\n")
            self.found.add(call)
            self._thinned = 1
        self._notes.flush()
        if len(self._looks) > MOST_LOOKS:
            self._looks.thin()
            self._thinned *= 2


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))

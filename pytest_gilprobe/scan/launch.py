"""Start a watcher (a child that samples this process's GIL), let it read this process's memory, and end it.

Under the default of Linux's Yama module a child may not read its parent's memory, so the parent permits it.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest_gilprobe
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.observe.tracing_permit import permit
from pytest_gilprobe.scan.messages import WatcherSettings, to_text

if TYPE_CHECKING:
    from pytest_gilprobe.scan.journal import Journal

NOTES_S: Final = 2.0
"""Longest time, in seconds, to wait for the watcher process to write its last notes. It is also the longest time
to wait for the watcher to exit, before the watcher is killed."""
DRAWING_S: Final = 60.0
"""Longest time, in seconds, to wait for the watcher process to draw and write a report after its last notes: enough for
a large suite."""

_PACKAGE: Final = str(Path(pytest_gilprobe.__file__).parent.parent)
_CODE: Final = (
    "import sys; sys.path.append(sys.argv.pop(1)); "
    "from pytest_gilprobe.scan.{0} import main; sys.exit(main(sys.argv[1:]))"
)
"""The package's folder comes last on the path: it may be site-packages, where nothing may replace the standard library.
"""


def command(module: str, *arguments: str, python: str = sys.executable) -> list[str]:
    """Return the command line that starts ``python`` and runs the function ``main`` of one of this package's modules.

    ``module`` is the name of a module in `pytest_gilprobe.scan`, and ``arguments`` are passed to its ``main``. The
    command runs without site packages and ignores Python's environment variables. So the settings for ``.pyc`` files,
    which may come from such variables, are passed as options.
    """
    options = ["-I", "-S"]
    if sys.dont_write_bytecode:
        options.append("-B")
    if sys.pycache_prefix is not None:
        options += ["-X", f"pycache_prefix={sys.pycache_prefix}"]
    return [python, *options, "-c", _CODE.format(module), _PACKAGE, *arguments]


class WatcherProcess:
    """Start and end the watcher, a child process of pytest that samples the GIL of pytest's process."""

    def __init__(self, settings: WatcherSettings, journal: Journal) -> None:
        """Start the watcher, which reads test calls' clocks from ``journal``; raises `OSError` if the start fails."""
        self._journal = journal
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command("watcher", to_text(settings)),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # a signal to the terminal's processes is not for it
        )
        permit(self._process.pid)

    def wake(self) -> None:
        """Wake the watcher, so that it checks now whether the tests are over."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def has_reached(self, stage: int, patience_s: float) -> bool:
        """Wait until the watcher has reached ``stage``; return whether it has.

        ``stage`` is a constant of `pytest_gilprobe.scan.journal`: ``READY`` (for the first test), ``NOTED`` (it has
        written its last notes) or ``DRAWN`` (it has drawn the report). The wait ends after ``patience_s`` seconds, or
        when the watcher has ended. Shared memory is polled instead of a file descriptor, which a test may have closed.
        """
        until_ns = clocks.perf_counter_ns() + round(patience_s * 1e9)
        while not self._journal.has_reached(stage):
            if self._process.poll() is not None or clocks.perf_counter_ns() > until_ns:
                return self._journal.has_reached(stage)
            clocks.sleep(0.001)
        return True

    def end(self) -> int:
        """Wait until the watcher has ended, but kill it after `NOTES_S` seconds; return its exit status."""
        self.wake()
        try:
            return self._process.wait(NOTES_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

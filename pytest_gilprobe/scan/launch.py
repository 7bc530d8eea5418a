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
"""Seconds that a watcher may take to write its last notes, and as many again to exit once its work is done."""
DRAWING_S: Final = 60.0
"""Seconds that a watcher may take, after its last notes, to draw and write the report of a large suite."""

_PACKAGE: Final = str(Path(pytest_gilprobe.__file__).parent.parent)
_CODE: Final = (
    "import sys; sys.path.append(sys.argv.pop(1)); "
    "from pytest_gilprobe.scan.{0} import main; sys.exit(main(sys.argv[1:]))"
)
"""The package's folder comes last on the path: it may be site-packages, where nothing may replace the standard library.
"""


def command(module: str, *arguments: str, python: str = sys.executable) -> list[str]:
    """Return the command that runs the function ``main`` of ``module``, a module in `pytest_gilprobe.scan`.

    ``arguments`` are passed to ``main``, and ``python`` is the interpreter. The command runs without site packages and
    ignores Python's environment variables. So command-line options pass on this process's settings for ``.pyc`` files.
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
        """Start the watcher. Raises `OSError` if the process cannot be started."""
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
        """Wait until the watcher has reached ``stage``, one of the journal's stages; return whether it has.

        The wait ends after ``patience_s`` seconds, or when the watcher has ended. The journal's memory is polled
        instead of a file descriptor, which a test may have closed.
        """
        until_ns = clocks.perf_counter_ns() + round(patience_s * 1e9)
        while not self._journal.has_reached(stage):
            if self._process.poll() is not None or clocks.perf_counter_ns() > until_ns:
                return self._journal.has_reached(stage)
            clocks.sleep(0.001)
        return True

    def end(self) -> int:
        """Wait at most `NOTES_S` seconds for the watcher to end, or else kill it; return the watcher's exit status."""
        self.wake()
        try:
            return self._process.wait(NOTES_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

"""Start a watcher beside this process, give it the right to look, and end it.

A watcher is a child, and under Yama's default a child may not read its parent: the parent says that this one may.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest_gilprobe

if TYPE_CHECKING:
    from pytest_gilprobe.scan.orders import Orders

FAREWELL_S: Final = 2.0
"""How long a watcher may take to write its last notes, and to end when all is told."""

TELLING_S: Final = 60.0
"""How long it may take to draw and write the report after that: 4.5 s were measured for 10,000 long tests."""

_YAMA: Final = Path("/proc/sys/kernel/yama/ptrace_scope")
_PR_SET_PTRACER: Final = 0x59616D61
_PACKAGE: Final = str(Path(pytest_gilprobe.__file__).parent.parent)
_CODE: Final = (
    "import sys; sys.path.append(sys.argv.pop(1)); "
    "from pytest_gilprobe.scan.{0} import main; sys.exit(main(sys.argv[1:]))"
)
"""The package's folder comes last on the path.

It may be site-packages, where nothing may replace the standard library.
"""


def command(module: str, *arguments: str, python: str = sys.executable, alone: bool = True) -> list[str]:
    """Give the command that runs ``main`` of a module of this room, ``alone``: without the site packages."""
    return [python, "-I", *(["-S"] if alone else []), "-c", _CODE.format(module), _PACKAGE, *arguments]


def start(orders: Orders) -> subprocess.Popen[bytes]:
    """Start a watcher of this process; raises `OSError` where the system refuses."""
    watcher = subprocess.Popen(  # noqa: S603 - our own module
        command("watcher", orders.to_text()),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # a signal to the terminal's processes is not for it
    )
    allow(watcher.pid)
    return watcher


def allow(pid: int) -> None:
    """Let one other process read this one's memory, where Yama would not; where that fails, the watcher says so."""
    try:
        restricted = _YAMA.read_text("ascii").strip() == "1"
    except OSError:
        return
    if restricted:
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import ctypes  # noqa: PLC0415 - absent where libffi is

            ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(pid), 0, 0, 0)


def wake(watcher: subprocess.Popen[bytes]) -> None:
    """Have a watcher look at once whether it is told to finish."""
    if watcher.stdin is not None:
        with contextlib.suppress(OSError):
            watcher.stdin.close()


def end(watcher: subprocess.Popen[bytes]) -> None:
    """Wait for the end of a watcher that has been told to finish; one that does not is killed."""
    wake(watcher)
    try:
        watcher.wait(FAREWELL_S)
    except subprocess.TimeoutExpired:
        watcher.kill()
        watcher.wait()

"""Find and remove the processes and temporary folders that worker processes and killed sessions leave behind.

Each function imports psutil itself: this module may be imported in a subinterpreter, where psutil does not load.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gilprobe import INSIDE_WORKER

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psutil

PREFIX = "gilprobe-"
LOCK = "lock"
"""Name of the file, in a session's temporary folder, that the session keeps locked until its process ends."""
STALE_S = 600.0
"""Smallest age, in seconds, at which a session's folder that nobody has locked is removed: the session of a newer
folder may be about to lock it."""


def new_folder() -> tuple[Path, int | None]:
    """Make a session's temporary folder, lock it while this process lives, and remove folders of killed sessions.

    Return the folder and the descriptor of its lock; the descriptor is ``None`` if the system refuses the lock.
    """
    sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    return folder, locked(folder / LOCK)


def sweep(temporary: Path) -> None:
    """Remove from the folder ``temporary`` the folders of sessions that were killed.

    These are session folders that are older than `STALE_S` seconds and that no process has locked.
    """
    for lock in temporary.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError):
            if time.time() - lock.stat().st_mtime > STALE_S and (descriptor := locked(lock)) is not None:
                shutil.rmtree(lock.parent, ignore_errors=True)
                os.close(descriptor)


def locked(path: Path) -> int | None:
    """Lock the file ``path``, which is made if it does not exist; return its descriptor, whose closing ends the lock.

    Returns ``None`` if another process has locked the file, or if the system cannot open or lock it.
    """
    try:
        import fcntl  # noqa: PLC0415 - not every platform has it

        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
    except (ImportError, OSError):
        return None
    return descriptor


def descendants(pid: int) -> list[psutil.Process]:
    """List all descendants of the worker with the process id ``pid``: its child processes, their children, and so on.

    Processes that have left the worker's process group are listed, too. On Linux, so are orphans: the worker is a
    subreaper, so the system makes it their parent. The descendants of a worker that has died are found by the
    environment variable `INSIDE_WORKER`, which holds the worker's process id.
    """
    import psutil  # noqa: PLC0415 - see the module

    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return [process for process in _all_processes() if _worker_of(process) == str(pid)]


def _all_processes() -> list[psutil.Process]:
    """List this machine's processes; none where they are hidden, for which psutil raises IndexError."""
    import psutil  # noqa: PLC0415 - see the module

    try:
        return list(psutil.process_iter())
    except (psutil.Error, OSError, IndexError):
        return []


def _worker_of(process: psutil.Process) -> str | None:
    import psutil  # noqa: PLC0415 - see the module

    try:
        return process.environ().get(INSIDE_WORKER)
    except (psutil.Error, OSError):
        return None


def kill(processes: Sequence[psutil.Process]) -> None:
    """Kill each of ``processes`` that still runs."""
    import psutil  # noqa: PLC0415 - see the module

    for process in processes:
        with contextlib.suppress(psutil.Error):  # it checks that the number is not another process's by now
            process.kill()


def exists(pid: int) -> bool:
    """Return whether there is a process with the id ``pid``."""
    import psutil  # noqa: PLC0415 - see the module

    return bool(psutil.pid_exists(pid))


def kill_group(pid: int, *, certain: bool) -> None:
    """Kill the process group that the worker with the process id ``pid`` leads.

    ``certain`` is true if the worker is known to lead a group. Otherwise the system is asked first, and nothing is
    killed if the worker leads none: while it starts up, it may still be in the process group of this process.
    """
    with contextlib.suppress(OSError, AttributeError):  # gone already, or a system without process groups
        if certain or os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)

"""What workers and killed sessions leave behind, found and removed: processes and folders."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import psutil

from pytest_gilprobe.options import INSIDE_WORKER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PREFIX = "gilprobe-"
LOCK = "lock"
"""Held by a session in its temporary folder; a folder with a free one is a killed session's."""
STALE_S = 600.0
"""Age from which such a folder is removed by a later session: by then its own must have taken the lock."""


def sweep(temporary: Path) -> None:
    """Remove the folders of sessions that were killed: old ones whose lock nobody holds any more."""
    for lock in temporary.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError):
            if time.time() - lock.stat().st_mtime > STALE_S and (held := locked(lock)) is not None:
                shutil.rmtree(lock.parent, ignore_errors=True)
                os.close(held)


def locked(path: Path) -> int | None:
    """Open a file and lock it for as long as this process lives; None where somebody else has, or the system cannot."""
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
    """List what a worker has started, also what has left its process group.

    A worker's descendants stay its own, since it is their subreaper; of a worker that has died they are found by the
    variable that it set in their environment.
    """
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return [process for process in _all_processes() if _worker_of(process) == str(pid)]


def _all_processes() -> list[psutil.Process]:
    """List what runs on this machine; nothing where that is hidden: psutil then stumbles over its own empty list."""
    try:
        return list(psutil.process_iter())
    except (psutil.Error, OSError, IndexError):
        return []


def _worker_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(INSIDE_WORKER)
    except (psutil.Error, OSError):
        return None


def kill(processes: Sequence[psutil.Process]) -> None:
    """Kill what is left of these processes."""
    for process in processes:
        with contextlib.suppress(psutil.Error):  # it checks that the number is not another process's by now
            process.kill()


def kill_group(pid: int, *, certain: bool) -> None:
    """Kill a worker's process group, with whatever its workload left behind.

    ``certain`` that it has one of its own: before, its group may still be ours.
    """
    with contextlib.suppress(OSError, AttributeError):  # gone already, or a system without process groups
        if certain or os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)

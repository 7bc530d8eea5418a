"""Tell what a thread sleeps in, from ``/proc/PID/task/TID/syscall``: reading it costs that thread nothing.

*Source:* ``proc_pid_syscall(5)``: the line begins with the number of the system call in which the thread is blocked,
with -1 if it is blocked outside of one, or is the word ``running``. A thread that waits for a core counts as running.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from pytest_gilprobe.model.words import Sleep

BYTES: Final = 64
"""Number of bytes to read of ``/proc/PID/task/TID/syscall``: enough for the file's first two words, the number of the
system call in which the thread is blocked, and the call's first argument."""
GIL_STATE_BYTES: Final = 256
"""Number of bytes, from the address of the GIL's ``locked`` int on, that hold the GIL's mutex and condition variable. A
thread that waits for the GIL sleeps on one of these two."""


class _Numbers(NamedTuple):
    """Numbers of system calls: those in which a loop waits for events, and that in which a thread waits for a lock."""

    events: frozenset[int]
    futex: int


_NUMBERS: Final = {
    "x86_64": _Numbers(frozenset({232, 281, 441}), 202),
    "aarch64": _Numbers(frozenset({22, 441}), 98),
}
"""``epoll_wait``, ``epoll_pwait``, ``epoll_pwait2`` and ``futex``, by architecture. *Source:* Linux,
``arch/x86/entry/syscalls/syscall_64.tbl`` and ``include/uapi/asm-generic/unistd.h``."""
_HERE: Final = _NUMBERS.get(os.uname().machine) if hasattr(os, "uname") else None


def _sleeps_within_locks() -> bool:
    """Return whether a thread that waits for a lock sleeps at the lock's address; with musl it does so elsewhere."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, OSError, ValueError):
        return False


_WITHIN_LOCKS: Final = _sleeps_within_locks()


def parse(
    line: bytes, numbers: _Numbers | None = _HERE, *, gil_address: int | None = None, events_fd: int | None = None
) -> Sleep | None:
    """Return what a thread sleeps in, from its file ``/proc/PID/task/TID/syscall``; ``None`` if that is not known.

    Args:
        line: The beginning of that file; empty if it could not be read.
        numbers: The numbers of this machine's system calls; ``None`` if its architecture is not known here.
        gil_address: The address of the GIL's ``locked`` int in the thread's process, to tell the GIL from other locks;
            ``None`` if unknown.
        events_fd: The descriptor by which the thread's event loop waits for events; ``None`` stands for any descriptor.
    """
    words = line.split(maxsplit=2)
    if not words or numbers is None:
        return None
    if words[0] == b"running":
        return Sleep.AWAKE
    try:
        number = int(words[0])
    except ValueError:
        return None
    argument = _number(words)
    if number in numbers.events and (events_fd is None or argument in {None, events_fd}):
        return Sleep.EVENTS
    return _lock(argument, gil_address) if number == numbers.futex else Sleep.CALL


def _lock(address: int | None, gil_address: int | None) -> Sleep:
    if gil_address is None or address is None or not _WITHIN_LOCKS:
        return Sleep.LOCK
    return Sleep.GIL if gil_address <= address < gil_address + GIL_STATE_BYTES else Sleep.OTHER_LOCK


def _number(words: list[bytes]) -> int | None:
    """Return the first argument of the system call; ``None`` if the line does not have it."""
    try:
        return int(words[1], 16)
    except (IndexError, ValueError):
        return None

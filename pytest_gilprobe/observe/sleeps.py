"""Tell what a thread sleeps in, from ``/proc/PID/task/TID/syscall``: reading it costs that thread nothing.

*Source:* ``proc_pid_syscall(5)``: the line begins with the number of the system call in which the thread is blocked,
with -1 if it is blocked outside of one, or is the word ``running``. A thread that waits for a core counts as running.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from pytest_gilprobe.model.words import Sleep

BYTES: Final = 64
"""Enough of the file for its first word."""


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


def parse(line: bytes, numbers: _Numbers | None = _HERE) -> Sleep | None:
    """Return what a thread sleeps in; ``None`` if that is not known.

    ``line`` is the beginning of the file; it is empty if it could not be read. ``numbers`` are those of this machine,
    ``None`` on an architecture that is not known here.
    """
    words = line.split(maxsplit=1)
    if not words or numbers is None:
        return None
    if words[0] == b"running":
        return Sleep.AWAKE
    try:
        number = int(words[0])
    except ValueError:
        return None
    if number in numbers.events:
        return Sleep.EVENTS
    return Sleep.LOCK if number == numbers.futex else Sleep.CALL

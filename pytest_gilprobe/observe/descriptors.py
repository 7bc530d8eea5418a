"""See which files, pipes and sockets this process has open: a process that is forked from it has them open, too."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

FOLDER = "/dev/fd"
"""Folder with an entry for each open file descriptor of the process that reads it, on Linux and macOS."""


class OpenFile(NamedTuple):
    """A file descriptor and what it refers to; a descriptor that is closed and opened again is another one."""

    number: int
    device: int
    inode: int


def open_files() -> frozenset[OpenFile]:
    """Return this process's open files, pipes and sockets; empty if the system does not list them."""
    found = []
    with contextlib.suppress(OSError):
        for name in os.listdir(FOLDER):  # noqa: PTH208 - numbers, not paths
            with contextlib.suppress(OSError, ValueError):  # the descriptor of the listing is closed by now
                status = os.fstat(int(name))
                found.append(OpenFile(int(name), status.st_dev, status.st_ino))
    return frozenset(found)

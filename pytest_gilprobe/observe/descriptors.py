"""See which files, pipes and sockets this process has open: a process that is forked from it has them open, too."""

from __future__ import annotations

import os
from typing import NamedTuple

FOLDER = "/dev/fd"
"""Folder with an entry for each open file descriptor of the process that reads it, on Linux and macOS."""
STANDARD = 2
"""Highest descriptor of a standard stream (0, 1 or 2). `open_files` leaves out descriptors up to this number."""

_fstat, _listdir = os.fstat, os.listdir  # bound before a test can replace them


class OpenFile(NamedTuple):
    """A file descriptor's ``number``, with the ``device`` and the ``inode`` of the file to which it refers."""

    number: int
    device: int
    inode: int


def open_files() -> frozenset[OpenFile]:
    """Return the descriptors of this process's open files, pipes and sockets, without its standard streams.

    The result is empty if the system does not list them.
    """
    try:
        names = _listdir(FOLDER)
    except OSError:
        return frozenset()
    return frozenset(one for name in names if (one := _described(name)) is not None)


def _described(name: str) -> OpenFile | None:
    """Describe the descriptor of this number; ``None`` of a standard stream, or if it is closed by now."""
    if not name.isdecimal() or int(name) <= STANDARD:
        return None
    try:
        status = _fstat(int(name))
    except OSError:
        return None
    return OpenFile(int(name), status.st_dev, status.st_ino)

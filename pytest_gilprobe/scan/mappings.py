"""Find in the text of ``/proc/PID/maps`` where a process has its files mapped."""

from __future__ import annotations

from collections.abc import Iterator


def file_around(maps: str, address: int) -> tuple[str, int] | None:
    """Return the file that ``address`` belongs to, as ``DEVICE:INODE``, and the lowest address where it is mapped.

    ``maps`` is the text of ``/proc/PID/maps``. The result is the file with the last mapping that begins at or below
    ``address``. The address may lie beyond that mapping, as a file's zero-initialized variables lie in the nameless
    memory that follows. Returns ``None`` if no file is mapped at or below ``address``.
    """
    starts: dict[str, int] = {}
    owner = None
    for start, file in _mappings(maps):
        if start > address:
            break
        if not file.endswith(":0"):
            owner = file
            starts.setdefault(owner, start)
    return (owner, starts[owner]) if owner is not None else None


def start_of(maps: str, file: str) -> int | None:
    """Return the address at which ``file``, given as ``DEVICE:INODE``, is mapped; ``None`` if it is not mapped.

    ``maps`` is the text of ``/proc/PID/maps``.
    """
    return next((start for start, found in _mappings(maps) if found == file), None)


def _mappings(maps: str) -> Iterator[tuple[int, str]]:
    """Parse each mapping's start and its file, as device and inode; the inode of nameless memory is 0."""
    for line in maps.splitlines():
        span, _, _, device, inode = line.split()[:5]
        yield int(span.partition("-")[0], 16), f"{device}:{inode}"

"""Carry the layout of frames over from one process to another one of the same Python.

Offsets are those of a build, and so the same in all of its processes. The addresses of types and of ``None`` are not;
but these lie in the program file (or in the shared library of Python), which is mapped as a whole: their distances from
where that file is mapped are the same, too. `pytest_gilprobe.scan.gil_reference` finds the GIL state in the same way.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

from pytest_gilprobe.observe.frame_layout import FrameLayout
from pytest_gilprobe.observe.frame_search import locate_frames
from pytest_gilprobe.scan.mappings import file_around, start_of

_ADDRESSES: Final = ("code_type", "text_type", "bytes_type", "none")


def own_layout() -> dict[str, Any] | None:
    """Return the layout of this process, with distances from a file in place of addresses; ``None`` if not found.

    The file is given as ``DEVICE:INODE`` under the key ``file``.
    """
    layout = locate_frames().layout
    if layout is None:
        return None
    maps = Path("/proc/self/maps").read_text("utf-8", "surrogateescape")
    around = [file_around(maps, getattr(layout, name)) for name in _ADDRESSES]
    found: dict[str, Any] = {field.name: getattr(layout, field.name) for field in fields(layout)}
    for name, place in zip(_ADDRESSES, around, strict=True):
        if place is None:
            return None
        found[name] -= place[1]
    files = {place[0] for place in around if place is not None}
    return found | {"file": files.pop()} if len(files) == 1 else None


def layout_in(pid: int, own: dict[str, Any]) -> FrameLayout | None:
    """Return the layout of process ``pid``, from what `own_layout` returned in a process of the same Python.

    Returns ``None`` if the process runs another Python, may not be read or has ended.
    """
    try:
        maps = Path(f"/proc/{pid}/maps").read_text("utf-8", "surrogateescape")
    except OSError:
        return None
    start = start_of(maps, own["file"])
    if start is None:
        return None
    layout = FrameLayout(**{name: value for name, value in own.items() if name != "file"})
    addresses: dict[str, Any] = {name: start + own[name] for name in _ADDRESSES}
    return replace(layout, **addresses)

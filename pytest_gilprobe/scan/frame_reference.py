"""Find where a process keeps Python frames in memory, by examining another process of the same Python.

Offsets within objects depend on the build of Python only, and so are the same in both processes. The addresses of types
and of ``None`` differ. But these objects lie in the program file (or in the shared library of Python), which is mapped
as a whole: their distances from the address at which that file is mapped are the same in all processes.
`pytest_gilprobe.scan.gil_reference` finds the GIL state by such a distance, too.
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
    """Return where this process keeps Python frames in memory, without absolute addresses; ``None`` if not found.

    The keys are the fields of `FrameLayout`, and ``file``: the program file or shared library of Python, as
    ``DEVICE:INODE``. In place of each address, there is its distance from the address at which ``file`` is mapped. So
    the result holds for every process of the same Python.
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
    """Return where process ``pid`` keeps Python frames in memory.

    ``own`` says where another process of the same Python keeps them, as `own_layout` returned it there: with distances
    from the program file in place of addresses. Returns ``None`` if process ``pid`` runs another Python, may not be
    read or has ended.
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

"""Find where this process keeps frames in memory, and prove it: read this thread's own frames there and compare."""

from __future__ import annotations

import os
import struct
import sys
from dataclasses import dataclass
from types import FunctionType
from typing import Final

from pytest_gilprobe.observe.frame_layout import WORD, FrameLayout, LayoutError, search
from pytest_gilprobe.observe.frame_reader import FrameReader
from pytest_gilprobe.observe.line_table import position_at

_WORD: Final = struct.Struct("@P")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLocation:
    """Where this process keeps frames in memory (``layout``), or the ``reason`` why that is unknown.

    One of the two is ``None``. ``thread_state`` is the address of the ``PyThreadState`` of the thread that searched; if
    ``layout`` is ``None``, so is ``thread_state``.
    """

    layout: FrameLayout | None
    reason: str | None
    thread_state: int | None = None


def locate_frames() -> FrameLocation:
    """Return where this process keeps frames in memory, or the reason why that is unknown.

    A place counts as known only if this thread's own frames, read there, are those that Python reports. This function
    never raises. It takes some milliseconds, and must be called in a thread that holds the GIL.
    """
    if sys.implementation.name != "cpython":
        return FrameLocation(
            layout=None, reason=f"frames are known for CPython only, this is {sys.implementation.name}"
        )
    try:
        layout = search()
        return _proved(layout, "\u00e4\u0144\U0001f40d")
    except LayoutError as error:
        return FrameLocation(layout=None, reason=f"this Python keeps its frames elsewhere than expected: {error}")
    except Exception as error:  # noqa: BLE001 - audit hooks may raise anything, and a probe goes on without
        return FrameLocation(layout=None, reason=f"cannot search this process's memory: {error}")


def _proved(layout: FrameLayout, name: str) -> FrameLocation:
    """Compare what is read with what Python says, in a function whose name has characters of every width."""
    code = _read_own_frames.__code__.replace(co_name=name, co_qualname=f"{_read_own_frames.__qualname__}.{name}")
    right = FunctionType(code, globals())(layout)
    why = None if right else "this Python keeps its frames elsewhere than expected: reading them gives others"
    return FrameLocation(layout=layout if right else None, reason=why, thread_state=_thread_state() if right else None)


def _read_own_frames(layout: FrameLayout) -> bool:
    """Return whether the frames from this one outwards are read as they are, with their lines."""
    memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        reader = FrameReader(memory, layout, lambda _: False)
        # `pread` is no Python function: while it reads, this frame is the innermost one, and it stays where it is
        (address,) = _WORD.unpack(os.pread(memory, WORD, _thread_state() + layout.thread_frame))
        if layout.thread_hop is not None:
            (address,) = _WORD.unpack(os.pread(memory, WORD, address + layout.thread_hop))
        frames, expected = reader.named(reader.copied(address), {}) or (), _own_frames()
    except (OSError, struct.error):  # what the layout takes for an address is none
        return False
    finally:
        os.close(memory)
    read = []
    for frame in frames:
        code = reader.code(frame.code)
        read.append((code.function, code.file, position_at(code.lines, code.first_line, frame.instruction).line))
    start = next((at for at, one in enumerate(read) if one[0] == expected[0][0]), len(read))
    return len(read) > start + 1 and read[start : start + len(expected)] == expected[: len(read) - start]


def _thread_state() -> int:
    """Return the address of this thread's state."""
    import ctypes  # noqa: PLC0415 - `search` has shown that it is there

    get_thread_state = ctypes.PyDLL(None).PyThreadState_Get
    get_thread_state.restype, get_thread_state.argtypes = ctypes.c_void_p, ()
    found: int = get_thread_state()
    return found


def _own_frames() -> list[tuple[str, str, int]]:
    """List the callers of this function: qualified name, file and line of each."""
    frame, found = sys._getframe().f_back, []  # noqa: SLF001 - the public way to a frame is this one
    while frame is not None:
        found.append((frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return found

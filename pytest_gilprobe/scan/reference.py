"""Where the GIL state lies in any process of one Python: told by a process of the same Python that asks itself.

Addresses differ from process to process, but a program file is mapped as a whole: the distance from where its file
begins to its GIL state is the same in all of them. The place of the system's thread number in a ``PyThreadState`` is
found alike, by what it holds, in two threads of this process.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING

from pytest_gilprobe.gil.locate import locate

if TYPE_CHECKING:
    from collections.abc import Sequence

_THREAD_STATE_BYTES = 512
_WORD_BYTES = 8


def main(_: Sequence[str]) -> int:
    """Print what an outsider must know, as JSON: file and distance, or the reason why not."""
    location = locate()
    told: dict[str, object]
    if location.address is None:
        told = {"reason": location.reason}
    else:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:  # noqa: PTH123 - no pathlib needed
            found = file_around(maps.read(), location.address)
        if found is None:
            told = {"reason": "the GIL state lies in no program file"}
        else:
            told = {
                "file": found[0],
                "distance": location.address - found[1],
                "native_id_at": _native_id_at(),
                "free_threaded": "t" in sys.abiflags,
            }
    sys.stdout.write(json.dumps(told))
    return 0


def file_around(maps: str, address: int) -> tuple[str, int] | None:
    """Give the file that an address belongs to, by device and inode, and where its mapping starts.

    Variables that start as zero lie in a nameless mapping just after their file's: the last file that begins below
    counts.
    """
    starts: dict[str, int] = {}
    owner = None
    for line in maps.splitlines():
        span, _, _, device, inode = line.split()[:5]
        start = int(span.partition("-")[0], 16)
        if start > address:
            break
        if inode != "0":
            owner = f"{device}:{inode}"
            starts.setdefault(owner, start)
    return (owner, starts[owner]) if owner is not None else None


def start_of(maps: str, file: str) -> int | None:
    """Tell where a file's mapping starts in a process; None where it is not mapped."""
    for line in maps.splitlines():
        span, _, _, device, inode = line.split()[:5]
        if f"{device}:{inode}" == file:
            return int(span.partition("-")[0], 16)
    return None


def _native_id_at() -> int | None:
    """Find the place of the native thread number in a thread state: one that holds it in two threads."""
    found: list[set[int]] = []
    thread = threading.Thread(target=lambda: found.append(_candidates()))
    thread.start()
    thread.join()
    found.append(_candidates())
    common = set.intersection(*found)
    return common.pop() if len(common) == 1 else None


def _candidates() -> set[int]:
    import ctypes  # noqa: PLC0415 - `locate` has shown that it is there

    get_thread_state = ctypes.PyDLL(None).PyThreadState_Get
    get_thread_state.restype, get_thread_state.argtypes = ctypes.c_void_p, ()
    with open("/proc/self/mem", "rb", buffering=0) as memory:  # noqa: PTH123
        memory.seek(get_thread_state())
        state = memory.read(_THREAD_STATE_BYTES)
    words = [int.from_bytes(state[at : at + _WORD_BYTES], sys.byteorder) for at in range(0, len(state), _WORD_BYTES)]
    return {number * _WORD_BYTES for number, word in enumerate(words) if word == threading.get_native_id()}

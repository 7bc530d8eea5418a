"""Print where Python keeps the GIL state (lock, holder, switch interval), to find that state in another process.

This module runs in a process of its own, with the same Python as the process to examine. Addresses differ from process
to process, but a program file is mapped as a whole: the distance from the address at which the file is mapped to the
GIL state is the same in all processes. Likewise, the system's thread number has the same offset in every
``PyThreadState`` (Python's record of a thread). This module compares the records of two threads to find the offset.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING

from pytest_gilprobe.observe.gil_address import locate
from pytest_gilprobe.scan import frame_reference
from pytest_gilprobe.scan.mappings import file_around

if TYPE_CHECKING:
    from collections.abc import Sequence

_THREAD_STATE_BYTES = 512
_WORD_BYTES = 8


def main(_: Sequence[str]) -> int:
    """Print as JSON where this process has its GIL state, or why that is unknown; return 0.

    The place is given as the distance from the address at which Python's program file is mapped. If it is known, the
    JSON also tells where Python frames lie in memory. The parameter, a list of command-line arguments, is ignored.
    """
    location = locate()
    found: dict[str, object] = {"reason": location.reason}
    if location.address is not None:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:  # noqa: PTH123 - no pathlib needed
            around = file_around(maps.read(), location.address)
        found = {"reason": "the GIL state lies in no program file"}
        if around is not None:
            found = {
                "file": around[0],
                "distance": location.address - around[1],
                "native_id_offset": _native_id_offset(),
                "free_threaded": "t" in sys.abiflags,
                "frames": frame_reference.own_layout(),
            }
    sys.stdout.write(json.dumps(found))
    return 0


def _native_id_offset() -> int | None:
    """Find where a thread state has the system's thread number: the one place that has it in two threads."""
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

"""Find the threads of another process that wait for its GIL, from what the system says each of them sleeps in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_GIL_STATE_BYTES: Final = 256
"""The state's mutex and condition, on which a thread that waits for the GIL sleeps, lie within so many bytes."""
_FUTEX: Final = {"x86_64": 202, "aarch64": 98}


def waits(task: Path, address: int) -> bool | None:
    """Return whether a thread sleeps on the lock of the GIL; ``None`` if the system does not say.

    Args:
        task: the thread's folder, ``/proc/PID/task/TID``.
        address: the address that `pytest_gilprobe.observe.gil_address.locate` returned in that process.

    """
    try:
        call, *arguments = (task / "syscall").read_text("ascii").split()
    except OSError:
        return None
    if call != str(_FUTEX.get(os.uname().machine)):  # running, or asleep on something else
        return False
    return address <= int(arguments[0], 16) < address + _GIL_STATE_BYTES


def waiting_threads(pid: int, address: int) -> frozenset[int] | None:
    """Return the system's numbers of the threads that wait for a process's GIL; ``None`` if that is not known."""
    found = set()
    for task in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        does = waits(task, address)
        if does is None and task.exists():
            return None
        if does:
            found.add(int(task.name))
    return frozenset(found)

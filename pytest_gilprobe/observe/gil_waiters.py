"""Find the threads of another process that wait for its GIL, by the system call in which each of them sleeps."""

from __future__ import annotations

from pathlib import Path

from pytest_gilprobe.model.words import Sleep
from pytest_gilprobe.observe import sleeps


def waits(task: Path, address: int) -> bool | None:
    """Return whether a thread sleeps because it waits for the GIL; ``None`` if the system does not say.

    Args:
        task: the thread's folder, ``/proc/PID/task/TID``.
        address: the address of the GIL's ``locked`` int in that process, as
            `pytest_gilprobe.observe.gil_address.locate` returned it there.
    """
    try:
        line = (task / "syscall").read_bytes()
    except OSError:
        return None
    return sleeps.parse(line, gil_address=address) is Sleep.GIL


def waiting_threads(pid: int, address: int) -> frozenset[int] | None:
    """Return the native ids of the threads of process ``pid`` that wait for its GIL; ``None`` if that is not known.

    ``address`` is the address of the GIL's ``locked`` int in that process, as
    `pytest_gilprobe.observe.gil_address.locate` returned it there.
    """
    found = set()
    for task in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        does = waits(task, address)
        if does is None and task.exists():
            return None
        if does:
            found.add(int(task.name))
    return frozenset(found)

"""Find the GIL state of a process that knows nothing of it, and read what its threads do.

All from ``/proc``; nothing is put into the process and nothing of it is stopped. What it rests on is told in
`pytest_gilprobe.scan.reference`, and two checks stand behind it: the words found must look like a GIL state (an
interval that somebody might set, a lock that is held or free), and the file must be the same one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pytest_gilprobe.gil.locate import HOLDER_OFFSET
from pytest_gilprobe.model import GilprobeError
from pytest_gilprobe.scan import launch
from pytest_gilprobe.scan.reference import start_of

_PYTHON: Final = re.compile(r"python\d*(\.\d+)*[dt]*")
_REFERENCE_S: Final = 20.0
_WORDS: Final = struct.Struct("@LPi")
_LONGEST_INTERVAL_US: Final = 60_000_000
_INTERVAL_OFFSET: Final = HOLDER_OFFSET - struct.calcsize("@L")
_INT_BYTES: Final = struct.calcsize("@i")
_ENABLED_OFFSET: Final = _INTERVAL_OFFSET - struct.calcsize("@L")
"""Where a free-threaded build keeps whether its GIL is on: an int, padded, before the interval."""
_GIL_STATE_BYTES: Final = 256
"""The state's mutex and condition, which a thread that waits for the GIL sleeps on, lie within so many bytes."""
_FUTEX: Final = {"x86_64": 202, "aarch64": 98}


class OutsideError(GilprobeError):
    """A process cannot be watched; ``str()`` is the plain reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a process's GIL state lies, and where in a ``PyThreadState`` the system's thread number is, if known."""

    address: int
    native_id_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """One thread at one moment. ``waits`` is whether it slept on the GIL's own lock; None where that cannot be told."""

    tid: int
    name: str
    cpu_ns: int
    run_queue_ns: int
    waits: bool | None


def place(pid: int) -> Place:
    """Find a process's GIL state.

    Raises:
        OutsideError: it is gone, is no CPython, may not be read, or what was found does not look like a GIL state.
    """
    try:
        python = str(Path(f"/proc/{pid}/exe").readlink())
        maps = Path(f"/proc/{pid}/maps").read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise OutsideError(_why(pid, error)) from error
    if _PYTHON.fullmatch(Path(python).name) is None:
        msg = f"process {pid} runs {Path(python).name}, which is no Python interpreter"
        raise OutsideError(msg)
    known = _ask_reference(_identity(python, pid), pid)
    base = start_of(maps, known["file"])
    if base is None:
        msg = f"process {pid} does not have its interpreter's file mapped yet, or another one"
        raise OutsideError(msg)
    found = Place(address=base + known["distance"], native_id_at=known["native_id_at"])
    _check(pid, found.address, free_threaded=known["free_threaded"])
    return found


def descendants(pid: int) -> list[int]:
    """Give the processes that a process has started, and those that these have, nearest first."""
    found, at = [pid], 0
    while at < len(found):
        for children in Path(f"/proc/{found[at]}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in children.read_text("ascii").split()]
        at += 1
    return found[1:]


def image(pid: int) -> bytes | None:
    """Give what changes when a process executes another program: where the kernel put it. None cannot be told."""
    try:
        return Path(f"/proc/{pid}/auxv").read_bytes() or None
    except OSError:
        return None


def cpu_ns(pid: int) -> int | None:
    """Read the CPU time of a process, threads that have ended counted; None where it is gone.

    Its clock's number is what `clock_getcpuclockid(3)` makes of it; no module of the standard library gives it.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        return None


def _identity(python: str, pid: int) -> tuple[str, int, int]:
    """Tell apart programs of one name, in containers or before and after an update."""
    try:
        found = Path(f"/proc/{pid}/exe").stat()
    except OSError as error:
        raise OutsideError(_why(pid, error)) from error
    return python, found.st_dev, found.st_ino


_KNOWN: Final[dict[tuple[str, int, int], dict[str, Any]]] = {}


def _ask_reference(identity: tuple[str, int, int], pid: int) -> dict[str, Any]:
    """Start a process of the same Python, as the same user, and have it look at itself; once for each program."""
    if identity not in _KNOWN:
        _KNOWN[identity] = _ask(pid)
    return _KNOWN[identity]


def _ask(pid: int) -> dict[str, Any]:
    command = launch.command("reference", python=f"/proc/{pid}/exe")
    command[1:1] = ["-X", "gil=1"]  # a free-threaded build has a GIL state only if it is told to
    try:
        run = subprocess.run(  # noqa: S603
            command, capture_output=True, timeout=_REFERENCE_S, check=True, env=_libraries(pid), **_owner(pid)
        )
        known: dict[str, Any] = json.loads(run.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        msg = f"its Python could not be asked where a GIL state lies: {error}"
        raise OutsideError(msg) from error
    if "reason" in known:
        raise OutsideError(str(known["reason"]))
    return known


def _libraries(pid: int) -> dict[str, str]:
    """Give where a process was told to find shared libraries: its Python may be one."""
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name == b"LD_LIBRARY_PATH":
                return {name.decode("ascii"): os.fsdecode(value)}
    return {}


def _owner(pid: int) -> dict[str, Any]:
    """Say as whom the program of a process may be run: never with more rights than its owner has."""
    owner = Path(f"/proc/{pid}").stat()
    if os.geteuid() != 0 or owner.st_uid == 0:  # only root could
        return {}
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


def _check(pid: int, address: int, *, free_threaded: bool) -> None:
    if free_threaded and not any(_read(pid, address + _ENABLED_OFFSET, _INT_BYTES)):
        msg = f"process {pid} is a free-threaded Python with its GIL disabled: there is no GIL to watch"
        raise OutsideError(msg)
    words = _read(pid, address + _INTERVAL_OFFSET, _WORDS.size)
    if len(words) == _WORDS.size:
        interval_us, _, locked = _WORDS.unpack(words)
        if 0 < interval_us <= _LONGEST_INTERVAL_US and locked in (0, 1):
            return
    msg = f"process {pid} has no GIL in use: it is starting or ending"
    raise OutsideError(msg)


def native_id(pid: int, where: Place, holder: int) -> int | None:
    """Tell the system's number of the thread whose ``PyThreadState`` lies at ``holder``; None is not known."""
    if where.native_id_at is None or not holder:
        return None
    try:
        word = _read(pid, holder + where.native_id_at, 8)
    except OutsideError:
        return None
    return struct.unpack("@L", word)[0] if len(word) == struct.calcsize("@L") else None


def threads(pid: int, where: Place | None) -> list[Glance]:
    """Look at every thread of a process; those that end meanwhile are left out."""
    found = []
    try:
        numbers = [int(name) for name in os.listdir(f"/proc/{pid}/task")]  # noqa: PTH208 - ten times a second
    except OSError:
        return []
    for tid in sorted(numbers):
        with contextlib.suppress(OSError, IndexError, ValueError):
            task = Path(f"/proc/{pid}/task/{tid}")
            cpu_ns, run_queue_ns = map(int, (task / "schedstat").read_bytes().split()[:2])
            name = (task / "comm").read_text("utf-8", "replace").strip()
            waits = None if where is None else _waits(task, where.address)
            found.append(Glance(tid=tid, name=name, cpu_ns=cpu_ns, run_queue_ns=run_queue_ns, waits=waits))
    return found


def _waits(task: Path, address: int) -> bool | None:
    """Tell whether a thread sleeps in a futex that lies in the GIL state."""
    try:
        call, *arguments = (task / "syscall").read_text("ascii").split()
    except OSError:
        return None
    if call != str(_FUTEX.get(os.uname().machine)):  # running, or asleep on something else
        return False
    return address <= int(arguments[0], 16) < address + _GIL_STATE_BYTES


def _read(pid: int, address: int, size: int) -> bytes:
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(memory, size, address)
        finally:
            os.close(memory)
    except OSError as error:
        raise OutsideError(_why(pid, error)) from error


def _why(pid: int, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"process {pid} may not be read: only its owner, and under Yama only its ancestors, may trace it"
    if isinstance(error, FileNotFoundError | ProcessLookupError):
        return f"there is no process {pid}"
    return f"process {pid} cannot be read: {error.strerror or error}"

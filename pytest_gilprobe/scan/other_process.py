"""Find the GIL state (lock, holder, switch interval) of any Python process, and read what its threads do.

All is read from ``/proc``: nothing is injected into the process, and none of its threads is stopped. The GIL state's
address is computed from where it lies in a second process of the same Python; see `pytest_gilprobe.scan.gil_reference`.
Two checks follow: both processes must have mapped the same program file, and the memory at the address must look like a
GIL state (a plausible switch interval, a lock that is taken or free).
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

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.observe.frame_layout import FrameLayout
from pytest_gilprobe.observe.gil_address import HOLDER_OFFSET
from pytest_gilprobe.observe.gil_waiters import waits
from pytest_gilprobe.scan import launch
from pytest_gilprobe.scan.frame_reference import layout_in
from pytest_gilprobe.scan.mappings import start_of

_PYTHON: Final = re.compile(r"python\d*(\.\d+)*[dt]*")
_REFERENCE_S: Final = 20.0
_WORDS: Final = struct.Struct("@LPi")
_LONGEST_INTERVAL_US: Final = 60_000_000
_INTERVAL_OFFSET: Final = HOLDER_OFFSET - struct.calcsize("@L")
_INT_BYTES: Final = struct.calcsize("@i")
_ENABLED_OFFSET: Final = _INTERVAL_OFFSET - struct.calcsize("@L")
"""Where a free-threaded build keeps whether its GIL is enabled: an int, padded, before the interval."""


class CannotWatchError(GilprobeError):
    """A process cannot be watched; ``str()`` of the error is the reason, for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GilPlace:
    """Where a process has its GIL: ``address`` is the address of the GIL's ``locked`` int (1 if held) in its memory.

    ``native_id_offset`` is the offset of the system's thread number in a ``PyThreadState`` (Python's record of a
    thread); ``None`` if unknown. ``frames`` is where the process keeps its Python frames in memory; ``None`` if
    unknown.
    """

    address: int
    native_id_offset: int | None
    frames: FrameLayout | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadSnapshot:
    """One thread of another process at one moment, with its clocks since the thread started.

    Attributes:
        tid: the system's number of the thread.
        name: the system's name of the thread.
        cpu_ns: CPU time of the thread, in nanoseconds.
        run_queue_ns: how long the thread was runnable without running, in nanoseconds.
        waits: whether the thread was waiting for the GIL at that moment; ``None`` if that cannot be read.
    """

    tid: int
    name: str
    cpu_ns: int
    run_queue_ns: int
    waits: bool | None


def find_gil(pid: int) -> GilPlace:
    """Find where process ``pid`` has its GIL state (lock, holder, switch interval) in memory.

    Raises:
        CannotWatchError: the process has ended, is not CPython, may not be read, or has no GIL in use.
    """
    try:
        python = str(Path(f"/proc/{pid}/exe").readlink())
        maps = Path(f"/proc/{pid}/maps").read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise CannotWatchError(_why(pid, error)) from error
    if _PYTHON.fullmatch(Path(python).name) is None:
        msg = f"process {pid} runs {Path(python).name}, which is no Python interpreter"
        raise CannotWatchError(msg)
    known = _reference(python, pid)
    base = start_of(maps, known["file"])
    if base is None:
        msg = f"process {pid} does not have its interpreter's file mapped yet, or another one"
        raise CannotWatchError(msg)
    found = GilPlace(
        address=base + known["distance"],
        native_id_offset=known["native_id_offset"],
        frames=layout_in(pid, known["frames"]) if known["frames"] is not None else None,
    )
    _check(pid, found.address, free_threaded=known["free_threaded"])
    return found


def descendants(pid: int) -> list[int]:
    """List the process ids of all descendants of process ``pid``: its children first, then theirs, and so on."""
    found, at = [pid], 0
    while at < len(found):
        for children in Path(f"/proc/{found[at]}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in children.read_text("ascii").split()]
        at += 1
    return found[1:]


def image(pid: int) -> bytes | None:
    """Return bytes that identify the program that process ``pid`` executes; ``None`` if they cannot be read.

    The bytes are the content of ``/proc/PID/auxv``. They change when the process executes another program.
    """
    try:
        return Path(f"/proc/{pid}/auxv").read_bytes() or None
    except OSError:
        return None


def alive(pid: int) -> bool:
    """Return whether process ``pid`` exists and is not a zombie (ended, but not yet waited for by its parent)."""
    try:
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def cpu_ns(pid: int) -> int | None:
    """Return the CPU time of process ``pid`` in nanoseconds, ended threads included; ``None`` if the process has ended.

    The clock id is computed as `clock_getcpuclockid(3)` does; no module of the standard library offers the clock of
    another process.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        return None


def native_id(pid: int, where: GilPlace, holder: int) -> int | None:
    """Return the system's number of the thread whose ``PyThreadState`` is at address ``holder``; ``None`` if unknown.

    ``where`` describes the GIL of process ``pid``; its ``native_id_offset`` says where a ``PyThreadState`` (Python's
    record of a thread) has the number.
    """
    if where.native_id_offset is None or not holder:
        return None
    try:
        word = _read(pid, holder + where.native_id_offset, 8)
    except CannotWatchError:
        return None
    return struct.unpack("@L", word)[0] if len(word) == struct.calcsize("@L") else None


def threads(pid: int, where: GilPlace | None) -> list[ThreadSnapshot]:
    """List every thread of process ``pid``, except threads that end during the reading; empty if the process has ended.

    ``where`` is the place of the process's GIL, which is needed to see whether a thread waits for the GIL. If
    ``where`` is ``None``, the field ``waits`` of each thread is ``None``, too.
    """
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
            asleep = None if where is None else waits(task, where.address)
            found.append(ThreadSnapshot(tid=tid, name=name, cpu_ns=cpu_ns, run_queue_ns=run_queue_ns, waits=asleep))
    return found


_KNOWN: Final[dict[tuple[str, int, int], dict[str, Any]]] = {}


def _reference(python: str, pid: int) -> dict[str, Any]:
    """Return what `gil_reference` prints for a process's Python; it is run once for each program file.

    Programs of one name may differ: in containers, or before and after an update.
    """
    try:
        file = Path(f"/proc/{pid}/exe").stat()
    except OSError as error:
        raise CannotWatchError(_why(pid, error)) from error
    identity = (python, file.st_dev, file.st_ino)
    if identity not in _KNOWN:
        _KNOWN[identity] = _ask_reference(pid)
    return _KNOWN[identity]


def _ask_reference(pid: int) -> dict[str, Any]:
    """Run `gil_reference` with a process's Python, as the same user."""
    command = launch.command("gil_reference", python=f"/proc/{pid}/exe")
    command[1:1] = ["-X", "gil=1"]  # a free-threaded build has a GIL state only if it is told to
    try:
        run = subprocess.run(  # noqa: S603
            command, capture_output=True, timeout=_REFERENCE_S, check=True, env=_libraries(pid), **_owner(pid)
        )
        known: dict[str, Any] = json.loads(run.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        msg = f"its Python could not be asked where a GIL state lies: {error}"
        raise CannotWatchError(msg) from error
    if "reason" in known:
        raise CannotWatchError(str(known["reason"]))
    return known


def _libraries(pid: int) -> dict[str, str]:
    """Return where a process looks for shared libraries: its Python may be one."""
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name == b"LD_LIBRARY_PATH":
                return {name.decode("ascii"): os.fsdecode(value)}
    return {}


def _owner(pid: int) -> dict[str, Any]:
    """Return as whom the program of a process may be run: never with more rights than its owner has."""
    owner = Path(f"/proc/{pid}").stat()
    if os.geteuid() != 0 or owner.st_uid == 0:  # only root could
        return {}
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


def _check(pid: int, address: int, *, free_threaded: bool) -> None:
    if free_threaded and not any(_read(pid, address + _ENABLED_OFFSET, _INT_BYTES)):
        msg = f"process {pid} is a free-threaded Python with its GIL disabled: there is no GIL to watch"
        raise CannotWatchError(msg)
    words = _read(pid, address + _INTERVAL_OFFSET, _WORDS.size)
    if len(words) == _WORDS.size:
        interval_us, _, locked = _WORDS.unpack(words)
        if 0 < interval_us <= _LONGEST_INTERVAL_US and locked in (0, 1):
            return
    msg = f"process {pid} has no GIL in use: it is starting or ending"
    raise CannotWatchError(msg)


def _read(pid: int, address: int, size: int) -> bytes:
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(memory, size, address)
        finally:
            os.close(memory)
    except OSError as error:
        raise CannotWatchError(_why(pid, error)) from error


def _why(pid: int, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"process {pid} may not be read: only its owner, and under Yama only its ancestors, may trace it"
    if isinstance(error, FileNotFoundError | ProcessLookupError):
        return f"there is no process {pid}"
    return f"process {pid} cannot be read: {error.strerror or error}"

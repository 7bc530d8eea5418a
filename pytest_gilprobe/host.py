"""The questions put to this machine: clocks, CPUs, run queue, memory, Python build.

The functions of the standard library that are needed later are looked up once, when this module is
imported: a test that replaces ``time.perf_counter`` then spoils its own clock, not ours. The clocks are wrapped, too:
freezegun looks for them, as the objects that they are, in every module, and would have them stand still.
"""

from __future__ import annotations

import contextlib
import gc
import os
import platform
import sys
import sysconfig
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.model import Environment

perf_counter_ns = partial(time.perf_counter_ns)
thread_time_ns = partial(time.thread_time_ns)
process_time_ns = partial(time.process_time_ns)
sleep = partial(time.sleep)
getpid = os.getpid
_open = open
_os_open = partial(os.open)
_os_pread = partial(os.pread) if hasattr(os, "pread") else None
_os_read = partial(os.read)
_os_close = partial(os.close)
_affinity = partial(os.sched_getaffinity) if hasattr(os, "sched_getaffinity") else None

_CGROUP_V2 = Path("/sys/fs/cgroup")
"""Where the second version is mounted; of the first one, each controller has a folder of its name there."""
_MOST_OF_STAT = 1 << 16
"""Bytes of ``/proc/stat``: its lines about CPUs come first, each of some 60."""
_TICK_NS = 1_000_000_000 // (os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100)
_NO_LIMIT = 2**60
"""Bytes; the first version of cgroups says "unlimited" by a number near 2**63."""


def usable_cpus() -> int:
    """Count the CPUs that this process may use now: affinity and cgroup quota, at least 1.

    A quota of 1.5 CPUs counts as 1: two busy workers would be throttled.

    Source: ``sched_getaffinity(2)``; ``cpu.max`` in the kernel's ``cgroup-v2.rst``.
    """
    by_affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    quota = cgroup_cpu_quota()
    return by_affinity if quota is None else max(1, min(by_affinity, int(quota)))


def cgroup_cpu_quota(proc: Path = Path("/proc/self/cgroup"), root: Path = _CGROUP_V2) -> float | None:
    """Return the tightest CPU quota of this process's cgroup and its ancestors, in CPUs; None without one."""
    quotas = [quota for folder in _cgroup_folders(proc, root) if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def throttled_s(proc: Path = Path("/proc/self/cgroup"), root: Path = _CGROUP_V2) -> float | None:
    """Return how long CPU quotas have held this cgroup or an ancestor of it back so far, in seconds; None if untold.

    The brake counts in the cgroup whose quota it is, so all of them are added up. The kernel counts every CPU on its
    own: two threads held back on two CPUs for 1 s are 2 s.

    Source: ``throttled_usec`` of ``cpu.stat`` in the kernel's ``cgroup-v2.rst``; ``throttled_time`` in its
    ``sched-bwc.rst``.
    """
    told = [held for folder in _cgroup_folders(proc, root) if (held := _throttled_in(folder)) is not None]
    return sum(told) if told else None


def _throttled_in(folder: Path) -> float | None:
    try:
        fields = dict(line.split() for line in (folder / "cpu.stat").read_text("ascii").splitlines())
        for name, per_s in (("throttled_usec", 1e6), ("throttled_time", 1e9)):
            if name in fields:
                return int(fields[name]) / per_s
    except (OSError, ValueError):
        pass
    return None


def _cgroup_folders(proc: Path, root: Path, controller: str = "cpu") -> list[Path]:
    """List this process's cgroup folder and its ancestors up to the mount, innermost first."""
    try:
        lines = proc.read_text("utf-8").splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, name = [*line.split(":", 2), "", ""][:3]
        if controllers == "" or controller in controllers.split(","):
            mount = root if controllers == "" else root / controller
            folder = mount / name.lstrip("/")
            folders += [folder, *(parent for parent in folder.parents if parent.is_relative_to(mount))]
    return folders


def _quota_of(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text("ascii").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text("ascii").strip()
            period = (folder / "cpu.cfs_period_us").read_text("ascii").strip()
        return None if quota in {"max", "-1"} else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def run_delay_ns(schedstat: bytes) -> int | None:
    """Read how long a thread has queued from its ``schedstat``; None where that does not tell.

    A kernel that does not count says that the thread never ran: "0 0 0".
    """
    fields = schedstat.split()
    return int(fields[1]) if len(fields) > 2 and fields[2] != b"0" else None  # noqa: PLR2004 - running, queueing, runs


class RunQueueClock:
    """How long the calling thread has been runnable without running, in nanoseconds.

    Made and read in the thread that it is for. Reading costs a system call and gives the GIL away for its
    length, so it stays outside timed windows. Gives None where the system does not tell (not Linux, no ``/proc``).

    Source: second field of ``/proc/PID/task/TID/schedstat`` (``run_delay``), the kernel's ``sched-stats.rst``.
    """

    __slots__ = ("_fd",)

    def __init__(self) -> None:
        """Open this thread's file; a missing one is no error."""
        try:
            self._fd = _os_open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1

    def read_ns(self) -> int | None:
        """Return the time so far, or None."""
        if self._fd < 0 or _os_pread is None:
            return None
        try:
            return run_delay_ns(_os_pread(self._fd, 64, 0))
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """Give the file back. Further readings are None."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                _os_close(fd)
            except OSError:  # the workload closed every file descriptor
                return


def cpus_time_ns() -> tuple[int, int]:
    """Return what all CPUs that this process may use have counted, and what of that they idled; zeros where untold.

    The system counts in ticks, mostly of 10 ms. Source: ``/proc/stat`` in the kernel's ``filesystems/proc.rst``: user,
    nice, system, idle, waiting for a disk, two kinds of interrupts, and what the host took.
    """
    try:
        stat = _os_open("/proc/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, AttributeError):  # no such file, or not even such a flag
        return 0, 0
    try:
        lines = _os_read(stat, _MOST_OF_STAT).decode("ascii", "replace").splitlines()
        usable = {f"cpu{number}" for number in (_affinity(0) if _affinity is not None else ())}
        own = [list(map(int, fields[1:9])) for line in lines if (fields := line.split()) and fields[0] in usable]
        ticks = sum(map(sum, own)), sum(fields[3] + fields[4] for fields in own)
    except (OSError, ValueError, IndexError):  # a container that shows something else
        return 0, 0
    finally:
        _os_close(stat)
    return ticks[0] * _TICK_NS, ticks[1] * _TICK_NS


def children_time_ns() -> int:
    """Return the CPU time of this process's children that ended and were waited for, in nanoseconds; 0 where untold."""
    if resource is None:
        return 0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round((used.ru_utime + used.ru_stime) * 1e9)


def switches() -> tuple[int, int] | None:
    """Count how often the calling thread has given its CPU up to wait, and how often it was pushed off it.

    None where the system does not count them per thread. *Source:* ``getrusage(2)``: RUSAGE_THREAD, ru_nvcsw and
    ru_nivcsw, its voluntary and involuntary context switches.
    """
    if resource is None or not hasattr(resource, "RUSAGE_THREAD"):
        return None
    used = resource.getrusage(resource.RUSAGE_THREAD)
    return used.ru_nvcsw, used.ru_nivcsw


def forget_peak_rss() -> None:
    """Let this process's peak resident memory begin anew at what it is now, where the system can.

    *Source:* ``proc_pid_clear_refs(5)``: writing 5 resets ``VmHWM``.
    """
    with contextlib.suppress(OSError), _open("/proc/self/clear_refs", "w", encoding="ascii") as control:
        control.write("5")


def peak_rss_bytes() -> int | None:
    """Return this process's peak resident memory in bytes, since `forget_peak_rss` where that works.

    ``VmHWM`` rather than ``ru_maxrss``: after a fork the latter still tells the parent's peak.
    """
    try:
        with _open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    import psutil  # noqa: PLC0415 - only where /proc cannot tell

    try:
        memory = psutil.Process().memory_info()
    except (psutil.Error, OSError):
        return None
    return int(getattr(memory, "peak_wset", memory.rss))


def memory_left_bytes(proc: Path = Path("/proc"), root: Path = _CGROUP_V2) -> int | None:
    """Return how much more memory may be taken, by this machine and by the limits of this cgroup; None if untold.

    Source: ``MemAvailable`` in the kernel's ``filesystems/proc.rst``; ``memory.max`` in ``cgroup-v2.rst``;
    ``memory.limit_in_bytes`` in ``cgroup-v1/memory.rst``.
    """
    left = []
    try:
        fields = (line.split() for line in (proc / "meminfo").read_text("ascii").splitlines())
        left = [int(field[1]) * 1024 for field in fields if field[0] == "MemAvailable:"]
    except (OSError, ValueError, IndexError):
        pass
    folders = _cgroup_folders(proc / "self/cgroup", root, "memory")
    left += [more for folder in folders if (more := _memory_left_in(folder)) is not None]
    return min(left, default=None)


def _memory_left_in(folder: Path) -> int | None:
    """Return what a cgroup's limit leaves; files that were read and can be forgotten again are not counted as used.

    Source: ``inactive_file`` in the kernel's ``cgroup-v2.rst``; the kubelet's "working set" is the same difference.
    """
    for limit, current, cached in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most, used = (int((folder / name).read_text("ascii")) for name in (limit, current))
        except (OSError, ValueError):  # no such limit here, or "max"
            continue
        return most - used + _field(folder / "memory.stat", cached) if most < _NO_LIMIT else None
    return None


def _field(file: Path, name: str) -> int:
    """Return a number out of lines of a name and a number; 0 where it is not there."""
    try:
        pairs = (line.split() for line in file.read_text("ascii").splitlines())
        return next((int(pair[1]) for pair in pairs if pair[0] == name), 0)
    except (OSError, ValueError, IndexError):
        return 0


def gil_enabled() -> bool:
    """Tell whether this interpreter runs with its GIL on, now: importing a module can switch it on."""
    probe: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)
    return True if probe is None else probe()


def free_threaded_build() -> bool:
    """Tell whether this Python was built with ``--disable-gil``, be its GIL on or off."""
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def load_average_1min() -> float | None:
    """Return the system's load average over a minute, None where it has none."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def environment(
    *,
    start_method: str,
    scaling_ceiling: float | None,
    ceiling_workers: int | None,
    gil_switched_on_by: tuple[str, ...] = (),
) -> Environment:
    """Describe this machine and this Python as they are now."""
    from pytest_gilprobe.model import Environment  # noqa: PLC0415 - heavy, and a scan needs the clocks only

    return Environment(
        python=platform.python_version(),
        implementation=platform.python_implementation(),
        free_threaded_build=free_threaded_build(),
        gil_enabled=gil_enabled(),
        compiler=platform.python_compiler(),
        platform=platform.platform(),
        machine=platform.machine(),
        cpus_usable=usable_cpus(),
        cpus_logical=os.cpu_count() or 1,
        start_method=start_method,
        switch_interval_s=sys.getswitchinterval(),
        load_average_1min=load_average_1min(),
        scaling_ceiling=scaling_ceiling,
        ceiling_workers=ceiling_workers,
        gil_switched_on_by=gil_switched_on_by,
    )


def tracers() -> tuple[str, ...]:
    """Name what traces or profiles the calling thread's Python code now: it makes Python slower, not the rest."""
    found = []
    if sys.gettrace() is not None:
        found.append("sys.settrace")
    if sys.getprofile() is not None:
        found.append("sys.setprofile")
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is not None:
        found += [f"sys.monitoring ({name})" for tool in range(6) if (name := monitoring.get_tool(tool))]
    if not gc.isenabled():
        found.append("gc.disable")
    return tuple(found)

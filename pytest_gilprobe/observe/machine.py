"""Read this machine's resources and load: usable CPUs, CPU quota, throttling, memory, page faults.

Functions of the standard library are looked up on import, because a test may replace them later.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from functools import partial
from pathlib import Path

from pytest_gilprobe.observe import clocks

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_open = open
_os_open = partial(os.open)
_os_read = partial(os.read)
_os_close = partial(os.close)
_affinity = partial(os.sched_getaffinity) if hasattr(os, "sched_getaffinity") else None

_CGROUP_V2 = Path("/sys/fs/cgroup")
"""Mount point of version 2; version 1 has a folder for each controller there."""
_MOST_OF_STAT = 1 << 16
"""Bytes of ``/proc/stat`` to read: its first lines, of some 60 bytes each, are the CPUs'."""
TICK_NS = 1_000_000_000 // (os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100)
"""Nanoseconds of a tick, the unit in which the system counts the time of CPUs."""
_PAGES = 512
"""Pages of memory to touch when the cost of a page fault is measured: enough to make a clock's error small."""
_NO_LIMIT = 2**60
"""Bytes; version 1 of cgroups writes "unlimited" as a number near 2**63."""


def usable_cpus() -> int:
    """Return the number of CPUs that this process may use now by its affinity and its cgroup's quota, at least 1.

    A quota of 1.5 CPUs counts as 1, because the quota would throttle two busy workers.

    *Source:* ``sched_getaffinity(2)``; ``cpu.max`` in the kernel's ``cgroup-v2.rst``.
    """
    by_affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    quota = cgroup_cpu_quota()
    return by_affinity if quota is None else max(1, min(by_affinity, int(quota)))


def cgroup_cpu_quota(proc: Path = Path("/proc/self/cgroup"), root: Path = _CGROUP_V2) -> float | None:
    """Return the lowest CPU quota of this process's cgroup and its ancestors, in CPUs; ``None`` if none has a quota.

    ``proc`` is the file that names the process's cgroup, and ``root`` is where the system mounts cgroups.
    """
    quotas = [quota for folder in _cgroup_folders(proc, root) if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def throttled_s(proc: Path = Path("/proc/self/cgroup"), root: Path = _CGROUP_V2) -> float | None:
    """Return how long CPU quotas have throttled this process's cgroup so far, in seconds; ``None`` if not reported.

    The kernel counts throttling in the cgroup that has the quota, so the times of the cgroup and of its ancestors are
    added up. Each CPU counts separately: two threads throttled on two CPUs for 1 s give 2 s. ``proc`` is the file that
    names the process's cgroup, and ``root`` is where the system mounts cgroups.

    *Source:* ``throttled_usec`` of ``cpu.stat`` in the kernel's ``cgroup-v2.rst``; ``throttled_time`` in its
    ``sched-bwc.rst``.
    """
    reported = [time_s for folder in _cgroup_folders(proc, root) if (time_s := _throttled_in(folder)) is not None]
    return sum(reported) if reported else None


def _throttled_in(folder: Path) -> float | None:
    for name, per_s in (("throttled_usec", 1e6), ("throttled_time", 1e9)):
        if (count := _number_after(name, folder / "cpu.stat")) is not None:
            return count / per_s
    return None


def _words(file: Path) -> list[str]:
    """Return a small file's words; none where it cannot be read."""
    try:
        return file.read_text("ascii").split()
    except (OSError, ValueError):
        return []


def _number_after(name: str, file: Path) -> int | None:
    """Return the number that follows a name in a small file; None where there is none."""
    words = _words(file)
    try:
        return int(words[words.index(name) + 1])
    except (ValueError, IndexError):
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
    words = _words(folder / "cpu.max") or _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
    try:
        quota, period = map(int, words)
        return quota / period if quota > 0 else None
    except (ValueError, ZeroDivisionError):  # "max", or a file of another form
        return None


def cpus_time_ns() -> tuple[int, int]:
    """Return the total time and the idle time counted so far by all CPUs that this process may use.

    Both are in nanoseconds, in steps of a system tick (usually 10 ms); both are 0 if the system does not report them.
    On a system without ``/proc/stat``, both come from psutil: less complete, and for all CPUs of the machine.

    *Source:* ``/proc/stat`` in the kernel's ``filesystems/proc.rst``: user, nice, system, idle, iowait, irq, softirq,
    steal.
    """
    try:
        stat = _os_open("/proc/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, AttributeError):  # no such file, or not even such a flag
        return _cpus_time_by_psutil()
    try:
        lines = _os_read(stat, _MOST_OF_STAT).decode("ascii", "replace").splitlines()
        usable = {f"cpu{number}" for number in (_affinity(0) if _affinity is not None else ())}
        own = [list(map(int, fields[1:9])) for line in lines if (fields := line.split()) and fields[0] in usable]
        ticks = sum(map(sum, own)), sum(fields[3] + fields[4] for fields in own)
    except (OSError, ValueError, IndexError):  # a container that shows something else
        return 0, 0
    finally:
        _os_close(stat)
    return ticks[0] * TICK_NS, ticks[1] * TICK_NS


def _cpus_time_by_psutil() -> tuple[int, int]:
    try:
        import psutil  # noqa: PLC0415 - only where /proc does not report it; it does not load in a subinterpreter

        found = psutil.cpu_times()
    except (ImportError, OSError, RuntimeError):
        return 0, 0
    busy, idle = (
        sum(float(getattr(found, name, 0.0)) for name in names)
        for names in (("user", "nice", "system", "irq", "softirq", "steal"), ("idle", "iowait"))
    )
    return round((busy + idle) * 1e9), round(idle * 1e9)


def page_faults() -> int | None:
    """Return the number of minor page faults of this process so far, over all threads; ``None`` on Windows.

    *Source:* ``getrusage(2)``, ``ru_minflt``.
    """
    return None if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def page_fault_s() -> float | None:
    """Return about how many seconds longer the first access to a page of new memory takes than the second access.

    The result is the smallest of three trials, at least 0. It is ``None`` if the system does not map such memory page
    by page, or does not count page faults.
    """
    before = page_faults()
    if before is None:
        return None
    trials = [_touching_s() for _ in range(3)]
    faults = (page_faults() or 0) - before
    return max(0.0, min(trials)) if faults >= 3 * _PAGES else None


def _touching_s() -> float:
    """Touch new pages twice, and return how much longer the first time took for each."""
    size = mmap.PAGESIZE
    with mmap.mmap(-1, _PAGES * size) as memory:
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            with contextlib.suppress(OSError):
                memory.madvise(mmap.MADV_NOHUGEPAGE)
        moments = []
        for _ in range(3):
            moments.append(clocks.perf_counter_ns())
            for at in range(0, _PAGES * size, size):
                memory[at] = 1
    began, between, end = moments[0], moments[1], moments[2]
    return ((between - began) - (end - between)) / _PAGES * 1e-9


def reset_peak_rss() -> None:
    """Reset this process's peak resident memory to its present size; do nothing if the system cannot reset it.

    *Source:* ``proc_pid_clear_refs(5)``: writing 5 resets ``VmHWM``.
    """
    with contextlib.suppress(OSError), _open("/proc/self/clear_refs", "w", encoding="ascii") as control:
        control.write("5")


def peak_rss_bytes() -> int | None:
    """Return this process's peak resident memory in bytes, since the last effective `reset_peak_rss`.

    The source is ``VmHWM`` and not ``ru_maxrss``, which keeps the parent's peak after a fork. A system without
    ``VmHWM`` gives psutil's peak, or the present size if psutil reports none. ``None`` if nothing can be read.
    """
    try:
        with _open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        import psutil  # noqa: PLC0415 - only where /proc does not report it; or no file may be opened any more
    except (ImportError, OSError):
        return None
    try:
        memory = psutil.Process().memory_info()
    except (psutil.Error, OSError):
        return None
    return int(getattr(memory, "peak_wset", memory.rss))


def memory_left_bytes(proc: Path = Path("/proc"), root: Path = _CGROUP_V2) -> int | None:
    """Return how many more bytes of memory this process can use; ``None`` if the system does not report it.

    This is the smallest of the machine's available memory and the memory that the limits of this process's cgroup and
    of its ancestors leave. ``proc`` is where the system mounts ``/proc``, and ``root`` is where it mounts cgroups.

    *Source:* ``MemAvailable`` in the kernel's ``filesystems/proc.rst``; ``memory.max`` in ``cgroup-v2.rst``;
    ``memory.limit_in_bytes`` in ``cgroup-v1/memory.rst``.
    """
    available_kib = _number_after("MemAvailable:", proc / "meminfo")
    left = [None if available_kib is None else available_kib * 1024]
    left += map(_memory_left_in, _cgroup_folders(proc / "self/cgroup", root, "memory"))
    return min((each for each in left if each is not None), default=None)


def _memory_left_in(folder: Path) -> int | None:
    """Return what a cgroup's limit leaves. Cached file contents that can be dropped do not count as used.

    *Source:* ``inactive_file`` in the kernel's ``cgroup-v2.rst``; the kubelet's "working set" is the same difference.
    """
    for limit, current, cached in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most, used = (int((folder / name).read_text("ascii")) for name in (limit, current))
        except (OSError, ValueError):  # no such limit here, or "max"
            continue
        return most - used + (_number_after(cached, folder / "memory.stat") or 0) if most < _NO_LIMIT else None
    return None


def load_average_1min() -> float | None:
    """Return the system's load average over one minute; ``None`` if the system does not report it."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None

"""`pytest_gilprobe.host`: what this machine answers, and what it answers where it cannot tell."""

from __future__ import annotations

import contextlib
import errno
import gc
import mmap
import os
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe import host
from pytest_gilprobe.gil import aside

if TYPE_CHECKING:
    from collections.abc import Callable

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def cgroup(tmp_path: Path) -> Path:
    """Give a folder with a cgroup tree ``root/slice/unit`` and a ``self`` file that names ``/slice/unit``."""
    (tmp_path / "root/slice/unit").mkdir(parents=True)
    (tmp_path / "self").write_text("0::/slice/unit\n")
    return tmp_path


def quota(tree: Path) -> float | None:
    return host.cgroup_cpu_quota(tree / "self", tree / "root")


def test_no_quota_is_none(cgroup: Path) -> None:
    """Without ``cpu.max``, or with ``max`` in it, there is no quota."""
    assert quota(cgroup) is None
    (cgroup / "root/slice/cpu.max").write_text("max 100000\n")
    assert quota(cgroup) is None


def test_tightest_quota_counts(cgroup: Path) -> None:
    """The quotas of a cgroup and its ancestors all hold, so the smallest does."""
    (cgroup / "root/slice/unit/cpu.max").write_text("400000 100000\n")
    (cgroup / "root/slice/cpu.max").write_text("150000 100000\n")
    assert quota(cgroup) == 1.5


@pytest.mark.parametrize("text", ["", "lots\n", "100000 0\n", "1 2 3\n"])
def test_unreadable_quota_is_none(cgroup: Path, text: str) -> None:
    """A file of another form is no quota, and no error."""
    (cgroup / "root/slice/unit/cpu.max").write_text(text)
    assert quota(cgroup) is None


def test_no_proc_is_no_quota(tmp_path: Path) -> None:
    """A system without ``/proc`` has no quota."""
    assert host.cgroup_cpu_quota(tmp_path / "absent", tmp_path) is None


def test_line_without_fields_is_passed_over(cgroup: Path) -> None:
    """A line of ``/proc/self/cgroup`` that is not in three fields does not disturb the others."""
    (cgroup / "self").write_text("nonsense\n0::/slice/unit\n")
    (cgroup / "root/slice/unit/cpu.max").write_text("200000 100000\n")
    assert quota(cgroup) == 2.0


def test_throttling_of_all_ancestors_counts(cgroup: Path) -> None:
    """A quota's brake is told by the cgroup that has the quota, often an ancestor: what each one tells is added up."""
    assert host.throttled_s(cgroup / "self", cgroup / "root") is None
    (cgroup / "root/slice/unit/cpu.stat").write_text("usage_usec 9\nnr_throttled 0\nthrottled_usec 0\n")
    assert host.throttled_s(cgroup / "self", cgroup / "root") == 0.0
    (cgroup / "root/slice/cpu.stat").write_text("usage_usec 9\nnr_throttled 3\nthrottled_usec 250000\n")
    assert host.throttled_s(cgroup / "self", cgroup / "root") == 0.25
    (cgroup / "root/cpu.stat").write_text("usage_usec 9\n")
    assert host.throttled_s(cgroup / "self", cgroup / "root") == 0.25


def test_throttling_of_the_first_version(cgroup: Path) -> None:
    """The first version of cgroups counts in nanoseconds, in a folder of the controller's name."""
    (cgroup / "root/cpu/outer/inner").mkdir(parents=True)
    (cgroup / "self").write_text("3:cpu,cpuacct:/outer/inner\n0::/\n")
    (cgroup / "root/cpu/outer/inner/cpu.stat").write_text("nr_periods 0\nnr_throttled 0\nthrottled_time 0\n")
    (cgroup / "root/cpu/outer/cpu.stat").write_text("nr_periods 9\nnr_throttled 3\nthrottled_time 250000000\n")
    assert host.throttled_s(cgroup / "self", cgroup / "root") == 0.25


@pytest.mark.parametrize("text", ["", "nonsense\n", "throttled_usec lots\n", "throttled_usec\n"])
def test_throttling_that_cannot_be_read_is_none(cgroup: Path, text: str) -> None:
    """A file of another form tells nothing, and is no error."""
    (cgroup / "root/slice/cpu.stat").write_text(text)
    assert host.throttled_s(cgroup / "self", cgroup / "root") is None


@linux
def test_throttling_by_a_real_quota_is_seen() -> None:
    """A process held back by the quota of its cgroup's parent can tell: where cgroups may be made here."""
    mount = host._CGROUP_V2 / "cpu"
    outer = mount / f"gilprobe-test-{os.getpid()}"
    inner = outer / "inner"
    try:
        inner.mkdir(parents=True)
        (outer / "cpu.cfs_period_us").write_text("20000")
        (outer / "cpu.cfs_quota_us").write_text("2000")
    except OSError:
        with contextlib.suppress(OSError):
            outer.rmdir()
        pytest.skip("no cgroup with a CPU quota can be made here")
    code = (
        f"open({str(inner / 'cgroup.procs')!r}, 'w').write('0')\n"
        "from pytest_gilprobe import host\n"
        "before = host.throttled_s()\n"
        "for _ in range(3_000_000): pass\n"
        "print(before, host.throttled_s(), host.cgroup_cpu_quota())\n"
    )
    try:
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    finally:
        for folder in (inner, outer):
            folder.rmdir()
    before, after, allowed = map(float, found.stdout.split())
    assert after > before
    assert allowed == 0.1


@pytest.mark.parametrize(("allowed", "cpus"), [(None, 8), (16.0, 8), (2.0, 2), (1.5, 1), (0.2, 1)])
def test_usable_cpus_are_the_tighter_of_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, allowed: float | None, cpus: int
) -> None:
    """A quota counts in whole CPUs, rounded down, and there is always one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(host, "cgroup_cpu_quota", lambda: allowed)
    assert host.usable_cpus() == cpus


def test_usable_cpus_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system tells no affinity, all logical CPUs are usable; where it tells nothing, one is."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(host, "cgroup_cpu_quota", lambda: None)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert host.usable_cpus() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert host.usable_cpus() == 1


@linux
def test_run_queue_clock_never_goes_back() -> None:
    """Its readings grow, in the thread that it was made in."""
    clock = host.RunQueueClock()
    first, second = clock.read_ns(), clock.read_ns()
    clock.close()
    if first is None or second is None:
        pytest.skip("this kernel keeps no schedstat")
    assert second >= first >= 0


def test_closed_run_queue_clock_tells_nothing() -> None:
    """After its end a reading is None, and a second end is no error."""
    clock = host.RunQueueClock()
    clock.close()
    clock.close()
    assert clock.read_ns() is None


def test_run_queue_clock_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file is missing, a reading is None."""

    def missing(*_: object) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(host, "_os_open", missing)
    clock = host.RunQueueClock()
    assert clock.read_ns() is None
    clock.close()


@linux
def test_run_queue_clock_survives_a_workload_that_closes_its_file() -> None:
    """A workload that closes every file descriptor costs the reading, not the batch."""
    clock = host.RunQueueClock()
    if clock._fd < 0:
        pytest.skip("this kernel keeps no schedstat")
    os.close(clock._fd)
    assert clock.read_ns() is None
    clock.close()


@linux
def test_run_queue_clock_is_the_threads_own() -> None:
    """Made in a thread that just began, it starts near zero rather than at the main thread's past."""
    readings: list[int | None] = []

    def read() -> None:
        clock = host.RunQueueClock()
        readings.append(clock.read_ns())
        clock.close()

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert len(readings) == 1


def test_peak_memory_is_at_least_what_is_in_use() -> None:
    """The peak covers a block that was touched."""
    block = bytearray(8 * 1024 * 1024)
    peak = host.peak_rss_bytes()
    assert peak is not None
    assert peak >= len(block)


def test_no_file_can_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may open no more files has no peak, and no error that would be taken for its workload's."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(host, "_open", full)
    monkeypatch.setattr(psutil, "Process", full)
    assert host.peak_rss_bytes() is None


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's clear_refs")
def test_peak_memory_begins_anew() -> None:
    """A block that was touched and given back no longer counts once the peak is forgotten."""
    block = mmap.mmap(-1, 64 * 1024 * 1024)
    block.write(bytes(len(block)))
    block.close()
    before = host.peak_rss_bytes()
    host.forget_peak_rss()
    after = host.peak_rss_bytes()
    assert before is not None
    assert after is not None
    assert after <= before - 32 * 1024 * 1024


def test_gil_is_on_unless_this_python_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pythons before 3.13 do not know the question: their GIL is on."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert host.gil_enabled() is False
    monkeypatch.delattr(sys, "_is_gil_enabled")
    assert host.gil_enabled() is True


@pytest.mark.parametrize(("variable", "free"), [(1, True), (0, False), (None, False)])
def test_build_is_told_by_its_configuration(monkeypatch: pytest.MonkeyPatch, variable: object, free: object) -> None:
    """A free-threaded build is one with ``Py_GIL_DISABLED``, whatever its GIL does now."""
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _: variable)
    assert host.free_threaded_build() is free


def test_no_load_average_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without load averages has None, not 0."""

    def unknown() -> None:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", unknown, raising=False)
    assert host.load_average_1min() is None


def test_environment_is_this_one() -> None:
    """It describes the running Python and keeps what it is given."""
    found = host.environment(start_method="spawn", scaling_ceiling=1.9, ceiling_workers=2)
    assert found.python == sys.version.split()[0].rstrip("+")
    assert (found.start_method, found.scaling_ceiling, found.ceiling_workers) == ("spawn", 1.9, 2)
    assert found.cpus_usable >= 1
    assert found.switch_interval_s == sys.getswitchinterval()


def test_tracers_are_named() -> None:
    """A trace function, a profile function and a stopped garbage collector are each named."""
    before = sys.gettrace(), sys.getprofile(), gc.isenabled()
    try:
        sys.settrace(lambda *_: None)
        sys.setprofile(lambda *_: None)
        gc.disable()
        found = host.tracers()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
        if before[2]:
            gc.enable()
    assert {"sys.settrace", "sys.setprofile", "gc.disable"} <= set(found)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is new in 3.12")
def test_monitoring_tools_are_named() -> None:
    """A tool that uses ``sys.monitoring`` is named by its name."""
    monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    monitoring.use_tool_id(3, "nosy")
    try:
        assert "sys.monitoring (nosy)" in host.tracers()
    finally:
        monitoring.free_tool_id(3)


@given(text=st.text())
def test_any_cgroup_file_is_survived(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Whatever ``/proc/self/cgroup`` holds, the quota is None or a number, never an error."""
    folder = tmp_path_factory.mktemp("cgroup")
    (folder / "self").write_text(text.encode("utf-8", "ignore").decode(), "utf-8")
    found = host.cgroup_cpu_quota(folder / "self", folder / "root")
    assert found is None or found > 0


def test_memory_left(tmp_path: Path) -> None:
    """What may still be taken is the least of what the machine has and what each limit above this process leaves."""
    proc, root = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (root / "outer" / "inner").mkdir(parents=True)
    assert host.memory_left_bytes(proc, root) is None
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\n", encoding="ascii")
    assert host.memory_left_bytes(proc, root) == 4000 * 1024
    (proc / "self" / "cgroup").write_text("0::/outer/inner\n", encoding="ascii")
    for folder, most, used in ((root / "outer" / "inner", "max", "5"), (root / "outer", "1000", "900")):
        (folder / "memory.max").write_text(f"{most}\n", encoding="ascii")
        (folder / "memory.current").write_text(f"{used}\n", encoding="ascii")
    assert host.memory_left_bytes(proc, root) == 100
    (root / "outer" / "memory.stat").write_text("anon 300\nactive_file 7\ninactive_file 400\n", encoding="ascii")
    assert host.memory_left_bytes(proc, root) == 500


@pytest.mark.parametrize(("most", "left"), [("1000", 150), ("9223372036854771712", 4000 * 1024)])
def test_memory_left_by_the_first_version_of_cgroups(tmp_path: Path, most: str, left: int) -> None:
    """Its limit of memory stands in the folder of the controller of that name; a very great one is none."""
    proc, root = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemAvailable:    4000 kB\n", encoding="ascii")
    (proc / "self" / "cgroup").write_text("5:cpu,cpuacct:/other\n4:memory:/unit\n", encoding="ascii")
    folder = root / "memory" / "unit"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(f"{most}\n", encoding="ascii")
    (folder / "memory.usage_in_bytes").write_text("900\n", encoding="ascii")
    (folder / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 50\n", encoding="ascii")
    assert host.memory_left_bytes(proc, root) == left


def test_quota_of_the_first_version_of_cgroups(cgroup: Path) -> None:
    """Its quota of CPU time stands in the folder of the controller of that name; -1 is none."""
    (cgroup / "self").write_text("5:cpu,cpuacct:/unit\n4:memory:/other\n")
    folder = cgroup / "root/cpu/unit"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("50000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    (folder.parent / "cpu.cfs_quota_us").write_text("-1\n")
    (folder.parent / "cpu.cfs_period_us").write_text("100000\n")
    assert quota(cgroup) == 0.5


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs /proc/stat (Linux)")
def test_cpus_count_what_they_idle() -> None:
    """All usable CPUs count time as it passes, of which they idle a part."""
    before = host.cpus_time_ns()
    time.sleep(0.1)
    cpus, idle = (after - earlier for after, earlier in zip(host.cpus_time_ns(), before, strict=True))
    assert 0 <= idle <= cpus
    assert cpus > 0


def test_cpus_that_tell_nothing_are_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no such file, or it holds something else, there is nothing to go by."""
    monkeypatch.setattr(host, "_os_read", lambda *_: b"cpu0 no numbers at all\n")
    assert host.cpus_time_ns() == (0, 0)
    monkeypatch.setattr(host, "_os_open", refuse)
    assert host.cpus_time_ns() == (0, 0)


def refuse(*_: object) -> int:
    raise OSError


@pytest.mark.parametrize("read", [host.run_delay_ns, aside.read_run_queue_ns])
@pytest.mark.parametrize(
    ("schedstat", "known"),
    [(b"123 45 6\n", 45), (b"123 0 6\n", 0), (b"0 0 0\n", None), (b"1 2", None), (b"", None)],
)
def test_a_kernel_that_does_not_count_tells_no_queueing(
    read: Callable[[bytes], int | None], schedstat: bytes, known: int | None
) -> None:
    """Zeros of a thread that never ran are no zeros: they are told by one that runs."""
    assert read(schedstat) == known

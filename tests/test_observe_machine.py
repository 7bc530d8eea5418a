"""`pytest_gilprobe.observe.machine`: what this machine reports, and what is returned where it does not."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.observe import machine

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def cgroup(tmp_path: Path) -> Path:
    """Give a folder with a cgroup tree ``root/slice/unit`` and a ``self`` file that names ``/slice/unit``."""
    (tmp_path / "root/slice/unit").mkdir(parents=True)
    (tmp_path / "self").write_text("0::/slice/unit\n")
    return tmp_path


def quota(tree: Path) -> float | None:
    return machine.cgroup_cpu_quota(tree / "self", tree / "root")


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
    assert machine.cgroup_cpu_quota(tmp_path / "absent", tmp_path) is None


def test_line_without_fields_is_passed_over(cgroup: Path) -> None:
    """A line of ``/proc/self/cgroup`` that is not in three fields does not disturb the others."""
    (cgroup / "self").write_text("nonsense\n0::/slice/unit\n")
    (cgroup / "root/slice/unit/cpu.max").write_text("200000 100000\n")
    assert quota(cgroup) == 2.0


def test_throttling_of_all_ancestors_counts(cgroup: Path) -> None:
    """Throttling is counted in the cgroup that has the quota, often an ancestor: the counts of all are added up."""
    assert machine.throttled_s(cgroup / "self", cgroup / "root") is None
    (cgroup / "root/slice/unit/cpu.stat").write_text("usage_usec 9\nnr_throttled 0\nthrottled_usec 0\n")
    assert machine.throttled_s(cgroup / "self", cgroup / "root") == 0.0
    (cgroup / "root/slice/cpu.stat").write_text("usage_usec 9\nnr_throttled 3\nthrottled_usec 250000\n")
    assert machine.throttled_s(cgroup / "self", cgroup / "root") == 0.25
    (cgroup / "root/cpu.stat").write_text("usage_usec 9\n")
    assert machine.throttled_s(cgroup / "self", cgroup / "root") == 0.25


def test_throttling_of_the_first_version(cgroup: Path) -> None:
    """The first version of cgroups counts in nanoseconds, in a folder of the controller's name."""
    (cgroup / "root/cpu/outer/inner").mkdir(parents=True)
    (cgroup / "self").write_text("3:cpu,cpuacct:/outer/inner\n0::/\n")
    (cgroup / "root/cpu/outer/inner/cpu.stat").write_text("nr_periods 0\nnr_throttled 0\nthrottled_time 0\n")
    (cgroup / "root/cpu/outer/cpu.stat").write_text("nr_periods 9\nnr_throttled 3\nthrottled_time 250000000\n")
    assert machine.throttled_s(cgroup / "self", cgroup / "root") == 0.25


@pytest.mark.parametrize("text", ["", "nonsense\n", "throttled_usec lots\n", "throttled_usec\n"])
def test_throttling_that_cannot_be_read_is_none(cgroup: Path, text: str) -> None:
    """A file of another form is no count, and no error."""
    (cgroup / "root/slice/cpu.stat").write_text(text)
    assert machine.throttled_s(cgroup / "self", cgroup / "root") is None


@linux
def test_throttling_by_a_real_quota_is_seen() -> None:
    """A process sees that the quota of its cgroup's parent throttles it, where cgroups may be made here."""
    mount = machine._CGROUP_V2 / "cpu"
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
        "from pytest_gilprobe.observe import machine\n"
        "before = machine.throttled_s()\n"
        "for _ in range(3_000_000): pass\n"
        "print(before, machine.throttled_s(), machine.cgroup_cpu_quota())\n"
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
    monkeypatch.setattr(machine, "cgroup_cpu_quota", lambda: allowed)
    assert machine.usable_cpus() == cpus


def test_usable_cpus_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system reports no affinity, all logical CPUs are usable; where it reports nothing, one is."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(machine, "cgroup_cpu_quota", lambda: None)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert machine.usable_cpus() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.usable_cpus() == 1


def test_peak_memory_is_at_least_what_is_in_use() -> None:
    """The peak covers a block that was touched."""
    block = bytearray(8 * 1024 * 1024)
    peak = machine.peak_rss_bytes()
    assert peak is not None
    assert peak >= len(block)


def test_no_file_can_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may open no more files has no peak, and no error that would be taken for its workload's."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(machine, "_open", full)
    monkeypatch.setattr(psutil, "Process", full)
    assert machine.peak_rss_bytes() is None
    monkeypatch.delitem(sys.modules, "psutil")
    monkeypatch.setattr("builtins.__import__", full)
    assert machine.peak_rss_bytes() is None, "psutil is not loaded yet"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's clear_refs")
def test_peak_memory_restarts() -> None:
    """A block that was touched and freed no longer counts once the peak is reset."""
    block = mmap.mmap(-1, 64 * 1024 * 1024)
    block.write(bytes(len(block)))
    block.close()
    before = machine.peak_rss_bytes()
    machine.reset_peak_rss()
    after = machine.peak_rss_bytes()
    assert before is not None
    assert after is not None
    assert after <= before - 32 * 1024 * 1024


def test_no_load_average_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without load averages has None, not 0."""

    def unknown() -> None:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", unknown, raising=False)
    assert machine.load_average_1min() is None


@given(text=st.text())
def test_any_cgroup_file_is_survived(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Whatever ``/proc/self/cgroup`` holds, the quota is None or a number, never an error."""
    folder = tmp_path_factory.mktemp("cgroup")
    (folder / "self").write_text(text.encode("utf-8", "ignore").decode(), "utf-8")
    found = machine.cgroup_cpu_quota(folder / "self", folder / "root")
    assert found is None or found > 0


def test_memory_left(tmp_path: Path) -> None:
    """What is left is the least of what the machine has available and what each limit above this process leaves."""
    proc, root = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (root / "outer" / "inner").mkdir(parents=True)
    assert machine.memory_left_bytes(proc, root) is None
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\n", encoding="ascii")
    assert machine.memory_left_bytes(proc, root) == 4000 * 1024
    (proc / "self" / "cgroup").write_text("0::/outer/inner\n", encoding="ascii")
    for folder, most, used in ((root / "outer" / "inner", "max", "5"), (root / "outer", "1000", "900")):
        (folder / "memory.max").write_text(f"{most}\n", encoding="ascii")
        (folder / "memory.current").write_text(f"{used}\n", encoding="ascii")
    assert machine.memory_left_bytes(proc, root) == 100
    (root / "outer" / "memory.stat").write_text("anon 300\nactive_file 7\ninactive_file 400\n", encoding="ascii")
    assert machine.memory_left_bytes(proc, root) == 500


@pytest.mark.parametrize(("most", "left"), [("1000", 150), ("9223372036854771712", 4000 * 1024)])
def test_memory_left_by_the_first_version_of_cgroups(tmp_path: Path, most: str, left: int) -> None:
    """Its limit is in the folder of the memory controller; a number near 2**63 is no limit."""
    proc, root = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemAvailable:    4000 kB\n", encoding="ascii")
    (proc / "self" / "cgroup").write_text("5:cpu,cpuacct:/other\n4:memory:/unit\n", encoding="ascii")
    folder = root / "memory" / "unit"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(f"{most}\n", encoding="ascii")
    (folder / "memory.usage_in_bytes").write_text("900\n", encoding="ascii")
    (folder / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 50\n", encoding="ascii")
    assert machine.memory_left_bytes(proc, root) == left


def test_quota_of_the_first_version_of_cgroups(cgroup: Path) -> None:
    """Its quota is in the folder of the cpu controller; -1 is none."""
    (cgroup / "self").write_text("5:cpu,cpuacct:/unit\n4:memory:/other\n")
    folder = cgroup / "root/cpu/unit"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("50000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    (folder.parent / "cpu.cfs_quota_us").write_text("-1\n")
    (folder.parent / "cpu.cfs_period_us").write_text("100000\n")
    assert quota(cgroup) == 0.5


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs /proc/stat (Linux)")
def test_cpus_count_their_time() -> None:
    """The usable CPUs count time as it passes, and their idle time is a part of it."""
    before = machine.cpus_time_ns()
    time.sleep(0.1)
    cpus, idle = (after - earlier for after, earlier in zip(machine.cpus_time_ns(), before, strict=True))
    assert 0 <= idle <= cpus
    assert cpus > 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs getrusage")
def test_page_faults_grow_as_memory_is_touched() -> None:
    """Each page that is touched for the first time is a minor fault."""
    before = machine.page_faults()
    with mmap.mmap(-1, 4 * 1024 * 1024) as block:
        block.write(bytes(len(block)))
    after = machine.page_faults()
    assert before is not None
    assert after is not None
    assert after > before


def test_no_page_faults_without_getrusage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that does not count page faults has None, not 0."""
    monkeypatch.setattr(machine, "resource", None)
    assert machine.page_faults() is None


def test_cpu_times_that_cannot_be_read_are_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no such file, or one of another form, both times are 0."""
    monkeypatch.setattr(machine, "_os_read", lambda *_: b"cpu0 no numbers at all\n")
    assert machine.cpus_time_ns() == (0, 0)
    monkeypatch.setattr(machine, "_os_open", refuse)
    monkeypatch.setattr(psutil, "cpu_times", refuse)
    assert machine.cpus_time_ns() == (0, 0)


def test_cpu_times_of_another_system_are_psutils(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no ``/proc/stat``, psutil tells what it knows of; guests are a part of the users' time."""
    monkeypatch.setattr(machine, "_os_open", refuse)
    monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(user=1.0, system=0.5, idle=2.0, guest=0.25))
    assert machine.cpus_time_ns() == (3_500_000_000, 2_000_000_000)


def refuse(*_: object) -> int:
    raise OSError

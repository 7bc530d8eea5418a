"""`pytest_gilprobe.observe.heartbeat`: it wakes while a block runs, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_gilprobe.model.words import GilMethod
from pytest_gilprobe.observe import heartbeat as room
from pytest_gilprobe.observe.heartbeat import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(room.__file__).resolve().parents[2]
needs_gil = pytest.mark.skipif(
    sys.platform != "linux" or not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="needs Linux and a GIL",
)
BEATS = 8


def _beat_until(beat: Heartbeat, done: Callable[[int], bool]) -> None:
    """Run Python code, which holds the GIL and yields it when asked, until there are enough beats."""
    while not done(len(beat._beats)):
        pass


@needs_gil
def test_a_python_loop_makes_it_wait() -> None:
    """A thread that wakes while another computes finds the GIL held, and waits."""
    with Heartbeat(seed=1) as beat:
        _beat_until(beat, lambda beats: beats >= BEATS)
    samples = beat.samples()
    assert samples.method is GilMethod.HEARTBEAT
    assert sum(samples.held) >= BEATS // 2
    assert max(samples.late_ns) > 0
    assert list(samples.at_ns) == sorted(samples.at_ns)


@needs_gil
def test_a_waiting_workload_does_not() -> None:
    """Beside a thread that only waits, nearly every waking finds the GIL free."""
    enough = threading.Event()
    with Heartbeat(mean_pause_s=0.0005, seed=1) as beat:
        while len(beat._beats) < BEATS * 4:
            enough.wait(0.005)
    assert sum(beat.samples().held) < BEATS


def test_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the block is over, so is the thread: no further beat, and no thread that `threading` knew of, ever."""
    known = threading.active_count()
    started: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", started.append)
    with Heartbeat(mean_pause_s=0.0001) as beat:
        assert threading.active_count() == known
    assert beat._ended.locked()
    assert started == []


def test_an_error_in_the_block_stops_it_too() -> None:
    """Whatever ends the batch ends the heartbeat, and the error goes on."""
    beat = Heartbeat()
    with pytest.raises(SystemExit), beat:
        raise SystemExit
    assert beat._stop.acquire(blocking=False) is False
    assert beat.samples().method is GilMethod.HEARTBEAT


def test_a_patched_clock_does_not_concern_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that freezes time or forbids sleeping neither stops the heartbeat nor changes its moments."""
    real = time.perf_counter_ns

    def forbidden(*_: object) -> int:
        msg = "time is frozen"
        raise AssertionError(msg)

    before_ns = real()
    monkeypatch.setattr(time, "perf_counter_ns", forbidden)
    monkeypatch.setattr(time, "sleep", forbidden)
    with Heartbeat(mean_pause_s=0.0001, seed=1) as beat:
        _beat_until(beat, lambda beats: beats >= 1)
    assert before_ns < beat.samples().at_ns[0] < real()


def test_an_interpreter_that_exits_inside_a_block_exits_cleanly() -> None:
    """`sys.exit` in the middle of a batch exits with its own status, and the heartbeat prints nothing."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pytest_gilprobe.observe.heartbeat import Heartbeat
with Heartbeat(mean_pause_s=0.0001):
    sys.exit(7)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (7, b"")


@pytest.mark.parametrize(
    ("switches", "late_ns", "expected"),
    [
        (1, 0, False),
        (1, 10_000_000, False),
        (2, 0, True),
        (3, 10_000_000, True),
        (0, 100_000, False),
        (0, 10_000_000, True),
    ],
)
def test_the_count_of_switches_decides_and_lateness_where_there_is_none(
    switches: int,
    late_ns: int,
    expected: bool,  # noqa: FBT001 - a parameter
) -> None:
    """One voluntary switch is the sleep, another a wait; where none is counted, lateness decides."""
    assert room._waited(switches, late_ns) is expected


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_reads_small_files_again_and_again(tmp_path: Path) -> None:
    """Each reading starts at the beginning of the file, and a file that is not there is empty."""
    path = tmp_path / "numbers"
    path.write_bytes(b"1 2 3\n")
    numbers = room._GilKeepingFile(str(path))
    assert [numbers.read(), numbers.read()] == [b"1 2 3\n"] * 2
    numbers.close()
    absent = room._GilKeepingFile(str(tmp_path / "absent"))
    assert absent.read() == b""
    absent.close()


def test_works_without_ctypes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a way to read and keep the GIL, the file is empty, and no descriptor is left open."""
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert room._GilKeepingFile(os.devnull).read() == b""

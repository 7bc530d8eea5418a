"""``gilprobe watch``: programs that know nothing of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from pytest_gilprobe import cli, host
from pytest_gilprobe.gil.locate import locate
from pytest_gilprobe.model import GilMethod, GilTrace
from pytest_gilprobe.scan import live, outside, reference
from pytest_gilprobe.scan.outside import OutsideError

LINUX = pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs /proc")
WITH_GIL = pytest.mark.skipif(not host.gil_enabled(), reason="there is no GIL")
SPIN = "import time\nwhile time.process_time() < {0}: pass\n"
MAPS = """\
1000-2000 r--p 00000000 fe:00 11 /bin/python
2000-3000 rw-p 00001000 fe:00 11 /bin/python
3000-4000 rw-p 00000000 00:00 0
5000-6000 r--p 00000000 fe:00 12 /lib/other
"""


@pytest.mark.parametrize(("address", "expected"), [(0x1800, 0x1000), (0x3800, 0x1000), (0x5800, 0x5000), (0x10, None)])
def test_an_address_belongs_to_the_last_file_mapped_below_it(address: int, expected: int | None) -> None:
    """Nameless memory after a file's mapping is that file's; below the first file there is none."""
    found = reference.file_around(MAPS, address)
    assert (found[1] if found else None) == expected


def test_a_file_that_is_not_mapped_has_no_start() -> None:
    """The start of a mapping is found by device and inode."""
    assert reference.start_of(MAPS, "fe:00:12") == 0x5000
    assert reference.start_of(MAPS, "fe:00:13") is None


@LINUX
@WITH_GIL
def test_the_address_found_from_outside_is_the_one_found_from_inside() -> None:
    """A process of the same Python knows where this one's GIL state lies."""
    assert outside.place(os.getpid()).address == locate().address


@LINUX
@WITH_GIL
def test_threads_are_listed_and_a_waiting_one_is_told() -> None:
    """Every thread of this process is there, with the calling one not waiting."""
    where = outside.place(os.getpid())
    found = {glance.tid: glance for glance in outside.threads(os.getpid(), where)}
    assert not found[threading.get_native_id()].waits
    assert len(found) >= threading.active_count()


@LINUX
def test_a_process_that_is_no_python_is_refused() -> None:
    """The error names the process and what it runs."""
    with subprocess.Popen(["/bin/sleep", "30"]) as sleeper:
        try:
            with pytest.raises(OutsideError, match="which is no Python interpreter"):
                outside.place(sleeper.pid)
        finally:
            sleeper.kill()


@LINUX
@WITH_GIL
def test_a_command_is_watched_and_its_status_handed_on(capfd: pytest.CaptureFixture[str]) -> None:
    """The summary tells the held share, and the program's exit status is ours."""
    status = cli.main(["watch", "--", sys.executable, "-c", SPIN.format(0.6) + "raise SystemExit(3)"])
    said = capfd.readouterr().err
    assert status == 3
    held = re.search(r"GIL held >?(\d+) % of\s+the\s+time", said)  # one free look at its end is ">99 %"
    assert held is not None
    assert int(held[1]) > 60
    assert "waiting for the GIL" in said


@LINUX
def test_a_command_that_does_not_exist_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be started is wrong input."""
    assert cli.main(["watch", "--", "/nowhere/program"]) == 2
    assert capsys.readouterr().err.startswith("gilprobe: error: /nowhere/program could not be started")


@pytest.mark.parametrize("arguments", [["watch"], ["watch", "--pid", "1", "--", "ls"]])
def test_watch_wants_a_process_or_a_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Neither and both are wrong input."""
    assert cli.main(arguments) == 2
    assert "either --pid PID or -- COMMAND" in capsys.readouterr().err


def test_a_process_that_does_not_exist_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The error says that it is not there."""
    assert cli.main(["watch", "--pid", str(2**22 + 1)]) == 2
    assert "there is no process" in capsys.readouterr().err


def test_a_long_watch_stays_small_and_keeps_its_curve() -> None:
    """Points over time are joined two by two, so that their number and the looks' sum stay right."""
    watch = live.Watch(pid=1, start_ns=0, end_ns=0)
    for number in range(1000):
        trace = GilTrace(method=GilMethod.MEMORY, at_ns=(number,), held=(number >= 500,), late_ns=(0,))
        watch.add(trace, number + 1, Counter({7: int(number >= 500)}))
    assert len(watch.curve) < 2 * live.MOST_COLUMNS
    assert sum(duration for duration, _ in watch.curve) == 1000
    assert watch.counts.looks == 1000
    assert watch.holders[7] == 500
    assert "GIL held 50 %" in watch.summary().headline


@LINUX
@WITH_GIL
def test_a_python_that_the_command_starts_is_watched(capfd: pytest.CaptureFixture[str]) -> None:
    """A shell has no GIL: the first Python below it is watched, and the shell's exit status handed on."""
    script = f"{sys.executable} -c '{SPIN.format(0.6)}'; exit 4"
    status = cli.main(["watch", "--", "/bin/sh", "-c", script])
    said = capfd.readouterr().err
    assert status == 4
    assert re.search(r"GIL held >?\d+ % of\s+the\s+time", said)


@LINUX
@WITH_GIL
def test_a_program_that_executes_another_is_found_anew(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What the process becomes is watched too, or the reason is told why it is not."""
    become = tmp_path / "become.py"
    become.write_text(f"import os\n{SPIN.format(0.6)}os.execv('/bin/sleep', ['sleep', '0.5'])\n", "utf-8")
    assert cli.main(["watch", "--", sys.executable, str(become)]) == 0
    said = " ".join(capfd.readouterr().err.split())
    assert "the GIL was watched at first only" in said
    assert "runs sleep, which is no Python interpreter" in said


@LINUX
def test_why_a_gil_was_not_watched_outlives_the_program(capfd: pytest.CaptureFixture[str]) -> None:
    """The reason is what the process was, not that it is gone now; its time is told all the same."""
    assert cli.main(["watch", "--", "/bin/sleep", "0.2"]) == 0
    said = " ".join(capfd.readouterr().err.split())
    assert "runs sleep, which is no Python interpreter" in said
    assert "GIL not seen" in said


def _glance(tid: int, *, waits: bool) -> outside.Glance:
    return outside.Glance(tid=tid, name="worker", cpu_ns=0, run_queue_ns=0, waits=waits)


def test_threads_that_come_and_go_are_told_as_one_and_wait_for_as_long_as_they_lived() -> None:
    """Of thousands of short threads one waits at any moment: one waits on average, and memory stays small."""
    watch = live.Watch(pid=1, start_ns=0, end_ns=1000)
    for number in range(5 * live.MOST_THREADS):
        watch.glance([_glance(1, waits=False), _glance(number + 2, waits=True)])
    assert len(watch.threads) <= live.MOST_THREADS + 1
    seen = watch.summary()
    assert f"1.0 of {5 * live.MOST_THREADS + 1} threads waiting" in seen.headline
    assert [thread.name for thread in seen.threads if thread.tid is None] == [f"{watch.ended.threads} that ended"]


@LINUX
def test_the_processors_time_is_that_of_threads_that_have_ended_too() -> None:
    """The process's own clock counts them."""
    assert (outside.cpu_ns(os.getpid()) or 0) > 0
    assert outside.cpu_ns(2**22 + 1) is None

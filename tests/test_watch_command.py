"""``gilprobe watch``: programs that know nothing of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from pytest_gilprobe import cli
from pytest_gilprobe.model.readings import GilSamples
from pytest_gilprobe.model.stacks import Frame
from pytest_gilprobe.model.words import GilMethod
from pytest_gilprobe.observe import interpreter
from pytest_gilprobe.observe.frame_search import locate_frames
from pytest_gilprobe.observe.gil_address import locate
from pytest_gilprobe.report import watch_summary
from pytest_gilprobe.scan import frame_reference, mappings, other_process, watch_command, watch_totals
from pytest_gilprobe.scan.other_process import CannotWatchError, ThreadSnapshot

LINUX = pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs /proc")
WITH_GIL = pytest.mark.skipif(not interpreter.gil_enabled(), reason="there is no GIL")
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
    found = mappings.file_around(MAPS, address)
    assert (found[1] if found else None) == expected


def test_a_file_that_is_not_mapped_has_no_start() -> None:
    """The start of a mapping is found by device and inode."""
    assert mappings.start_of(MAPS, "fe:00:12") == 0x5000
    assert mappings.start_of(MAPS, "fe:00:13") is None


@LINUX
@WITH_GIL
def test_the_address_found_from_outside_is_the_one_found_from_inside() -> None:
    """A process of the same Python knows where this one's GIL state lies."""
    assert other_process.find_gil(os.getpid()).address == locate().address


@LINUX
@WITH_GIL
def test_threads_are_listed_and_the_calling_one_is_not_waiting() -> None:
    """Every thread of this process is there, with the calling one not waiting."""
    where = other_process.find_gil(os.getpid())
    found = {thread.tid: thread for thread in other_process.threads(os.getpid(), where)}
    assert not found[threading.get_native_id()].waits
    assert len(found) >= threading.active_count()


@LINUX
def test_a_process_that_is_no_python_is_refused() -> None:
    """The error names the process and what it runs."""
    with subprocess.Popen(["/bin/sleep", "30"]) as sleeper:
        try:
            with pytest.raises(CannotWatchError, match="which is no Python interpreter"):
                other_process.find_gil(sleeper.pid)
        finally:
            sleeper.kill()


@LINUX
@WITH_GIL
def test_a_command_is_watched_and_its_status_handed_on(capfd: pytest.CaptureFixture[str]) -> None:
    """The summary has the held share, and the program's exit status is ours."""
    status = cli.main(["watch", "--", sys.executable, "-c", SPIN.format(0.6) + "raise SystemExit(3)"])
    said = capfd.readouterr().err
    assert status == 3
    held = re.search(r"GIL held >?(\d+) % of\s+the\s+time", said)  # one free sample at its end is ">99 %"
    assert held is not None
    assert int(held[1]) > 60
    assert "waiting for the GIL" in said
    assert "neither" in said


@LINUX
@WITH_GIL
def test_a_watched_program_names_the_function_that_holds_the_gil(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The layout of frames comes from another process of the same Python; the program knows nothing of it."""
    program = tmp_path / "busy.py"
    program.write_text(
        "import time\ndef häuft_an():\n    seen = 0\n"
        "    while time.process_time() < 0.7:\n        seen += sum(range(999))\nhäuft_an()\n",
        "utf-8",
    )
    assert cli.main(["watch", "--", sys.executable, str(program)]) == 0
    said = " ".join(capfd.readouterr().err.split())
    assert "where the project's functions hold the GIL" in said
    assert re.search(r"% in häuft_an \(.*busy\.py\), (.* in )?line [45]: ", said)


@LINUX
def test_the_layout_of_another_process_is_this_ones_with_its_own_addresses() -> None:
    """What is read of a child by the carried-over layout is what the child itself would find."""
    own = frame_reference.own_layout()
    if own is None:  # the reason is tested where layouts are searched for
        pytest.skip("this Python's frames are not found")
    assert frame_reference.layout_in(os.getpid(), own) == locate_frames().layout
    assert frame_reference.layout_in(os.getpid(), own | {"file": "fe:00:13"}) is None
    assert frame_reference.layout_in(2**22 + 1, own) is None


def test_a_thread_is_off_the_gil_for_the_rest_of_its_life() -> None:
    """What it neither held it nor waited for it; a thread that was there for half the time is off for half at most."""
    totals = watch_totals.WatchTotals(pid=1, start_ns=0, end_ns=0)
    held = GilSamples(method=GilMethod.MEMORY, at_ns=(1, 2, 3, 4), held=(True, False, False, False), late_ns=(0,) * 4)
    totals.add_samples(held, 5, Counter({1: 1}))
    totals.add_threads([_snapshot(1, waits=True), _snapshot(2, waits=False)])
    totals.add_threads([_snapshot(1, waits=False)])
    found = {thread.tid: thread for thread in totals.summary().threads}
    assert (found[1].held, found[1].waiting, found[1].off) == (0.25, 0.5, 0.25)
    assert (found[2].held, found[2].waiting, found[2].off) == (0.0, 0.0, 0.5)


def test_a_thread_waits_for_no_longer_than_it_does_not_hold() -> None:
    """Waiting is seen less often than holding: few readings that all found it waiting are not believed against that."""
    totals = watch_totals.WatchTotals(pid=1, start_ns=0, end_ns=0)
    held = GilSamples(method=GilMethod.MEMORY, at_ns=(1, 2, 3, 4), held=(True,) * 4, late_ns=(0,) * 4)
    totals.add_samples(held, 5, Counter({1: 3}))
    totals.add_threads([_snapshot(1, waits=True)])
    (found,) = totals.summary().threads
    assert (found.held, found.waiting, found.off) == (0.75, 0.25, 0.0)


def test_a_watch_draws_functions_in_the_live_line_and_in_the_summary() -> None:
    """The largest one fits the line; a name with control characters is made safe."""
    frame = Frame(function="spin\x1b[31m", file="a.py", line=3, code="f()", statement="f()", own=True)
    totals = watch_totals.WatchTotals(pid=1, start_ns=0, end_ns=0)
    samples = GilSamples(
        method=GilMethod.MEMORY,
        at_ns=tuple(range(40)),
        held=(True,) * 40,
        late_ns=(0,) * 40,
        stack=(0,) * 40,
        stacks=((frame,),),
    )
    totals.add_samples(samples, 50, Counter())
    assert "100 % in spin\\x1b[31m (a.py), line 3: f()" in _drawn(totals)
    line = watch_summary.live_line(totals.summary(), width=120)
    assert "100 % of the held time in spin\\x1b[31m:3" in line
    totals.add_threads([_snapshot(7, waits=False)])
    drawn = _drawn(totals)
    assert "(% of held time): 100 % in spin" in drawn
    assert "threads (% of the watched time): thread" in drawn
    assert "7 worker holds 0 %, waits 0 %" in watch_summary.live_line(totals.summary(), width=160)
    assert "\x1b" not in line


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "-1", "soon"])
def test_a_time_that_is_none_is_refused_before_the_command_starts(
    seconds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says what is allowed, and nothing was started."""
    started = tmp_path / "started"
    assert cli.main(["watch", f"--for={seconds}", "--", "touch", str(started)]) == 2
    assert f"--for: found '{seconds}', allowed: a number of seconds above 0" in capsys.readouterr().err
    assert not started.exists()


@LINUX
def test_whatever_goes_wrong_after_the_start_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the watching leaves no program behind, not even one that ignores being asked to end."""
    started: list[int] = []

    def fail(pid: int) -> None:
        started.append(pid)
        until = time.monotonic() + 10
        while b"ready" not in Path(f"/proc/{pid}/comm").read_bytes() and time.monotonic() < until:
            time.sleep(0.01)
        raise RuntimeError

    monkeypatch.setattr(watch_command, "END_S", 0.1)
    monkeypatch.setattr(other_process, "image", fail)
    stubborn = "trap '' TERM; printf ready > /proc/self/comm; while :; do :; done"
    with pytest.raises(RuntimeError):
        watch_command.watch_program(["/bin/sh", "-c", stubborn], live=False, for_s=None)
    (pid,) = started
    assert not other_process.alive(pid)


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


def _drawn(totals: watch_totals.WatchTotals) -> str:
    return " ".join(watch_summary.draw(totals.summary(), width=200).split())


def test_a_long_watch_stays_small_and_keeps_its_curve() -> None:
    """Points over time are joined two by two, so that their number and the samples' sum stay right."""
    totals = watch_totals.WatchTotals(pid=1, start_ns=0, end_ns=0)
    for number in range(1000):
        samples = GilSamples(method=GilMethod.MEMORY, at_ns=(number,), held=(number >= 500,), late_ns=(0,))
        totals.add_samples(samples, number + 1, Counter({7: int(number >= 500)}))
    assert len(totals.curve) < 2 * watch_totals.MOST_COLUMNS
    assert sum(duration for duration, _ in totals.curve) == 1000
    assert totals.counts.samples == 1000
    assert totals.holders[7] == 500
    assert re.search(r"GIL held 50 % of the time \(\d+ % to \d+ %\)", _drawn(totals))


@LINUX
@WITH_GIL
def test_a_python_that_the_command_starts_is_watched(capfd: pytest.CaptureFixture[str]) -> None:
    """A shell has no GIL: the first Python below it is watched, and the shell's exit status handed on."""
    script = f"{sys.executable} -c '{SPIN.format(0.6)}'; exit 4"
    status = cli.main(["watch", "--", "/bin/sh", "-c", script])
    said = capfd.readouterr().err
    assert status == 4
    assert re.search(r"GIL held >?\d+ % of\s+the\s+time", said)


@pytest.mark.thorough
@LINUX
@WITH_GIL
def test_a_program_that_executes_another_is_found_anew(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What the process becomes is watched too, or the reason is reported why it is not."""
    become = tmp_path / "become.py"
    become.write_text(f"import os\n{SPIN.format(0.6)}os.execv('/bin/sleep', ['sleep', '0.5'])\n", "utf-8")
    assert cli.main(["watch", "--", sys.executable, str(become)]) == 0
    said = " ".join(capfd.readouterr().err.split())
    assert "the GIL was watched at first only" in said
    assert "runs sleep, which is no Python interpreter" in said


@pytest.mark.thorough
@LINUX
def test_why_a_gil_was_not_watched_outlives_the_program(capfd: pytest.CaptureFixture[str]) -> None:
    """The reason is what the process was, not that it is gone now; its time is reported all the same."""
    assert cli.main(["watch", "--", "/bin/sleep", "3"]) == 0
    said = " ".join(capfd.readouterr().err.split())
    assert "runs sleep, which is no Python interpreter" in said
    assert "GIL not seen" in said


def _snapshot(tid: int, *, waits: bool) -> ThreadSnapshot:
    return ThreadSnapshot(tid=tid, name="worker", cpu_ns=0, run_queue_ns=0, waits=waits)


def test_threads_that_come_and_go_are_reported_as_one_and_wait_for_as_long_as_they_lived() -> None:
    """Of thousands of short threads one waits at any moment: one waits on average, and memory stays small."""
    totals = watch_totals.WatchTotals(pid=1, start_ns=0, end_ns=1000)
    for number in range(5 * watch_totals.MOST_THREADS):
        totals.add_threads([_snapshot(1, waits=False), _snapshot(number + 2, waits=True)])
    assert len(totals.threads) <= watch_totals.MOST_THREADS + 1
    seen = totals.summary()
    assert f"1.0 of {5 * watch_totals.MOST_THREADS + 1} threads waiting" in _drawn(totals)
    assert [thread.name for thread in seen.threads if thread.tid is None] == [f"{totals.ended.threads} that ended"]


@LINUX
def test_the_processors_time_is_that_of_threads_that_have_ended_too() -> None:
    """The process's own clock counts them."""
    assert (other_process.cpu_ns(os.getpid()) or 0) > 0
    assert other_process.cpu_ns(2**22 + 1) is None

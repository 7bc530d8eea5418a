"""Run ``gilprobe watch``: watch any Python program's GIL, with a live line on a terminal and a summary at the end."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Final

from pytest_gilprobe.observe import clocks
from pytest_gilprobe.observe.frame_reader import FrameReader
from pytest_gilprobe.observe.gil_sampler import GilSampler, SamplingError
from pytest_gilprobe.observe.held_stacks import HeldStacks
from pytest_gilprobe.observe.source_code import place_of
from pytest_gilprobe.report import watch_summary
from pytest_gilprobe.scan import other_process
from pytest_gilprobe.scan.other_process import CannotWatchError, GilPlace
from pytest_gilprobe.scan.watch_totals import WatchTotals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SLICE_S: Final = 0.04
"""Mean time, in seconds, between two readings of all threads of the watched process. A reading tells which threads wait
for the GIL. After three seconds, the share of time for which a thread waits is known to within 0.06. The time between
readings varies at random from half to one and a half times the mean, so that readings do not fall into step with
threads that hand over the GIL every 5 ms (the switch interval)."""
ASKING_S: Final = 0.02
"""Seconds between two checks whether a program that was just started has a GIL yet."""
MEAN_INTERVAL_S: Final = 0.001
REFRESH_S: Final = 0.5
"""Seconds between two drawings of the line that shows, on the terminal, what a watched process does now."""
START_S: Final = 3.0
"""Longest time, in seconds, that a program may take from its start until it runs Python with a GIL. After that, the
program's GIL is no longer searched for."""
END_S: Final = 2.0
"""Seconds that a program started by this command may take to end after a request to terminate; then it is killed."""


def watch_program(command: Sequence[str], *, live: bool, for_s: float | None) -> int:
    """Start a program, watch it, and return its exit status, which is 128 + N if signal N has ended it.

    At the end, a summary is written to standard error. If an error occurs in this function, the program is ended, too.

    Args:
        command: the program and its arguments.
        live: whether to draw a line on standard error while the program runs.
        for_s: seconds to watch at most, above 0; ``None`` watches until the program ends.

    Raises:
        CannotWatchError: the program could not be started, or could not be watched because the system does not allow
            it.
    """
    try:
        program = subprocess.Popen(command)  # noqa: S603 - what the user asked for
    except OSError as error:
        msg = f"{command[0]} could not be started: {error.strerror or error}"
        raise CannotWatchError(msg) from error
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program, whose end ends the watch
        try:
            _watch(program.pid, live=live, for_s=for_s, patience_s=START_S)
            status = program.wait()
        finally:
            signal.signal(signal.SIGINT, before)
    except BaseException:
        _end(program)
        raise
    return status if status >= 0 else 128 - status


def watch_process(pid: int, *, live: bool, for_s: float | None) -> int:
    """Watch process ``pid`` until it ends, ``for_s`` seconds have passed or Ctrl-C is pressed; return 0.

    ``live`` is whether to draw a line on standard error meanwhile. If ``for_s`` is ``None``, there is no time limit. At
    the end, a summary is written to standard error.

    Raises:
        CannotWatchError: the process has ended, is not CPython, may not be read, or has no GIL in use.
    """
    other_process.find_gil(pid)
    _watch(pid, live=live, for_s=for_s, patience_s=0.0)
    return 0


def _end(program: subprocess.Popen[bytes]) -> None:
    """Ask a program to end, and kill it where it does not."""
    program.terminate()
    try:
        program.wait(END_S)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def _watch(pid: int, *, live: bool, for_s: float | None, patience_s: float) -> None:
    """Watch, and draw a summary whatever ends it."""
    now_ns = clocks.perf_counter_ns()
    totals = WatchTotals(pid=pid, start_ns=now_ns, end_ns=now_ns)
    drawn_ns = now_ns
    with contextlib.suppress(KeyboardInterrupt):
        for _ in _follow(totals, for_s=for_s, patience_s=patience_s):
            if live and totals.end_ns - drawn_ns >= REFRESH_S * 1e9:
                drawn_ns = totals.end_ns
                _write("\r\x1b[K" + watch_summary.live_line(totals.summary(), **_screen()))
    _write(("\r\x1b[K" if live else "") + watch_summary.draw(totals.summary(), **_screen()))


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _screen() -> watch_summary.Screen:
    return {"width": shutil.get_terminal_size().columns, "encoding": sys.stderr.encoding or "utf-8"}


def _follow(totals: WatchTotals, *, for_s: float | None, patience_s: float) -> Iterator[None]:
    """Watch until the process ends or the time is up, slice by slice; one that executes another program is found anew.

    A process has a GIL only some time after it was started, so it is asked again and again for ``patience_s`` seconds.
    """
    until_ns = None if for_s is None else totals.start_ns + round(for_s * 1e9)
    ended = _open(totals.pid)
    where, image = None, other_process.image(totals.pid)
    stacks: HeldStacks | None = None
    give_up_ns = totals.start_ns + round(patience_s * 1e9) + 1
    over = False
    try:
        while not over and (until_ns is None or totals.end_ns < until_ns):
            totals.read_cpu()
            found = other_process.image(totals.pid)
            if found is not None and found != image:
                image, where, totals.unwatched = found, None, None
                give_up_ns = clocks.perf_counter_ns() + round(START_S * 1e9)
            if where is None and (clocks.perf_counter_ns() < give_up_ns or not totals.snapshots):
                followed, where = totals.pid, _find(totals, children=patience_s > 0)
                if totals.pid != followed:
                    os.close(ended)
                    ended, image = _open(totals.pid), other_process.image(totals.pid)
                stacks = _stacks(totals.pid, where)
            totals.add_threads(other_process.threads(totals.pid, where))
            over = _sample(totals, where, stacks, (ended, _slice_s() if where is not None else ASKING_S))
            totals.read_cpu()
            yield
    finally:
        os.close(ended)


def _slice_s() -> float:
    return random.uniform(0.5, 1.5) * SLICE_S  # noqa: S311 - a time, no secret


def _open(pid: int) -> int:
    """Open a descriptor that becomes readable when a process ends."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        msg = f"process {pid} cannot be watched: {error.strerror or error}"
        raise CannotWatchError(msg) from error


def _find(totals: WatchTotals, *, children: bool) -> GilPlace | None:
    """Find the GIL state of the process, or of the first Python that it has started, as a shell or `uv run` does."""
    for pid in (totals.pid, *(other_process.descendants(totals.pid) if children else ())):
        try:
            where = other_process.find_gil(pid)
        except CannotWatchError as error:
            if pid == totals.pid:
                ended = f"process {pid} ended before its GIL was found"
                totals.unwatched = str(error) if other_process.alive(pid) else totals.unwatched or ended
        else:
            if pid != totals.pid:
                totals.restart(pid)
            totals.unwatched = None
            return where
    return None


def _stacks(pid: int, where: GilPlace | None) -> HeldStacks | None:
    """Return a reader of a process's stacks; ``None`` if it is not known where they are, or they may not be read."""
    if where is None or where.frames is None:
        return None
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    return HeldStacks(FrameReader(memory, where.frames, lambda _: False), place_of(pid))


def _sample(totals: WatchTotals, where: GilPlace | None, stacks: HeldStacks | None, wait: tuple[int, float]) -> bool:
    """Sample the GIL for a moment, or only wait where it is not found; return whether the process has ended.

    ``wait`` is a descriptor that becomes readable when the process ends, and the seconds to sample.
    """
    ended, for_s = wait
    address = where.address if where is not None else 0
    sampler = GilSampler(totals.pid, address, mean_interval_s=MEAN_INTERVAL_S, stacks=stacks)
    try:
        with sampler if where is not None else contextlib.nullcontext():  # a sampler that is not entered only waits
            over = sampler.sample_until(ended, for_s)
    except SamplingError:
        return not other_process.alive(totals.pid) or sampler.sample_until(ended, for_s)
    samples = sampler.samples()
    states = Counter(holder for holder, held in zip(samples.holder, samples.held, strict=True) if held)
    holders: Counter[int] = Counter()
    if where is not None:
        for state, number in states.items():
            holders[other_process.native_id(totals.pid, where, state) or 0] += number
    totals.add_samples(samples, clocks.perf_counter_ns(), holders)
    return over

"""Sample what the lanes (threads that make calls) of another process sleep in: a lock, the GIL, a device ..."""

from __future__ import annotations

import os
import random
import select
from collections import Counter
from typing import TYPE_CHECKING

from pytest_gilprobe.observe import clocks, sleeps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.words import Sleep

MEAN_S = 0.005
"""Mean time, in seconds, between two samples of what lanes (threads that make calls) sleep in: some 30 samples in 0.15
s."""
LANES_PER_LOOK = 6
"""Maximum number of lanes (threads that make calls) that one sample looks at. If there are more lanes, each sample
chooses this number of them at random."""


class LaneSleeps:
    """Count what the lanes (threads that make calls) of another process sleep in, during a given span of time.

    If thread ids are given, the lanes are these threads. If not, every thread that begins after this object was made
    counts as a lane, also one that a call starts.

    ``found`` counts how often a lane was seen in each kind of sleep. A thread that waits for a lock of Python, or for
    the GIL, sleeps in a futex; a thread that waits for another process or a device does not. The GIL can be told from
    other locks if its address is known.
    """

    def __init__(
        self, pid: int, from_ns: int, until_ns: int, *, gil_address: int | None = None, threads: Sequence[int] = ()
    ) -> None:
        """Prepare to watch process ``pid`` from ``from_ns`` to ``until_ns``, moments of `time.perf_counter_ns`.

        ``gil_address`` is the address of the GIL's ``locked`` int in that process; ``None`` if unknown. ``threads`` are
        the system's ids of the lanes; if empty, lanes are the threads that begin from now on.
        """
        self._folder = f"/proc/{pid}/task"
        self._named = [str(thread) for thread in threads]
        self._before = frozenset(self._threads())
        self._from_ns = from_ns
        self._until_ns = until_ns
        self._gil_address = gil_address
        self._random = random.Random()  # noqa: S311 - moments, not secrets
        self.found: Counter[Sleep] = Counter()

    def _threads(self) -> list[str]:
        try:
            return os.listdir(self._folder)  # noqa: PTH208 - names alone, quickly
        except OSError:
            return []

    def sample_until(self, fd: int, timeout_s: float) -> bool:
        """Sample what the lanes sleep in until ``fd`` can be read or ``timeout_s`` seconds have passed.

        Return whether ``fd`` can be read. The moments of the samples are random. No samples are taken outside the span
        of time that this object was made for.
        """
        asked = select.poll()
        asked.register(fd, select.POLLIN)
        deadline_ns = clocks.perf_counter_ns() + round(timeout_s * 1e9)
        while True:
            left_s = max(0.0, (deadline_ns - clocks.perf_counter_ns()) / 1e9)
            pause_s = min(left_s, self._random.expovariate(1 / MEAN_S))
            if asked.poll(max(1, round(pause_s * 1000))):
                return True
            if clocks.perf_counter_ns() >= deadline_ns:
                return False
            if self._from_ns <= clocks.perf_counter_ns() <= self._until_ns:
                self._look()

    def _look(self) -> None:
        lanes = self._named or [thread for thread in self._threads() if thread not in self._before]
        for thread in self._random.sample(lanes, min(LANES_PER_LOOK, len(lanes))):
            sleep = sleeps.parse(self._state(thread), gil_address=self._gil_address)
            if sleep is not None:
                self.found[sleep] += 1

    def _state(self, thread: str) -> bytes:
        try:
            file = os.open(f"{self._folder}/{thread}/syscall", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            return os.read(file, sleeps.BYTES)
        except OSError:
            return b""
        finally:
            os.close(file)

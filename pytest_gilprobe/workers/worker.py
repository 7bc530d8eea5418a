"""One worker process, as the parent knows it: told, heard until a moment, seen to its end.

Every wait is bounded, and looks at least four times a second whether the worker is still alive: the pipe alone does
not tell when a process that the workload left behind holds its other end. Nor does it tell where an answer ends that a
workload has written into: what arrives is gathered, and a part of an answer keeps nobody waiting.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from pytest_gilprobe import host
from pytest_gilprobe.model import Outcome
from pytest_gilprobe.workers.last_words import exit_text, users_frames
from pytest_gilprobe.workers.ownership import STACK_SIGNAL
from pytest_gilprobe.workers.protocol import Answer, Question, Ready, Unable
from pytest_gilprobe.workers.remains import descendants, kill, kill_group

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from pytest_gilprobe.gil.watch import Watcher

LOOK_S = 0.25
"""How often a silent worker is checked for being alive."""
FAREWELL_S = 5.0
"""How long a worker may take to tear its session fixtures down at the end before it is killed."""
STACKS_S = 1.0
"""How long a hung worker may take to write its stacks down."""
LONGEST_LOG = 8_000
"""Characters of a lost worker's log that are reported."""

_LENGTH: Final = struct.Struct("!i")
"""What stands before a message of up to 2 GiB. *Source:* ``Connection._send_bytes`` in ``multiprocessing``."""
_LONGEST_ANSWER = 2**28
"""Bytes; answers have some thousands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A worker that is gone: it hung and was killed, it died, or the machine did not give what it needed."""

    outcome: Outcome
    error: str


class Worker:
    """One worker process. Once `hear` has said `Lost`, all that is left to do is `end`."""

    def __init__(self, process: Any, channel: Connection, lifeline: Connection, folder: Path) -> None:
        """Keep the parent's ends; the process has just been started."""
        self.process = process
        self.channel = channel
        self.lifeline = lifeline
        self.folder = folder
        self.asked_ns = host.perf_counter_ns()
        self.ready: Ready | None = None
        self.start_up_s: float | None = None
        self._arrived = bytearray()

    @property
    def alive(self) -> bool:
        """Whether it has not been ended and can be asked."""
        return not self.channel.closed

    @property
    def running(self) -> bool:
        """Whether the process is there; it may be gone without a word where the user's code waits for any child."""
        return bool(self.process.is_alive()) and psutil.pid_exists(self.process.pid)

    def tell(self, question: Question) -> None:
        """Send a question; that a worker is gone is noticed when it is heard."""
        with contextlib.suppress(OSError, ValueError):
            self.channel.send(question)

    def hear(self, deadline_ns: int, watcher: Watcher | None = None) -> Answer | Lost:
        """Wait for an answer until a moment of ``host.perf_counter_ns``; one that is there by then counts.

        ``watcher`` looks at the worker's GIL meanwhile.
        """
        while True:
            left = max(0.0, (deadline_ns - host.perf_counter_ns()) / 1e9)
            pause = min(left, LOOK_S)
            try:
                if watcher is not None:
                    arrived = watcher.wait(self.channel.fileno(), pause)
                else:
                    arrived = self.channel.poll(pause)
                answer = self._answer() if arrived else None
                if answer is not None:
                    return _as_told(answer)
                if not arrived and not self.running and not self.channel.poll(0):
                    return self._died()
            except Exception:  # noqa: BLE001 - a pipe closed, or something in it that is no answer
                return self._died()
            if left <= 0:
                return self._hung()

    def _answer(self) -> Answer | None:
        """Take what has arrived; None until that is a whole answer. Raises whatever what is no answer leads to."""
        if os.name == "nt":  # a pipe there is none that `os.read` could read
            return self._known(self.channel.recv())
        part = os.read(self.channel.fileno(), 2**16)
        if not part:
            raise EOFError
        self._arrived += part
        if len(self._arrived) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._arrived)
        if not 0 < length <= _LONGEST_ANSWER:
            msg = f"an answer of {length} bytes"
            raise ValueError(msg)
        whole = _LENGTH.size + length
        if len(self._arrived) < whole:
            return None
        message = bytes(self._arrived[_LENGTH.size : whole])
        del self._arrived[:whole]
        return self._known(pickle.loads(message))  # noqa: S301 - written by a process of ours

    @staticmethod
    def _known(message: object) -> Answer:
        if not isinstance(message, Answer):
            msg = f"{type(message).__name__} is no answer"
            raise TypeError(msg)
        return message

    # What became of it

    def _hung(self) -> Lost:
        stacks = self._stacks()
        where = f"; its threads then:\n{stacks}" if stacks else ""
        return Lost(outcome=Outcome.HUNG, error=f"no answer within the time limit, so it was killed{where}")

    def _died(self) -> Lost:
        self.process.join(FAREWELL_S)
        code = self.process.exitcode
        unknown = "it spoilt its connection to pytest and lived on" if self.running else "how was told to somebody else"
        how = unknown if code is None else exit_text(code)
        log = self.log()
        return Lost(outcome=Outcome.CRASHED, error=f"the worker process ended: {how}" + (f"\n{log}" if log else ""))

    def log(self) -> str:
        """Return the end of what the worker wrote down: its start-up, later only stacks of faults."""
        try:
            text = (self.folder / "log.txt").read_text("utf-8", "backslashreplace").strip()
        except OSError:
            return ""
        text = users_frames(text)
        return text if len(text) <= LONGEST_LOG else "[...]\n" + text[-LONGEST_LOG:]

    def _stacks(self) -> str:
        """Have a worker that does not answer write every thread's stack down; works while native code holds the GIL."""
        before = unasked = self.log()
        if STACK_SIGNAL is None:
            return before
        with contextlib.suppress(OSError):
            os.kill(self.process.pid, STACK_SIGNAL)
        until = host.perf_counter_ns() + round(STACKS_S * 1e9)
        while host.perf_counter_ns() < until:
            host.sleep(0.02)
            text = self.log()
            if text == before != unasked:
                break
            before = text
        return before

    def end(self) -> None:
        """Kill the process and all that it started; remove its folder."""
        started = descendants(self.process.pid)
        kill_group(self.process.pid, certain=self.ready is not None)
        self.process.kill()
        self.process.join(FAREWELL_S)
        kill(started)
        self.channel.close()
        self.lifeline.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _as_told(answer: Answer) -> Answer | Lost:
    return Lost(outcome=Outcome.SKIPPED, error=answer.error) if isinstance(answer, Unable) else answer

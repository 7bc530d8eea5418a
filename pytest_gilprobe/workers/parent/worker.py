"""One worker process as its parent sees it: send questions, receive answers, end the worker, describe how it hung.

Every wait has a time limit. A waiting parent checks at least four times a second that the worker is alive: the pipe
between the two may stay open after the worker's death, since a process left by the workload may hold its other end.
Parts of an answer are read as they arrive, so that waiting for the rest has a time limit, too.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.workers.child.process import STACK_SIGNAL
from pytest_gilprobe.workers.exit_report import exit_text, users_frames
from pytest_gilprobe.workers.parent import hung_gil
from pytest_gilprobe.workers.parent.cleanup import descendants, exists, kill, kill_group
from pytest_gilprobe.workers.protocol import Answer, Question, Ready, Unable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from multiprocessing.connection import Connection

    from pytest_gilprobe.observe.descriptors import OpenFile

ALIVE_CHECK_S = 0.25
"""Longest time, in seconds, between two checks that a worker process that has not answered yet is alive."""
END_S = 5.0
"""Seconds that a worker process may take to tear its fixtures down at the end of the session; then it is killed."""
STACKS_S = 1.0
"""Seconds that a hung worker process may take to write the stacks of its threads to its log."""
LONGEST_LOG = 8_000
"""Largest number of characters of a worker's log that are reported after a hang or crash: the end of the log."""

_LENGTH: Final = struct.Struct("!i")
"""The length in front of a message of up to 2 GiB. *Source:* ``Connection._send_bytes`` in ``multiprocessing``."""
_LONGEST_ANSWER = 2**28
"""Bytes. Real answers have some thousands; more is what a workload has written into the pipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """What takes the place of an answer if a worker hung, died, did not start, or was refused a resource by the system.

    ``outcome`` is ``HUNG``, ``CRASHED`` (it died or did not start) or ``SKIPPED`` (a resource was refused). ``error``
    is a text for the user. The worker cannot be used any more.
    """

    outcome: Outcome
    error: str


class Watch(Protocol):
    """An object that looks at a worker process while the parent waits for an answer, such as a `GilSampler`."""

    def sample_until(self, fd: int, timeout_s: float) -> bool:
        """Observe the worker until the file descriptor ``fd`` can be read, for at most ``timeout_s`` seconds.

        Return whether ``fd`` can be read.
        """


class Worker:
    """One worker process, as the parent sees it. After `receive` has returned `Lost`, only `end` may be called.

    Attributes:
        process: the process.
        channel: the parent's end of the pipe for questions and answers.
        lifeline: the parent's end of the pipe that closes when the parent ends, so that the worker ends, too.
        folder: the worker's folder for temporary files and its log.
        inherited: what a forked worker holds open because pytest's own process had it open; empty for other workers.
        started_ns: when the process was started, on the clock `time.perf_counter_ns`.
        ready: the worker's first message, which says that it has collected its tests; ``None`` until it has come.
        start_up_s: seconds from the start until that message came; ``None`` until then.
        events_fd: the descriptor by which the event loop of the test that is set up waits for events; ``None`` if
            unknown.
    """

    def __init__(
        self,
        process: Any,
        channel: Connection,
        lifeline: Connection,
        folder: Path,
        inherited: frozenset[OpenFile] = frozenset(),
    ) -> None:
        """Wrap the worker process ``process``, which was just started.

        ``channel`` and ``lifeline`` are the parent's ends of the pipe for messages and of the pipe that closes when the
        parent ends. ``folder`` is for the worker's temporary files and log. ``inherited`` is what a forked worker holds
        open because the parent had it open.
        """
        self.inherited = inherited
        self.process = process
        self.channel = channel
        self.lifeline = lifeline
        self.folder = folder
        self.started_ns = clocks.perf_counter_ns()
        self.ready: Ready | None = None
        self.start_up_s: float | None = None
        self.events_fd: int | None = None
        self.lanes_ready_s: float | None = None
        """Seconds until the interpreters that this worker hosts had set up the first test; ``None`` before that."""
        self._received = bytearray()

    @property
    def alive(self) -> bool:
        """Whether the worker can be asked: true until `end` is called."""
        return not self.channel.closed

    @property
    def running(self) -> bool:
        """Whether the worker's process exists.

        Python's record alone does not suffice: code of the user that waits for any child process may have collected the
        worker's exit status. So the system is asked, too.
        """
        return bool(self.process.is_alive()) and exists(self.process.pid)

    def send(self, question: Question) -> None:
        """Send a question; if the worker is gone, nothing is raised here, and `receive` returns `Lost`."""
        with contextlib.suppress(OSError, ValueError):
            self.channel.send(question)

    def receive(self, deadline_ns: int, sampler: Watch | None = None) -> Answer | Lost:
        """Return the worker's next answer, or `Lost` if it dies, is `Unable` to go on, or does not answer in time.

        ``deadline_ns`` is a moment on the clock `time.perf_counter_ns`; an answer that has arrived by then counts even
        if it is read later. While this method waits, ``sampler`` looks at the worker, for example at its GIL; ``None``
        looks at nothing.
        """
        while True:
            left_s = max(0.0, (deadline_ns - clocks.perf_counter_ns()) / 1e9)
            pause_s = min(left_s, ALIVE_CHECK_S)
            try:
                if sampler is not None:
                    arrived = sampler.sample_until(self.channel.fileno(), pause_s)
                else:
                    arrived = self.channel.poll(pause_s)
                answer = self._next_answer() if arrived else None
                if isinstance(answer, Unable):
                    return Lost(outcome=Outcome.SKIPPED, error=answer.error)
                if answer is not None:
                    return answer
                if not arrived and not self.running and not self.channel.poll(0):
                    return self._died(END_S)
            except (EOFError, OSError):  # the other end is closed: the process is about to end
                return self._died(END_S)
            except Exception:  # noqa: BLE001 - whatever unpickling something else than an answer raises
                return self._died(0.0)
            if left_s <= 0:
                return self._hung()

    def _next_answer(self) -> Answer | None:
        """Read what has arrived; return None until that is a whole answer.

        Raises an exception of any type if it is no answer.
        """
        if os.name == "nt":  # `os.read` cannot read its pipes
            message = self.channel.recv()
        else:
            whole = self._next_message()
            if whole is None:
                return None
            message = pickle.loads(whole)  # noqa: S301 - from a process of ours
        if not isinstance(message, Answer):
            msg = f"{type(message).__name__} is no answer"
            raise TypeError(msg)
        return message

    def _next_message(self) -> bytes | None:
        part = os.read(self.channel.fileno(), 2**16)
        if not part:
            raise EOFError
        self._received += part
        if len(self._received) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._received)
        if not 0 < length <= _LONGEST_ANSWER:
            msg = f"an answer of {length} bytes"
            raise ValueError(msg)
        end = _LENGTH.size + length
        if len(self._received) < end:
            return None
        message = bytes(self._received[_LENGTH.size : end])
        del self._received[:end]
        return message

    # How it ended

    def _hung(self) -> Lost:
        gil = "" if self.ready is None else hung_gil.describe(self.ready)
        stacks = self._stacks()
        where = (f"; {gil}" if gil else "") + (f"\nits threads then:\n{stacks}" if stacks else "")
        return Lost(outcome=Outcome.HUNG, error=f"no answer within the time limit, so it was killed{where}")

    def _died(self, wait_s: float) -> Lost:
        self.process.join(wait_s)
        code = self.process.exitcode
        if code is not None:
            how = exit_text(code)
        elif self.running:
            how = "it was killed, since something else than an answer arrived on its connection to pytest"
        else:
            how = "exit status unknown, since other code has collected it"
        log = self.log()
        return Lost(outcome=Outcome.CRASHED, error=f"the worker process ended: {how}" + (f"\n{log}" if log else ""))

    def log(self) -> str:
        """Return the end of the worker's log, which has output of its start-up and stacks of crashes.

        The result is empty if the log cannot be read.
        """
        try:
            text = (self.folder / "log.txt").read_text("utf-8", "backslashreplace").strip()
        except OSError:
            return ""
        text = users_frames(text)
        return text if len(text) <= LONGEST_LOG else "[...]\n" + text[-LONGEST_LOG:]

    def _stacks(self) -> str:
        """Have every thread's stack written to the log, and return it; works while native code holds the GIL."""
        before = text = self.log()
        if STACK_SIGNAL is None:
            return text
        with contextlib.suppress(OSError):
            os.kill(self.process.pid, STACK_SIGNAL)
        until_ns = clocks.perf_counter_ns() + round(STACKS_S * 1e9)
        while clocks.perf_counter_ns() < until_ns:
            clocks.sleep(0.02)
            latest = self.log()
            if latest == text != before:  # it has grown, and grows no more
                break
            text = latest
        return text

    def end(self) -> None:
        """Kill the worker and every process that it started, close its pipes, and remove its folder."""
        started = descendants(self.process.pid)
        kill_group(self.process.pid, certain=self.ready is not None)
        self.process.kill()
        self.process.join(END_S)
        kill(started)
        self.channel.close()
        self.lifeline.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def wait_for_end(workers: Iterable[Worker]) -> None:
    """Wait until the processes of workers that were told to stop have ended, for at most `END_S` seconds in all."""
    deadline_ns = clocks.perf_counter_ns() + END_S * 1e9
    for worker in workers:
        worker.process.join(max(0.0, (deadline_ns - clocks.perf_counter_ns()) / 1e9))

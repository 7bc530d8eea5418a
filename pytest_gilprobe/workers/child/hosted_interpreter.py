"""One subinterpreter, as the process that hosts it sees it: with a thread that runs its pytest session, and a pipe."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import pickle
import shutil
import sys
import tempfile
import threading
from typing import TYPE_CHECKING

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.workers.protocol import Answer, Closed, Failed, Question, Ready

if TYPE_CHECKING:
    from pytest_gilprobe.model.extension_imports import ExtensionImport
    from pytest_gilprobe.workers.worker_spec import WorkerSpec

NO_FAULTHANDLER = ("-p", "no:faulthandler")
"""Command-line arguments that switch off pytest's plugin faulthandler, whose module does not load in
subinterpreters."""


class RefusedError(GilprobeError):
    """Raised if the system refuses a thread, a file or memory for a subinterpreter; the user's code is not to blame."""


class HostedInterpreter:
    """One subinterpreter with the thread in which its pytest session runs, and the pipe to that session.

    Attributes:
        number: its number among the subinterpreters of this process, counted from 1; error messages have it.
        imports: the extension modules that it has imported so far.
        gil_address: the address of the ``locked`` field of its GIL; ``None`` if unknown.
        start_up_s: seconds from its creation until its session was ready for tests; ``None`` before.
    """

    def __init__(self, number: int, spec: WorkerSpec, log: int) -> None:
        """Create subinterpreter ``number`` of this process, counted from 1, and start its pytest session.

        ``spec`` describes the session, and ``log`` is the file descriptor of this process's log. If the system refuses
        a thread, a file or memory, what was created so far is removed, and `RefusedError` is raised.
        """
        self.number = number
        self.imports: tuple[ExtensionImport, ...] = ()
        self.gil_address: int | None = None
        self.start_up_s: float | None = None
        """Seconds from creating the interpreter until its session was ready for tests; ``None`` before."""
        self._started_ns = clocks.perf_counter_ns()
        with contextlib.ExitStack() as undo:
            try:
                self._start(spec, log, undo)
            except (OSError, RuntimeError, MemoryError) as error:
                msg = f"the system refused subinterpreter {number}: {error}"
                raise RefusedError(msg) from None
            undo.pop_all()

    def _start(self, spec: WorkerSpec, log: int, undo: contextlib.ExitStack) -> None:
        """Create the interpreter, and its thread; ``undo`` gets what takes back each part."""
        from concurrent import interpreters  # type: ignore[attr-defined] # noqa: PLC0415 - CPython 3.14 and later

        self.channel, self._its_end = multiprocessing.Pipe(duplex=True)
        undo.callback(self.channel.close)
        undo.callback(self._its_end.close)
        folder = tempfile.mkdtemp(prefix="interpreter-", dir=spec.folder)
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        self._interpreter = interpreters.create()
        undo.callback(self._interpreter.close)
        pickled = pickle.dumps(_spec_of(spec, folder))
        self._code = (
            f"import sys; sys.path[:] = {sys.path!r}; sys.argv = {sys.argv!r}\n"
            "from pytest_gilprobe.workers.child import interpreter_server\n"
            f"interpreter_server.serve({self._its_end.fileno()}, {log}, {pickled!r})\n"
        )
        self.thread = threading.Thread(target=self._run, name=f"gilprobe-interpreter-{self.number}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._interpreter.exec(self._code)
            said = "its pytest session ended"
        except BaseException as error:  # noqa: BLE001 - the parent must know
            said = str(error)
        self._its_end.send((Failed(error=said), ()))

    def send(self, question: Question) -> None:
        """Send a question to the pytest session of this subinterpreter; do not wait for the answer."""
        self.channel.send(question)

    def receive(self) -> Answer:
        """Wait for the session's next answer and return it; update ``imports``, the extension modules imported so far.

        Return `Closed` if the session has ended.
        """
        message = self.channel.recv()
        if message is None:
            return Closed()
        answer: Answer
        answer, self.imports = message
        if isinstance(answer, Failed):
            where = "" if self.number == 1 else f"in subinterpreter {self.number}: "
            answer = dataclasses.replace(answer, error=where + answer.error, imports=self.imports)
        if isinstance(answer, Ready):
            self.gil_address = answer.gil_address
            self.start_up_s = (clocks.perf_counter_ns() - self._started_ns) / 1e9
        return answer


def _spec_of(spec: WorkerSpec, folder: str) -> WorkerSpec:
    """Return the description of an interpreter's session, which has a ``folder`` of its own and is no fork's."""
    overrides = (flag.replace(spec.folder, folder) for flag in spec.overrides)
    return dataclasses.replace(
        spec, folder=folder, forked=False, holders=False, overrides=(*overrides, *NO_FAULTHANDLER)
    )

"""A worker process that hosts subinterpreters: each runs a pytest session of its own, in a thread of its own.

The process itself opens no test: it passes the parent's questions on to the interpreters and puts their answers
together. It never forks, since a fork beside a subinterpreter crashes the child. An interpreter that hangs cannot be
ended by itself: the parent kills the whole process, as it does with every worker.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model.extension_imports import refusal_text
from pytest_gilprobe.observe import clocks, interpreter, machine
from pytest_gilprobe.workers.child import batch, dispatch, extensions, process
from pytest_gilprobe.workers.child.process import STACK_SIGNAL
from pytest_gilprobe.workers.extension_messages import ExtensionsTried, TryExtensions
from pytest_gilprobe.workers.protocol import (
    Answer,
    Batch,
    Close,
    Closed,
    Done,
    Failed,
    MeasureDispatch,
    Open,
    Opened,
    Prepare,
    Prepared,
    Question,
    Ready,
    Stop,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from pytest_gilprobe.model.extension_imports import ExtensionImport
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.workers.worker_spec import WorkerSpec

HEAD_START_NS = 3_000_000
"""Nanoseconds from asking the interpreters until they all begin a batch together, as processes of a batch do."""
NO_FAULTHANDLER = ("-p", "no:faulthandler")
"""Arguments that switch off the plugin of pytest whose module does not load in subinterpreters."""
THREADS_SIGNAL = STACK_SIGNAL - 1 if STACK_SIGNAL is not None else None
"""Signal at which all threads of the interpreter whose thread gets it write their stacks; ``None`` if unsupported."""
NO_GIL_HERE = "no call is made in the main interpreter of a process that hosts subinterpreters"
"""Why the GIL of the host's main interpreter is not sampled; those of its subinterpreters are."""


def serve(
    strategy: Strategy, channel: Connection, lifeline: Connection, parents_ends: tuple[Any, ...], spec: WorkerSpec
) -> None:
    """Host interpreters for ``strategy`` until the parent tells this process to stop or ends.

    The other arguments are those of `pytest_gilprobe.workers.child.server.serve`.
    """
    with process.worker_process(lifeline, parents_ends, spec) as log:
        process.log_only_faults(log)
        Host(strategy, channel, spec, log).serve()


class Host:
    """Answers the parent's questions with the answers of the interpreters."""

    def __init__(self, strategy: Strategy, channel: Connection, spec: WorkerSpec, log: int) -> None:
        """Prepare to answer on ``channel``; no interpreter is started yet."""
        self._strategy = strategy
        self._channel = channel
        self._spec = spec
        self._log = log
        self._started: list[_Interpreter] = []
        self._interpreters: list[_Interpreter] = []
        self._open: list[_Interpreter] = []
        self._fresh = False

    def serve(self) -> None:
        """Answer questions until told to stop."""
        _write_all_stacks_on_signal(self._started, self._log)
        ready = Ready(
            pid=os.getpid(),
            nodeids=self._spec.nodeids,
            gil_address=None,
            gil_reason=NO_GIL_HERE,
            gil_enabled=interpreter.gil_enabled(),
        )
        answer: Answer = ready
        while True:
            try:
                self._channel.send(answer)
                question: Question = self._channel.recv()
            except (OSError, EOFError, ValueError):
                process.end(1)
            if isinstance(question, Stop):
                break
            try:
                answer = self._answer(question)
            except Exception as error:  # noqa: BLE001 - the parent must know
                answer = Failed(error=batch.describe(error))
        self._all(self._interpreters, question)
        process.end(0)

    def _answer(self, question: Question) -> Answer:
        match question:
            case Open():
                return self._opened(question)
            case Batch() if self._open:
                return self._batch(question)
            case Close():
                return self._closed(question)
            case TryExtensions():
                return ExtensionsTried(loads=extensions.tried(question.files))
            case MeasureDispatch():
                return dispatch.measure(self._strategy, question)
        return Failed(error=f"subinterpreters are hosted here, asked for {type(question).__name__}")

    # One test

    def _opened(self, question: Open) -> Answer:
        """Set the test up in one interpreter, and in the others if that worked."""
        for count in (1, question.lanes):
            chosen = self._at_least(count)
            if isinstance(chosen, Failed):
                return self._judged(chosen)
            answers = self._all([one for one in chosen if one not in self._open], question)
            bad = next((answer for answer in answers if not isinstance(answer, Opened)), None)
            if bad is not None:
                self._all(self._open, Close())
                self._open = []
                return self._judged(bad)
            if count == 1:
                first = answers[0]
            self._open = chosen
        assert isinstance(first, Opened)  # noqa: S101 - looked at above
        self._fresh = first.most_calls is not None
        return dataclasses.replace(first, imports=self._imports(), gil_addresses=self._gil_addresses())

    def _at_least(self, count: int) -> list[_Interpreter] | Failed:
        """Return so many interpreters, of which those that were missing start at the same time."""
        new = []
        for _ in range(count - len(self._interpreters)):
            new.append(_Interpreter(len(self._started) + 1, self._spec, self._log))
            self._started.append(new[-1])
        for one in new:
            answer = one.receive()
            if not isinstance(answer, Ready):
                return answer if isinstance(answer, Failed) else Failed(error=f"unexpected answer {answer!r}")
            one.gil_address = answer.gil_address
            self._interpreters.append(one)
        return self._interpreters[:count]

    def _imports(self) -> tuple[ExtensionImport, ...]:
        return self._interpreters[0].imports if self._interpreters else ()

    def _gil_addresses(self) -> tuple[int, ...]:
        found = tuple(one.gil_address for one in self._open if one.gil_address is not None)
        return found if len(found) == len(self._open) else ()

    def _judged(self, answer: Answer) -> Answer:
        """Say of an answer whether it is a module that does not load here that made it fail."""
        if not isinstance(answer, Failed):
            return Failed(error=f"unexpected answer {type(answer).__name__}")
        imports = answer.imports
        why = refusal_text(imports, answer.error)
        if why is None:
            return answer
        return dataclasses.replace(answer, error=why, impossible=True)

    def _batch(self, question: Batch) -> Answer:
        """Run a batch in all interpreters at the same time, and read the clocks of the whole process."""
        if self._fresh:
            unready = self._first_bad(self._all(self._open, Prepare(calls=question.calls)), Prepared)
            if not isinstance(unready, Prepared):
                return unready
        machine.reset_peak_rss()
        usage = batch.Usage()
        begin_ns = clocks.perf_counter_ns() + HEAD_START_NS
        asked = dataclasses.replace(question, lanes=1, begin_ns=begin_ns)
        for number, one in enumerate(self._open):
            one.send(dataclasses.replace(asked, first_lane=number))
        answers = [one.receive() for one in self._open]
        bad = self._first_bad(answers, Done)
        if not isinstance(bad, Done):
            return bad
        lanes = [lane for answer in answers if isinstance(answer, Done) for lane in answer.reading.lanes]
        reading = usage.reading(tuple(lanes))
        whole = reading.peak_rss_bytes
        each = None if whole is None else whole // len(lanes)
        return Done(reading=dataclasses.replace(reading, peak_rss_bytes=each))

    def _closed(self, question: Close) -> Answer:
        closed = self._all(self._open, question)
        self._open = []
        bad = self._first_bad(closed, Closed)
        if not isinstance(bad, Closed):
            return bad
        found = [answer for answer in closed if isinstance(answer, Closed)]
        return Closed(
            error=next((one.error for one in found if one.error is not None), None),
            left=tuple(sorted({name for one in found for name in one.left})),
            spoilt=any(one.spoilt for one in found),
        )

    @staticmethod
    def _all(asked: Sequence[_Interpreter], question: Question) -> list[Answer]:
        for one in asked:
            one.send(question)
        return [one.receive() for one in asked]

    def _first_bad(self, answers: Sequence[Answer], wanted: type[Answer]) -> Answer:
        """Return the first answer of another type than ``wanted``, with its cause; else the first of all."""
        bad = next((answer for answer in answers if not isinstance(answer, wanted)), None)
        return answers[0] if bad is None else self._judged(bad)


class _Interpreter:
    """One subinterpreter with the thread in which its session runs, and the pipe to it."""

    def __init__(self, number: int, spec: WorkerSpec, log: int) -> None:
        """Create the interpreter and start its session."""
        from concurrent import interpreters  # type: ignore[attr-defined] # noqa: PLC0415 - CPython 3.14 and later

        self.channel, self._its_end = multiprocessing.Pipe(duplex=True)
        self.imports: tuple[ExtensionImport, ...] = ()
        self.gil_address: int | None = None
        self._number = number
        self._interpreter = interpreters.create()
        pickled = pickle.dumps(_spec_of(spec, number))
        self._code = (
            f"import sys; sys.path[:] = {sys.path!r}; sys.argv = {sys.argv!r}\n"
            "from pytest_gilprobe.workers.child import interpreter_server\n"
            f"interpreter_server.serve({self._its_end.fileno()}, {log}, {pickled!r})\n"
        )
        self.thread = threading.Thread(target=self._run, name=f"gilprobe-interpreter-{number}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._interpreter.exec(self._code)
            said = "its pytest session ended"
        except BaseException as error:  # noqa: BLE001 - the parent must know
            said = str(error)
        self._its_end.send((Failed(error=said), ()))

    def send(self, question: Question) -> None:
        """Pass a question on."""
        self.channel.send(question)

    def receive(self) -> Answer:
        """Wait for the next answer; note what was imported until then. `Closed` stands for the end of the session."""
        message = self.channel.recv()
        if message is None:
            return Closed()
        answer: Answer
        answer, self.imports = message
        if isinstance(answer, Failed):
            where = "" if self._number == 1 else f"in subinterpreter {self._number}: "
            answer = dataclasses.replace(answer, error=where + answer.error, imports=self.imports)
        return answer


def _spec_of(spec: WorkerSpec, number: int) -> WorkerSpec:
    """Return the description of an interpreter's session, which has a folder of its own and is no fork's."""
    folder = Path(spec.folder, f"interpreter-{number}")
    folder.mkdir()
    overrides = (flag.replace(spec.folder, str(folder)) for flag in spec.overrides)
    return dataclasses.replace(
        spec, folder=str(folder), forked=False, holders=False, overrides=(*overrides, *NO_FAULTHANDLER)
    )


def _write_all_stacks_on_signal(hosted: list[_Interpreter], log: int) -> None:
    """Have the stacks of all interpreters' threads written to the log when the parent asks for stacks.

    faulthandler writes those of the interpreter whose thread receives a signal, whatever holds its GIL: so each thread
    that hosts an interpreter gets one.
    """
    if STACK_SIGNAL is None or THREADS_SIGNAL is None:
        return
    import faulthandler  # noqa: PLC0415 - does not load in subinterpreters

    wanted = THREADS_SIGNAL
    faulthandler.unregister(STACK_SIGNAL)
    faulthandler.register(wanted, file=log, all_threads=True, chain=False)

    def write_stacks(*_: object) -> None:
        for one in hosted:
            if one.thread.ident is not None:
                signal.pthread_kill(one.thread.ident, wanted)

    signal.signal(STACK_SIGNAL, write_stacks)

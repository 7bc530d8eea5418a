"""A worker process that hosts subinterpreters: each runs a pytest session of its own, in a thread of its own.

The process itself sets up no test: it passes the questions of the parent (pytest's own process) on to the
subinterpreters, and puts their answers together. It never forks, since a fork beside a subinterpreter crashes the
child. A subinterpreter that hangs cannot be ended alone: the parent kills the whole process, as with any worker.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model.extension_imports import refusal_text
from pytest_gilprobe.observe import clocks, interpreter
from pytest_gilprobe.workers.child import batch, dispatch, extensions, process, stretch
from pytest_gilprobe.workers.child.host_growth import HostGrowth
from pytest_gilprobe.workers.child.host_memory import HostMemory
from pytest_gilprobe.workers.child.hosted_interpreters import HostedInterpreters
from pytest_gilprobe.workers.child.process import STACK_SIGNAL
from pytest_gilprobe.workers.executor_messages import MeasureDispatch
from pytest_gilprobe.workers.extension_messages import ExtensionsTried, TryExtensions
from pytest_gilprobe.workers.protocol import (
    Answer,
    Batch,
    Close,
    Closed,
    Done,
    Failed,
    Open,
    Opened,
    Prepare,
    Prepared,
    Question,
    Ready,
    Stop,
    Unable,
)
from pytest_gilprobe.workers.stretch_messages import Stretch, Stretched

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.workers.child.hosted_interpreter import HostedInterpreter
    from pytest_gilprobe.workers.worker_spec import WorkerSpec

HEAD_START_NS = 3_000_000
"""Nanoseconds between asking subinterpreters for calls and the moment at which all of them begin to call together."""
THREADS_SIGNAL = STACK_SIGNAL - 1 if STACK_SIGNAL is not None else None
"""Signal that makes the thread of a subinterpreter write the stacks of all threads of that subinterpreter to the log;
``None`` if the system does not support it."""
NO_GIL_HERE = "no call is made in the main interpreter of a process that hosts subinterpreters"
"""Why a report has no GIL samples of the main interpreter of a process that hosts subinterpreters."""


def serve(
    strategy: Strategy, channel: Connection, lifeline: Connection, parents_ends: tuple[Any, ...], spec: WorkerSpec
) -> None:
    """Host subinterpreters until the parent (pytest's own process) tells this process to stop, or ends.

    ``strategy`` is the strategy (a way to make calls) that uses the subinterpreters. ``channel`` carries questions and
    answers. ``lifeline`` is a pipe that closes when the parent ends. ``parents_ends`` are the parent's own ends of
    pipes, which a forked process inherits and must close. ``spec`` describes the pytest session of each subinterpreter.
    """
    with process.worker_process(lifeline, parents_ends, spec) as log:
        process.log_only_faults(log)
        Host(strategy, channel, spec, log).serve()


class Host:
    """Passes the questions of pytest's own process on to subinterpreters, and puts their answers together."""

    def __init__(self, strategy: Strategy, channel: Connection, spec: WorkerSpec, log: int) -> None:
        """Prepare to answer questions that come on ``channel``; no subinterpreter is started yet.

        ``strategy`` is the strategy (a way to make calls) that uses the subinterpreters. ``spec`` describes the pytest
        session of each, and ``log`` is the file descriptor of this process's log.
        """
        self._strategy = strategy
        self._channel = channel
        self._spec = spec
        self._log = log
        self._interpreters = HostedInterpreters(spec, log)
        self._open: list[HostedInterpreter] = []
        self._first = Opened()
        self._memory = HostMemory()
        self._growth = HostGrowth()

    def serve(self) -> None:
        """Answer the questions of pytest's own process until it says to stop; then end this process."""
        _write_all_stacks_on_signal(self._interpreters.started, self._log)
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
        self._all(self._interpreters.living, question)
        process.end(0)

    def _answer(self, question: Question) -> Answer:
        match question:
            case Open():
                with self._growth.setting_up(widens=bool(self._open)):
                    return self._opened(question)
            case Batch() | Stretch() if len(self._open) >= question.lanes:
                answer = self._batch(question) if isinstance(question, Batch) else self._stretched(question)
                why = self._growth.disturbance() if isinstance(answer, Done | Stretched) else None
                return answer if why is None else Failed(error=why)
            case Close():
                return self._closed(question)
            case TryExtensions():
                return ExtensionsTried(loads=extensions.tried(question.files))
            case MeasureDispatch():
                return dispatch.measure(self._strategy, question)
        return Failed(error=f"subinterpreters are hosted here, asked for {type(question).__name__}")

    # One test

    def _opened(self, question: Open) -> Answer:
        """Set the test up in one interpreter, and in the others if that worked; or, if it is set up, in further ones.

        Where that fails in further ones, it stays set up in those in which it was.
        """
        widens = bool(self._open)
        for count in (1, question.lanes):
            bad = self._widened(count, question)
            if bad is not None:
                if not widens:
                    self._all(self._open, Close())
                    self._open = []
                return self._judged(bad)
        return dataclasses.replace(
            self._first,
            imports=self._open[0].imports,
            gil_addresses=self._gil_addresses(),
            lane_start_up_s=self._open[0].start_up_s,
            lane_threads=tuple(one.thread.native_id or 0 for one in self._open),
        )

    def _widened(self, count: int, question: Open) -> Answer | None:
        """Set the test up in as many interpreters as are missing; return the first answer that is none, if any."""
        with self._growth.starting():
            chosen = self._interpreters.at_least(count)
        if isinstance(chosen, Failed | Unable):
            return chosen
        new = [one for one in chosen if one not in self._open]
        answers = self._all(new, question)
        for one, answer in zip(new, answers, strict=True):
            if isinstance(answer, Opened):
                self._first = self._first if self._open else answer
                self._open.append(one)
        return next((answer for answer in answers if not isinstance(answer, Opened)), None)

    def _gil_addresses(self) -> tuple[int, ...]:
        found = tuple(one.gil_address for one in self._open if one.gil_address is not None)
        return found if len(found) == len(self._open) else ()

    def _judged(self, answer: Answer) -> Answer:
        """Say of an answer whether it is a module that does not load here that made it fail."""
        if isinstance(answer, Unable):
            return answer
        if not isinstance(answer, Failed):
            return Failed(error=f"unexpected answer {type(answer).__name__}")
        imports = answer.imports
        why = refusal_text(imports, answer.error)
        if why is None:
            return answer
        return dataclasses.replace(answer, error=why, impossible=True)

    def _batch(self, question: Batch) -> Answer:
        """Run a batch in as many interpreters at the same time, and read the clocks of the whole process."""
        lanes = self._open[: question.lanes]
        if self._first.most_calls is not None:
            unready = self._first_bad(self._all(lanes, Prepare(calls=question.calls)), Prepared)
            if not isinstance(unready, Prepared):
                return unready
        self._memory.begin()
        usage = batch.Usage()
        asked = dataclasses.replace(question, begin_ns=clocks.perf_counter_ns() + HEAD_START_NS)
        for number, one in enumerate(lanes):
            one.send(dataclasses.replace(asked, lanes=1, first_lane=asked.first_lane + number))
        answers = [one.receive() for one in lanes]
        bad = self._first_bad(answers, Done)
        if not isinstance(bad, Done):
            return bad
        readings = [lane for answer in answers if isinstance(answer, Done) for lane in answer.reading.lanes]
        memory = self._memory.peak_bytes(len(lanes), self._interpreters.taking_memory)
        each = None if memory is None else memory // len(lanes)
        return Done(reading=dataclasses.replace(usage.reading(tuple(readings)), peak_rss_bytes=each))

    def _stretched(self, question: Stretch) -> Answer:
        """Call for a set time in as many interpreters; what the whole process used is read once."""
        lanes = self._open[: question.lanes]
        self._memory.begin()
        usage = batch.Usage()
        answers = self._all(lanes, dataclasses.replace(question, lanes=1))
        bad = self._first_bad(answers, Stretched)
        if not isinstance(bad, Stretched):
            return bad
        readings = [answer.reading for answer in answers if isinstance(answer, Stretched)]
        marks = [lane for reading in readings for lane in reading.marks_ns]
        found = stretch.reading_of(marks, [reading.queued_ns for reading in readings], usage)
        memory = self._memory.peak_bytes(len(lanes), self._interpreters.taking_memory)
        return Stretched(reading=dataclasses.replace(found, peak_rss_bytes=memory))

    def _closed(self, question: Close) -> Answer:
        closed = self._all(self._open, question)
        self._open = []
        bad = self._first_bad(closed, Closed)
        if not isinstance(bad, Closed):
            return bad
        found = [answer for answer in closed if isinstance(answer, Closed)]
        outgrown = self._growth.outgrown(len(self._interpreters.living))
        return Closed(
            error=next((one.error for one in found if one.error is not None), None),
            left=tuple(sorted({name for one in found for name in one.left})),
            spoilt=any(one.spoilt for one in found) or self._growth.spoilt or outgrown,
        )

    @staticmethod
    def _all(asked: Sequence[HostedInterpreter], question: Question) -> list[Answer]:
        for one in asked:
            one.send(question)
        return [one.receive() for one in asked]

    def _first_bad(self, answers: Sequence[Answer], wanted: type[Answer]) -> Answer:
        """Return the first answer of another type than ``wanted``, with its cause; else the first of all."""
        bad = next((answer for answer in answers if not isinstance(answer, wanted)), None)
        return answers[0] if bad is None else self._judged(bad)


def _write_all_stacks_on_signal(hosted: list[HostedInterpreter], log: int) -> None:
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

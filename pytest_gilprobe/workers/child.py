"""The child: a pytest session of its own that serves batches instead of running tests.

`serve` is the entry point of a worker process. It runs the parent's command line again, so the same plugins, conftest files and ini
file are in force and the same node ids exist, but collects only the files that hold marked tests. Then it waits for questions. A
test is set up and torn down by pytest's own protocol; in between, `Server.pytest_pyfunc_call` takes the place of the call and answers
questions about batches until the parent says `Close`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gilprobe import host
from pytest_gilprobe.gil.locate import locate
from pytest_gilprobe.config import INSIDE_WORKER
from pytest_gilprobe.workers import batch, control, handout, workload
from pytest_gilprobe.workers.protocol import (
    Answer,
    Batch,
    Close,
    Closed,
    Control,
    Done,
    Failed,
    HandedOut,
    HandOut,
    Open,
    Opened,
    Question,
    Ready,
    Stop,
    WorkerSpec,
)

if TYPE_CHECKING:
    from collections.abc import Generator
    from multiprocessing.connection import Connection

STACK_SIGNAL = signal.SIGRTMAX - 3 if hasattr(signal, "SIGRTMAX") else None
"""Sent by the parent to have every thread's stack written to the log, GIL held or not."""

_PR_SET_PDEATHSIG = 1


def serve(channel: Connection, lifeline: Connection, parents_ends: tuple[Any, ...], spec: WorkerSpec) -> None:
    """Run a worker until it is told to stop or its parent is gone.

    ``lifeline`` is a pipe that only the parent can write to and never does: its end is the parent's end.
    ``parents_ends`` are the parent's connections that a fork inherited and this process must not keep open.
    """
    os.environ[INSIDE_WORKER] = str(os.getpid())  # before anything else: a worker must never start workers
    for end in parents_ends:
        end.close()
    with open(Path(spec.folder, "log.txt"), "ab", buffering=0) as log:  # noqa: PTH123 - unbuffered
        _die_with_parent(lifeline)
        _leave_the_terminal(log.fileno())
        os.chdir(spec.working_dir)
        server = Server(channel, spec, log.fileno())
        try:
            code = pytest.main([*spec.arguments, *spec.overrides], plugins=[*spec.plugins, server])
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        server.say(Failed(error=f"its pytest session ended with exit status {int(code)} before it could serve"))
        os._exit(1)


def _die_with_parent(lifeline: Connection) -> None:
    """Have the kernel end this process when its parent ends, whatever it is busy with.

    Two ways, since each has a gap: the death signal is of the parent *process*, which under forkserver is the fork server; the
    pipe's ``SIGIO`` (its default action ends the process) fires when the last writer is gone, so not while another
    process holds that end. Where neither exists (not Linux) a worker still ends at its next look at the pipe.

    Source: ``prctl(2)``, ``fcntl(2)`` F_SETOWN and O_ASYNC.
    """
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415 - not every platform has it
    import fcntl  # noqa: PLC0415 - not every platform has it

    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fd = lifeline.fileno()
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent or lifeline.poll(0):
        os._exit(1)


def _leave_the_terminal(log: int) -> None:
    """Put this process in a session of its own, with nothing to read and its words in the log.

    A forked worker also leaves behind whatever traced or profiled the parent: it would be timed.
    """
    if hasattr(os, "setsid"):
        with contextlib.suppress(OSError):
            os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115, PTH123 - they live as long as the process
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115, PTH123
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115, PTH123
    sys.settrace(None)
    sys.setprofile(None)
    threading.settrace(None)  # type: ignore[arg-type] - None is allowed
    threading.setprofile(None)


class Placeholder(pytest.Item):
    """Keeps a test's collectors set up until it is known which test comes next.

    pytest asks for the next test when the one before it starts; here that is decided later. A placeholder is a sibling that
    does nothing: named as the next test it keeps its parents' fixtures alive, and run before the real next one it has
    pytest tear down what that one does not need.
    """

    def runtest(self) -> None:
        """Do nothing."""

    def reportinfo(self) -> tuple[Path, None, str]:
        """Name itself."""
        return self.path, None, self.name


class Server:
    """The worker's plugin: prunes the collection, then answers questions."""

    def __init__(self, channel: Connection, spec: WorkerSpec, log: int) -> None:
        """Serve on ``channel``; ``log`` is the file descriptor of the log."""
        self._channel = channel
        self._spec = spec
        self._log = log
        self._folders = frozenset(str(folder) for file in spec.files for folder in Path(file).parents)
        self._items: dict[str, pytest.Item] = {}
        self._kept: pytest.Item | None = None
        self._errors: list[str] = []
        self._opened = False

    def say(self, answer: Answer) -> None:
        """Answer the parent; end this process if there is none any more."""
        try:
            self._channel.send(answer)
        except (OSError, ValueError):
            os._exit(1)

    def _hear(self) -> Question:
        try:
            question: Question = self._channel.recv()
        except (OSError, EOFError):
            os._exit(1)
        return question

    # Collection

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Switch off what would wait for a person."""
        for name in ("usepdb", "trace", "collectonly", "setuponly", "setupplan", "version", "help"):
            if hasattr(config.option, name):
                setattr(config.option, name, False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leave out every file and folder without a marked test."""
        path = str(collection_path)
        if path in self._folders or path in self._spec.files or collection_path.name == "__init__.py":
            return None
        return True

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Keep the marked tests by their node ids."""
        self._items = {item.nodeid: item for item in session.items if item.nodeid in self._spec.nodeids}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember why something could not be collected."""
        if report.failed:
            self._errors.append(f"{report.nodeid}: {report.longreprtext}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Serve in place of running the tests; never returns."""
        session.config.pluginmanager.register(Caller(self), "gilprobe-caller")
        self._to_log_only_faults()
        found = locate()
        self.say(
            Ready(
                pid=os.getpid(),
                nodeids=frozenset(self._items),
                gil_address=found.address,
                gil_reason=found.reason,
                gil_enabled=host.gil_enabled(),
            )
        )
        while True:
            match self._hear():
                case Open() as question:
                    self._open(question)
                case Control(calls=calls):
                    self.say(self._run(lambda: Done(reading=batch.run_serial(control.loop, calls))))
                case HandOut() as question:
                    self.say(self._run(lambda asked=question: handout.measure(asked)))  # type: ignore[misc]
                case Stop():
                    self._let_go(None)
                    os._exit(0)
                case other:
                    self.say(Failed(error=f"no test is open, asked for {type(other).__name__}"))

    def _to_log_only_faults(self) -> None:
        """From here on keep only the stacks of crashes: a workload may print without end."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        sys.stdout.flush()
        sys.stderr.flush()
        os.ftruncate(self._log, 0)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        faulthandler.enable(file=self._log, all_threads=True)
        if STACK_SIGNAL is not None:
            faulthandler.register(STACK_SIGNAL, file=self._log, all_threads=True, chain=False)

    @staticmethod
    def _run(question: Any) -> Answer:  # noqa: ANN401 - a callable that gives an answer
        try:
            answer: Answer = question()
        except batch.WorkloadError as error:
            return Failed(error=str(error))
        except Exception as error:  # noqa: BLE001 - the parent must hear of it
            return Failed(error=batch.describe(error))
        return answer

    # One test

    def _open(self, question: Open) -> None:
        """Run one test's protocol; its call phase serves batches."""
        item = self._items.get(question.nodeid)
        if item is None:
            why = "\n".join(self._errors) or "its pytest session found no such test"
            self.say(Failed(error=f"a worker process did not collect {question.nodeid}: {why}"))
            return
        self._let_go(item)
        chain = item.listchain()
        keep = min(question.keep, len(chain) - 1)
        after = Placeholder.from_parent(chain[keep - 1], name="gilprobe-placeholder") if keep > 0 else None
        self._errors.clear()
        self._opened = False
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        self._kept = after
        error = "\n".join(self._errors) or None
        self._errors.clear()
        if self._opened:
            self.say(Closed(error=error))
        else:
            self.say(Failed(error=error or "the test did not get as far as its call"))

    def _let_go(self, following: pytest.Item | None) -> None:
        """Have pytest tear down what ``following`` does not share with the test before it."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.config.hook.pytest_runtest_protocol(item=kept, nextitem=following)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember why set-up or tear-down did not pass."""
        if report.failed or report.skipped:
            self._errors.append(f"{report.outcome} in {report.when}: {report.longreprtext}")

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_timeout_set_timer(self) -> bool:
        """Keep pytest-timeout out: batches have their own."""
        return True

    def answer_batches(self, item: pytest.Function) -> None:
        """Serve the open test until `Close`."""
        self._opened = True
        self.say(Opened(unsafe_in_threads=workload.unsafe_in_threads(item), tracers=host.tracers()))
        while True:
            match self._hear():
                case Batch() as question:
                    self.say(self._run(lambda asked=question: _run_batch(item, asked)))  # type: ignore[misc]
                case Close():
                    return
                case Stop():
                    os._exit(0)
                case other:
                    self.say(Failed(error=f"a test is open, asked for {type(other).__name__}"))


class Caller:
    """Takes the place of a test's call; registered last, so that it comes before other plugins' ways to call."""

    def __init__(self, server: Server) -> None:
        """Serve through ``server``."""
        self._server = server

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool:
        """Answer batches instead of calling once."""
        self._server.answer_batches(pyfuncitem)
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Reach the test methods of `unittest.TestCase`, which pytest does not call through `pytest_pyfunc_call`."""
        import unittest  # noqa: PLC0415 - rarely needed

        if isinstance(item, pytest.Function) and isinstance(item.instance, unittest.TestCase):
            method = item.obj

            def served() -> None:
                item.obj = method
                self._server.answer_batches(item)

            item.obj = served
            try:
                yield
            finally:
                item.obj = method
        else:
            yield


def _run_batch(item: pytest.Function, question: Batch) -> Done:
    """Run one batch of the open test."""
    if question.threads == 1:
        return Done(reading=batch.run_serial(workload.call_for(item), question.calls))
    lanes = [workload.call_for(item, lane) for lane in range(question.threads)]
    return Done(reading=batch.run_threads(lanes, question.calls))

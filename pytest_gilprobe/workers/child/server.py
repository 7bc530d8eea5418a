"""A worker process: its own pytest session, which makes batches of timed calls instead of running tests.

`serve` is the entry point of a worker process. It runs the command line of the parent (pytest's own process) again, so
the same plugins, conftest files and ini file are in force and the same node ids exist, but it collects only the files
with tests to probe. Then it waits for the parent's questions. pytest's own protocol sets a test up and tears it down;
in between, the test's call phase answers questions about batches until the parent closes the test.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_gilprobe.observe import interpreter
from pytest_gilprobe.observe.frame_search import FrameLocation, locate_frames
from pytest_gilprobe.observe.gil_address import Location, locate
from pytest_gilprobe.observe.gil_switch import SwitchedOnBy
from pytest_gilprobe.workers.child import answers, batch, leftovers, machine_answers, parent_watch, process
from pytest_gilprobe.workers.child.call_phase import Caller
from pytest_gilprobe.workers.child.collection import Collection, Placeholder
from pytest_gilprobe.workers.child.process import CHANNEL_LOST, end
from pytest_gilprobe.workers.child.room import with_room
from pytest_gilprobe.workers.executor_messages import MeasureDispatch
from pytest_gilprobe.workers.exit_report import users_part
from pytest_gilprobe.workers.fixture import CALLER
from pytest_gilprobe.workers.protocol import Close, Closed, Control, Failed, Open, Ready, Stop
from pytest_gilprobe.workers.test_patches import paused_timers

if TYPE_CHECKING:
    import warnings
    from collections.abc import Callable, Generator
    from multiprocessing.connection import Connection

    from pytest_gilprobe.workers.child.workload import Workload
    from pytest_gilprobe.workers.protocol import Answer, Question
    from pytest_gilprobe.workers.worker_spec import WorkerSpec

FORKED = (
    "(A forked worker begins with all that the session and its plugins have changed in pytest's own process; with "
    "--gilprobe-start-method=spawn it begins afresh.)"
)
"""Advice for the user if a test cannot be set up again in a forked worker, for example because of pytest-django's
database guard."""


@with_room  # a coroutine calls functions from the loop's depth in the stack
def serve(channel: Connection, lifeline: Connection, parents_ends: tuple[Any, ...], spec: WorkerSpec) -> None:
    """Run the pytest session of a worker process, until its parent (pytest's own process) tells it to stop, or ends.

    ``channel`` carries questions and answers. ``lifeline`` is a pipe that closes when the parent ends. ``parents_ends``
    are the parent's own ends of pipes, which a forked worker inherits and must close. ``spec`` describes the session.
    """
    with process.worker_process(lifeline, parents_ends, spec) as log:
        Server(channel, spec, log).run()


class Loop:
    """Plugin that calls a given function, which never returns, instead of pytest's loop over all tests.

    It is registered last, so its hook runs before those of other plugins that have their own loop.
    """

    def __init__(self, serve_tests: Callable[[pytest.Session], NoReturn]) -> None:
        """Remember ``serve_tests``, the function to call in place of the loop over all tests."""
        self._serve_tests = serve_tests

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Call the given function, which never returns, in place of pytest's loop over all tests."""
        self._serve_tests(session)


class Server:
    """Plugin of a worker process's pytest session: answers questions of pytest's own process, and runs no tests.

    ``shared`` is whether several subinterpreters share the process.
    """

    shared = False

    def __init__(self, channel: Connection, spec: WorkerSpec, log: int) -> None:
        """Prepare to run the session ``spec`` and answer on ``channel``; ``log`` is the log's file descriptor."""
        self._channel = channel
        self._spec = spec
        self._log = log
        self._pid = interpreter.getpid()
        self.collection = Collection(spec)
        self._errors = self.collection.errors
        self._not_collected = ""
        self._serving = False
        self._placeholder: pytest.Item | None = None
        self._closed: Closed | None = None
        self._states: list[dict[str, Any]] = []
        self._switched_on_by = SwitchedOnBy(spec.gil_switched_on_by if interpreter.gil_enabled() else ())

    def run(self) -> None:
        """Run this worker's pytest session, which answers the pytest process that started the worker; never return."""
        given, spec = [*self._spec.arguments, *self._spec.overrides], self._spec
        try:
            code = pytest.main(given, plugins=[*spec.plugins, self.collection, self])
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException as error:  # noqa: BLE001 - the parent must know
            os.write(self._log, f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace"))
            self._end(1)
        self.give_up(int(code))

    def _end(self, status: int) -> NoReturn:
        """End this worker process."""
        end(status)

    def _settle(self) -> None:
        """Do what must be done once, after the tests are collected and before they are served."""
        process.log_only_faults(self._log)

    def _own_gil(self) -> Location:
        """Find the GIL of the interpreter in which the tests run."""
        return locate()

    def say(self, answer: Answer) -> None:
        """Send an answer to pytest's own process; end this process if the pipe is closed or a test's call forked it."""
        if interpreter.getpid() != self._pid:
            end(0)
        try:
            self._channel.send(answer)
        except (OSError, ValueError):
            self._end(CHANNEL_LOST)

    def give_up(self, code: int) -> NoReturn:
        """End this worker after its pytest session ended with exit status ``code``; tell pytest's own process why."""
        why = "\n".join(self._errors)
        for stream in (sys.stdout, sys.stderr):  # they have what pytest wrote, and the parent reads the log
            with contextlib.suppress(Exception):
                stream.flush()
        when = "in the middle of a test" if self._serving else "before it could serve"
        said = f"its pytest session ended with exit status {code} {when}" + (f":\n{why}" if why else "")
        if self._serving:  # the parent waits for another answer: it reads the log when this process is gone
            with contextlib.suppress(OSError):
                os.write(self._log, said.encode("utf-8", "backslashreplace"))
        else:
            self.say(Failed(error=said))
        self._end(1)

    def _next_question(self) -> Question:
        try:
            question: Question = self._channel.recv()
        except (OSError, EOFError):
            self._end(1)
        return question

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr: object, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note the error that ends pytest's session, for `give_up`; before tests are collected, with its traceback."""
        self._errors.append(f"{excinfo.typename}: {excinfo.value}" if self._serving else str(excrepr))

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note what ends pytest's session, for `give_up`: `pytest.exit`, or a `KeyboardInterrupt` of the test."""
        self._errors.append(batch.describe(excinfo.value.with_traceback(users_part(excinfo.tb))))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> Generator[None, None, None]:
        """End this worker process before pytest and other plugins write files or print a summary."""
        self.give_up(int(exitstatus))
        yield

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Register the plugin `Loop` now, after all other plugins, so that its hook runs before theirs."""
        session.config.pluginmanager.register(Loop(self.serve_tests), "gilprobe-loop")

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Note the name of a module if CPython warns that its import has switched the GIL on."""
        self._switched_on_by.note(warning_message.message)

    def serve_tests(self, session: pytest.Session) -> NoReturn:
        """Answer the questions of pytest's own process instead of running the tests; never return."""
        self._strategies = machine_answers.strategies_of(session.config)
        self._caller = Caller(self.serve_batches)
        session.config.pluginmanager.register(self._caller, CALLER)
        self._settle()
        self._serving = True
        self._not_collected = "\n".join(self._errors)
        self._errors.clear()
        self._use_at_start = leftovers.ResourceUse.now(shared=self.shared)
        process.freeze()
        self.say(self._ready())
        watch = parent_watch.ParentWatch(self._channel, self.say)
        while True:
            match self._next_question():
                case Open() as question:
                    self._open(question)
                case Control() as question:
                    self.say(machine_answers.run_control(question))
                case MeasureDispatch() as question:
                    self.say(machine_answers.measure_dispatch(self._strategies, question))
                case Stop():
                    self._tear_down_for(None)
                    self._end(0)
                case question if not watch.takes(question):
                    self.say(Failed(error=f"no test is open, asked for {type(question).__name__}"))

    def _ready(self) -> Ready:
        found = self._own_gil()
        frames = FrameLocation(layout=None, reason=found.reason if self._spec.holders else "--gilprobe-holders=off")
        if self._spec.holders and found.address is not None:
            frames = locate_frames()
        return Ready(
            pid=os.getpid(),
            nodeids=frozenset(self.collection.items),
            gil_address=found.address,
            gil_reason=found.reason,
            gil_enabled=interpreter.gil_enabled(),
            frames=frames.layout,
            frames_reason=frames.reason,
            main_thread=frames.thread_state,
            gil_switched_on_by=self._switched_on_by.names,
            strategies=frozenset(self._strategies),
        )

    # One test

    def _open(self, question: Open) -> None:
        """Run one test's protocol; its call phase serves batches."""
        item = self.collection.items.get(question.nodeid)
        if item is None:
            why = self._not_collected or "its pytest session found no such test"
            self.say(Failed(error=f"a worker process did not collect {question.nodeid}: {why}"))
            return
        self._tear_down_for(item)
        chain = item.listchain()
        keep = min(question.keep, len(chain) - 1)
        parent: Any = chain[keep - 1]
        after = Placeholder.from_parent(parent, name="gilprobe-placeholder") if keep > 0 else None
        self._errors.clear()
        self._closed, self._states = None, [leftovers.state()]
        self._caller.fresh, self._caller.awaited, self._caller.refused = question.fresh, question.awaited, None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        self._placeholder = after
        error = "\n".join(self._errors) or None
        self._errors.clear()
        self.say(self._not_opened(error) if self._closed is None else self._final(self._closed, error))

    def _final(self, closed: Closed, error: str | None) -> Closed:
        """Complete the answer to `Close` with what is known only after the tear-down."""
        outgrown = self._use_at_start.outgrown_by(leftovers.ResourceUse.now(shared=self.shared))
        spoilt = closed.spoilt or outgrown or error is not None
        left = leftovers.still_changed(closed.left, *self._states)  # fixtures undo much of what tests change
        return replace(closed, error=error, left=left, spoilt=spoilt, gil_switched_on_by=self._switched_on_by.names)

    def _not_opened(self, error: str | None) -> Failed:
        why = error or "the test did not get as far as its call"
        self._tear_down_for(None)  # pytest keeps the failure of a fixture as long as the fixture's collector is set up
        self._errors.clear()
        if refused := self._caller.refused:
            return Failed(error=refused)
        return Failed(error=f"{why}\n{FORKED}" if self._spec.forked else why)

    def _tear_down_for(self, following: pytest.Item | None) -> None:
        """Have pytest tear down what the test before does not share with ``following``."""
        placeholder, self._placeholder = self._placeholder, None
        if placeholder is not None:
            placeholder.config.hook.pytest_runtest_protocol(item=placeholder, nextitem=following)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the error text of a test's set-up, call or tear-down that failed or was skipped."""
        if report.failed or report.skipped:
            self._errors.append(f"{report.outcome} in {report.when}: {report.longreprtext}")

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_timeout_set_timer(self) -> bool:
        """Return ``True``, so that pytest-timeout sets no timer: pytest's own process limits the time of calls."""
        return True

    def serve_batches(self, work: Workload) -> None:
        """Answer questions of pytest's own process about the test of ``work`` until that process closes the test.

        Timers of this process (``signal.setitimer``, ``signal.alarm``) are stopped meanwhile.
        """
        with paused_timers():
            test = answers.OpenTest(work, self._strategies, self._errors, shared=self.shared)
            self._closed = Closed()
            self._states.append(test.state)
            self.say(test.opened)
            while True:
                match self._next_question():
                    case Close():
                        self._closed = Closed(left=test.close(), spoilt=test.spoilt)
                        return
                    case Stop():
                        self._end(0)
                    case question:
                        self.say(test.answer(question))

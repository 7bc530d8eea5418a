"""The child: a pytest session of its own that serves batches instead of running tests.

`serve` is the entry point of a worker process. It runs the parent's command line again, so the same plugins, conftest
files and ini file are in force and the same node ids exist, but collects only the files that hold marked tests. Then
it waits for questions. A test is set up and torn down by pytest's own protocol; in between,
`Server.pytest_pyfunc_call` takes the place of the call and answers questions about batches until the parent says
`Close`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_gilprobe import host
from pytest_gilprobe.gil.heartbeat import Heartbeat
from pytest_gilprobe.gil.locate import locate
from pytest_gilprobe.gil.switch import Culprits
from pytest_gilprobe.options import INSIDE_WORKER
from pytest_gilprobe.originals import paused_timers
from pytest_gilprobe.workers import batch, control, handout, leftovers, shipping, workload
from pytest_gilprobe.workers.caller import Caller
from pytest_gilprobe.workers.collection import Collection
from pytest_gilprobe.workers.last_words import users_part
from pytest_gilprobe.workers.ownership import (
    CHANNEL_LOST,
    be_first_to_go,
    die_with_parent,
    end,
    leave_the_terminal,
    write_stacks_when_asked,
)
from pytest_gilprobe.workers.protocol import (
    Answer,
    Batch,
    Close,
    Closed,
    Control,
    Done,
    Failed,
    HandOut,
    Open,
    Opened,
    Question,
    Ready,
    Ship,
    Stop,
    Unable,
    WorkerSpec,
)

if TYPE_CHECKING:
    import warnings
    from collections.abc import Callable, Generator
    from multiprocessing.connection import Connection

FORKED = (
    "(A forked worker begins with all that the session and its plugins have changed in pytest's own process; with "
    "--gilprobe-start-method=spawn it begins afresh.)"
)
"""What may help where a test cannot be set up again: pytest-django's guard of the database, say."""


def serve(channel: Connection, lifeline: Connection, parents_ends: tuple[Any, ...], spec: WorkerSpec) -> None:
    """Run a worker until it is told to stop or its parent is gone.

    ``lifeline`` is a pipe that only the parent can write to and never does: its end is the parent's end.
    ``parents_ends`` are the parent's connections that a fork inherited and this process must not keep open.
    """
    os.environ[INSIDE_WORKER] = str(os.getpid())  # before anything else: a worker must never start workers
    for connection in parents_ends:
        connection.close()
    with open(Path(spec.folder, "log.txt"), "ab", buffering=0) as log:  # noqa: PTH123 - unbuffered
        die_with_parent(lifeline)
        leave_the_terminal(log.fileno())
        write_stacks_when_asked(log.fileno())
        be_first_to_go()
        os.chdir(spec.working_dir)
        server = Server(channel, spec, log.fileno())
        try:
            code = pytest.main([*spec.arguments, *spec.overrides], plugins=[*spec.plugins, server.collection, server])
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException as error:  # noqa: BLE001 - the parent must hear of it
            os.write(log.fileno(), f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace"))
            end(1)
        server.give_up(int(code))


class Placeholder(pytest.Item):
    """Keeps a test's collectors set up until it is known which test comes next.

    pytest asks for the next test when the one before it starts; here that is decided later. A placeholder is a sibling
    that does nothing: named as the next test it keeps its parents' fixtures alive, and run before the real next one it
    has pytest tear down what that one does not need.
    """

    def runtest(self) -> None:
        """Do nothing."""

    def reportinfo(self) -> tuple[Path, None, str]:
        """Name itself."""
        return self.path, None, self.name


class Loop:
    """Takes the place of the run of all tests; registered last, so that it comes before a plugin that owns it."""

    def __init__(self, serve_tests: Callable[[pytest.Session], NoReturn]) -> None:
        """Have tests served by ``serve_tests``."""
        self._serve_tests = serve_tests

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Serve; never returns."""
        self._serve_tests(session)


class Server:
    """The worker's plugin, beside its collection: answers questions, and keeps what went wrong in the test at hand."""

    def __init__(self, channel: Connection, spec: WorkerSpec, log: int) -> None:
        """Serve on ``channel``; ``log`` is the file descriptor of the log."""
        self._channel = channel
        self._spec = spec
        self._log = log
        self._kept: pytest.Item | None = None
        self.collection = Collection(spec)
        self._errors = self.collection.errors
        self._uncollected = ""
        self._serving = False
        self._opened = False
        self._left: tuple[str, ...] = ()
        self._spoilt = False
        self._pid = host.getpid()
        self._burden = leftovers.Burden.now()
        self._culprits = Culprits(spec.gil_switched_on_by if host.gil_enabled() else ())

    def say(self, answer: Answer) -> None:
        """Answer the parent; end this process if there is none, or if it is a copy that the workload forked."""
        if host.getpid() != self._pid:
            end(0)
        try:
            self._channel.send(answer)
        except (OSError, ValueError):
            end(CHANNEL_LOST)

    def give_up(self, code: int) -> NoReturn:
        """Tell the parent why this worker's pytest session came to an end: before it served, or in a test."""
        why = "\n".join(self._errors)
        for stream in (sys.stdout, sys.stderr):  # pytest's own words are in there, and the parent reads the log
            with contextlib.suppress(Exception):
                stream.flush()
        when = "in the middle of a test" if self._serving else "before it could serve"
        said = f"its pytest session ended with exit status {code} {when}" + (f":\n{why}" if why else "")
        if self._serving:  # no answer, but the worker's end: there is none to ask any more
            with contextlib.suppress(OSError):
                os.write(self._log, said.encode("utf-8", "backslashreplace"))
        else:
            self.say(Failed(error=said))
        end(1)

    def _hear(self) -> Question:
        try:
            question: Question = self._channel.recv()
        except (OSError, EOFError):
            end(1)
        return question

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr: object, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Remember why pytest, a plugin or a conftest file gave up; once tests are served, without pytest's frames."""
        self._errors.append(f"{excinfo.typename}: {excinfo.value}" if self._serving else str(excrepr))

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Remember who wanted the session to end: `pytest.exit`, a `KeyboardInterrupt` of the test's own."""
        self._errors.append(batch.describe(excinfo.value.with_traceback(users_part(excinfo.tb))))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> Generator[None, None, None]:
        """End here: a session that did not come to serving has nothing to write and no summary to print."""
        self.give_up(int(exitstatus))
        yield

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Serve before any plugin that has a way of its own to run tests."""
        session.config.pluginmanager.register(Loop(self.serve_tests), "gilprobe-loop")

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Hear who switched the GIL on: in conftest files, during collection, in a call."""
        self._culprits.hear(warning_message.message)

    def serve_tests(self, session: pytest.Session) -> NoReturn:
        """Serve in place of running the tests; never returns."""
        session.config.pluginmanager.register(Caller(self.answer_batches), "gilprobe-caller")
        self._to_log_only_faults()
        self._serving = True
        self._uncollected = "\n".join(self._errors)
        self._errors.clear()
        self._burden = leftovers.Burden.now()
        gc.collect()
        # pytest's own objects, many times the workload's, would be scanned by each full collection that a call starts
        gc.freeze()
        found = locate()
        self.say(
            Ready(
                pid=os.getpid(),
                nodeids=frozenset(self.collection.items),
                gil_address=found.address,
                gil_reason=found.reason,
                gil_enabled=host.gil_enabled(),
                gil_switched_on_by=self._culprits.names,
            )
        )
        while True:
            match self._hear():
                case Open() as question:
                    self._open(question)
                case Control() as asked:
                    self.say(self._run(lambda: _run_control(asked)))
                case HandOut() as question:
                    self.say(self._run(lambda asked=question: handout.measure(asked)))
                case Stop():
                    self._let_go(None)
                    end(0)
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

    @staticmethod
    def _run(question: Any) -> Answer:
        try:
            answer: Answer = question()
        except batch.WorkloadError as error:
            return Failed(error=str(error))
        except batch.NoThreadError as error:
            return Unable(error=str(error))
        except Exception as error:  # noqa: BLE001 - the parent must hear of it
            return Failed(error=batch.describe(error))
        return answer

    # One test

    def _open(self, question: Open) -> None:
        """Run one test's protocol; its call phase serves batches."""
        item = self.collection.items.get(question.nodeid)
        if item is None:
            why = self._uncollected or "its pytest session found no such test"
            self.say(Failed(error=f"a worker process did not collect {question.nodeid}: {why}"))
            return
        self._let_go(item)
        chain = item.listchain()
        keep = min(question.keep, len(chain) - 1)
        parent: Any = chain[keep - 1]
        after = Placeholder.from_parent(parent, name="gilprobe-placeholder") if keep > 0 else None
        self._errors.clear()
        self._opened = self._spoilt = False
        self._left = ()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        self._kept = after
        error = "\n".join(self._errors) or None
        self._errors.clear()
        if self._opened:
            grown = self._burden.too_much(leftovers.Burden.now())
            spoilt = self._spoilt or bool(grown) or error is not None
            self.say(Closed(error=error, left=self._left, spoilt=spoilt, gil_switched_on_by=self._culprits.names))
        else:
            why = error or "the test did not get as far as its call"
            self._let_go(None)  # pytest keeps the failure of a fixture for as long as the fixture's collector is set up
            self._errors.clear()
            self.say(Failed(error=f"{why}\n{FORKED}" if self._spec.forked else why))

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

    def answer_batches(self, work: workload.Workload) -> None:
        """Serve the open test until `Close`; a timer that its set-up started stands still meanwhile."""
        with paused_timers():
            self._answer_batches(work)

    def _answer_batches(self, work: workload.Workload) -> None:
        self._opened = True
        self.say(
            Opened(
                unsafe_in_threads=workload.unsafe_in_threads(work),
                tracers=host.tracers(),
                callee=workload.callee(work),
                given=work.given is not None,
            )
        )
        before, company = leftovers.state(), leftovers.Company.now()
        kept: list[Any] = []
        while True:
            match self._hear():
                case Batch() as question:
                    kept.clear()
                    answer = self._checked(self._run(lambda asked=question: _run_batch(work, asked, kept)), company)
                    self._spoilt = self._spoilt or isinstance(answer, Failed)
                    self.say(answer)
                case Control() as question:
                    self.say(self._run(lambda asked=question: _run_control(asked)))
                case Ship() if work.given is not None:
                    given = work.given
                    self.say(self._run(lambda one=given: shipping.measure(one, kept.pop() if kept else one.call())))
                case Close():
                    self._left = leftovers.restore(before, before.changed(leftovers.state()))
                    return
                case Stop():
                    end(0)
                case other:
                    self.say(Failed(error=f"a test is open, asked for {type(other).__name__}"))

    def _checked(self, answer: Answer, company: leftovers.Company) -> Answer:
        """Let an answer pass if the batch left nothing that makes its readings, or the next ones, worthless."""
        if not isinstance(answer, Done):
            return answer
        if self._errors:
            return Failed(error="\n".join(self._errors))
        why = company.disturbs()
        return answer if why is None else Failed(error=why)


def _run_control(question: Control) -> Done:
    """Run one batch of the control loop."""
    return Done(reading=batch.run_serial(control.loop, question.calls, question.begin_ns))


def _run_batch(work: workload.Workload, question: Batch, kept: list[Any]) -> Done:
    """Run one batch of the open test, which adds to ``kept`` what is to be kept."""
    if question.heartbeat:
        with Heartbeat() as beat:
            reading = batch.run_serial(work.call, question.calls)
        return Done(reading=reading, heartbeat=beat.trace())
    if question.threads == 1:
        call = (lambda: kept.append(work.call())) if question.keep_result else work.call
        return Done(reading=batch.run_serial(call, question.calls, question.begin_ns))
    lanes = [work.lane(number) for number in range(question.threads)]
    return Done(reading=batch.run_threads(lanes, question.calls))

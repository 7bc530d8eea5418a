"""Answer questions of pytest's own process, in a worker process, about a test from its set-up to its tear-down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from pytest_gilprobe.observe import interpreter
from pytest_gilprobe.observe.heartbeat import Heartbeat
from pytest_gilprobe.workers.burst_messages import BurstsMade, MakeBursts
from pytest_gilprobe.workers.child import (
    batch,
    extensions,
    fixture_sets,
    fresh,
    leftovers,
    pool_trial,
    sharing,
    workload,
)
from pytest_gilprobe.workers.child.argument_watch import ArgumentWatch
from pytest_gilprobe.workers.child.left_body import LeftBody
from pytest_gilprobe.workers.child.machine_answers import answer_of, named, run_control
from pytest_gilprobe.workers.executor_messages import ExecutorStarted, StartExecutor
from pytest_gilprobe.workers.extension_messages import ExtensionsListed, ListExtensions
from pytest_gilprobe.workers.naming import Given
from pytest_gilprobe.workers.pool_messages import PoolsRan, RunPools
from pytest_gilprobe.workers.protocol import (
    Answer,
    ArgumentsCompared,
    Batch,
    CompareArguments,
    Control,
    Done,
    Failed,
    MeasureTransfer,
    Opened,
    Prepare,
    Prepared,
    WatchArguments,
)
from pytest_gilprobe.workers.sharing_messages import SharingSwept, SweepSharing
from pytest_gilprobe.workers.stretch_messages import MachineStretch, Stretch, Stretched

if TYPE_CHECKING:
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.workers.child.workload import Workload


def _refusal(strategy: Strategy, work: Workload) -> str | None:
    try:
        return strategy.refuses(work)
    except Exception as error:  # noqa: BLE001 - one strategy's fault is not the others'
        return f"it could not be asked whether it can be tried: {batch.describe(error)}"


Timed = Batch | MakeBursts | Stretch | SweepSharing
"""The messages in which pytest's own process asks a worker process to make calls and report how long they took."""


class OpenTest:
    """Answers the questions of the parent (pytest's own process) about one test, from its set-up to its tear-down.

    ``opened`` is the message that describes the test to the parent. ``spoilt`` is whether calls have failed, perhaps
    half-way, or have left something behind that spoils readings; then the worker process should be replaced. ``state``
    is the state of the process before the test's calls, such as its environment variables.
    """

    def __init__(
        self, work: Workload, strategies: Mapping[str, Strategy], errors: list[str], *, shared: bool = False
    ) -> None:
        """Prepare to make the calls of ``work``, a test that is set up; ``strategies`` are ways to make them, by name.

        pytest's reports of failures are added to ``errors`` while calls run: a batch (calls timed together) with such
        reports has failed. ``shared`` is whether several subinterpreters share this process.
        """
        self._work = work
        self._strategies = strategies
        self._errors = errors
        self._kept: list[Any] = []
        self._watch: ArgumentWatch | LeftBody | None = None
        self.spoilt = False
        self._fresh = work.fresh
        most_calls = fresh.most_calls(self._fresh, work.home or work.within) if self._fresh is not None else None
        # not for a call that a test gave to the `gilprobe` fixture: the test's body would be left before it
        same_fixtures = self._fresh is None and work.given is None
        may_be_fresh, not_fresh = fixture_sets.may_be_fresh(work.item) if same_fixtures else (False, None)
        self.opened = Opened(
            refused={name: why for name, one in strategies.items() if (why := _refusal(one, work)) is not None},
            tracers=interpreter.tracers(),
            callee=workload.callee(work),
            given=work.given is not None,
            most_calls=most_calls,
            may_be_fresh=may_be_fresh,
            not_fresh=not_fresh,
            after_body=work.inside is not None,
            awaited=work.home is not None,
            loop_hidden=work.home.hidden() if work.home is not None else None,
            events_fd=work.home.events_fd() if work.home is not None else None,
        )
        self.state = leftovers.state()
        """The state of this process before the test's calls."""
        self._shared = shared
        self._note_use()

    def answer(self, question: object) -> Answer:
        """Do what the parent's ``question`` about the test asks for, and return the answer; `Failed` if that fails."""
        match question:
            case Batch() | MakeBursts() | Stretch() | SweepSharing():
                return self._checked(question)
            case Prepare():
                return answer_of(lambda: self._prepared(question.calls))
            case Control() | MachineStretch():
                return run_control(question)
            case WatchArguments() | CompareArguments():
                return self._of_arguments(question)
            case RunPools():
                return self._pooled(question)
            case _:
                return answer_of(lambda: self._of_modules_and_data(question))

    def _of_modules_and_data(self, question: object) -> Answer:
        match question:
            case MeasureTransfer() | StartExecutor() if self._work.given is not None:
                return self._of_given(question)
            case ListExtensions():
                return ExtensionsListed(files=extensions.listed(forked=question.forked))
            case _:
                return Failed(error=f"a test is open, asked for {type(question).__name__}")

    def _of_arguments(self, question: WatchArguments | CompareArguments) -> Answer:
        watch = self._watch
        if isinstance(question, WatchArguments) or watch is None:
            return answer_of(self._watch_arguments)
        answer = answer_of(lambda: ArgumentsCompared(reading=watch.compare()))
        self.spoilt = self.spoilt or watch.failed or not isinstance(answer, ArgumentsCompared)
        return answer

    def _watch_arguments(self) -> Answer:
        work = self._work
        if self._fresh is not None and work.inside is not None:
            self._watch = LeftBody(work, self._fresh, work.inside)
        else:
            self._watch = ArgumentWatch(work)
        return ArgumentsCompared()

    def close(self) -> tuple[str, ...]:
        """Undo what the test's calls changed in this process; return the names of what stays changed.

        A name is for the user, such as ``signal handlers``. First, fixtures made for calls are torn down, and
        executors kept for calls are ended.
        """
        if self._fresh is not None:
            self._fresh.tear_down()
        for held in self._work.held.values():
            held.close()
        return leftovers.restore(self.state)

    def _checked(self, question: Timed) -> Answer:
        """Run a batch, a stretch or a sweep; it has failed, too, if it left something that spoils readings."""
        self._kept.clear()
        answer = answer_of(lambda: self._run_any(question))
        if isinstance(answer, Done | BurstsMade | Stretched | SharingSwept):
            why = "\n".join(self._errors) or self._use.disturbance()
            answer = answer if why is None else Failed(error=why)
        self.spoilt = self.spoilt or isinstance(answer, Failed)
        return answer

    def _of_given(self, question: MeasureTransfer | StartExecutor) -> Answer:
        """Answer what can be asked of a function with its arguments only."""
        if isinstance(question, MeasureTransfer):
            return self._transfer(named(self._strategies, question.strategy))
        named(self._strategies, question.strategy).start(self._work, question)
        self._note_use()
        return ExecutorStarted()

    def _note_use(self) -> None:
        """Note what this process uses now: threads and processes that are there already are no leftovers of calls."""
        self._use = leftovers.ResourceUse.now(shared=self._shared)

    def _pooled(self, question: RunPools) -> Answer:
        """Make a round of calls through real executors."""
        answer = answer_of(lambda: PoolsRan(round=pool_trial.run(self._work, self._strategies, question)))
        self._note_use()
        self.spoilt = self.spoilt or isinstance(answer, Failed)
        return answer

    def _run_any(self, question: Timed) -> Answer:
        match question:
            case Batch():
                return self._with_arguments(question.calls * question.lanes, lambda: self._timed(question))
            case MakeBursts():
                calls = question.calls * (question.lanes + 1) * (question.number + 1)
                strategy = named(self._strategies, question.strategy)
                return self._with_arguments(calls, lambda: BurstsMade(pairs=strategy.bursts(self._work, question)))
            case Stretch():
                return self._stretched(question)
            case SweepSharing():
                return SharingSwept(reading=sharing.sweep(self._work, question))

    def _stretched(self, question: Stretch) -> Answer:
        strategy = named(self._strategies, question.strategy)
        reading = strategy.stretch(self._work, question) if self._fresh is None else None
        if reading is None:
            return Failed(error=f"{question.strategy} cannot run for a set time")
        return Stretched(reading=reading)

    def _transfer(self, strategy: Strategy) -> Answer:
        given = self._work.given
        assert given is not None  # noqa: S101 - asked for a given call only
        if not isinstance(self._fresh, fixture_sets.FixtureSets):
            return strategy.measure_transfer(given, self._result())
        try:
            call = self._fresh.new()  # the values that the test was set up with are torn down
            home = self._work.home
            result = self._work.made(call) if home is None else home.run(cast("Any", call))
            return strategy.measure_transfer(Given(func=call), result)
        finally:
            self._fresh.tear_down()

    def _result(self) -> object:
        return self._kept.pop() if self._kept else self._work.call()

    def _prepared(self, calls: int) -> Answer:
        if self._fresh is not None:
            self._fresh.prepare(calls)
        return Prepared()

    def _with_arguments(self, calls: int, run: Callable[[], Answer]) -> Answer:
        """Run a batch, or several, of ``calls`` calls in all; what each call has of its own is made before."""
        if self._fresh is None:
            return run()
        try:
            self._fresh.prepare(calls)
            return run()
        finally:
            self._fresh.tear_down()

    def _timed(self, question: Batch) -> Done:
        work = self._work
        if question.heartbeat:
            with Heartbeat() as heartbeat:
                reading = work.serial(question.calls)
            return Done(reading=reading, heartbeat=heartbeat.samples())
        if question.time_blocks:
            reading, blocks = work.watched(question.calls)
            return Done(reading=reading, blocks=blocks)
        if question.keep_result:
            work = work.keeping(self._kept)
        return Done(reading=named(self._strategies, question.strategy).run(work, question))

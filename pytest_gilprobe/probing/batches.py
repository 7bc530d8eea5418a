"""Time batches (series of calls) of each strategy and of a fixed Python loop, and sample the GIL meanwhile."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.readings import BatchReading, ControlRound, LoopPass
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.probing.open_test import NotAgain, NotProbed, OpenTest, text_of
from pytest_gilprobe.probing.pace import Pace
from pytest_gilprobe.stats.rounds import gil_was_on
from pytest_gilprobe.verdict import same_call
from pytest_gilprobe.workers.executor_messages import ExecutorStarted, StartExecutor
from pytest_gilprobe.workers.parent.worker import Lost
from pytest_gilprobe.workers.protocol import Control, Done, Failed, Prepare, Prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.probing.budget import Budget
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.workers.parent.group import WorkerGroup
    from pytest_gilprobe.workers.parent.worker import Worker
    from pytest_gilprobe.workers.protocol import Answer, Batch

SAMPLES_PER_BATCH = 300
"""Intended number of samples of the GIL (held or free) in a batch of serial calls. They give the share of time for
which the GIL is held, with a standard error of at most 0.03."""
SAMPLING_S = (0.000_15, 0.005)
"""Shortest and longest mean interval between samples of the GIL in a batch of serial calls, in seconds. At the shortest
interval, sampling uses 20 to 30 % of another core."""
SAMPLING_BESIDE_S = 0.001
"""Mean seconds between samples of the GIL in a batch of parallel calls: sampling then uses about 15 % of one core."""
SAMPLING_PASS_S = 0.0005
"""Mean seconds between samples of the GIL while `Batches.loop_pass` measures how long calls block their event loop:
about 60 samples if a call blocks it for 30 ms."""
HEARTBEAT_S = 0.2
"""Shortest measurement by the heartbeat, in seconds. The heartbeat is a thread that wakes up every 2 ms, and counts
how often it must then wait for the GIL."""
HEAD_START_NS = 3_000_000
"""Nanoseconds from asking several worker processes for calls until the moment at which all of them begin, so that each
has received the request by then."""
PASS_CALLS = 8
"""Fewest calls by which `Batches.loop_pass` measures how long calls block their event loop, if there is time."""
LEAST_PASS_CALLS = 3
"""Fewest calls by which `Batches.loop_pass` measures how long calls block their event loop, if hardly any time is left:
they show whether a long block occurs again. One call is made if this many would take longer than a probe may take."""
MOST_PASS_CALLS = 500
"""Largest number of calls by which `Batches.loop_pass` measures how long calls block their event loop: hardly any
further call would block it for longer."""
CONTROL_S = 0.03
"""Shortest timing, in seconds, of the control: a fixed pure-Python loop that shows how much faster several workers
compute than one."""


LIMIT_SHARE = 0.8
"""Share of the time-out of a batch (timed series of calls) after which a task of an executor counts as lost. The share
is less than 1 so that the worker process can report the loss before the batch times out."""


class Batches:
    """Run batches (timed series of calls) of one test, in the worker processes in which the test is set up."""

    def __init__(
        self, test: OpenTest, group: WorkerGroup, serial: Strategy, control_s: float, timeout_s: float
    ) -> None:
        """Prepare batches of ``test`` in the worker processes of ``group``; ``serial`` is the strategy of serial calls.

        A call of the control (a fixed Python loop) takes about ``control_s`` seconds. A batch counts as hung after
        ``timeout_s`` seconds.
        """
        self._timeout_s = timeout_s
        self._executors: dict[str, Worker] = {}
        self._test = test
        self._group = group
        self._serial = serial
        self._control_calls = max(1, math.ceil(CONTROL_S / control_s))

    def calibrated(self, pace: Pace) -> Pace:
        """Return ``pace`` with the time per call measured anew, by ever longer batches (timed series) of serial calls.

        The last batch takes at least 10 ms or has the most calls that ``pace`` allows. If one call takes 10 ms or more
        according to ``pace``, nothing is measured. Raises `NotProbed` if the test cannot be called again.
        """
        calls = 1
        while (wanted := pace.next_trial(calls)) is not None:
            calls = wanted
            (question,) = self._serial.questions(calls, 1)
            answer = self._group.ask(self._test.workers[0], question)
            if not isinstance(answer, Done):
                raise not_again(self._test, in_a_row(calls), answer)
            pace = pace.renewed(BatchReading(workers=(answer.reading,)))
        return pace

    def serial(self, pace: Pace, *, first: bool) -> tuple[BatchReading, Pace]:
        """Run a batch of serial calls; return its reading, and the pace (time per call) to use from now on.

        ``pace`` says how many calls the batch has. ``first`` is whether it is the probe's first batch: a first batch
        that takes less than half of the intended time is replaced by a longer one, after the time per call has been
        measured anew. Raises `NotProbed` if a batch fails.
        """
        batch = self._serial_once(pace)
        if not first or not pace.was_short(batch):
            return batch, pace
        pace = self.calibrated(pace.renewed(batch))
        return self._serial_once(pace), pace

    def _serial_once(self, pace: Pace) -> BatchReading:
        mean_s = min(max(pace.batch_s / SAMPLES_PER_BATCH, SAMPLING_S[0]), SAMPLING_S[1])
        (question,) = self._serial.questions(pace.calls, 1)
        seen = self._test.seen
        watch_loop = seen.awaited and seen.loop_hidden is None
        answer, samples, why = self._group.ask_sampled(self._test.workers[0], question, mean_s, watch_loop=watch_loop)
        if not isinstance(answer, Done):
            raise not_again(self._test, in_a_row(pace.calls), answer)
        sampled = samples is not None or any(one.serial.gil is not None for one in seen.rounds)
        self._test.seen = replace(seen, gil_unwatched=None if sampled else why)
        return BatchReading(workers=(answer.reading,), gil=samples)

    def parallel(self, strategy: Strategy, pace: Pace, budget: Budget) -> BatchReading | None:
        """Run one batch of a parallel strategy; return ``None`` if it failed: the strategy is then not tried again.

        ``pace`` says how many calls each lane (thread, process ...) makes. The time of a failed batch does not count
        for ``budget``. Raises `NotProbed` if, after a failure, the test is set up in no worker any more.
        """
        started_ns = clocks.perf_counter_ns()
        if strategy.through_executor and (why := self._unstarted(strategy, budget)) is not None:
            self._test.end_with(strategy, why, "starting it")
            self._test.mend(distrusted=self._test.workers[0])
            budget.give_back(started_ns)
            return None
        found = self._asked(strategy, strategy.questions(pace.calls, self._test.seen.workers))
        if isinstance(found, BatchReading):
            return found
        self._test.end_with(strategy, found, f"a batch of {pace.calls} calls")
        if not self._test.apart.leave(strategy):
            in_first = strategy.one_process or strategy.through_executor
            self._test.mend(distrusted=self._test.workers[0] if in_first else None)
        budget.give_back(started_ns)  # what a strategy that hangs costs is not taken from the others' time
        return None

    def _unstarted(self, strategy: Strategy, budget: Budget) -> Answer | Lost | None:
        """Start a strategy's executor, unless it runs in the first worker; return what went wrong, or ``None``."""
        worker = self._test.workers[0]
        if self._executors.get(strategy.name) is worker:
            return None
        question = StartExecutor(
            strategy=strategy.name, lanes=self._test.seen.workers, limit_s=self._timeout_s * LIMIT_SHARE
        )
        with budget.paused():
            answer = self._group.ask(worker, question)
        if not isinstance(answer, ExecutorStarted):
            return answer
        self._executors[strategy.name] = worker
        return None

    def _asked(self, strategy: Strategy, questions: Sequence[Batch]) -> BatchReading | Answer | Lost:
        """Ask as many workers as there are questions; return the batch, or the first answer that is none."""
        samples, looks, workers, group = None, None, self._test.workers_of(strategy), self._test.apart.group(strategy)
        if len(questions) == 1 and strategy.samples_gil:
            worker = workers[0]
            answer, samples, _ = group.ask_sampled(worker, questions[0], SAMPLING_BESIDE_S)
            answers = [answer]
        elif (own_gils := self._test.apart.own_gils(strategy, SAMPLING_BESIDE_S)) is not None:
            with own_gils:
                answers = [group.ask(workers[0], questions[0], watch=own_gils)]
            looks = own_gils.looks()
        else:
            unready = self._prepared(questions) if workers is self._test.workers else None
            if unready is not None:
                return unready
            answers = group.ask_each(_begin_together(workers, questions))
        readings = [answer.reading for answer in answers if isinstance(answer, Done)]
        if len(readings) < len(answers):
            return next(answer for answer in answers if not isinstance(answer, Done))
        apart = not (strategy.one_process or strategy.through_executor)
        return BatchReading(workers=tuple(readings), gil=samples, apart=apart, own_gils=looks)

    def _prepared(self, questions: Sequence[Batch]) -> Answer | Lost | None:
        """Have workers make what each call has of its own, so that they can begin together; return what went wrong."""
        if self._test.most_calls is None:
            return None
        asked = [(worker, Prepare(calls=one.calls)) for worker, one in zip(self._test.workers, questions, strict=False)]
        return next((answer for answer in self._group.ask_each(asked) if not isinstance(answer, Prepared)), None)

    def heartbeat(self, pace: Pace, budget: Budget) -> None:
        """Measure, by a thread that wakes up every 2 ms, for which share of time serial calls hold the GIL.

        This is done once for a test, if the GIL was on and could not be sampled, and if the calls take at most half of
        the time left in ``budget``. ``pace`` says how long a call takes. The reading is stored in ``seen`` of the test.
        """
        seen = self._test.seen
        if seen.gil_unwatched is None or not gil_was_on(seen) or seen.heartbeat is not None or not seen.rounds:
            return
        calls = max(pace.calls, min(pace.most, math.ceil(HEARTBEAT_S / pace.call_s)))
        if pace.call_s * calls > budget.left_s() / 2:
            return
        (question,) = self._serial.questions(calls, 1)
        answer = self._group.ask(self._test.workers[0], replace(question, heartbeat=True))
        if isinstance(answer, Done) and answer.heartbeat is not None:
            heard = BatchReading(workers=(answer.reading,), gil=answer.heartbeat)
            self._test.seen = replace(seen, heartbeat=heard)
        elif isinstance(answer, Lost):
            self._test.mend()

    def loop_pass(self, pace: Pace, budget: Budget) -> None:
        """Measure how long serial calls block their event loop, and store the times in ``seen`` of the test.

        Nothing is done if calls are not awaited in an event loop, or if this was done before. The time that it takes
        does not count for ``budget``. ``pace`` says how long a call takes.
        """
        seen = self._test.seen
        if not seen.awaited or seen.loop_pass is not None or not seen.rounds:
            return
        calls = max(PASS_CALLS, min(pace.calls, MOST_PASS_CALLS))
        least = LEAST_PASS_CALLS if pace.call_s * LEAST_PASS_CALLS <= budget.total_s else 1
        calls = min(calls, pace.most, max(least, math.floor(budget.left_s() / pace.call_s)))
        (question,) = self._serial.questions(calls, 1)
        question = replace(question, time_blocks=True)
        with budget.paused():
            answer, samples, _ = self._group.ask_sampled(
                self._test.workers[0], question, SAMPLING_PASS_S, watch_loop=seen.loop_hidden is None
            )
        if isinstance(answer, Done):
            self._test.seen = replace(seen, loop_pass=LoopPass(blocks=answer.blocks or (), samples=samples))
        elif isinstance(answer, Lost):
            self._test.mend()
        else:
            self._test.seen = replace(seen, loop_pass=LoopPass(blocks=()))

    def control(self) -> ControlRound | None:
        """Time the control (a fixed Python loop) in one worker, then in all at once; ``None`` if that failed."""
        workers = self._group.ready(self._test.seen.workers)
        return None if isinstance(workers, Lost) else control_round(self._group, workers, self._control_calls)


def control_round(group: WorkerGroup, workers: Sequence[Worker], calls: int) -> ControlRound | None:
    """Run the control (a fixed Python loop) ``calls`` times in one worker, then in all; ``None`` if that fails."""
    alone = group.ask(workers[0], Control(calls=calls))
    if not isinstance(alone, Done):
        return None
    together = group.ask_all(workers, Control(calls=calls, begin_ns=shortly()))
    readings = [answer.reading for answer in together if isinstance(answer, Done)]
    if len(readings) < len(together):
        return None
    return ControlRound(alone=BatchReading(workers=(alone.reading,)), together=BatchReading(workers=tuple(readings)))


def _begin_together(workers: Sequence[Worker], questions: Sequence[Batch]) -> list[tuple[Worker, Batch]]:
    begin_ns = shortly() if len(questions) > 1 else 0
    pairs = zip(workers[: len(questions)], questions, strict=True)
    return [(worker, replace(one, begin_ns=begin_ns, first_lane=at)) for at, (worker, one) in enumerate(pairs)]


def shortly() -> int:
    """Return a moment, on the clock `time.perf_counter_ns`, at which workers that are asked now can begin together."""
    return clocks.perf_counter_ns() + HEAD_START_NS


def span_s(batch: BatchReading) -> float:
    """Return a batch's wall time in seconds, from the first start to the last end of a lane (thread, process ...)."""
    return (max(lane.end_ns for lane in batch.lanes) - min(lane.start_ns for lane in batch.lanes)) / 1e9


def in_a_row(calls: int) -> str:
    """Return the phrase for ``calls`` calls back to back, such as ``3 times in a row``; ``once more`` for one call."""
    return f"{calls} times in a row" if calls > 1 else "once more"


def not_again(test: OpenTest, how: str, answer: Answer | Lost) -> NotProbed:
    """Return the exception for a test that passed once, but failed when it was called again.

    ``how`` says how it was called, such as ``3 times in a row``. ``answer`` is the worker's answer, which tells of the
    failure; if the worker was lost, ``test`` records that serial calls failed.
    """
    if isinstance(answer, Lost):
        test.end_serial(answer, f"called {how}")
    changed = same_call.why_not_again(test.seen, lost=isinstance(answer, Lost))
    reason = f"it passed once, but not when called {how}: {text_of(answer)}{changed}"
    return NotAgain(reason, text_of(answer)) if isinstance(answer, Failed) else NotProbed(reason)

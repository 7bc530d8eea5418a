"""Workers that only pretend: a clock that moves when a batch says so, and a pool whose workers answer by a script."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.config import Expectation, Plan
from pytest_gilprobe.model import BatchReading, Outcome, Strategy, ThreadReading
from pytest_gilprobe.workers.protocol import (
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
    Ready,
)
from pytest_gilprobe.workers.stuck import Stuck
from pytest_gilprobe.workers.worker import Lost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_gilprobe.model import GilTrace

NODEID = "test_it.py::test_it"
WATCHED_NOT = "nobody watches here"


def plan(**changes: Any) -> Plan:
    """Make a plan for two workers and 5 s."""
    usual = Plan(
        nodeid=NODEID,
        workers=2,
        max_time_s=5.0,
        timeout_s=60.0,
        strategies=frozenset(Strategy),
        expectation=Expectation(),
    )
    return replace(usual, **changes)


@dataclass(slots=True)
class Clock:
    """Time that passes only when told."""

    now_ns: int = 1_000_000_000

    def read_ns(self) -> int:
        return self.now_ns

    def pass_s(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What one call of the pretended workload takes.

    ``busy`` is its share of CPU time; ``threads`` and ``processes`` are the speed-ups of as many as there are workers;
    ``first_s`` is what the first call in each worker takes more.
    """

    call_s: float = 0.02
    busy: float = 1.0
    threads: float = 1.0
    processes: float = 2.0
    first_s: float = 0.0
    gil_enabled: bool = True


class FakeWorker:
    """A worker as the schedule sees it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.alive = True
        self.start_up_s: float | None = 0.2
        self.ready: Ready | None = Ready(
            pid=number, nodeids=frozenset({NODEID}), gil_address=None, gil_reason=WATCHED_NOT, gil_enabled=True
        )
        self.is_open = False
        self.calls = 0


@dataclass(slots=True)
class FakePool:
    """A pool of such workers. ``script`` may answer a question in a worker's place, or return None to let it."""

    behaviour: Behaviour = Behaviour()
    clock: Clock = field(default_factory=Clock)
    script: Callable[[FakeWorker, Any, int], Any] = lambda *_: None
    start_method: str = "spawn"
    workers: list[FakeWorker] = field(default_factory=list)
    started: int = 0
    asked: list[tuple[Any, int]] = field(default_factory=list)
    refuses: Lost | None = None
    stuck: Stuck = field(default_factory=Stuck)

    def ready(self, count: int) -> list[FakeWorker] | Lost:
        if self.refuses is not None:
            return self.refuses
        while len(self.workers) < count:
            self.started += 1
            self.workers.append(FakeWorker(self.started))
        return self.workers[:count]

    def ask(self, worker: FakeWorker, question: Any) -> Any:
        return self.ask_all([worker], question)[0]

    def ask_all(self, workers: Sequence[FakeWorker], question: Any) -> list[Any]:
        return self.ask_each([(worker, question) for worker in workers])

    def ask_each(self, asked: Sequence[tuple[FakeWorker, Any]]) -> list[Any]:
        self.asked.append((asked[0][1] if asked else None, len(asked)))
        before = self.clock.now_ns
        answers, latest = [], before
        for worker, question in asked:
            self.clock.now_ns = before
            answers.append(self._answer(worker, question, len(asked)))
            latest = max(latest, self.clock.now_ns)
        self.clock.now_ns = latest
        return answers

    def ask_watched(
        self, worker: FakeWorker, question: Any, mean_interval_s: float
    ) -> tuple[Any, GilTrace | None, str | None]:
        assert mean_interval_s > 0
        return self.ask(worker, question), None, WATCHED_NOT

    def discard(self, worker: FakeWorker) -> None:
        worker.alive = False
        if worker in self.workers:
            self.workers.remove(worker)

    retire = discard

    def batches(self) -> list[tuple[int, int, int]]:
        """List the batches asked for: calls, threads, workers."""
        return [(asked.calls, asked.threads, count) for asked, count in self.asked if isinstance(asked, Batch)]

    def _answer(self, worker: FakeWorker, question: Any, together: int) -> Any:
        assert worker.alive, "a worker that is gone was asked"
        scripted = self.script(worker, question, together)
        if isinstance(scripted, Lost):
            self.discard(worker)
        if scripted is not None:
            return scripted
        match question:
            case Open():
                assert not worker.is_open
                worker.is_open = True
                return Opened()
            case Close():
                assert worker.is_open
                worker.is_open = False
                return Closed()
            case Batch():
                assert worker.is_open
                return self._batch(worker, question, together)
            case Control(calls=calls):
                return Done(reading=self._reading(calls * 0.001 * (together / 2 if together > 1 else 1), calls, 1, 1.0))
            case HandOut(strategy=strategy):
                return HandedOut(task_s=1e-5 if strategy is Strategy.THREADS else 1e-4, start_up_s=0.1)
        raise AssertionError(question)

    def _batch(self, worker: FakeWorker, question: Batch, together: int) -> Done:
        how = self.behaviour
        slower = (
            question.threads / how.threads if question.threads > 1 else together / how.processes if together > 1 else 1
        )
        extra = 0.0 if worker.calls else how.first_s
        worker.calls += question.calls
        busy = min(1.0, how.busy / slower)
        return Done(
            reading=self._reading(question.calls * how.call_s * slower + extra, question.calls, question.threads, busy)
        )

    def _reading(self, wall_s: float, calls: int, threads: int, busy: float) -> BatchReading:
        start = self.clock.now_ns
        self.clock.pass_s(wall_s)
        each = ThreadReading(
            calls=calls,
            start_ns=start,
            end_ns=self.clock.now_ns,
            cpu_ns=round(wall_s * busy * 1e9),
            run_queue_ns=0,
        )
        return BatchReading(
            threads=(each,) * threads,
            process_cpu_ns=each.cpu_ns * threads,
            peak_rss_bytes=50_000_000,
            gil_enabled=self.behaviour.gil_enabled,
        )


def failed(_: FakeWorker, __: Any, ___: int) -> Failed:
    """Answer anything with a failure."""
    return Failed(error="ValueError: no")


def lost(outcome: Outcome = Outcome.HUNG) -> Lost:
    """Make the answer of a worker that is gone."""
    return Lost(outcome=outcome, error="it is gone")

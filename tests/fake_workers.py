"""Simulated workers: a clock that moves only when a batch says so, and a group whose workers answer by a script."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model.executors import TaskSeries
from pytest_gilprobe.model.ladder import StretchReading
from pytest_gilprobe.model.pools import PoolRound
from pytest_gilprobe.model.readings import LaneReading, WorkerReading
from pytest_gilprobe.model.results import Callee
from pytest_gilprobe.model.settings import Expectation, Plan
from pytest_gilprobe.model.sharing import SharingReading
from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.workers.burst_messages import BurstPair, BurstsMade, MakeBursts
from pytest_gilprobe.workers.executor_messages import DispatchMeasured, MeasureDispatch
from pytest_gilprobe.workers.parent.hung_fixtures import HungFixtures
from pytest_gilprobe.workers.parent.worker import Lost
from pytest_gilprobe.workers.pool_messages import PoolsRan, RunPools
from pytest_gilprobe.workers.protocol import (
    ArgumentsCompared,
    Batch,
    Close,
    Closed,
    CompareArguments,
    Control,
    Done,
    Failed,
    Open,
    Opened,
    Ready,
    WatchArguments,
)
from pytest_gilprobe.workers.sharing_messages import SharingSwept, SweepSharing
from pytest_gilprobe.workers.stretch_messages import MachineStretch, Stretch, Stretched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_gilprobe.model.readings import GilSamples

NODEID = "test_it.py::test_it"
WATCHED_NOT = "simulated workers have no GIL to sample"
FRAMES_NOT = "simulated workers have no frames"
STRATEGIES = ("serial", "threads", "processes")
TASK_S = {"threads": 1e-5, "processes": 1e-4}
"""What dispatching a task costs here, in seconds, by the strategy's name."""


def plan(**changes: Any) -> Plan:
    """Make a plan for two workers, every built-in strategy and 5 s."""
    usual = Plan(
        nodeid=NODEID,
        workers=2,
        max_time_s=5.0,
        timeout_s=60.0,
        strategies=frozenset(STRATEGIES),
        expectation=Expectation(),
    )
    return replace(usual, **changes)


@dataclass(slots=True)
class Clock:
    """A clock that stands still until `pass_s` moves it."""

    now_ns: int = 1_000_000_000

    def read_ns(self) -> int:
        return self.now_ns

    def pass_s(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What one call of the simulated workload takes.

    ``busy`` is its share of CPU time; ``gains`` are the speed-ups of all lanes together, by the strategy's name (a
    strategy that is not there scales perfectly); ``first_s`` is by how much the first call in each worker is longer.
    """

    call_s: float = 0.02
    busy: float = 1.0
    gains: Mapping[str, float] = field(default_factory=lambda: {"threads": 1.0, "processes": 2.0})
    first_s: float = 0.0
    queued: float = 0.0
    gil_enabled: bool = True
    law: Callable[[int], float] | None = None
    """Throughput of so many lanes in calls per second, of stretches; by default each lane adds the same."""


class FakeWorker:
    """A worker as the schedule sees it."""

    def __init__(self, number: int, *, gil_enabled: bool = True) -> None:
        self.number = number
        self.alive = True
        self.start_up_s: float | None = 0.2
        self.ready: Ready | None = Ready(
            pid=number,
            nodeids=frozenset({NODEID}),
            gil_address=None,
            gil_reason=WATCHED_NOT,
            gil_enabled=gil_enabled,
            frames_reason=FRAMES_NOT,
        )
        self.lanes_ready_s: float | None = None
        self.is_open = False
        self.lanes = 0
        self.calls = 0


@dataclass(slots=True)
class FakeGroup:
    """A group of such workers. ``script`` may answer a question in a worker's place, or return None to let it."""

    behaviour: Behaviour = Behaviour()
    clock: Clock = field(default_factory=Clock)
    script: Callable[[FakeWorker, Any, int], Any] = lambda *_: None
    start_method: str = "spawn"
    workers: list[FakeWorker] = field(default_factory=list)
    started: int = 0
    asked: list[tuple[Any, int]] = field(default_factory=list)
    refuses: Lost | None = None
    hung_fixtures: HungFixtures = field(default_factory=HungFixtures)
    script_apart: Callable[[FakeWorker, Any, int], Any] = lambda *_: None
    groups: dict[str, FakeGroup] = field(default_factory=dict)
    callee: Callee | None = None
    place: int = 0

    def apart(self, name: str, main: Any) -> FakeGroup:
        assert callable(main)
        return self.groups.setdefault(
            name, FakeGroup(behaviour=self.behaviour, clock=self.clock, script=self.script_apart)
        )

    def ready(self, count: int) -> list[FakeWorker] | Lost:
        if self.refuses is not None:
            return self.refuses
        while len(self.workers) < count:
            self.started += 1
            self.workers.append(FakeWorker(self.started, gil_enabled=self.behaviour.gil_enabled))
        return self.workers[:count]

    def ask(self, worker: FakeWorker, question: Any, timeout_s: float | None = None, watch: Any = None) -> Any:
        assert watch is None or hasattr(watch, "sample_until")
        return self.ask_each([(worker, question)], timeout_s)[0]

    def ask_all(self, workers: Sequence[FakeWorker], question: Any) -> list[Any]:
        return self.ask_each([(worker, question) for worker in workers])

    def ask_each(self, asked: Sequence[tuple[FakeWorker, Any]], timeout_s: float | None = None) -> list[Any]:
        assert timeout_s is None or timeout_s > 0
        self.asked.append((asked[0][1] if asked else None, len(asked)))
        before = self.clock.now_ns
        answers, latest = [], before
        for self.place, (worker, question) in enumerate(asked):
            self.clock.now_ns = before
            answers.append(self._answer(worker, question, len(asked)))
            latest = max(latest, self.clock.now_ns)
        self.clock.now_ns = latest
        return answers

    def ask_sampled(
        self,
        worker: FakeWorker,
        question: Any,
        mean_s: float,
        *,
        watch_loop: bool = False,
    ) -> tuple[Any, GilSamples | None, str | None]:
        assert mean_s > 0
        assert not watch_loop, "no call of a simulated worker is awaited"
        return self.ask(worker, question), None, WATCHED_NOT

    def discard(self, worker: FakeWorker) -> None:
        worker.alive = False
        if worker in self.workers:
            self.workers.remove(worker)

    retire = discard

    def batches(self) -> list[tuple[int, int, int]]:
        """List the batches asked for: calls, lanes of a worker, workers."""
        return [(asked.calls, asked.lanes, count) for asked, count in self.asked if isinstance(asked, Batch)]

    def _answer(self, worker: FakeWorker, question: Any, together: int) -> Any:
        assert worker.alive, "a worker that is gone was asked"
        scripted = self.script(worker, question, together)
        if isinstance(scripted, Lost):
            self.discard(worker)
        if scripted is None:
            scripted = self._of_arguments_and_pools(worker, question)
        if scripted is not None:
            return scripted
        match question:
            case Open(lanes=lanes):
                assert not worker.is_open or lanes > worker.lanes > 0
                worker.is_open, worker.lanes = True, lanes
                return Opened(callee=self.callee, lane_start_up_s=0.25)
            case Close():
                assert worker.is_open
                worker.is_open = False
                return Closed()
            case Batch() | Stretch():
                return self._calls(worker, question, max(question.lanes, together))
            case Control(calls=calls):
                return Done(reading=self._reading(calls * 0.001 * (together / 2 if together > 1 else 1), calls, 1, 1.0))
            case MeasureDispatch(strategy=strategy):
                return DispatchMeasured(task_s=TASK_S.get(strategy, 1e-4), start_up_s=0.1)
        raise AssertionError(question)

    def _of_arguments_and_pools(self, worker: FakeWorker, question: Any) -> Any:
        match question:
            case WatchArguments() | CompareArguments():
                found: Any = ArgumentsCompared()
            case SweepSharing(lanes=lanes):
                found = SharingSwept(reading=SharingReading(lanes=lanes))
            case RunPools():
                found = self._pools(question)
            case MakeBursts():
                found = self._bursts(question)
            case MachineStretch(lanes=lanes):
                found = self._spaced(question, 1, lanes, lanes / 0.000_5)
            case _:
                return None
        assert worker.is_open
        return found

    def _calls(self, worker: FakeWorker, question: Batch | Stretch, width: int) -> Done | Stretched:
        assert worker.is_open
        if isinstance(question, Batch):
            return self._batch(worker, question, width)
        return self._stretch(question, width)

    def _batch(self, worker: FakeWorker, question: Batch, width: int) -> Done:
        how = self.behaviour
        slower = width / how.gains.get(question.strategy, width) if width > 1 else 1.0
        extra_s = 0.0 if worker.calls else how.first_s
        worker.calls += question.calls
        wall_s = question.calls * how.call_s * slower + extra_s
        return Done(reading=self._reading(wall_s, question.calls, question.lanes, min(1.0, how.busy / slower)))

    def _bursts(self, question: MakeBursts) -> BurstsMade:
        how, pairs = self.behaviour, []
        slower = question.lanes / how.gains.get(question.strategy, question.lanes)
        alone_s = question.calls * how.call_s
        for _ in range(question.number):
            alone = self._reading(alone_s, question.calls, 1, how.busy)
            together = self._reading(alone_s * slower, question.calls, question.lanes, how.busy / slower)
            pairs.append(BurstPair(alone=alone, together=together))
        return BurstsMade(pairs=tuple(pairs))

    def _stretch(self, question: Stretch, width: int) -> Stretched:
        """Space the marks of each lane evenly, and begin the lanes one after the other."""
        how = self.behaviour
        rate = width / how.call_s if how.law is None else how.law(width)
        return self._spaced(question, question.calls_per_mark, width, rate, self.place)

    def _spaced(
        self, question: Stretch | MachineStretch, calls_per_mark: int, width: int, rate: float, before: int = 0
    ) -> Stretched:
        apart_ns = calls_per_mark * width / rate * 1e9
        marks = []
        for number in range(question.lanes):
            at = question.begin_ns + apart_ns * (1 + (number + before) / width)
            lane = [round(at)]
            while lane[-1] < question.until_ns:
                at += apart_ns
                lane.append(round(at))
            marks.append(tuple(lane))
        self.clock.now_ns = max(self.clock.now_ns, *(lane[-1] for lane in marks))
        return Stretched(
            reading=StretchReading(marks_ns=tuple(marks), queued_ns=0, process_cpu_ns=0, peak_rss_bytes=50_000_000)
        )

    def _pools(self, question: RunPools) -> PoolsRan:
        """Run a round in executors: bare calls, or what dispatching them takes if that is longer."""
        how, tasks = self.behaviour, question.calls * question.workers
        alone_s = question.calls * how.call_s
        pooled = {}
        for name in question.strategies:
            wall_s = tasks * max(how.call_s / how.gains.get(name, question.workers), TASK_S[name])
            pooled[name] = TaskSeries(tasks=tasks, calls_per_task=1, wall_ns=round(wall_s * 1e9))
            self.clock.pass_s(wall_s)
        self.clock.pass_s(alone_s)
        alone = TaskSeries(tasks=question.calls, calls_per_task=1, wall_ns=round(alone_s * 1e9))
        return PoolsRan(round=PoolRound(alone=alone, pooled=pooled, cpus_ns=100, cpus_idle_ns=0, own_cpu_ns=100))

    def _reading(self, wall_s: float, calls: int, lanes: int, busy: float) -> WorkerReading:
        start = self.clock.now_ns
        self.clock.pass_s(wall_s)
        each = LaneReading(
            calls=calls,
            start_ns=start,
            end_ns=self.clock.now_ns,
            cpu_ns=round(wall_s * busy * 1e9),
            run_queue_ns=round(wall_s * self.behaviour.queued * 1e9) if lanes > 1 else 0,
        )
        return WorkerReading(
            lanes=(each,) * lanes,
            process_cpu_ns=each.cpu_ns * lanes,
            peak_rss_bytes=50_000_000,
            gil_enabled=self.behaviour.gil_enabled,
        )


def failed(_: FakeWorker, __: Any, ___: int) -> Failed:
    """Answer anything with a failure."""
    return Failed(error="ValueError: no")


def lost(outcome: Outcome = Outcome.HUNG) -> Lost:
    """Make the answer of a worker that is gone."""
    return Lost(outcome=outcome, error="it is gone")

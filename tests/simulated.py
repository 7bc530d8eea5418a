"""A simulated machine under the real probe: calls of known speed-ups, noise and neighbours, and what comes of them.

Readings and samples of the GIL are drawn, nothing is timed; survey, schedule, statistics, judge and the rule to stop
are the real ones (`pytest_gilprobe.probing.prober.ProbeRunner`). What a call is truly like is in a `Call`, what the
machine does to it in a `Weather`, so that each verdict, and each interval, can be compared with the truth.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import pytest
from fake_workers import TASK_S, FakeGroup, plan

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.executors import TaskSeries
from pytest_gilprobe.model.pools import PoolRound
from pytest_gilprobe.model.readings import GilSamples, LaneReading, WorkerReading
from pytest_gilprobe.model.results import Callee, WorkloadResult
from pytest_gilprobe.model.words import INCONCLUSIVE, GilMethod, Status
from pytest_gilprobe.observe import clocks, machine
from pytest_gilprobe.probing.prober import ProbeRunner
from pytest_gilprobe.probing.survey import Surveyor
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict.rule import rule
from pytest_gilprobe.workers.burst_messages import BurstPair, BurstsMade, MakeBursts
from pytest_gilprobe.workers.pool_messages import PoolsRan, RunPools
from pytest_gilprobe.workers.protocol import Batch, Control, Done

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fake_workers import FakeWorker

    from pytest_gilprobe.workers.parent.group import WorkerGroup

CPUS = 2
NEAR = 1.1
"""A truth within this factor of another may be taken for it: nearer to a threshold than 10 %, both words will do."""
SLICE_S = 0.004
"""How long a neighbour keeps a core at a time: queueing comes in such pieces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What one call is truly like, alone on an idle machine with two CPUs.

    ``used`` is its CPU utilization and ``held`` its GIL-held share, both of ``call_s``; ``threads`` and ``processes``
    the speed-ups of two. ``blocks`` tells whether threads that gain nothing wait (for the GIL or a lock) or compute
    longer, as memory has them do; ``meets`` how often a call of theirs is made to wait. ``helpers`` are cores that
    native threads of the call use beyond its own. ``other`` is a factor by which one call in ``one_in`` takes longer,
    and ``first_s`` what the first call in a process takes more.
    """

    name: str
    call_s: float
    used: float = 1.0
    held: float = 1.0
    threads: float = 1.0
    processes: float = 2.0
    blocks: bool = True
    meets: float = 0.0
    helpers: float = 0.0
    other: float = 1.0
    one_in: int = 2
    first_s: float = 0.0

    @property
    def exclusive(self) -> float:
        """The share of a call for which no other one can run: under the GIL, or a lock where threads gain nothing."""
        return max(self.held, float(self.threads <= 1.0)) if self.blocks else 0.0

    @property
    def mean_s(self) -> float:
        """The mean time of a call, slow ones included."""
        return self.call_s * (1 + (self.other - 1) / self.one_in)

    def pools(self, factor: tuple[float, float] = (1.0, 1.0)) -> dict[str, float]:
        """Tell what pools of two threads and of two processes truly give, their bare speed-ups times so much."""
        gains = {"threads": self.threads * factor[0], "processes": self.processes * factor[1]}
        return {name: min(gain, self.mean_s / TASK_S[name]) for name, gain in gains.items()}

    @property
    def right(self) -> str:
        """The answer."""
        return rule(self.pools())

    @property
    def tolerable(self) -> frozenset[str]:
        """The answers of calls that are within `NEAR` of this one."""
        return frozenset(rule(self.pools((a, b))) for a, b in product((1 / NEAR, 1.0, NEAR), repeat=2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What the machine does: the standard deviation of the logarithm of a batch's time, and how many busy loops run."""

    noise: float
    neighbours: int = 0

    @property
    def name(self) -> str:
        """Its name in a table."""
        loops = f", {self.neighbours} busy loops" if self.neighbours else ""
        return f"noise {self.noise:.0%}{loops}"


CONTROL = Call(name="control", call_s=0.001)


class SimulatedGroup(FakeGroup):
    """Workers whose readings follow from a call, the weather and chance."""

    def __init__(self, call: Call, weather: Weather, chance: random.Random) -> None:
        """Begin with no worker started."""
        super().__init__(start_method="fork", callee=Callee(module="m", name="f"))
        self.call, self.weather, self.chance = call, weather, chance

    def ask_sampled(
        self,
        worker: FakeWorker,
        question: Any,
        mean_s: float,
        *,
        watch_loop: bool = False,
    ) -> tuple[Any, GilSamples | None, str | None]:
        assert not watch_loop
        answer = self.ask(worker, question)
        if not isinstance(answer, Done):
            return answer, None, "no answer"
        return answer, self._looks(answer.reading, mean_s), None

    def _answer(self, worker: FakeWorker, question: Any, together: int) -> Any:
        if isinstance(question, Control):
            return Done(reading=self._reading_of(CONTROL, question.calls, 1, together))
        if isinstance(question, Batch):
            extra_s = 0.0 if worker.calls else self.call.first_s
            worker.calls += question.calls
            return Done(reading=self._reading_of(self.call, question.calls, question.lanes, together, extra_s))
        return super()._answer(worker, question, together)

    def _bursts(self, question: MakeBursts) -> BurstsMade:
        """Draw bursts: short batches, of one lane and of all."""
        pairs = []
        for _ in range(question.number):
            alone = self._reading_of(self.call, question.calls, 1, 1)
            together = self._reading_of(self.call, question.calls, question.lanes, 1)
            pairs.append(BurstPair(alone=alone, together=together))
        return BurstsMade(pairs=tuple(pairs))

    def _pools(self, question: RunPools) -> PoolsRan:
        """Draw a round in executors: bare calls, or what dispatching them takes if that is longer."""
        (alone,) = self._reading_of(self.call, question.calls, 1, 1).lanes
        pooled = {}
        for name in question.strategies:
            lanes, together = (question.workers, 1) if name == "threads" else (1, question.workers)
            reading = self._reading_of(self.call, question.calls, lanes, together)
            wall_ns = max(lane.end_ns - lane.start_ns for lane in reading.lanes)
            tasks = question.calls * question.workers
            wall_ns = max(wall_ns, round(tasks * TASK_S[name] * 1e9))  # one thread dispatches them
            pooled[name] = TaskSeries(tasks=tasks, calls_per_task=1, wall_ns=wall_ns)
        others = min(1.0, self.weather.neighbours / CPUS)
        return PoolsRan(
            round=PoolRound(
                alone=TaskSeries(tasks=alone.calls, calls_per_task=1, wall_ns=alone.end_ns - alone.start_ns),
                pooled=pooled,
                cpus_ns=1000,
                cpus_idle_ns=0,
                own_cpu_ns=round(1000 * (1 - others)),
            )
        )

    def _reading_of(self, call: Call, calls: int, lanes: int, together: int, extra_s: float = 0.0) -> WorkerReading:
        """Draw a batch's reading: of each lane, how long it computes, waits and queues."""
        width = max(lanes, together)
        gain = call.threads if lanes > 1 else call.processes if together > 1 else 1.0
        longer = width / gain if width > 1 else 1.0
        waits_for_others = lanes > 1 and call.blocks
        start_ns = self.clock.now_ns
        # Threads that take turns want one core between them; helpers want theirs; the rest wants one each.
        wanting = (gain if waits_for_others else width) * max(call.used, call.helpers and 1.0) * (1 + call.helpers)
        alone = [self._work_s(call, calls) + extra_s for _ in range(lanes)]
        cpus = [work * call.used * (1.0 if waits_for_others or call.helpers else longer) for work in alone]
        own = max(0.0, wanting - CPUS) / CPUS if call.helpers else 0.0  # helpers queue behind each other
        queues = [self._queued_s(cpu, wanting) + cpu * own for cpu in cpus]
        readings = []
        for work, cpu, queue in zip(alone, cpus, queues, strict=True):
            others = sum(queues) - queue
            turn = others * call.held * self.chance.random() if waits_for_others else 0.0
            # Where threads take turns, each waits for the others' work and queueing, if it does not queue meanwhile.
            beside = (sum(alone) - work) / (lanes - 1) if waits_for_others else work
            stretched = work + (0.0 if call.helpers else beside * (longer - 1))
            wall = stretched + queue + (others * call.exclusive if waits_for_others else 0.0)
            readings.append(self._thread(call, calls, lanes, start_ns, (wall, cpu, queue + turn)))
        self.clock.now_ns = max(reading.end_ns for reading in readings)
        cpu_ns = sum(reading.cpu_ns for reading in readings)
        return WorkerReading(
            lanes=tuple(readings),
            process_cpu_ns=round(cpu_ns * (1 + call.helpers)),
            peak_rss_bytes=50_000_000,
            gil_enabled=True,
        )

    def _thread(
        self, call: Call, calls: int, lanes: int, start_ns: int, spent_s: tuple[float, float, float]
    ) -> LaneReading:
        wall, cpu, queue = spent_s
        return LaneReading(
            calls=calls,
            start_ns=start_ns,
            end_ns=start_ns + max(1, round(wall * 1e9)),
            cpu_ns=round(cpu * 1e9),
            run_queue_ns=round(queue * 1e9),
            waits=round(calls * ((call.used < 0.9) + (call.meets if lanes > 1 else 0.0))),
            preemptions=round(cpu / SLICE_S) if self.weather.neighbours else 0,
        )

    def _work_s(self, call: Call, calls: int) -> float:
        """Draw how long so many calls take in one lane."""
        slow = self._slow_ones(calls, call.one_in) if call.other != 1.0 else 0
        return call.call_s * (calls + slow * (call.other - 1)) * math.exp(self.chance.gauss(0, self.weather.noise))

    def _slow_ones(self, calls: int, one_in: int) -> float:
        if calls <= 30:
            return sum(not self.chance.randrange(one_in) for _ in range(calls))
        share = 1 / one_in
        return min(calls, max(0.0, self.chance.gauss(calls * share, math.sqrt(calls * share * (1 - share)))))

    def _queued_s(self, cpu_s: float, wanting: float) -> float:
        """Draw how long a thread queues for its CPU time: each of those who want a core has it for a slice in turn."""
        if not self.weather.neighbours:
            return 0.0
        waiting = max(0.0, (self.weather.neighbours + max(1.0, wanting)) / CPUS - 1)
        slices = cpu_s / SLICE_S
        whole = int(slices) + (self.chance.random() < slices - int(slices))
        return math.fsum(self.chance.expovariate(1.0) for _ in range(whole)) * SLICE_S * waiting

    def _looks(self, reading: WorkerReading, mean_s: float) -> GilSamples:
        """Draw what a watcher sees; a thread that is pushed off its core goes on holding the GIL if it did."""
        start_ns = min(thread.start_ns for thread in reading.lanes)
        end_ns = max(thread.end_ns for thread in reading.lanes)
        call, lanes = self.call, len(reading.lanes)
        running = min(1.0, call.held * (call.threads if lanes > 1 else 1.0))
        queued = sum(thread.run_queue_ns or 0 for thread in reading.lanes) / lanes / (end_ns - start_ns)
        share = running * (1 - queued) + min(1.0, call.held / max(call.used, 1e-9)) * queued
        moments: list[int] = []
        now_ns = float(start_ns)
        while len(moments) < 2000:
            now_ns += self.chance.expovariate(1 / (mean_s * 1e9))
            if now_ns > end_ns:
                break
            moments.append(round(now_ns))
        return GilSamples(
            method=GilMethod.MEMORY,
            at_ns=tuple(moments),
            held=tuple(self.chance.random() < share for _ in moments),
            late_ns=(0,) * len(moments),
        )


def probe(call: Call, weather: Weather, chance: random.Random, max_time_s: float = 5.0) -> WorkloadResult:
    """Probe a simulated call with everything that is real about a probe."""
    pool = SimulatedGroup(call, weather, chance)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "perf_counter_ns", pool.clock.read_ns)
        patch.setattr(machine, "throttled_s", lambda: None)
        patch.setattr(machine, "usable_cpus", lambda: CPUS)
        real = cast("WorkerGroup", pool)
        prober = ProbeRunner(group=real, surveyor=Surveyor(real), strategies=BUILT_IN, progress=lambda _: None)
        result = prober.probe(plan(max_time_s=max_time_s), keep=0, known_call_s=call.mean_s + call.first_s)
    assert result.status is Status.PROBED, result.reason
    return result


CALLS = (
    Call(name="Python loop", call_s=0.004),
    Call(name="Python loop of 200 ms", call_s=0.2),
    Call(name="Python loop of 5 us", call_s=5e-6),
    Call(name="Python loop of 150 us", call_s=1.5e-4),
    Call(name="hashing", call_s=0.002, held=0.02, threads=1.95, processes=1.95, blocks=False),
    Call(name="sleeping", call_s=0.01, used=0.01, held=0.01, threads=2.0),
    Call(name="half waiting, half Python", call_s=0.01, used=0.5, held=0.5, threads=1.7),
    Call(name="blocks while holding", call_s=0.01, used=0.02, held=0.98, threads=1.0),
    Call(name="one lock", call_s=0.004, held=0.1, threads=1.0, processes=1.95, meets=0.5),
    Call(name="convoy", call_s=0.001, held=0.5, threads=0.6, processes=1.95, meets=0.5),
    Call(name="memory", call_s=0.02, held=0.05, threads=1.15, processes=1.15, blocks=False),
    Call(name="parallel inside", call_s=0.02, held=0.02, threads=1.0, processes=1.0, helpers=1.0, blocks=False),
    Call(name="two durations", call_s=0.06, other=3.0, held=0.02, threads=2.0, processes=2.0, blocks=False),
    Call(name="Python loop of two durations", call_s=0.06, other=3.0),
    Call(name="cache misses", call_s=0.001, other=8.0, one_in=10),
    Call(name="slow first call", call_s=0.002, first_s=0.4, held=0.02, threads=1.95, processes=1.95, blocks=False),
    *(
        Call(name=f"both gain {gain:g}x", call_s=0.01, held=0.1, threads=gain, processes=gain, blocks=False)
        for gain in (1.1, 1.17, 1.25, 1.3, 1.35, 1.45, 1.6)
    ),
    *(
        Call(name=f"processes gain {gain:g}x", call_s=0.01, processes=gain)
        for gain in (1.17, 1.25, 1.3, 1.35, 1.45, 1.6)
    ),
    *(
        Call(name=f"processes {ratio:g} times threads", call_s=0.01, held=0.5, threads=1.5, processes=1.5 * ratio)
        for ratio in (0.9, 1.0, 1.04, 1.1, 1.15, 1.2, 1.27, 1.3)
    ),
)
"""Kinds of calls that are far from any threshold, then rows of calls that come near one from both sides."""
WEATHERS = (
    Weather(noise=0.02),
    Weather(noise=0.05),
    Weather(noise=0.10),
    Weather(noise=0.03, neighbours=1),
    Weather(noise=0.03, neighbours=2),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of one simulated probe."""

    call: Call
    weather: Weather
    result: WorkloadResult

    @property
    def strategy(self) -> str:
        """The answer that was given."""
        return self.result.verdict.strategy

    @property
    def silent(self) -> bool:
        """Whether none was."""
        return self.strategy == INCONCLUSIVE

    @property
    def wrong(self) -> bool:
        """Whether the answer is none of those that the truth, or one within `NEAR` of it, allows."""
        return not self.silent and self.strategy not in self.call.tolerable

    def caught(self) -> Iterator[tuple[str, bool]]:
        """Tell of each interval whether the truth lies in it."""
        serial, call, parts = self.result.serial, self.call, self.result.strategies
        assert serial is not None
        contrast = parts["processes"].over.get("threads")
        claims: tuple[tuple[str, Estimate | None, float], ...] = (
            ("threads", parts["threads"].speedup, call.threads),
            ("processes", parts["processes"].speedup, call.processes),
            ("processes over threads", contrast.ratio if contrast is not None else None, call.processes / call.threads),
            ("CPU utilization", serial.cpu_utilization, call.used),
            ("GIL-held share", self.result.gil.held_fraction, call.held),
        )
        for name, estimate, truth in claims:
            if estimate is not None:
                yield name, estimate.low * (1 - 1e-3) <= truth <= estimate.high * (1 + 1e-3)


def experiments(calls: Sequence[Call], weathers: Sequence[Weather], repeats: int, seed: int) -> Iterator[Found]:
    """Probe every call in every weather so many times; each probe's chance follows from the seed and its place."""
    for call, weather in product(calls, weathers):
        for number in range(repeats):
            chance = random.Random(f"{seed} {call.name} {weather.name} {number}")
            yield Found(call=call, weather=weather, result=probe(call, weather, chance))

"""The schedule: open the test, calibrate, interleave rounds, watch, stop when settled.

A round is one batch of each strategy with the same number of calls per thread; the order rotates. After each round
``settled`` is asked what is still wanted; another round is made only then, and only if it fits into the time left. The
first batch, one call in every worker at once, warms them up; when one call fills a batch and was no slower than later
ones, it already is the first batch in processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_gilprobe import host
from pytest_gilprobe.bench import Bench, NotProbed, text_of
from pytest_gilprobe.model import End, GilTrace, Measurement, Outcome, Round, Sample, Strategy, Wish
from pytest_gilprobe.stats.rounds import gil_was_on, lane_s_per_call
from pytest_gilprobe.workers.protocol import Batch, Control, Done, Ship, Shipped
from pytest_gilprobe.workers.worker import Lost

if TYPE_CHECKING:
    from pytest_gilprobe.config import Plan
    from pytest_gilprobe.model import BatchReading, ThreadReading
    from pytest_gilprobe.workers.pool import Pool
    from pytest_gilprobe.workers.protocol import Answer

BATCH_S = 0.05
"""The least length of a calibrated batch: shorter ones drown in the grain of the run-queue clock."""
CALIBRATED_S = 0.01
"""A batch of this length is long enough to tell how long one call takes."""
SHORT = 0.5
"""A first batch shorter than this share of what was meant is measured again with more calls."""
MOST_ROUNDS = 60
"""More narrow a median by under 1 % each: what is open then, stays open."""
MOST_CALLS = 10_000_000
"""Of an empty call in a batch: 10 million take about 0.2 s."""
LOOKS_PER_BATCH = 300
"""How often the GIL is meant to be looked at in a serial batch: gives a standard error of at most 0.03."""
LOOK_S = (0.000_15, 0.005)
"""Shortest and longest mean time between looks: the shorter costs about 10 % of one other core."""
THREADS_LOOK_S = 0.001
"""In a threads batch every core may be in use, so looks are rarer: about 1.5 % of one core."""
LEAST_CALLS = 2
"""Calls that must fit into the time of a probe, one after the other: one warms up, one is measured."""
HEARTBEAT_S = 0.2
"""The least length of a heartbeat's pass: about 100 beats."""
COLD = 1.1
"""A first call that took this much longer than later ones was warming up."""

HEAD_START_NS = 3_000_000
"""From asking several workers at once until they begin: see `pytest_gilprobe.workers.batch` for why they are told a
moment."""
CONTROL_S = 0.03
"""The least length of a batch of the control loop."""


Progress = Callable[[Strategy, int], None]
Settled = Callable[[Measurement], Wish]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clock:
    """The time that a probe may take, counted in wall time."""

    started_ns: int
    budget_s: float

    def left_s(self) -> float:
        return self.budget_s - (host.perf_counter_ns() - self.started_ns) / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One test to measure.

    ``keep`` is how many of its collectors stay set up afterwards, ``cpus`` how many CPUs are usable, ``known_call_s``
    how long its call took when pytest ran it: an upper bound on what one call takes, whatever the first one had to
    load. ``control_s`` is about how long one call of the control loop takes.
    """

    plan: Plan
    keep: int
    cpus: int
    known_call_s: float
    control_s: float = 0.001


def measure(job: Job, pool: Pool, settled: Settled, progress: Progress) -> Measurement:
    """Measure one test.

    Raises `NotProbed` with the reason when not even serial calls could be measured.
    """
    budget = job.plan.max_time_s
    if job.known_call_s * LEAST_CALLS > budget:
        needed = math.ceil(job.known_call_s * (2 + 2 * job.plan.workers))
        msg = f"one call takes {job.known_call_s:.1f} s, too long for max_time={budget:g}; max_time={needed} would do"
        raise NotProbed(msg)
    return _Probe(job, pool, progress).run(settled)


class _Probe:
    """One probe under way."""

    def __init__(self, job: Job, pool: Pool, progress: Progress) -> None:
        self._plan = job.plan
        self._pool = pool
        self._cpus = job.cpus
        self._bench = Bench(job.plan, pool, job.keep)
        self._progress = progress
        self._clock = _Clock(started_ns=host.perf_counter_ns(), budget_s=job.plan.max_time_s)
        self._calls = 1
        self._call_s = 0.0
        self._busy = 1.0
        self._control_s = job.control_s

    @property
    def _seen(self) -> Measurement:
        return self._bench.seen

    @_seen.setter
    def _seen(self, seen: Measurement) -> None:
        self._bench.seen = seen

    def run(self, settled: Settled) -> Measurement:
        try:
            return self._run(settled)
        except NotProbed as finding:
            finding.seen = self._seen
            raise

    def _run(self, settled: Settled) -> Measurement:
        self._bench.start()
        self._clock = replace(self._clock, started_ns=host.perf_counter_ns())  # their start is the session's cost
        self._bench.set_up()
        if self._seen.processes_end.outcome in {Outcome.HUNG, Outcome.CRASHED}:  # nor is what waiting for those cost
            self._clock = replace(self._clock, started_ns=host.perf_counter_ns())
        try:
            cold = self._warm_up()
            self._ship()
            self._calibrate()
            self._rounds(cold, settled)
        except Exception:
            self._bench.tear_down()
            raise
        self._bench.tear_down()  # not after Ctrl-C: then the workers are killed, and nobody waits for their answers
        if not self._seen.rounds:
            raise NotProbed(self._seen.out_of_time or "no serial batch could be run")
        return self._seen

    def _throttled(self, before: float | None, since_ns: int) -> float | None:
        """Tell the share of the time since then for which a CPU quota held threads back."""
        after = host.throttled_s()
        if before is None or after is None:
            return None
        return min(1.0, max(0.0, after - before) / max((host.perf_counter_ns() - since_ns) / 1e9, 1e-9))

    def _warm_up(self) -> Sample:
        """Make the first call in every worker at once, and keep its time; and its result, where that is to be moved."""
        call = Batch(calls=1, begin_ns=shortly())
        main, *others = self._bench.workers
        keeping = (main, replace(call, keep_result=self._bench.given))
        answers = self._pool.ask_each([keeping, *((worker, call) for worker in others)])
        readings = [answer.reading for answer in answers if isinstance(answer, Done)]
        if len(readings) < len(answers):
            bad = next(answer for answer in answers if not isinstance(answer, Done))
            if not readings:
                raise self._not_again("again in a worker process", bad)
            self._bench.end(Strategy.PROCESSES, bad, "its first call")
            started_ns = host.perf_counter_ns()
            self._bench.replace(fresh=not isinstance(answers[0], Done))
            self._clock = replace(self._clock, started_ns=self._clock.started_ns + host.perf_counter_ns() - started_ns)
        first = readings[0].threads[0]
        self._call_s = max((first.end_ns - first.start_ns) / 1e9, 1e-9)
        self._busy = first.cpu_ns / 1e9 / self._call_s
        self._seen = replace(self._seen, first_call_s=self._call_s)
        return Sample(strategy=Strategy.PROCESSES, readings=tuple(readings))

    def _not_again(self, how: str, answer: Answer | Lost) -> NotProbed:
        """Say that a test cannot be called again; one that hung, or took its process with it, did so in a process."""
        if isinstance(answer, Lost):
            self._bench.end(Strategy.PROCESSES, answer, f"called {how}")
        return NotProbed(f"it passed once, but not when called {how}: {text_of(answer)}")

    def _calibrate(self) -> None:
        """Find how many calls fill a batch, by batches that grow until one is long enough to tell."""
        calls = 1
        while self._call_s * calls < CALIBRATED_S and calls < MOST_CALLS:
            calls = min(MOST_CALLS, max(calls + 1, min(calls * 20, math.ceil(CALIBRATED_S * 1.2 / self._call_s))))
            answer = self._pool.ask(self._bench.workers[0], Batch(calls=calls))
            if not isinstance(answer, Done):
                raise self._not_again(f"{calls} times in a row", answer)
            self._learn(answer.reading.threads[0])
        self._calls = max(1, min(MOST_CALLS, math.ceil(self._target_s() / self._call_s)))

    def _target_s(self) -> float:
        """Return how long a batch is meant to be."""
        return min(BATCH_S, self._plan.max_time_s / 8)

    def _learn(self, only: ThreadReading) -> None:
        """Take a serial batch's time per call, less its queueing, for what a call takes."""
        running_s = (only.end_ns - only.start_ns - (only.run_queue_ns or 0)) / 1e9
        self._call_s = max(running_s, only.cpu_ns / 1e9, 1e-9) / only.calls
        self._busy = only.cpu_ns / 1e9 / (self._call_s * only.calls)

    def _first_serial(self) -> Sample | None:
        """Run the first serial batch, and again with more calls if the first call had been no measure of later ones.

        The first call of a test imports, compiles, connects or fills a cache: a batch sized by it alone may hold one
        call of microseconds.
        """
        sample = self._batch(Strategy.SERIAL)
        if sample is None or lane_s_per_call(sample) * self._calls >= self._target_s() * SHORT:
            return sample
        self._learn(sample.readings[0].threads[0])
        self._calibrate()
        return self._batch(Strategy.SERIAL)

    def _ship(self) -> None:
        """Measure what the data of a call costs to move, where a function was given with its arguments.

        What cannot be moved, or not within the time that a worker has for an answer, ends processes. The time that
        this takes is not taken from the rounds': where moving is dear, they still tell what it is dear beside.
        """
        if not self._bench.given or not self._bench.going(Strategy.PROCESSES):
            return
        started_ns = host.perf_counter_ns()
        answer = self._pool.ask(self._bench.workers[0], Ship())
        if isinstance(answer, Shipped) and answer.refused is not None:
            refused = End(outcome=Outcome.SKIPPED, error=answer.refused, impossible=True)
            self._seen = replace(self._seen, processes_end=refused)
        elif isinstance(answer, Shipped):
            self._seen = replace(self._seen, transfer=answer.transfer)
        elif isinstance(answer, Lost):
            hung = answer.outcome is Outcome.HUNG  # no call did
            self._bench.end(
                Strategy.PROCESSES, replace(answer, outcome=Outcome.SKIPPED) if hung else answer, "moving its data"
            )
            self._bench.replace(fresh=False)
        self._clock = replace(self._clock, started_ns=self._clock.started_ns + host.perf_counter_ns() - started_ns)

    def _rounds(self, cold: Sample, settled: Settled) -> None:
        throttled, since_ns = host.throttled_s(), host.perf_counter_ns()
        for number in range(MOST_ROUNDS):
            if not self._affordable(number):
                return
            try:
                self._round(number, cold)
            except NotProbed as finding:
                if not self._seen.rounds:
                    raise
                self._seen = replace(self._seen, out_of_time=str(finding))
                return
            self._listen()
            self._seen = replace(self._seen, throttled_share=self._throttled(throttled, since_ns))
            wish = settled(self._seen) if self._seen.rounds else Wish.ROUND
            if wish is Wish.CONTROL and self._control():
                wish = settled(self._seen)
            if wish is Wish.NOTHING:
                return
            self._clock = replace(self._clock, budget_s=self._budget_s(wish))

    def _budget_s(self, wish: Wish) -> float:
        """Tell how long the probe may take: longer if that may be enough to prove what has been found."""
        usual = self._plan.max_time_s
        return max(usual, self._plan.proof_time_s) if wish is Wish.PROOF else usual

    def _listen(self) -> None:
        """Have a heartbeat tell how long the GIL is held, where it cannot be watched.

        Once, in a pass that is not timed.
        """
        blind = self._seen.gil_unwatched is not None and gil_was_on(self._seen)
        if not blind or self._seen.heartbeat is not None or not self._seen.rounds:
            return
        calls = max(self._calls, min(MOST_CALLS, math.ceil(HEARTBEAT_S / self._call_s)))
        if self._call_s * calls > self._clock.left_s() / 2:
            return
        answer = self._pool.ask(self._bench.workers[0], Batch(calls=calls, heartbeat=True))
        if isinstance(answer, Done) and answer.heartbeat is not None:
            heard = Sample(strategy=Strategy.SERIAL, readings=(answer.reading,), trace=answer.heartbeat)
            self._seen = replace(self._seen, heartbeat=heard)

    def _control(self) -> bool:
        """Run a round of the control loop, serial and in all workers; tell whether that worked."""
        calls = max(1, math.ceil(CONTROL_S / self._control_s))
        alone = self._pool.ask(self._bench.workers[0], Control(calls=calls))
        together = self._pool.ask_all(self._bench.workers, Control(calls=calls, begin_ns=shortly()))
        readings = [answer.reading for answer in together if isinstance(answer, Done)]
        if not isinstance(alone, Done) or len(readings) < len(together):
            return False
        done = Round(
            serial=Sample(strategy=Strategy.SERIAL, readings=(alone.reading,)),
            processes=Sample(strategy=Strategy.PROCESSES, readings=tuple(readings)),
        )
        self._seen = replace(self._seen, controls=(*self._seen.controls, done))
        return True

    def _affordable(self, number: int) -> bool:
        """Tell whether another round fits into the time left; the first serial batch may overrun it once."""
        needed = self._round_s()
        left = self._clock.left_s()
        if left >= needed or (number == 0 and left >= self._calls * self._call_s):
            return True
        whole = self._clock.budget_s - left + needed * (1 if number else 1.2)
        self._seen = replace(
            self._seen,
            out_of_time=(
                f"not within {self._clock.budget_s:g} s; max_time={math.ceil(whole)} would allow for one more round"
            ),
        )
        return False

    def _round_s(self) -> float:
        """Predict a round's length, from what the last one took where there was one."""
        if self._seen.rounds:
            last = self._seen.rounds[-1]
            return sum(_span_s(sample) for sample in (last.serial, last.threads, last.processes) if sample is not None)
        batch = self._calls * self._call_s
        return batch * (
            1 + sum(self._factor(s) for s in (Strategy.THREADS, Strategy.PROCESSES) if self._bench.going(s))
        )

    def _factor(self, strategy: Strategy) -> float:
        """Bound how many times longer than a serial batch one of ``strategy`` may last: every CPU second in turn."""
        share = self._plan.workers if strategy is Strategy.THREADS else self._plan.workers / self._cpus
        return max(1.0, self._busy * share)

    def _round(self, number: int, cold: Sample) -> None:
        """Run one batch of each strategy; the order rotates from round to round."""
        order = [s for s in Strategy if s is Strategy.SERIAL or self._bench.going(s)]
        turn = number % len(order)
        got: dict[Strategy, Sample] = {}
        for strategy in order[turn:] + order[:turn]:
            if strategy is not Strategy.SERIAL and not self._bench.going(strategy):
                continue
            if strategy is Strategy.PROCESSES and number == 0 and self._was_warm(cold, got.get(Strategy.SERIAL)):
                got[strategy] = cold
                continue
            if (
                number == 0
                and strategy is not Strategy.SERIAL
                and self._clock.left_s() < self._calls * self._call_s * self._factor(strategy)
            ):
                self._seen = replace(
                    self._seen,
                    out_of_time=self._too_long(strategy),
                    no_time_for=self._seen.no_time_for | {strategy},
                )
                continue
            self._progress(strategy, number + 1)
            first = number == 0 and strategy is Strategy.SERIAL
            sample = self._first_serial() if first else self._batch(strategy)
            if sample is not None:
                got[strategy] = sample
        if Strategy.SERIAL in got:
            done = Round(
                serial=got[Strategy.SERIAL], threads=got.get(Strategy.THREADS), processes=got.get(Strategy.PROCESSES)
            )
            self._seen = replace(self._seen, rounds=(*self._seen.rounds, done))

    def _too_long(self, strategy: Strategy) -> str:
        batch = self._calls * self._call_s
        whole = math.ceil(batch * (2 + sum(self._factor(s) for s in (Strategy.THREADS, Strategy.PROCESSES))) * 1.2)
        return (
            f"{strategy} did not fit into {self._clock.budget_s:g} s, since one call takes {self._call_s:.1f} s; "
            f"max_time={whole} would do"
        )

    def _was_warm(self, cold: Sample, serial: Sample | None) -> bool:
        """Tell whether the warm-up may stand for the first batch in processes."""
        if self._calls > 1 or serial is None or len(cold.readings) != self._plan.workers:
            return False
        return _span_s(cold) <= COLD * _span_s(serial)

    def _batch(self, strategy: Strategy) -> Sample | None:
        """Run one batch; None if it failed, which is then the strategy's end."""
        trace: GilTrace | None = None
        started_ns = host.perf_counter_ns()
        if strategy is Strategy.PROCESSES:
            answers = self._pool.ask_all(self._bench.workers, Batch(calls=self._calls, begin_ns=shortly()))
        else:
            threads = self._plan.workers if strategy is Strategy.THREADS else 1
            pause = THREADS_LOOK_S if threads > 1 else self._look_s()
            question = Batch(calls=self._calls, threads=threads)
            answer, trace, why = self._pool.ask_watched(self._bench.workers[0], question, pause)
            answers = [answer]
            if strategy is Strategy.SERIAL:
                self._watched(why, trace)
        bad = next((answer for answer in answers if not isinstance(answer, Done)), None)
        if bad is None:
            readings: list[BatchReading] = [answer.reading for answer in answers if isinstance(answer, Done)]
            return Sample(strategy=strategy, readings=tuple(readings), trace=trace)
        if strategy is Strategy.SERIAL:
            raise self._not_again(f"{self._calls} times in a row", bad)
        self._bench.end(strategy, bad, f"a batch of {self._calls} calls")
        self._bench.replace(fresh=strategy is Strategy.THREADS)
        # What a strategy that hangs costs is not taken from the others' time.
        self._clock = replace(self._clock, started_ns=self._clock.started_ns + host.perf_counter_ns() - started_ns)
        return None

    def _watched(self, why_not: str | None, trace: GilTrace | None) -> None:
        """Keep why serial batches are not watched, as long as none of them was."""
        watched = trace is not None or any(one.serial.trace is not None for one in self._seen.rounds)
        self._seen = replace(self._seen, gil_unwatched=None if watched else why_not)

    def _look_s(self) -> float:
        """Choose the mean time between looks at the GIL in a serial batch."""
        return min(max(self._calls * self._call_s / LOOKS_PER_BATCH, LOOK_S[0]), LOOK_S[1])


def shortly() -> int:
    """Return a moment by which every worker will have heard what to begin then."""
    return host.perf_counter_ns() + HEAD_START_NS


def _span_s(sample: Sample) -> float:
    """Return a batch's wall time in seconds, as the clock on the wall saw it."""
    threads = [thread for reading in sample.readings for thread in reading.threads]
    return (max(thread.end_ns for thread in threads) - min(thread.start_ns for thread in threads)) / 1e9

"""The survey: what this machine gives and costs now, measured once a session for each number of workers."""

from __future__ import annotations

import math
from statistics import fmean

from pytest_gilprobe import host
from pytest_gilprobe.measure import CONTROL_S, shortly
from pytest_gilprobe.model import Estimate, Machine, Sample, Strategy
from pytest_gilprobe.stats import estimates, rounds
from pytest_gilprobe.workers.pool import Pool
from pytest_gilprobe.workers.protocol import Control, Done, HandedOut, HandOut
from pytest_gilprobe.workers.worker import Lost

LOST_OF_CPU = (1.0, 2.0, 4.0)
"""What a worker loses with a task of the CPU time that an empty one costs: at the least, as likely, at the most. Seen
on a quiet machine: 1.6 to 2 times as much in processes (100 us), 2 to 4 times in threads (6 us)."""
CONTROL_ROUNDS = 3
"""Of the survey: few, since each workload that nothing helps runs the control again beside its own rounds."""


class Surveyor:
    """Keeps what is known of the machine; asks the workers, between tests, for what is not."""

    def __init__(self, pool: Pool) -> None:
        """Survey through the session's workers."""
        self._pool = pool
        self._known: dict[int, Machine] = {}
        self._imports: dict[tuple[str, int], float | None] = {}
        self.cpus = host.usable_cpus()
        self.control_s = 0.001

    def machine(self, workers: int) -> Machine:
        """Return what is known for this number of workers; with no survey, just the number of CPUs."""
        return self._known.get(workers, Machine(cpus=self.cpus))

    def any_machine(self) -> Machine:
        """Return the first survey of the session."""
        return next(iter(self._known.values()), Machine(cpus=self.cpus))

    def import_s(self, module: str, workers: int) -> float | None:
        """Return how long a process pool's workers take to import a module, measured once; None where they cannot.

        Forked workers inherit what is imported. A main module is not imported to see: what it does then is its own.
        """
        if self._pool.start_method == "fork":
            return 0.0
        if module == "__main__":
            return None
        if (module, workers) not in self._imports:
            found = self._pool_costs(Strategy.PROCESSES, workers, module)
            self._imports[module, workers] = found.import_s if found is not None else None
        return self._imports[module, workers]

    def survey(self, workers: int) -> None:
        """Run the control and the pools, unless that was done for this number of workers."""
        if workers in self._known or isinstance(self._pool.ready(workers), Lost):
            return
        samples = self._control(workers)
        serial = [rounds.s_per_call(alone, less_queue=workers <= self.cpus) for alone, _ in samples]
        together = [rounds.s_per_call(all_, less_queue=workers <= self.cpus) for _, all_ in samples]
        noise = max(estimates.LEAST_NOISE, _spread(serial, together))
        threads, processes = (self._pool_costs(one, workers) for one in (Strategy.THREADS, Strategy.PROCESSES))
        gains = [alone / beside for alone, beside in zip(serial, together, strict=True)]
        scaling = estimates.positive_centre(gains, noise) if gains else None
        self._known[workers] = Machine(
            cpus=self.cpus,
            scaling=scaling,
            scaling_workers=workers if samples else None,
            noise=noise,
            thread_task_s=threads.task_s if threads is not None else None,
            process_task_s=processes.task_s if processes is not None else None,
            thread_task_high_s=threads.task_high_s if threads is not None else None,
            process_task_high_s=processes.task_high_s if processes is not None else None,
            thread_lost_s=lost_s(threads, scaling),
            process_lost_s=lost_s(processes, scaling),
            start_method=self._pool.start_method,
            process_start_up_s=processes.start_up_s * workers if processes is not None else None,
        )

    def _control(self, workers: int) -> list[tuple[Sample, Sample]]:
        """Run the control loop alone and in all workers at once, in turn."""
        found = self._pool.ready(workers)
        if isinstance(found, Lost):
            return []
        first = self._pool.ask(found[0], Control(calls=5))
        if not isinstance(first, Done):
            return []
        only = first.reading.threads[0]
        self.control_s = max(only.cpu_ns, 1) / 5e9
        calls = max(1, math.ceil(CONTROL_S / self.control_s))
        samples = []
        for _ in range(CONTROL_ROUNDS):
            alone = self._pool.ask(found[0], Control(calls=calls))
            together = self._pool.ask_all(found, Control(calls=calls, begin_ns=shortly()))
            done = [answer.reading for answer in together if isinstance(answer, Done)]
            if not isinstance(alone, Done) or len(done) < workers:
                return []
            samples.append(
                (
                    Sample(strategy=Strategy.SERIAL, readings=(alone.reading,)),
                    Sample(strategy=Strategy.PROCESSES, readings=tuple(done)),
                )
            )
        return samples

    def _pool_costs(self, strategy: Strategy, workers: int, module: str | None = None) -> HandedOut | None:
        found = self._pool.ready(1)
        if isinstance(found, Lost):
            return None
        asked = HandOut(strategy=strategy, workers=workers, start_method=self._pool.start_method, module=module)
        answer = self._pool.ask(found[0], asked)
        return answer if isinstance(answer, HandedOut) else None


def lost_s(pool: HandedOut | None, scaling: Estimate | None) -> Estimate | None:
    """Tell by how many seconds a task takes longer for its worker in a pool than alone; None where that is not known.

    Workers that lose nothing do as many tasks as the machine scales to in the time of one alone. Likely is what lies
    half-way from the best round to the middle one, whose noise is on one side; the ends allow for what the scaling may
    be. Where the thread that computed alone had to queue, or other programs took a part of the CPUs meanwhile, they are
    in the way, and more so of a pool, which has more to be woken: then it is what the CPU time of empty tasks makes
    likely, but no more than was seen.
    """
    if pool is None or pool.work is None or scaling is None:
        return None
    work = pool.work
    least = max(0.0, scaling.low * work.pooled_least_s - work.alone_least_s)
    most = max(0.0, scaling.high * work.pooled_s - work.alone_s)
    best, middle = (
        max(0.0, scaling.value * pooled - alone)
        for pooled, alone in ((work.pooled_least_s, work.alone_least_s), (work.pooled_s, work.alone_s))
    )
    value = (best + middle) / 2
    low, high = min(least, value), max(most, value)
    if (work.queued > rounds.QUIET or work.others > rounds.CROWDED) and pool.task_cpu_s is not None:
        low, value, high = (
            min(end, pool.task_cpu_s * factor) for end, factor in zip((value, value, high), LOST_OF_CPU, strict=True)
        )
    return Estimate(value=value, low=low, high=high, confidence=scaling.confidence)


def _spread(*groups: list[float]) -> float:
    """Return the pooled standard deviation of the logarithms within groups of equal length."""
    squares = freedom = 0.0
    for group in groups:
        logs = [math.log(value) for value in group]
        if len(logs) > 1:
            squares += sum((one - fmean(logs)) ** 2 for one in logs)
            freedom += len(logs) - 1
    return math.sqrt(squares / freedom) if freedom else 0.0

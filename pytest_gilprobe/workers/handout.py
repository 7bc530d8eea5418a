"""What the standard library's pools cost: per task handed out, and to start a worker."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from hashlib import sha256
from statistics import median

from pytest_gilprobe import host
from pytest_gilprobe.model import Strategy
from pytest_gilprobe.workers.batch import Queueing
from pytest_gilprobe.workers.protocol import HandedOut, HandOut, Work

TASKS = 40
"""Empty tasks handed out in a round: enough that the pool's threads or processes are all awake for most of them."""
ROUNDS = 15
"""Of which the best counts: on a busy machine a few of them are undisturbed."""
WORK_S = {Strategy.THREADS: 60e-6, Strategy.PROCESSES: 400e-6}
"""How long a task is that computes: about as long as calls for which it is open whether a pool is worth it. What is
lost to handing out grows with the length (seen of processes: 0.13 ms of tasks of 0.1 ms, 0.24 ms of 0.8 ms)."""
WORK_TASKS = {Strategy.THREADS: 60, Strategy.PROCESSES: 24}
"""In a round: with few, a pool of threads is done before all of them take part (seen: 13 us lost, not 25)."""
TASKS_A_WORKER = 12
"""In a round at the least: a pool needs the first one or two of each worker to fill."""
WORK_ROUNDS = {Strategy.THREADS: 15, Strategy.PROCESSES: 9}
"""Of which the best and the middle one count: see `pytest_gilprobe.machine.lost_s`."""
BLOCK = bytes(1 << 14)
"""What a task hashes over and over: long enough for `hashlib` to let go of the GIL (over 2,047 bytes)."""


def compute(blocks: int) -> None:
    """Be the task that computes without the GIL: for about so many times 10 us."""
    for _ in range(blocks):
        sha256(BLOCK).digest()


def nothing(_: object) -> None:
    """Be the task that costs nothing itself."""


def cpu_clock(_: object) -> tuple[int, int]:
    """Be the task that tells which process it runs in, and how many nanoseconds of CPU time that has had."""
    return os.getpid(), host.process_time_ns()


def import_s(module: str) -> float:
    """Be the task that imports what the user's function needs; return the seconds, nearly 0 where that is done."""
    started = host.perf_counter_ns()
    importlib.import_module(module)
    return (host.perf_counter_ns() - started) / 1e9


def measure_import(question: HandOut) -> HandedOut:
    """Have the workers of a real pool import a module at once, as they do when they are handed a function of it.

    Each worker imports it once, so the longest of the tasks is what starting the pool takes longer.
    """
    try:
        with _pool(question) as pool:
            took = list(pool.map(import_s, [question.module] * question.workers * 2))
    except Exception:  # noqa: BLE001 - whatever the user's module raises, or ends its process with
        return HandedOut(task_s=0.0, start_up_s=0.0)
    return HandedOut(task_s=0.0, start_up_s=0.0, import_s=max(took))


def measure(question: HandOut) -> HandedOut:
    """Hand empty tasks to a real pool and time it.

    The cost per task is ``map``'s wall time / tasks, with one task per message: what a user of ``pool.map(f, items)``
    pays for each call. It is that of the best round: other programs can only slow it, and on a busy machine they slow
    most rounds (seen: 76 us for a process pool's best, 222 us for its median). The median goes with it: between the two
    lies what a call really pays. *Source:* the advice in the
    documentation of `timeit.Timer.repeat`. The start-up is that of the pool with its first tasks, and its end: a pool
    that is used once pays for both (seen: 6 ms and 5 ms when forked, 250 ms and 150 ms when spawned).

    The CPU time is the mean of all rounds, of this process and of those workers that told their clocks before and after
    them; other programs do not add to it.

    Empty tasks tell how fast one thread can hand out, but not what handing out takes from workers that have something
    to do: threads that give up the GIL in their tasks must be woken for each (seen: 6 us for an empty task, 30 us lost
    in one that computes). So tasks that compute are timed as well, alone and in the pool.
    """
    if question.module is not None:
        return measure_import(question)
    started = host.perf_counter_ns()
    with _pool(question) as pool:
        list(pool.map(nothing, range(question.workers)))
        ready = host.perf_counter_ns()
        before = _cpu_clocks(pool)
        costs = [_seconds(lambda: list(pool.map(nothing, range(TASKS)))) / TASKS for _ in range(ROUNDS)]
        after = _cpu_clocks(pool)
        work = _work(pool, question, min(costs))
        ending = host.perf_counter_ns()
    start_up = (ready - started + host.perf_counter_ns() - ending) / 1e9
    return HandedOut(
        task_s=min(costs),
        task_high_s=median(costs),
        task_cpu_s=_between_ns(before, after)
        / 1e9
        / (TASKS * (ROUNDS + 1)),  # the tasks that told the clocks count too
        work=work,
        start_up_s=0.0 if question.strategy is Strategy.THREADS else start_up / question.workers,
    )


def _pool(question: HandOut) -> Executor:
    if question.strategy is Strategy.THREADS:
        return ThreadPoolExecutor(question.workers)
    import multiprocessing  # noqa: PLC0415 - heavy, and rarely needed

    context = multiprocessing.get_context(question.start_method)
    return ProcessPoolExecutor(question.workers, mp_context=context)


def _cpu_clocks(pool: Executor) -> dict[int, int]:
    """Return the CPU clock of each process that takes part, this one's last: in a round like any other."""
    return dict(sorted(pool.map(cpu_clock, range(TASKS)))) | dict([cpu_clock(None)])


def _between_ns(before: dict[int, int], after: dict[int, int]) -> int:
    """Return the CPU time between two readings of those processes that told their clocks both times."""
    return sum(after[pid] - before[pid] for pid in after.keys() & before.keys())


def _work(pool: Executor, question: HandOut, task_s: float) -> Work:
    """Time tasks that compute, alone and in a pool, in turn.

    They are so long that one thread can hand out twice as many as the workers, each done in ``task_s`` seconds.
    """
    strategy = question.strategy
    tasks = max(WORK_TASKS[strategy], TASKS_A_WORKER * question.workers)
    one_s = min(_seconds(lambda: compute(1)) for _ in range(tasks))
    blocks = [max(1, round(max(WORK_S[strategy], 2 * question.workers * task_s) / one_s))] * tasks
    alone: list[float] = []
    pooled: list[float] = []
    queued_ns = 0
    before, cpus_before = _cpu_clocks(pool), host.cpus_time_ns()
    for _ in range(WORK_ROUNDS[strategy]):
        queueing = Queueing()
        alone.append(_seconds(lambda: list(map(compute, blocks))) / tasks)
        queued_ns += queueing.until_ns(host.perf_counter_ns()) or 0
        queueing.close()
        pooled.append(_seconds(lambda: list(pool.map(compute, blocks))) / tasks)
    cpus, idle = (now - then for now, then in zip(host.cpus_time_ns(), cpus_before, strict=True))
    own = _between_ns(before, _cpu_clocks(pool))
    return Work(
        alone_s=median(alone),
        pooled_s=median(pooled),
        alone_least_s=min(alone),
        pooled_least_s=min(pooled),
        queued=queued_ns / 1e9 / max(sum(alone) * tasks, 1e-9),
        others=max(0.0, (cpus - idle - own) / cpus) if cpus > 0 else 0.0,
    )


def _seconds(action: Callable[[], object]) -> float:
    started = host.perf_counter_ns()
    action()
    return (host.perf_counter_ns() - started) / 1e9

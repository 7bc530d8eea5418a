"""What is left of a speed-up in a pool of the standard library: handing calls out and moving their data has its price.

* A worker loses time with every task: it is woken, takes the task, gives its result back; and where there are no more
  CPUs than workers, the thread that hands out takes its own from them.
* One thread hands out, and pickles what it has to move: a pool is no faster than that.
* In a pool of threads handing out needs the GIL, which calls then do without.
* Moving data takes CPU time on both sides, for which it takes turns with the calls.

What is lost is measured with tasks that compute (``workers/handout.py``). Empty ones take 45 to 72 us in a process
pool and 4 to 6 us in one of threads, where those that compute lose 130 to 240 us and 22 to 41 us each (CPython 3.11,
two CPUs): a call of 100 us that gains 2x in processes gains 0.85x in their pool, one of 10 us that gains 2x in threads
0.6x.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.model import Estimate, Strategy
from pytest_gilprobe.stats.speedups import capped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gilprobe.model import Machine, SerialResult, Transfer

MATTERS = 0.05
"""Share of a call from which on handing it out in a thread pool takes the GIL from it for long enough to count."""
SLACK = 1.1
"""By so much threads may pass what they and the hand-out have room for under the GIL: shares have errors."""
NOTHING = Estimate(value=0.0, low=0.0, high=0.0)
"""What is lost where that was not measured."""


def of_threads(speedup: Estimate, serial: SerialResult, machine: Machine, workers: int, *, gil: bool) -> Estimate:
    """Predict the speed-up of a `ThreadPoolExecutor` from that of the bare calls; ``gil`` is whether there is one.

    So many ``workers`` cannot do more than as many calls at once, whatever they seemed to: there is no more to lose.
    """
    speedup = capped(speedup, float(workers))
    call_s, held, task_s = serial.wall_s_per_call, serial.gil_held_fraction, machine.thread_task_s
    found = handed_out(speedup, call_s, task_s, machine.thread_task_high_s, _lost(machine, machine.thread_lost_s))
    if not gil or held is None or task_s is None or task_s < call_s.value * MATTERS:
        return found
    high_s = max(task_s, machine.thread_task_high_s or 0.0)
    turns = ((call_s.value, held.value, task_s), (call_s.low, held.high, high_s), (call_s.high, held.low, task_s))
    return _capped(found, (SLACK * one / max(one * share + task, 1e-12) for one, share, task in turns))


def of_processes(
    speedup: Estimate, serial: SerialResult, machine: Machine, workers: int, transfer: Transfer | None
) -> Estimate:
    """Predict the speed-up of a `ProcessPoolExecutor` from that of the bare calls and their data's price.

    ``workers`` are a cap as in `of_threads`.
    """
    speedup = capped(speedup, float(workers))
    call_s, lost = serial.wall_s_per_call, machine.process_lost_s
    costs = machine.process_task_s, machine.process_task_high_s, _lost(machine, lost)
    found = handed_out(speedup, call_s, *costs, transfer=transfer)
    if transfer is None:
        return found
    task_s = machine.process_task_s or 0.0
    beside = lost or Estimate(value=task_s, low=task_s, high=task_s)
    moving_s, cpu = transfer.parent_s + transfer.worker_s, serial.cpu_s_per_call
    wanted = (
        (call_s.value, cpu.value + beside.value),
        (call_s.low, cpu.high + beside.high),
        (call_s.high, cpu.low + beside.low),
    )
    return _capped(found, (machine.cpus * one / max(busy + moving_s, 1e-12) for one, busy in wanted))


def hand_out_s(machine: Machine, strategy: Strategy) -> float | None:
    """Tell what handing out one call costs: by how much it takes longer for its worker; None where not measured."""
    threads = strategy is Strategy.THREADS
    lost = machine.thread_lost_s if threads else machine.process_lost_s
    task_s = machine.thread_task_s if threads else machine.process_task_s
    return task_s if lost is None else max(lost.value, task_s or 0.0)


def handed_out(  # noqa: PLR0913 - what a pool adds, one by one
    speedup: Estimate,
    call_s: Estimate,
    task_s: float | None,
    task_high_s: float | None = None,
    lost_s: Estimate = NOTHING,
    *,
    transfer: Transfer | None = None,
) -> Estimate:
    """Predict what handing out leaves of the bare calls' speed-up.

    A pool finishes a call every max(call / speed-up + lost, hand-out). ``task_s`` None costs nothing; the low end is
    that of ``task_high_s``, where it is known. A ``transfer`` adds its two sides: the workers' to the call, the
    parent's to the hand-out.
    """
    moving_s, beside = (transfer.parent_s, transfer.worker_s) if transfer is not None else (0.0, 0.0)
    best = task_s or 0.0
    value, low, high = (
        call / max((call + beside) / max(gain, 1e-12) + lost, task + moving_s, 1e-12)
        for gain, call, lost, task in (
            (speedup.value, call_s.value, lost_s.value, best),
            (speedup.low, call_s.low, lost_s.high, max(best, task_high_s or 0.0)),
            (speedup.high, call_s.high, lost_s.low, best),
        )
    )
    return Estimate(value=value, low=min(low, value), high=max(high, value), confidence=speedup.confidence)


def _lost(machine: Machine, lost_s: Estimate | None) -> Estimate:
    """Return how much later a pool finishes each call for what its workers lose with it: they lose side by side."""
    if lost_s is None or machine.scaling is None:
        return NOTHING
    lanes = max(1.0, min(machine.scaling.value, machine.scaling_workers or 1))
    low, value, high = (end / lanes for end in (lost_s.low, lost_s.value, lost_s.high))
    return Estimate(value=value, low=low, high=high, confidence=lost_s.confidence)


def _capped(pool: Estimate, most: Iterable[float]) -> Estimate:
    value, low, high = (min(end, cap) for end, cap in zip((pool.value, pool.low, pool.high), most, strict=True))
    return Estimate(value=value, low=min(low, value), high=max(high, value), confidence=pool.confidence)

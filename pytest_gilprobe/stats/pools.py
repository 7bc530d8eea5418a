"""What is left of a speed-up in a pool of the standard library: handing calls out and moving their data has its price.

Three things limit a pool, and the least of them counts:

* the calls themselves, with what their worker has to move for them;
* the one thread that hands them out, with what it has to move: it works beside the workers;
* the CPUs, which all of that shares with the calls. A pool with as many workers as there are CPUs leaves none for the
  thread that hands out: empty tasks through two processes on two CPUs took 68 us each, of which the parent computed
  for 64 us and the workers for 34 us.

In a pool of threads, handing out needs the GIL as well, which calls then do without.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_gilprobe.model import Estimate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gilprobe.model import Machine, SerialResult, Transfer


def of_threads(speedup: Estimate, serial: SerialResult, machine: Machine, *, gil: bool = True) -> Estimate:
    """Predict the speed-up of a `ThreadPoolExecutor` from that of the bare calls; ``gil`` is whether there is one."""
    costs = (machine.thread_task_s, machine.thread_task_high_s)
    found = handed_out(speedup, serial.wall_s_per_call, *costs)
    beside_s = _range(machine.thread_task_cpu_s, *costs)
    held = serial.gil_held_fraction
    if gil and held is not None and beside_s is not None:
        found = _capped(found, _rates(1, serial.wall_s_per_call, held.value, (held.low, held.high), beside_s))
    return _with_cpus(found, serial, machine, beside_s)


def of_processes(speedup: Estimate, serial: SerialResult, machine: Machine, transfer: Transfer | None) -> Estimate:
    """Predict the speed-up of a `ProcessPoolExecutor` from that of the bare calls and their data's price."""
    costs = (machine.process_task_s, machine.process_task_high_s)
    found = handed_out(speedup, serial.wall_s_per_call, *costs, transfer=transfer)
    beside_s = _range(machine.process_task_cpu_s, *costs)
    if transfer is not None:
        moving_s = transfer.parent_s + transfer.worker_s
        beside_s = tuple(one + moving_s for one in beside_s or (0.0, 0.0))
    return _with_cpus(found, serial, machine, beside_s)


def handed_out(
    speedup: Estimate,
    call_s: Estimate,
    task_s: float | None,
    task_high_s: float | None = None,
    transfer: Transfer | None = None,
) -> Estimate:
    """Predict what one thread that hands calls out leaves of the bare calls' speed-up.

    A pool finishes a call every max(call / speed-up, hand-out). ``task_s`` None costs nothing; the low end is that of
    ``task_high_s``, where it is known. A ``transfer`` adds its two sides: the workers' to the call, the parent's to
    the hand-out.
    """
    if task_s is None and transfer is None:
        return speedup
    moving_s, beside = (transfer.parent_s, transfer.worker_s) if transfer is not None else (0.0, 0.0)
    best = task_s or 0.0
    value, low, high = (
        min(gain * (call / (call + beside)), call / max(task + moving_s, 1e-12))
        for gain, call, task in (
            (speedup.value, call_s.value, best),
            (speedup.low, call_s.low, max(best, task_high_s or 0.0)),
            (speedup.high, call_s.high, best),
        )
    )
    return Estimate(value=value, low=low, high=high, confidence=speedup.confidence)


def _range(cpu_s: float | None, task_s: float | None, task_high_s: float | None) -> tuple[float, ...] | None:
    """Return the CPU time that a task costs, and at the most: as much more as it takes longer; None where unknown."""
    if cpu_s is None:
        return None
    return cpu_s, cpu_s * (max(1.0, task_high_s / task_s) if task_s and task_high_s else 1.0)


def _with_cpus(pool: Estimate, serial: SerialResult, machine: Machine, beside_s: tuple[float, ...] | None) -> Estimate:
    """Cap a pool by what the CPUs have room for: the calls, and what takes CPU time beside them."""
    if beside_s is None:
        return pool
    wall, cpu = serial.wall_s_per_call, serial.cpu_s_per_call
    busy = cpu.value / max(wall.value, 1e-12)
    ends = cpu.low / max(wall.high, 1e-12), cpu.high / max(wall.low, 1e-12)
    return _capped(pool, _rates(machine.cpus, wall, busy, ends, beside_s))


def _rates(
    room: int, call_s: Estimate, share: float, ends: tuple[float, float], beside_s: tuple[float, ...]
) -> tuple[float, ...]:
    """Return how often a call fits into its own time, where it and its hand-out take turns at something.

    There is ``room`` for so many at once; a call takes a ``share`` of its time, and ``beside_s`` is the hand-out's, as
    likely and at the most. Given are the value, the low end and the high end.
    """
    likely, most = beside_s
    return tuple(
        room * one / max(one * part + beside, 1e-12)
        for one, part, beside in (
            (call_s.value, share, likely),
            (call_s.low, ends[1], most),
            (call_s.high, ends[0], likely),
        )
    )


def _capped(pool: Estimate, most: Iterable[float]) -> Estimate:
    value, low, high = (min(end, cap) for end, cap in zip((pool.value, pool.low, pool.high), most, strict=True))
    if not math.isfinite(value):
        return pool
    return Estimate(value=value, low=min(low, value), high=max(high, value), confidence=pool.confidence)

"""The tasks by which the executor of a strategy is timed, to learn what dispatching a task costs."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchTrial:
    """The tasks by which an executor is timed, to learn how long dispatching a task (handing it to a worker) takes.

    The executor gets ``tasks`` tasks or more at a time, ``rounds`` times (a third as often if there is little time).
    Each task computes for about ``work_s`` seconds or longer. Dispatching takes longer for longer tasks, so ``work_s``
    should be about the length of the shortest calls for which the executor pays off.

    ``most_of_cpu`` bounds what each of two workers loses with a task: at most this many times the CPU time that the
    executor adds to the task, even if that was measured beside other programs. The rest is waiting to be woken. If it
    is infinite, there is no such bound. *Source:* ``docs/prediction.md``, ``benchmarks/dispatch.py --added``.
    """

    work_s: float
    tasks: int
    rounds: int
    most_of_cpu: float = math.inf

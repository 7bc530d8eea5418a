"""The record of calls that were made through real executors of the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_gilprobe.model.executors import TaskSeries


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRound:
    """One series of calls one after the other, and one through each executor, with a task for each call.

    ``alone`` are the serial calls, each counted as a task; ``pooled`` has the tasks by the strategy's name. ``cpus_ns``
    is the time that all usable CPUs counted during the round, ``cpus_idle_ns`` their idle part of it, and
    ``own_cpu_ns`` what the worker process and its executors used.
    """

    alone: TaskSeries
    pooled: Mapping[str, TaskSeries]
    cpus_ns: int
    cpus_idle_ns: int
    own_cpu_ns: int

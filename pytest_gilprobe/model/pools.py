"""The record of timed calls that were made through executors of the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_gilprobe.model.executors import TaskSeries


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRound:
    """Timed calls, made in turn: serially, and through each strategy's standard library executor, one call per task.

    Attributes:
        alone: the timed serial calls, each counted as a task.
        pooled: the timed tasks of each strategy's executor, by the strategy's name.
        cpus_ns: the time in nanoseconds of all usable CPUs together during the round, busy or idle.
        cpus_idle_ns: the idle part of ``cpus_ns``.
        own_cpu_ns: the CPU time in nanoseconds that the worker process and its executors used.
    """

    alone: TaskSeries
    pooled: Mapping[str, TaskSeries]
    cpus_ns: int
    cpus_idle_ns: int
    own_cpu_ns: int

"""The record of calls that were made through real executors of the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_gilprobe.model.executors import TaskSeries


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRound:
    """One round in real executors: serial calls, and calls through each executor with one task per call.

    Attributes:
        alone: the serial calls, each counted as a task.
        pooled: the tasks of each strategy's executor, by the strategy's name.
        cpus_ns: the time of all usable CPUs together during the round, busy or idle.
        cpus_idle_ns: the idle part of ``cpus_ns``.
        own_cpu_ns: the CPU time that the worker process and its executors used.
    """

    alone: TaskSeries
    pooled: Mapping[str, TaskSeries]
    cpus_ns: int
    cpus_idle_ns: int
    own_cpu_ns: int

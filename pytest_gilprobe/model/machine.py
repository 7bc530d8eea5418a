"""The records of what a survey finds of this machine: its scaling, and what executors of the standard library cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_gilprobe.model.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchCosts:
    """The costs of an executor of the standard library on this machine, for one strategy.

    ``task_s`` is the time per empty task in the fastest round, ``task_high_s`` in the median round. ``lost_s`` is how
    much longer a computing task takes in an executor than alone; ``None`` if unknown. ``start_up_s`` is the time to
    start and to end an executor with all its workers; ``None`` if negligible or unknown.
    """

    task_s: float
    task_high_s: float
    lost_s: Estimate | None = None
    start_up_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """This machine's present speed-up and costs, measured with a fixed loop and empty tasks; ``None``: not measured.

    ``scaling`` is the speed-up of a pure-Python loop in ``scaling_workers`` processes; ``noise`` the standard deviation
    of the logarithm of one batch's time; ``costs`` the costs of an executor, by name. ``import_s`` is how much longer
    an executor, started by ``start_method``, takes to start if its workers must first import a workload's module; 0 if
    they inherit it. ``page_fault_s`` is how long touching a new page of memory takes.
    """

    cpus: int
    scaling: Estimate | None = None
    scaling_workers: int | None = None
    noise: float = 0.03
    costs: Mapping[str, DispatchCosts | None] = field(default_factory=dict)
    start_method: str | None = None
    import_s: float | None = None
    page_fault_s: float | None = None

"""The records of what a survey finds of this machine: its scaling, and what executors of the standard library cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_gilprobe.model.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchCosts:
    """The costs of an executor of the standard library on this machine, for one strategy.

    ``task_s`` is the time per empty task in seconds in the fastest of several timings, ``task_high_s`` in the median
    one. ``lost_s`` is by how many seconds a computing task takes longer in an executor than alone; ``None`` if unknown.
    ``start_up_s`` is how many seconds it takes to start and end an executor with all its workers; ``None`` if
    negligible or unknown.
    """

    task_s: float
    task_high_s: float
    lost_s: Estimate | None = None
    start_up_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """This machine's present speed-up and costs, measured with a fixed loop and empty tasks.

    A field is ``None`` if it was not measured.

    Attributes:
        cpus: the number of usable CPUs.
        scaling: the speed-up of a pure-Python loop in ``scaling_workers`` processes.
        scaling_workers: the number of processes in which ``scaling`` was measured.
        noise: the standard deviation of the logarithm of the time of one batch (a timed series of calls).
        costs: the costs of each strategy's executor, by the strategy's name.
        start_method: how worker processes start, such as ``spawn``.
        import_s: by how many seconds an executor, started by ``start_method``, takes longer to start if its workers
            must first import a workload's module; 0 if they inherit it.
        page_fault_s: how many seconds it takes to touch a new page of memory.
    """

    cpus: int
    scaling: Estimate | None = None
    scaling_workers: int | None = None
    noise: float = 0.03
    costs: Mapping[str, DispatchCosts | None] = field(default_factory=dict)
    start_method: str | None = None
    import_s: float | None = None
    page_fault_s: float | None = None

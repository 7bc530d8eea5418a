"""The records of what this machine gives: its speed-up with several processes, and the costs of standard executors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_gilprobe.model.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchCosts:
    """What one strategy's executor, a class of the standard library, costs on this machine.

    Attributes:
        task_s: seconds per task that does nothing, in the fastest of several timings.
        task_high_s: seconds per task that does nothing, in the median of the timings.
        lost_s: how many seconds longer a computing task takes in the executor than alone; ``None`` if unknown.
        start_up_s: seconds to start and end an executor with all its workers; ``None`` if negligible or unknown.
    """

    task_s: float
    task_high_s: float
    lost_s: Estimate | None = None
    start_up_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this machine gives at present: its speed-up with several processes, and what executors cost.

    A field is ``None`` if it was not measured.

    Attributes:
        cpus: the number of usable CPUs.
        scaling: the speed-up of a pure-Python loop in ``scaling_workers`` processes.
        scaling_workers: the number of processes in which ``scaling`` was measured.
        noise: the standard deviation of the logarithm of the time of one batch (calls timed together): 0.03 means that
            times vary by about 3 %.
        costs: the costs of each strategy's executor, by the strategy's name; ``None`` for a strategy if not measured.
        start_method: how worker processes start, such as ``spawn``.
        import_s: by how many seconds an executor takes longer to start if its workers must first import a workload's
            module; 0 if the workers inherit the imported module.
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

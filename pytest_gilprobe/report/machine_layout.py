"""Describe the Python and the machine that a report was made on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.safe_text import safe_line

if TYPE_CHECKING:
    from pytest_gilprobe.model.report import Environment


def build(environment: Environment) -> str:
    """Describe how Python was built and whether its GIL is on: ``free-threaded build, GIL off``."""
    kind = "free-threaded build" if environment.free_threaded_build else "standard build"
    return f"{kind}, GIL {'on' if environment.gil_enabled else 'off'}"


def python(environment: Environment) -> str:
    """Return the implementation and the version of Python: ``CPython 3.13.0``."""
    return f"{safe_line(environment.implementation)} {safe_line(environment.python)}"


def cpus(machine: Environment) -> str:
    """Describe the CPUs that the process may use: ``2 of 8 usable``, or ``8 usable`` if the process may use all."""
    of_all = "" if machine.cpus_usable == machine.cpus_logical else f" of {machine.cpus_logical}"
    return f"{machine.cpus_usable}{of_all} usable"


def ceiling(machine: Environment) -> str:
    """Describe the speed-up of the control (a plain Python loop in processes); ``n/a`` if unknown.

    The text is like ``1.96x of a plain Python loop in 2 processes``.
    """
    found, workers = ceiling_gain(machine), machine.ceiling_workers
    if found is None:
        return numbers.NOT_AVAILABLE
    within = f" in {numbers.count(workers, 'process', 'processes')}" if workers else ""
    return f"{numbers.times(found)} of a plain Python loop{within}"


def ceiling_gain(machine: Environment) -> float | None:
    """Return the speed-up of the control (a plain Python loop in processes); ``None`` if unknown.

    The speed-up is limited to the number of processes, if that is known.
    """
    found, workers = machine.scaling_ceiling, machine.ceiling_workers
    return min(found, float(workers)) if found is not None and workers else found

"""Describe the Python and the machine with which a report was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.safe_text import safe_line

if TYPE_CHECKING:
    from pytest_gilprobe.model.report import Environment


def build(environment: Environment) -> str:
    """Describe how Python was built and whether its GIL is on, such as ``free-threaded build, GIL off``."""
    kind = "free-threaded build" if environment.free_threaded_build else "standard build"
    return f"{kind}, GIL {'on' if environment.gil_enabled else 'off'}"


def python(environment: Environment) -> str:
    """Return the implementation and the version of Python, such as ``CPython 3.13.0``."""
    return f"{safe_line(environment.implementation)} {safe_line(environment.python)}"


def cpus(machine: Environment) -> str:
    """Describe the CPUs that pytest's process may use: ``2 of 8 usable``, or ``8 usable`` if it may use all."""
    of_all = "" if machine.cpus_usable == machine.cpus_logical else f" of {machine.cpus_logical}"
    return f"{machine.cpus_usable}{of_all} usable"


def ceiling(machine: Environment) -> str:
    """Describe the machine's ceiling: the speed-up of a plain Python loop that runs in several processes at once.

    The text is like ``1.96x of a plain Python loop in 2 processes``, or ``n/a`` if the speed-up is unknown.
    """
    found, workers = ceiling_gain(machine), machine.ceiling_workers
    if found is None:
        return numbers.NOT_AVAILABLE
    within = f" in {numbers.count(workers, 'process', 'processes')}" if workers else ""
    return f"{numbers.times(found)} of a plain Python loop{within}"


def ceiling_gain(machine: Environment) -> float | None:
    """Return the machine's ceiling: the speed-up of a plain Python loop that runs in several processes at once.

    A speed-up above the number of processes is chance: that number is returned instead. ``None`` if unknown.
    """
    found, workers = machine.scaling_ceiling, machine.ceiling_workers
    return min(found, float(workers)) if found is not None and workers else found

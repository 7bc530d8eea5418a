"""Describe this Python interpreter: whether its GIL is enabled, which tools trace it, and its machine."""

from __future__ import annotations

import gc
import os
import platform
import sys
import sysconfig
from typing import TYPE_CHECKING

from pytest_gilprobe.observe import machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.model.report import Environment

getpid = os.getpid
"""`os.getpid`, looked up on import because a test may replace it later."""


def gil_enabled() -> bool:
    """Return whether this interpreter's GIL is enabled now; importing an extension module can enable it."""
    ask: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)
    return True if ask is None else ask()


def free_threaded_build() -> bool:
    """Return whether this Python was built with ``--disable-gil``, even if its GIL is enabled now."""
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def tracers() -> tuple[str, ...]:
    """List the active tools and settings that change the speed of the calling thread's Python code.

    These are trace and profile functions, tools of `sys.monitoring`, and a disabled garbage collector. The names are
    texts such as ``sys.settrace`` or ``gc.disable``.
    """
    found = []
    if sys.gettrace() is not None:
        found.append("sys.settrace")
    if sys.getprofile() is not None:
        found.append("sys.setprofile")
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is not None:
        found += [f"sys.monitoring ({name})" for tool in range(6) if (name := monitoring.get_tool(tool))]
    if not gc.isenabled():
        found.append("gc.disable")
    return tuple(found)


def environment(
    *,
    start_method: str,
    scaling_ceiling: float | None,
    ceiling_workers: int | None,
    gil_switched_on_by: tuple[str, ...] = (),
) -> Environment:
    """Return a record of this machine and this Python now; each argument is stored in the field of the same name.

    Args:
        start_method: how worker processes are started, such as ``spawn``.
        scaling_ceiling: the speed-up of a fixed Python loop in ``ceiling_workers`` processes over one process; both
            ``None`` if not measured.
        ceiling_workers: the number of these processes.
        gil_switched_on_by: the modules whose import switched the GIL on.
    """
    from pytest_gilprobe.model.report import Environment  # noqa: PLC0415 - heavy, and a scan needs the clocks only

    return Environment(
        python=platform.python_version(),
        implementation=platform.python_implementation(),
        free_threaded_build=free_threaded_build(),
        gil_enabled=gil_enabled(),
        compiler=platform.python_compiler(),
        platform=platform.platform(),
        machine=platform.machine(),
        cpus_usable=machine.usable_cpus(),
        cpus_logical=os.cpu_count() or 1,
        start_method=start_method,
        switch_interval_s=sys.getswitchinterval(),
        load_average_1min=machine.load_average_1min(),
        scaling_ceiling=scaling_ceiling,
        ceiling_workers=ceiling_workers,
        gil_switched_on_by=gil_switched_on_by,
    )

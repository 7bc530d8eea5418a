"""Build a report from results and from a description of the Python and the machine that they were measured with."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest_gilprobe
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.observe import interpreter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gilprobe.model.report import Environment
    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.probing.prober import ProbeRunner


def environment_of(runner: ProbeRunner | None, gil_switched_on_by: tuple[str, ...] = ()) -> Environment:
    """Describe this Python and this machine; what ``runner`` has found out about the machine is included.

    ``runner`` is ``None`` if no worker process was started. ``gil_switched_on_by`` names the modules whose import
    switched the GIL on.
    """
    known = runner.surveyor.any_machine() if runner is not None else None
    return interpreter.environment(
        start_method=runner.group.start_method if runner is not None else "none started",
        scaling_ceiling=known.scaling.value if known is not None and known.scaling is not None else None,
        ceiling_workers=known.scaling_workers if known is not None else None,
        gil_switched_on_by=gil_switched_on_by,
    )


def report_of(results: Iterable[WorkloadResult], environment: Environment) -> Report:
    """Return a report of ``results``, which were measured in ``environment``; its date is the present moment."""
    return Report(
        tool_version=pytest_gilprobe.__version__,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        environment=environment,
        workloads=tuple(results),
    )

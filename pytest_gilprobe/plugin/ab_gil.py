"""Support ``--gilprobe-ab-gil``: on a free-threaded build, probe every workload without the GIL and again with it.

Each half has worker processes of its own, started with ``PYTHON_GIL=0`` or ``PYTHON_GIL=1`` in their environment;
`WorkerGroup` refuses a worker whose GIL is not as requested. The half without the GIL is the session's own report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.observe import interpreter
from pytest_gilprobe.plugin.config import refuse
from pytest_gilprobe.report.compare import compare
from pytest_gilprobe.report.files import PAIR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_gilprobe.model.comparison import Comparison
    from pytest_gilprobe.model.report import Report
    from pytest_gilprobe.plugin.config import Settings

FLAG = "--gilprobe-ab-gil"
START_METHOD = "spawn"
"""The only start method that gives each worker a new interpreter: ``fork`` and ``forkserver`` copy the GIL's state of
the process that forks."""


def check(settings: Settings) -> None:
    """Raise `pytest.UsageError` if this Python or the start method cannot give workers with and without the GIL."""
    if not interpreter.free_threaded_build():
        refuse(f"{FLAG}: this Python always has its GIL; it takes a free-threaded build, such as python3.14t")
    if settings.start_method not in {None, START_METHOD}:
        refuse(
            f"{FLAG}: found start-method {settings.start_method!r}, allowed: {START_METHOD!r} (others hand the GIL's "
            "state on)"
        )


def halves(settings: Settings) -> tuple[bool | None, ...]:
    """Return, for each set of worker processes that the session needs, whether its GIL is on.

    Under ``--gilprobe-ab-gil`` there are two sets: ``(False, True)``. Otherwise there is one, ``(None,)``, whose GIL is
    on or off as is Python's default.
    """
    return (False, True) if settings.ab_gil else (None,)


def compared(halves: Mapping[bool, Report]) -> Comparison | None:
    """Compare the reports with and without the GIL; return ``None`` if they have no workloads.

    ``halves`` maps whether the GIL was on to the report.
    """
    if not halves[False].workloads:
        return None
    return compare([(PAIR[gil], halves[gil]) for gil in (True, False)])

"""Support ``--gilprobe-ab-gil``: on a free-threaded build, probe every workload without the GIL and again with it.

Each of these two halves has worker processes of its own, started with ``PYTHON_GIL=0`` or ``PYTHON_GIL=1`` in their
environment; `WorkerGroup` refuses a worker whose GIL is not as requested. The results without the GIL make up the
session's normal report.
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
"""How worker processes are started under ``--gilprobe-ab-gil``. Only ``spawn`` starts a new interpreter, which reads
``PYTHON_GIL``; with ``fork`` and ``forkserver`` a worker's GIL is on or off as it is in the process that forks."""


def check(settings: Settings) -> None:
    """Raise `pytest.UsageError` unless this session can start worker processes with and without the GIL.

    That takes a free-threaded build of Python, and no start method other than ``spawn`` in ``settings``.
    """
    if not interpreter.free_threaded_build():
        refuse(f"{FLAG}: this Python always has its GIL; it takes a free-threaded build, such as python3.14t")
    if settings.start_method not in {None, START_METHOD}:
        refuse(
            f"{FLAG}: found start-method {settings.start_method!r}, allowed: {START_METHOD!r} (others hand the GIL's "
            "state on)"
        )


def halves(settings: Settings) -> tuple[bool | None, ...]:
    """Return one value for each set of worker processes that the session needs: whether the GIL is on in that set.

    Under ``--gilprobe-ab-gil`` the result is ``(False, True)``. Otherwise it is ``(None,)``: one set, in which the GIL
    is on or off as is Python's default.
    """
    return (False, True) if settings.ab_gil else (None,)


def compared(halves: Mapping[bool, Report]) -> Comparison | None:
    """Compare the same workloads (probed calls) with and without the GIL; return ``None`` if there are no workloads.

    ``halves[True]`` is the report of the probes with the GIL, ``halves[False]`` that of the probes without it.
    """
    if not halves[False].workloads:
        return None
    return compare([(PAIR[gil], halves[gil]) for gil in (True, False)])

"""One free-threaded Python as two: every workload probed without the GIL, and again with it (``--gilprobe-ab-gil``).

Each half has workers of its own, started with ``PYTHON_GIL=0`` or ``PYTHON_GIL=1`` in their environment; `Pool`
refuses a worker whose GIL is not as it was asked for. The first half is the session's own report.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gilprobe import config, host, serialize
from pytest_gilprobe.compare import compare
from pytest_gilprobe.model import Status

if TYPE_CHECKING:
    from pytest_gilprobe.comparison import Comparison
    from pytest_gilprobe.config import Plan, Settings
    from pytest_gilprobe.model import Environment, Report, WorkloadResult
    from pytest_gilprobe.probe import Prober

FLAG = "--gilprobe-ab-gil"
START_METHOD = "spawn"
"""The only way to start a worker that is a new interpreter: a fork has its parent's GIL, and ``forkserver`` forks
too."""
NAMES = {False: "gilprobe-gil0.json", True: "gilprobe-gil1.json"}
"""The report of each half, by whether the GIL was on."""
COMPARISON = "gilprobe-ab-gil"


def check(settings: Settings) -> None:
    """Raise `pytest.UsageError` where the two halves cannot be had."""
    if not settings.ab_gil:
        return
    if not host.free_threaded_build():
        config.refuse(f"{FLAG}: this Python always has its GIL; it takes a free-threaded build, such as python3.14t")
    if settings.start_method not in {None, START_METHOD}:
        config.refuse(
            f"{FLAG}: found start-method {settings.start_method!r}, allowed: {START_METHOD!r} (others hand the GIL's "
            "state on)"
        )


def refuse_distribution(settings: Settings) -> None:
    """Raise `pytest.UsageError` under pytest-xdist, whose workers send one report, not two."""
    if settings.ab_gil:
        config.refuse(f"{FLAG}: not under pytest-xdist; use -n 0")


class WithGil:
    """The second half: the tests probed again in workers with the GIL on."""

    def __init__(self, prober: Prober) -> None:
        """Probe through ``prober``, whose workers have the GIL on."""
        self.prober = prober
        self.results: dict[str, WorkloadResult] = {}

    def probe(self, plan: Plan, *, keep: int, known_call_s: float) -> None:
        """Probe one test that has passed, right after it was probed without the GIL."""
        self.results[plan.nodeid] = self.prober.probe(plan, keep=keep, known_call_s=known_call_s)

    def note(self, result: WorkloadResult) -> None:
        """Take over what holds for both halves: why a test was not probed."""
        if result.status is Status.NOT_PROBED:
            self.results.setdefault(result.nodeid, result)


def switched(environment: Environment, *, gil: bool) -> Environment:
    """Describe the workers of one half: their GIL, not pytest's own."""
    return replace(environment, gil_enabled=gil)


def compared(without: Report, with_: Report) -> Comparison | None:
    """Hold the half without the GIL against the one with it; None where there is nothing in them."""
    if not without.workloads:
        return None
    return compare([(NAMES[True], with_), (NAMES[False], without)])


def publish(without: Report, with_: Report, folder: Path) -> tuple[str, ...]:
    """Write both halves and their comparison into ``folder``, which is there; return what could not be written."""
    from pytest_gilprobe.reporters import html, markdown  # noqa: PLC0415 - only for those who want files

    comparison = compared(without, with_)
    try:
        serialize.write_atomic(folder / NAMES[False], serialize.to_json(without))
        serialize.write_atomic(folder / NAMES[True], serialize.to_json(with_))
        if comparison is not None:
            serialize.write_atomic(folder / f"{COMPARISON}.md", markdown.draw_comparison(comparison, limit=None))
            serialize.write_atomic(folder / f"{COMPARISON}.html", html.draw_comparison(comparison))
    except (OSError, serialize.ReportError) as error:
        return (f"{FLAG}: could not write to {folder}: {error}",)
    return ()

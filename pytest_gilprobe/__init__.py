"""Measure whether threads, processes, tasks or subinterpreters make a function faster, and how long the GIL is held.

The names in ``__all__`` are for users to import; everything else may change in any release.

The mark PYTEST_DONT_REWRITE tells pytest not to rewrite the asserts of this module. Without it, pytest would warn in
each worker process that is not forked, since such a process imports this package before it starts pytest. Where
warnings are errors, the process would fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_gilprobe.model.errors import GilprobeError
    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.holders import Holder
    from pytest_gilprobe.model.report import Report
    from pytest_gilprobe.model.report_json import read as read_report
    from pytest_gilprobe.model.results import StrategyResult, Verdict, WorkloadResult
    from pytest_gilprobe.probing.function import Prober, probe
    from pytest_gilprobe.strategies.contract import Strategy

__version__ = "0.1.0"

INSIDE_WORKER = "PYTEST_GILPROBE_WORKER"
"""Name of an environment variable. It is set in every worker process, and so in its child processes: a pytest session
that finds it set starts no workers of its own."""

__all__ = [
    "Estimate",
    "GilprobeError",
    "Holder",
    "Prober",
    "Report",
    "Strategy",
    "StrategyResult",
    "Verdict",
    "WorkloadResult",
    "probe",
    "read_report",
]

_HOMES = {
    "Estimate": "model.estimate:Estimate",
    "GilprobeError": "model.errors:GilprobeError",
    "Holder": "model.holders:Holder",
    "Prober": "probing.function:Prober",
    "Report": "model.report:Report",
    "Strategy": "strategies.contract:Strategy",
    "StrategyResult": "model.results:StrategyResult",
    "Verdict": "model.results:Verdict",
    "WorkloadResult": "model.results:WorkloadResult",
    "probe": "probing.function:probe",
    "read_report": "model.report_json:read",
}
"""Where each public name is defined, below this package: imported on first use, so that the package stays light."""


def __getattr__(name: str) -> Any:
    """Import and return a public name on its first use. Raises `AttributeError` for others. *Source:* PEP 562."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module  # noqa: PLC0415 - an idle session needs none of it

    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    """List the module's names, with the public names that are not imported yet."""
    return sorted({*globals(), *__all__})

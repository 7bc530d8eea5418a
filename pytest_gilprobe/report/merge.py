"""Join the reports of several shards (parts of one suite, probed on several hosts or in several jobs) into one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.report import Environment, Report, Shard
from pytest_gilprobe.model.results import WorkloadResult
from pytest_gilprobe.model.safe_text import safe_line
from pytest_gilprobe.model.words import Status


class MergeError(GilprobeError):
    """Raised if reports cannot be joined; the message says why, for example that they are of different Pythons."""


_SAME: Final[dict[str, Callable[[Report], object]]] = {
    "Python": lambda report: f"{report.environment.implementation} {report.environment.python}",
    "build": lambda report: report.environment.label,
    "system": lambda report: f"{report.environment.system} {report.environment.machine}",
    "version of pytest-gilprobe": lambda report: report.tool_version,
}
"""What must be the same in all shards of one suite: its name, and how to get it from a report."""
_CEILING: Final = frozenset({"scaling_ceiling", "ceiling_workers"})
_MEASURED: Final = _CEILING | {"load_average_1min"}


def merge(reports: Sequence[tuple[str, Report]]) -> Report:
    """Join the reports of several shards (parts of one test suite, each probed on its own) into one report.

    The result has each workload once, in the order of the reports. If several reports have a workload, its result is
    that of the newest report that tried strategies for it, else that of the newest report. The joined ``environment``
    is that of the first shard; it has no load average and no ceiling (the speed-up of a plain Python loop) if these
    differ between shards. It lists the modules that switched the GIL on in any shard. ``shards`` has the environment of
    each shard.

    Args:
        reports: at least two pairs of a name to show, such as the file's name, and the report.

    Raises:
        MergeError: there are fewer than two reports; one is of a scan (one measured run of a suite, in which no
            strategy is tried); or they differ in Python, build, system or version of pytest-gilprobe.
    """
    if len(reports) < 2:  # noqa: PLR2004 - two can be joined
        msg = f"nothing to merge: found {len(reports)} report, needed: at least 2"
        raise MergeError(msg)
    for name, report in reports:
        if report.scan is not None:
            msg = f"{safe_line(name)}: found the report of a scan, allowed: reports of probes"
            raise MergeError(msg)
        _refuse_another_kind(reports[0], (name, report))
    shards = tuple(shard for _, report in reports for shard in _shards(report))
    return replace(
        reports[0][1],
        created=max(report.created for _, report in reports),
        environment=_common([shard.environment for shard in shards]),
        workloads=_each_once([report for _, report in reports]),
        shards=shards,
    )


def _refuse_another_kind(first: tuple[str, Report], other: tuple[str, Report]) -> None:
    for what, of in _SAME.items():
        one, another = of(first[1]), of(other[1])
        if one != another:
            msg = (
                f"{safe_line(other[0])}: {what}: found {safe_line(str(another))}, allowed: {safe_line(str(one))}, as "
                f"in {safe_line(first[0])}; gilprobe compare sets such reports side by side"
            )
            raise MergeError(msg)


def _shards(report: Report) -> tuple[Shard, ...]:
    """Return the shards of a report that was merged before, or the report itself as one."""
    nodeids = tuple(workload.nodeid for workload in report.workloads)
    own = Shard(created=report.created, environment=report.environment, workloads=nodeids)
    return report.shards or (own,)


def _common(environments: Sequence[Environment]) -> Environment:
    """Return the first environment, with ``None`` for what is measured and differs."""
    first = environments[0]
    differ = {name for name in _MEASURED if len({getattr(one, name) for one in environments}) > 1}
    return replace(
        first,
        load_average_1min=None if "load_average_1min" in differ else first.load_average_1min,
        scaling_ceiling=None if differ & _CEILING else first.scaling_ceiling,
        ceiling_workers=None if differ & _CEILING else first.ceiling_workers,
        gil_switched_on_by=tuple(dict.fromkeys(module for one in environments for module in one.gil_switched_on_by)),
    )


def _each_once(reports: Sequence[Report]) -> tuple[WorkloadResult, ...]:
    kept: dict[str, tuple[bool, str, WorkloadResult]] = {}
    for report in reports:
        for workload in report.workloads:
            found = (workload.status is Status.PROBED, report.created, workload)
            before = kept.get(workload.nodeid)
            if before is None or found[:2] >= before[:2]:
                kept[workload.nodeid] = found
    return tuple(workload for _, _, workload in kept.values())

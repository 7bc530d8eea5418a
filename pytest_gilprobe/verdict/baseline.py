"""Compare a report with an earlier one, its baseline: list regressions, gains, new and vanished workloads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.comparison import ChangeKind
from pytest_gilprobe.model.error_text import summary
from pytest_gilprobe.model.safe_text import safe_line
from pytest_gilprobe.model.words import INCONCLUSIVE, Status
from pytest_gilprobe.verdict.differences import changes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_gilprobe.model.report import Environment, Report
    from pytest_gilprobe.model.results import WorkloadResult

_NAMED = 5
"""Node ids that one line names."""


class FindingKind(StrEnum):
    """How a workload's new result differs from its result in the baseline, an earlier report.

    ``regression``: something is certainly worse. ``gain``: nothing is worse, and certainly another strategy is advised,
    or calls now release a GIL that they held. ``not probed``: the workload was measured in the baseline, but is not
    now. ``inconclusive``: the baseline advised a strategy (or serial calls), the new result is inconclusive. ``new``:
    only the new report has the workload. ``vanished``: only the baseline has it.
    """

    REGRESSION = "regression"
    GAIN = "gain"
    NOT_PROBED = "not probed"
    UNDECIDED = "inconclusive"
    NEW = "new"
    VANISHED = "vanished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference between a workload's new result and its result in the baseline, an earlier report.

    ``kind`` says how they differ, ``nodeid`` is the workload's pytest node id. ``message`` is one line on the
    difference; empty for workloads that only one of the reports has.
    """

    kind: FindingKind
    nodeid: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """How a report differs from its baseline, the earlier report.

    ``findings`` has the differences of single workloads. ``notes`` say what limits the comparison, such as another
    machine.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    def of(self, kind: FindingKind) -> tuple[Finding, ...]:
        """Return the findings of this ``kind``."""
        return tuple(one for one in self.findings if one.kind is kind)

    @property
    def regressions(self) -> tuple[Finding, ...]:
        """The findings of workloads in which something is certainly worse."""
        return self.of(FindingKind.REGRESSION)


def since(baseline: Report, report: Report) -> Differences:
    """Return how a report differs from its baseline, the earlier report.

    No times in seconds are compared (only advice, speed-ups, outcomes and the like), so a baseline may come from
    another machine or Python. A curve (throughput by number of workers) that got worse counts only if both reports seem
    to come from the same machine.
    """
    same_machine = report.environment.looks_like(baseline.environment)
    before = {workload.nodeid: workload for workload in baseline.workloads}
    now = {workload.nodeid: workload for workload in report.workloads}
    shared = [(workload, before[nodeid]) for nodeid, workload in now.items() if nodeid in before]
    return Differences(
        findings=(
            *(finding for new, old in shared for finding in _findings(new, old, same_machine=same_machine)),
            *(Finding(kind=FindingKind.NEW, nodeid=nodeid) for nodeid in now if nodeid not in before),
            *(Finding(kind=FindingKind.VANISHED, nodeid=nodeid) for nodeid in before if nodeid not in now),
        ),
        notes=tuple(_notes(report.environment, baseline.environment, shared)),
    )


def losses(new: WorkloadResult, old: WorkloadResult, *, same_machine: bool) -> list[str]:
    """List, as messages, what is certainly worse in a workload's result ``new`` than in its earlier result ``old``.

    The list is empty unless the workload was measured both times, with the same number of workers. A loss in a curve
    (throughput by number of workers) counts only if both reports come from the ``same_machine``.
    """
    if new.status is not Status.PROBED or old.status is not Status.PROBED or new.workers != old.workers:
        return []
    return [change.message for change in changes(new, old, same_machine=same_machine) if change.worse]


def _findings(new: WorkloadResult, old: WorkloadResult, *, same_machine: bool) -> Iterator[Finding]:
    if old.status is not Status.PROBED:
        return
    if new.status is not Status.PROBED:
        why = f"was probed, is not now: {summary(new.reason or 'no reason known')}"
        yield Finding(kind=FindingKind.NOT_PROBED, nodeid=new.nodeid, message=why)
        return
    found = changes(new, old) if new.workers == old.workers else ()
    worse = losses(new, old, same_machine=same_machine)
    gains = [change.message for change in found if change.real and change.kind in (ChangeKind.MOVED, ChangeKind.GIL)]
    if worse or gains:
        kind = FindingKind.REGRESSION if worse else FindingKind.GAIN
        yield Finding(kind=kind, nodeid=new.nodeid, message="; ".join(worse or gains))
    if new.verdict.strategy == INCONCLUSIVE != old.verdict.strategy:
        why = f"was {old.verdict.strategy}, is {INCONCLUSIVE}"
        yield Finding(kind=FindingKind.UNDECIDED, nodeid=new.nodeid, message=why)


def _notes(
    now: Environment, before: Environment, shared: Sequence[tuple[WorkloadResult, WorkloadResult]]
) -> Iterator[str]:
    others = []
    if not now.looks_like(before):
        cpus = numbers.count(before.cpus_usable, "usable CPU")
        others.append(f"another machine ({safe_line(before.platform)}, {cpus})")
    if (now.implementation, now.python, now.label) != (before.implementation, before.python, before.label):
        python = f"{before.implementation} {before.python}, {before.label}"
        others.append(f"another Python ({safe_line(python)})")
    if others:
        yield f"the baseline is from {' and '.join(others)}: only ratios are compared"
    left_out = sum(new.workers != old.workers and Status.PROBED is new.status is old.status for new, old in shared)
    if left_out:
        yield f"{numbers.count(left_out, 'workload')} not compared, since the number of workers differs"


def lines(found: Differences, name: str) -> Iterator[tuple[str, bool]]:
    """Yield lines of text that describe the differences ``found``, each with whether it reports a regression.

    ``name`` is the name of the baseline, the earlier report; the first line shows it, with the number of each kind of
    difference.
    """
    by_kind = {kind: found.of(kind) for kind in FindingKind}
    regressions = numbers.count(len(found.regressions), "regression")
    others = [f"{len(each)} {kind}" for kind, each in by_kind.items() if each and kind is not FindingKind.REGRESSION]
    yield f"against {safe_line(name)}: {', '.join([regressions, *others])}", bool(found.regressions)
    for note in found.notes:
        yield f"  note: {note}", False
    for kind, each in by_kind.items():
        told = [f"{safe_line(one.nodeid)}: {safe_line(one.message)}" for one in each if one.message]
        yield from ((f"  {kind}: {one}", kind is FindingKind.REGRESSION) for one in told)
        if each and not told:
            more = f" and {len(each) - _NAMED} more" if len(each) > _NAMED else ""
            yield f"  {kind}: {', '.join(safe_line(one.nodeid) for one in each[:_NAMED])}{more}", False

"""The records of an evidence file: raw readings of probes, kept so that they can be judged again."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.codec import found
from pytest_gilprobe.model.machine import Machine
from pytest_gilprobe.model.readings import Measurement
from pytest_gilprobe.model.report import Environment
from pytest_gilprobe.model.results import BadEnd, Caution, WorkloadResult
from pytest_gilprobe.model.settings import Plan
from pytest_gilprobe.model.words import STRATEGY_NAME, Status

EVIDENCE_VERSION = 1
"""Version of the format in which evidence files (the raw readings of probes) are written. The version stays the same if
a field that has a default is added."""
EVIDENCE_FILE = "gilprobe-evidence.jsonl.gz"
"""Name of the file with the raw readings of a session's probes, in the folder of the session's report."""

MOST_WORKERS = 4096
"""The largest number of workers (threads, processes ...) that a record in an evidence file may state. A record with
more is refused as damaged: the settings of a session allow at most 256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceHeader:
    """The first line of an evidence file (the raw readings of a session's probes): what made the readings, and when.

    ``tool_version`` is the version of this package, ``created`` the UTC time in ISO 8601, and ``environment`` the
    Python and the machine.
    """

    tool_version: str
    created: str
    environment: Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRecord:
    """One workload's line of an evidence file: everything from which its verdict can be computed again.

    Attributes:
        nodeid: the test's node id, or ``module:function`` of a function without a test.
        status: whether the workload was measured.
        reason: why there is no verdict; ``None`` if there is one.
        probe_time_s: how many seconds the probe took.
        strategy: the name of the strategy that the report advises, or ``inconclusive``. A verdict computed again later
            can be compared with it.
        strategies: the names of the parallel strategies that existed for this workload, in the order of their costs
            beside the calls (starting workers, moving data ...), the lowest first.
        plan: the settings of the probe.
        measurement: all raw readings; ``None`` if nothing was measured.
        machine: the machine's speed-up with several processes, and executor costs, measured before the probe;
            ``None`` if nothing was measured.
        bad_ends: the strategies that failed, hung or crashed, if the workload could not be measured.
        added: the report's warnings about a workload that was not probed, which cannot be computed from readings.
    """

    nodeid: str
    status: Status
    reason: str | None = None
    probe_time_s: float
    strategy: str
    strategies: tuple[str, ...]
    plan: Plan
    measurement: Measurement | None = None
    machine: Machine | None = None
    bad_ends: tuple[BadEnd, ...] = ()
    added: tuple[Caution, ...] = ()

    @classmethod
    def of(
        cls, plan: Plan, result: WorkloadResult, measurement: Measurement | None = None, machine: Machine | None = None
    ) -> EvidenceRecord:
        """Return the record of one workload, made from the ``plan`` of its probe and from its ``result`` in the report.

        ``measurement`` has the raw readings, and ``machine`` the machine's speed-up with several processes, and
        executor costs; both are ``None`` if nothing was measured.
        """
        return cls(
            nodeid=result.nodeid,
            status=result.status,
            reason=result.reason,
            probe_time_s=result.probe_time_s,
            strategy=result.verdict.strategy,
            strategies=tuple(result.parallel),
            plan=plan,
            measurement=measurement,
            machine=machine,
            bad_ends=result.bad_ends,
            added=() if result.status is Status.PROBED else result.verdict.cautions,
        )

    @property
    def can_be_judged(self) -> bool:
        """Whether a verdict can be computed: calls were timed at least once, and the machine was measured."""
        return self.measurement is not None and bool(self.measurement.rounds) and self.machine is not None

    def impossible(self) -> str | None:
        """Return why this record cannot be right, such as a strategy's invalid name; ``None`` if nothing is wrong.

        A record that was read from a file can be wrong if the file was edited or damaged.
        """
        for name in (*self.strategies, *self.plan.strategies):
            if STRATEGY_NAME.fullmatch(name) is None:
                return f"a strategy's name looks like {STRATEGY_NAME.pattern}, found {name!r}"
        if self.status is Status.PROBED and not self.can_be_judged:
            return "a workload that was probed has a machine and a measurement with rounds, found none"
        return None if self.measurement is None else _impossible(self.measurement, self.strategies)


def _impossible(seen: Measurement, strategies: tuple[str, ...]) -> str | None:
    if not 0 < seen.workers <= MOST_WORKERS:
        return f"measurement.workers: found {found(seen.workers)}, allowed: 1 to {MOST_WORKERS}"
    for name in strategies if seen.rounds else ():
        if name not in seen.ends:
            return f"measurement.ends says how each parallel strategy ended, found nothing of {name}"
    for number, one in enumerate(seen.rounds):
        for name, batch in one.batches.items():
            if not batch.lanes or any(lane.calls < 1 or lane.end_ns < lane.start_ns for lane in batch.lanes):
                place = f"measurement.rounds[{number}].batches.{name}"
                return f"{place}: a batch has lanes, each with calls that end, found none"
    return None

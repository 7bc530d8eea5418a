"""The spine: plan -> samples -> estimates -> verdict -> result, on one screen."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_gilprobe import gate, host
from pytest_gilprobe.bench import NotProbed
from pytest_gilprobe.judge import judge
from pytest_gilprobe.measure import Job, measure
from pytest_gilprobe.model import (
    BadEnd,
    Bound,
    Evidence,
    Gil,
    Outcome,
    ProcessesResult,
    Recommendation,
    Status,
    Strategy,
    ThreadsResult,
    Verdict,
    Wish,
    WorkloadResult,
)
from pytest_gilprobe.price import priced
from pytest_gilprobe.stats.reduce import reduce

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.config import Plan
    from pytest_gilprobe.machine import Surveyor
    from pytest_gilprobe.model import Measurement
    from pytest_gilprobe.workers.pool import Pool


def _settled(_: WorkloadResult) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prober:
    """All that probes of one session share."""

    pool: Pool
    surveyor: Surveyor
    progress: Callable[[str], None]
    is_open: Callable[[WorkloadResult], bool] = _settled
    """Whether a result, judged for good, leaves something else to decide: a change since an earlier report."""

    def start(self, workers: int) -> None:
        """Have so many workers start in the background; what prevents it is told by the next probe."""
        with contextlib.suppress(OSError):
            self.pool.start(workers)

    def probe(self, plan: Plan, *, keep: int, known_call_s: float) -> WorkloadResult:
        """Measure and judge one test that has passed; never raises for what the test or this tool does wrong."""
        started_ns = host.perf_counter_ns()
        try:
            evidence = self._measure(plan, keep, known_call_s)
            result = self._result(plan, evidence)
        except NotProbed as finding:
            nothing = unmeasured(plan.nodeid, Status.NOT_PROBED, str(finding), plan.workers, _since_s(started_ns))
            return replace(nothing, bad_ends=_bad_ends(finding.seen))
        except Exception as error:  # noqa: BLE001 - wrong is worse than silent, and the user's session goes on
            reason = f"internal error, please report it: {type(error).__name__}: {error}"
            return unmeasured(plan.nodeid, Status.ERROR, reason, plan.workers, _since_s(started_ns))
        return replace(result, probe_time_s=_since_s(started_ns))

    @staticmethod
    def _result(plan: Plan, evidence: Evidence) -> WorkloadResult:
        return WorkloadResult(
            nodeid=plan.nodeid,
            status=Status.PROBED,
            workers=plan.workers,
            probe_time_s=0.0,
            verdict=priced(judge(evidence).verdict, evidence),
            serial=evidence.serial,
            threads=evidence.threads,
            processes=evidence.processes,
            callee=evidence.measurement.callee,
            transfer=evidence.measurement.transfer,
        )

    def _wish(self, plan: Plan, so_far: Measurement) -> Wish:
        """Tell what could settle an open decision: the verdict's, then those of a gate."""
        evidence = self._evidence(so_far)
        wish = judge(evidence).wish
        if wish is Wish.ROUND and plan.expectation.says_anything:
            return Wish.PROOF
        if wish is not Wish.NOTHING:
            return wish
        result = self._result(plan, evidence)
        return Wish.PROOF if gate.check(plan.expectation, result).open_ or self.is_open(result) else wish

    def _measure(self, plan: Plan, keep: int, known_call_s: float) -> Evidence:
        """Measure until no decision is open, or time is up."""
        self.progress("start")
        self.surveyor.survey(plan.workers)
        job = Job(
            plan=plan, keep=keep, cpus=self.surveyor.cpus, known_call_s=known_call_s, control_s=self.surveyor.control_s
        )
        seen = measure(
            job,
            self.pool,
            settled=lambda so_far: self._wish(plan, so_far),
            progress=lambda strategy, number: self.progress(f"{strategy} {number}"),
        )
        return self._with_import(self._evidence(seen))

    def _with_import(self, evidence: Evidence) -> Evidence:
        """Add, where processes are advised, what their workers need to import the function."""
        callee = evidence.measurement.callee
        if callee is None or judge(evidence).verdict.strategy is not Recommendation.PROCESSES:
            return evidence
        import_s = self.surveyor.import_s(callee.module, evidence.measurement.workers)
        return replace(evidence, machine=replace(evidence.machine, import_s=import_s))

    def _evidence(self, measurement: Measurement) -> Evidence:
        known = self.surveyor.machine(measurement.workers)
        serial, threads, processes = reduce(measurement, known)
        return Evidence(measurement=measurement, machine=known, serial=serial, threads=threads, processes=processes)


def _since_s(started_ns: int) -> float:
    return (host.perf_counter_ns() - started_ns) / 1e9


def _bad_ends(seen: Measurement | None) -> tuple[BadEnd, ...]:
    """List how strategies ended badly before it turned out that there is nothing to measure."""
    if seen is None:
        return ()
    ends = (Strategy.THREADS, seen.threads_end), (Strategy.PROCESSES, seen.processes_end)
    return tuple(
        BadEnd(strategy=strategy, outcome=end.outcome, error=end.error)
        for strategy, end in ends
        if end.outcome in gate.BROKEN
    )


def unmeasured(nodeid: str, status: Status, reason: str, workers: int, probe_time_s: float = 0.0) -> WorkloadResult:
    """Describe a workload of which nothing is known, and say why."""
    return WorkloadResult(
        nodeid=nodeid,
        status=status,
        reason=reason,
        workers=workers,
        probe_time_s=probe_time_s,
        verdict=Verdict(
            bound=Bound.INCONCLUSIVE, gil=Gil.UNKNOWN, strategy=Recommendation.INCONCLUSIVE, speedup=None, reason=reason
        ),
        serial=None,
        threads=ThreadsResult(outcome=Outcome.SKIPPED, error=reason),
        processes=ProcessesResult(outcome=Outcome.SKIPPED, error=reason),
    )

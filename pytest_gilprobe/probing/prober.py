"""Probe one test: time its calls in batches, estimate what strategies gain, judge, and return the result."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model.readings import BatchReading, WorkerReading
from pytest_gilprobe.model.results import BadEnd, WorkloadResult
from pytest_gilprobe.model.words import BROKEN, NextStep, Status
from pytest_gilprobe.observe import clocks, interpreter
from pytest_gilprobe.probing.one_call import TooLong, is_too_long
from pytest_gilprobe.probing.open_test import NotProbed
from pytest_gilprobe.probing.schedule import Job, measure
from pytest_gilprobe.verdict import expectations, normal_run
from pytest_gilprobe.verdict.judge import judge
from pytest_gilprobe.verdict.results import broken_off, evidence_of, result_of, unmeasured

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.model.evidence import EvidenceRecord
    from pytest_gilprobe.model.machine import Machine
    from pytest_gilprobe.model.readings import Evidence, LaneReading, Measurement
    from pytest_gilprobe.model.settings import Plan
    from pytest_gilprobe.probing.survey import Surveyor
    from pytest_gilprobe.strategies.registry import Strategies
    from pytest_gilprobe.workers.parent.group import WorkerGroup
    from pytest_gilprobe.workers.parent.own_watch import OwnWatch


def _settled(_: WorkloadResult) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRunner:
    """Probe tests one after another, with what all probes of a session share: workers, strategies, data on the machine.

    Attributes:
        group: the worker processes.
        surveyor: measures the speed-up that the machine gives and the costs of executors, and keeps the results.
        strategies: all strategies that are known.
        progress: called with a text for the user: ``start``, then before each batch (timed series of calls) the
            strategy's name and the batch's number, from 1, such as ``threads 2``.
        is_open: called with a result that is good enough for the verdict and for the expectations of the test's marker;
            returns whether more measurements are needed for something else, such as a comparison with a baseline.
        keep_evidence: called with the raw readings of each probe; ``None`` if they are not kept.
        own_watch: asks a worker process to sample this process's GIL while this process runs a test; ``None`` if that
            is not wanted.
    """

    group: WorkerGroup
    surveyor: Surveyor
    strategies: Strategies
    progress: Callable[[str], None]
    is_open: Callable[[WorkloadResult], bool] = _settled
    keep_evidence: Callable[[EvidenceRecord], None] | None = None
    own_watch: OwnWatch | None = None

    def start(self, workers: int) -> None:
        """Start ``workers`` worker processes in the background; if the system refuses them, the next probe says so."""
        with contextlib.suppress(OSError):
            self.group.start(workers)

    def watch(self) -> None:
        """Ask a worker process to sample this process's GIL; call this just before a test's call is made here.

        The samples are used if the call turns out to be too long to be repeated. Nothing is done if ``own_watch`` is
        ``None``.
        """
        if self.own_watch is not None:
            self.own_watch.begin()

    def probe(self, plan: Plan, *, keep: int, known_call_s: float, run: LaneReading | None = None) -> WorkloadResult:
        """Measure and judge one test that has passed; errors of the test or of this tool are reported in the result.

        ``keep`` is how many of the test's collectors (session, package, module ...) stay set up in the workers
        afterwards. ``known_call_s`` is how many seconds the test's call took when pytest ran it. ``run`` has further
        times of that call, such as its CPU time; ``None`` if they were not read.
        """
        started_ns, seen = clocks.perf_counter_ns(), _Seen()
        own_run = self._own_run(run, is_too_long(known_call_s, plan))
        try:
            result = result_of(plan, self._measured(plan, keep, (known_call_s, own_run), seen))
        except NotProbed as finding:
            nothing = unmeasured(plan, self.strategies.existing_for(plan.kind).names, Status.NOT_PROBED, str(finding))
            nothing = replace(nothing, bad_ends=_bad_ends(finding.seen))
            result = normal_run.told(nothing, own_run, finding.seen, only_run=isinstance(finding, TooLong))
            seen.measurement = finding.seen
        except Exception as error:  # noqa: BLE001 - wrong is worse than silent, and the user's session goes on
            result = broken_off(plan, self.strategies.existing_for(plan.kind).names, error)
        result = replace(result, probe_time_s=(clocks.perf_counter_ns() - started_ns) / 1e9)
        if self.keep_evidence is not None:
            self._keep_evidence(plan, result, seen)
        return result

    def _own_run(self, run: LaneReading | None, is_long: bool) -> BatchReading | None:  # noqa: FBT001 - what it is
        """Return the test's own run as a batch of one serial call, with samples of the GIL if the call is long."""
        if run is None:
            return None
        samples = self.own_watch.samples() if is_long and self.own_watch is not None else None
        worker = WorkerReading(
            lanes=(run,), process_cpu_ns=run.cpu_ns, peak_rss_bytes=None, gil_enabled=interpreter.gil_enabled()
        )
        return BatchReading(workers=(worker,), gil=samples)

    def _measured(self, plan: Plan, keep: int, normal: tuple[float, BatchReading | None], seen: _Seen) -> Evidence:
        """Measure until no decision is open, or time is up; keep ``seen`` up to date, whatever is raised.

        ``normal`` is how long the call took in the test's own run, and that run as a batch.
        """
        self.progress("start")
        strategies = self.strategies.existing_for(plan.kind)
        tried = [one for one in strategies.parallel if one.name in plan.strategies]
        self.surveyor.survey(plan.workers, tried, plan.max_time_s)
        known_call_s, own_run = normal
        job = Job(
            plan=plan,
            keep=keep,
            cpus=self.surveyor.cpus,
            known_call_s=known_call_s,
            own_run=own_run,
            control_s=self.surveyor.control_s,
        )
        seen.measurement = measure(
            job,
            self.group,
            strategies,
            settled=lambda so_far: self._next_step(plan, so_far, seen),
            progress=lambda name, number: self.progress(f"{name} {number}"),
        )
        evidence = self._with_import(self._evidence(plan, seen.measurement))
        seen.machine = evidence.machine
        return evidence

    def _next_step(self, plan: Plan, so_far: Measurement, seen: _Seen) -> NextStep:
        """Say what could settle an open decision: the verdict's, then those of a gate."""
        seen.measurement = so_far
        evidence = self._evidence(plan, so_far)
        next_step = judge(evidence).next_step
        if next_step is NextStep.ROUND and plan.expectation.says_anything:
            return NextStep.PROOF
        if next_step is not NextStep.STOP:
            return next_step
        result = result_of(plan, evidence)
        is_open = expectations.check(plan.expectation, result).wants_rounds or self.is_open(result)
        return NextStep.PROOF if is_open else next_step

    def _evidence(self, plan: Plan, measurement: Measurement) -> Evidence:
        strategies = self.strategies.existing_for(plan.kind).parallel
        return evidence_of(measurement, self.surveyor.machine(measurement.workers), strategies)

    def _with_import(self, evidence: Evidence) -> Evidence:
        """Add, where the advised strategy moves data, what its workers need to import the function."""
        callee, advised = evidence.measurement.callee, self.strategies.get(judge(evidence).verdict.strategy)
        if callee is None or advised is None or not advised.moves_data:
            return evidence
        import_s = self.surveyor.import_s(advised, callee.module, evidence.measurement.workers)
        return replace(evidence, machine=replace(evidence.machine, import_s=import_s))

    def _keep_evidence(self, plan: Plan, result: WorkloadResult, seen: _Seen) -> None:
        """Hand the raw readings over, also those that this tool failed to judge."""
        from pytest_gilprobe.model.evidence import EvidenceRecord  # noqa: PLC0415 - only for those who keep it

        if self.keep_evidence is not None:
            machine = seen.machine if seen.machine is not None else self.surveyor.machine(plan.workers)
            self.keep_evidence(EvidenceRecord.of(plan, result, seen.measurement, machine))


@dataclass(slots=True)
class _Seen:
    """What a probe has measured so far, for the evidence that is kept."""

    measurement: Measurement | None = None
    machine: Machine | None = None


def _bad_ends(seen: Measurement | None) -> tuple[BadEnd, ...]:
    """List how strategies ended badly before it turned out that there is nothing to measure."""
    ends = seen.ends.items() if seen is not None else ()
    return tuple(
        BadEnd(strategy=name, outcome=end.outcome, error=end.error) for name, end in ends if end.outcome in BROKEN
    )

"""Probe the marked tests of a session; registered only in a session that has something to probe.

A marked test first runs as without the plugin. It is probed when its call has passed but is not reported yet, so the
verdict can appear beside ``PASSED`` and in the test's report. The worker processes, which repeat the call, are started
before the first marked test is set up: they get ready while it runs, and a fork then happens between two tests, with no
test's patches in force.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gilprobe.model import gains
from pytest_gilprobe.model.words import SERIAL, CallKind, Status
from pytest_gilprobe.observe import machine
from pytest_gilprobe.observe.gil_switch import SwitchedOnBy
from pytest_gilprobe.plugin import ab_gil, gate_failures, gil_switch_gate, xdist
from pytest_gilprobe.plugin.config import default_strategies, plan_for, strategies_of
from pytest_gilprobe.plugin.marked_tests import kept_collectors, kind_of, stop_time_limits, why_not_probed
from pytest_gilprobe.plugin.progress import Progress
from pytest_gilprobe.plugin.reporting import Reporting
from pytest_gilprobe.probing.assembly import environment_of
from pytest_gilprobe.probing.prober import ProbeRunner
from pytest_gilprobe.probing.survey import Surveyor
from pytest_gilprobe.verdict.results import unmeasured
from pytest_gilprobe.workers import fixture
from pytest_gilprobe.workers.normal_run import NormalRun
from pytest_gilprobe.workers.parent.group import WorkerGroup
from pytest_gilprobe.workers.parent.hung_fixtures import HungFixtures, fixtures_of
from pytest_gilprobe.workers.parent.own_watch import OwnWatch
from pytest_gilprobe.workers.parent.session_arguments import spec_for
from pytest_gilprobe.workers.test_patches import TestPatches

if TYPE_CHECKING:
    import warnings
    from collections.abc import Generator

    from pytest_gilprobe.model.readings import LaneReading
    from pytest_gilprobe.model.report import Environment
    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.model.settings import Plan
    from pytest_gilprobe.plugin.config import Settings
    from pytest_gilprobe.plugin.evidence import ProbeEvidence
    from pytest_gilprobe.strategies.registry import Strategies

PROPERTY = "gilprobe_"
"""Prefix of the names of the user properties that describe a test's result, in pytest's report and in JUnit XML."""


class ProbeSession:
    """Plugin that probes the marked tests of one session and reports on them."""

    def __init__(
        self, session: pytest.Session, settings: Settings, keywords: dict[pytest.Item, dict[str, Any]]
    ) -> None:
        """Prepare to probe the tests in ``keywords``, which maps each test to its marks' keywords."""
        self._config = session.config
        self._settings = settings
        self._strategies = strategies_of(session.config)
        cpus = machine.usable_cpus()
        self._plans = {
            item: plan_for(item.nodeid, said, settings, self._known(item, said), cpus)
            for item, said in keywords.items()
        }
        self._keywords = keywords
        self._keep = kept_collectors(session.items, keywords)
        self.reporting = Reporting(session.config, settings)
        self._evidence = _evidence(settings)
        self.patches = TestPatches()
        self._runners: tuple[ProbeRunner, ...] = ()
        """One, or under ``--gilprobe-ab-gil`` two: without the GIL, and with it."""
        self._switched_on_by = SwitchedOnBy()
        self._progress = Progress(session.config)
        self._interrupted = False
        self._calling: pytest.Item | None = None
        self._normal_run: LaneReading | None = None
        self._failed_inside: set[str] = set()

    # While tests run

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Start worker processes before a marked test is set up, so that they can repeat it; not after an interrupt."""
        plan = self._plans.get(item)
        if plan is not None and not self._interrupted:
            with self.patches.undone():  # what earlier tests left replaced for good
                for runner in self._ready_runners():
                    runner.start(plan.workers)
        done = yield
        if self._interrupted:  # while it probed: the test itself was over, and is reported
            raise KeyboardInterrupt
        return done

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Time a marked test's call; until the call ends, treat reports on the test as those of its subtests."""
        self._calling = item
        watched = None
        if item in self._plans:
            with self.patches.undone():  # what the test's fixtures have replaced
                for runner in self._runners[:1]:
                    runner.start(self._plans[item].workers)  # those that ended before this test's set-up
                    runner.watch()
            watched = NormalRun()
        try:
            yield
        finally:
            self._calling = None
            self._normal_run = watched.end() if watched is not None else None

    def _ready_runners(self) -> tuple[ProbeRunner, ...]:
        self._runners = self._runners or tuple(map(self._new_runner, ab_gil.halves(self._settings)))
        return self._runners

    def _new_runner(self, gil: bool | None) -> ProbeRunner:  # noqa: FBT001 - its state, or None: as Python has it
        group = WorkerGroup(
            spec=replace(
                spec_for(self._config, tuple(self._plans), self._switched_on_by.names), holders=self._settings.holders
            ),
            start_method=self._settings.start_method if gil is None else ab_gil.START_METHOD,
            timeout_s=self._settings.timeout_s,
            gil=gil,
            hung_fixtures=HungFixtures(fixtures_of(self._plans)),
        )
        return ProbeRunner(
            group=group,
            surveyor=Surveyor(group),
            strategies=self._strategies,
            progress=self._progress.show,
            is_open=self.reporting.is_open,
            keep_evidence=None if self._evidence is None else self._evidence.note,
            own_watch=OwnWatch(group, holders=self._settings.holders),
        )

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Note the module whose import switched the GIL on in this process, if that is what CPython warns of."""
        self._switched_on_by.note(warning_message.message)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Probe a marked test whose call has passed; for any other marked test, record why it is not probed."""
        report = yield
        plan = self._plans.get(item)
        if plan is None:
            return report
        if self._calling is item:
            if report.failed:
                self._failed_inside.add(item.nodeid)
            return report
        result = self._result(item, plan, report, call.duration)
        if result is not None:
            if report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
                result = gate_failures.apply(result, plan, self._settings, item, call, report)
            self._record(item, report, result)
        return report

    def _result(
        self, item: pytest.Item, plan: Plan, report: pytest.TestReport, duration_s: float
    ) -> WorkloadResult | None:
        """Probe a test, or say why not; None where one of its phases decides neither."""
        why = why_not_probed(item, report)
        if report.when == "call" and report.passed and item.nodeid in self._failed_inside:
            why = "one of its subtests failed when pytest ran it; mend that first"
        if why is not None:
            result = unmeasured(plan, self._strategies.existing_for(plan.kind).names, Status.NOT_PROBED, why)
            self.reporting.with_gil.setdefault(item.nodeid, result)
            return result
        return self._probe(item, plan, duration_s) if report.when == "call" else None

    def _probe(self, item: pytest.Item, plan: Plan, duration_s: float) -> WorkloadResult:
        stop_time_limits(item)
        given = fixture.of(item)
        plan = self._as_called(item, plan)
        duration_s = given.call_s if given is not None and given.call_s is not None else duration_s
        run = given.run if given is not None else self._normal_run
        try:
            with self.patches.undone():
                results = [
                    runner.probe(plan, keep=self._keep[item], known_call_s=duration_s, run=run)
                    for runner in self._ready_runners()
                ]
            self.reporting.with_gil[item.nodeid] = results[-1]
        except KeyboardInterrupt:
            self._interrupted = True
            self._end_workers()
            return unmeasured(
                plan, self._strategies.existing_for(plan.kind).names, Status.NOT_PROBED, "its probe was interrupted"
            )
        else:
            return results[0]
        finally:
            self._progress.clear()

    def _known(self, item: pytest.Item, said: dict[str, Any]) -> Strategies:
        """Return the strategies that exist for a test's calls, before it has run.

        A test with the fixture that is expected to gain from a strategy of awaited calls is taken at its word.
        """
        known = self._strategies.existing_for(kind_of(item))
        if fixture.asks_for(item) and not set(known.names).issuperset(said.get("expect", ())):
            return self._strategies.existing_for(CallKind.AWAITED)
        return known

    def _as_called(self, item: pytest.Item, plan: Plan) -> Plan:
        """Return the plan for the kind of call that the test passed to the fixture, which is known only afterwards."""
        given = fixture.of(item)
        known = self._strategies.existing_for(kind_of(item))
        if known.kind is plan.kind or given is None or not given.used:  # a plugin may have wrapped a coroutine test
            return plan
        tried = self._keywords[item].get("strategies") or default_strategies(self._settings, known)
        return replace(plan, kind=known.kind, strategies=tried | {SERIAL})

    def _record(self, item: pytest.Item, report: pytest.TestReport, result: WorkloadResult) -> None:
        """Keep a result for the session's report, and have the test's own report carry it."""
        self.reporting.results[item.nodeid] = result
        for owner in (item, report):
            others = [pair for pair in owner.user_properties if not pair[0].startswith(PROPERTY)]
            owner.user_properties[:] = [*others, *_properties(result, self.reporting.regression(result))]
        if xdist.is_distributed(self._config):
            xdist.send_result(report, result)
        if self._evidence is not None:
            packed = self._evidence.packed(self._plans[item], result, len(ab_gil.halves(self._settings)))
            if xdist.is_distributed(self._config):
                xdist.send_evidence(report, packed[0])
            else:
                self.reporting.keep_evidence(packed)
        item.ihook.pytest_gilprobe_result(item=item, result=result)

    # At the end

    def pytest_keyboard_interrupt(self) -> None:
        """Remember the interrupt: no more tests are probed, and worker processes are ended without waiting for them."""
        self._interrupted = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """End the worker processes, then report the results, or leave the report to pytest-xdist's controller."""
        self._end_workers()
        self.reporting.environments = found = self._environments()
        if xdist.is_distributed(self._config):
            xdist.send_environment(self._config, found[0])
        else:
            with self.patches.undone():
                self.reporting.finish(session)

    def pytest_unconfigure(self) -> None:
        """End the worker processes of a session that ended before `pytest_sessionfinish`."""
        self._end_workers()

    def groups(self) -> list[WorkerGroup]:
        """Return the groups of worker processes that this session has so far."""
        return [runner.group for runner in self._runners]

    def _end_workers(self) -> None:
        for runner in self._runners:
            with self.patches.undone():
                try:
                    (runner.group.abandon if self._interrupted else runner.group.close)()
                except KeyboardInterrupt:  # while it waited for tear-downs; what was measured is still reported
                    self._interrupted = True
                    runner.group.abandon()
            gil_switch_gate.note_workers(self._config, runner.group.gil_switched_on_by)

    def _environments(self) -> list[Environment]:
        """Describe where results come from; under ``--gilprobe-ab-gil`` each half with its own GIL, not pytest's."""
        found = [environment_of(runner, self._switched_on_by.names) for runner in self._runners or (None,)]
        if len(found) == 1:
            return found
        return [replace(one, gil_enabled=gil) for one, gil in zip(found, (False, True), strict=True)]


def _evidence(settings: Settings) -> ProbeEvidence | None:
    if not settings.evidence:
        return None
    from pytest_gilprobe.plugin.evidence import ProbeEvidence  # noqa: PLC0415 - only for those who keep it

    return ProbeEvidence()


def _properties(result: WorkloadResult, regression: str) -> list[tuple[str, object]]:
    """Describe a result in short user properties; ``regression`` is what is worse than in the baseline, or empty."""
    found: dict[str, str] = {"status": result.status}
    if result.status is Status.PROBED:
        verdict = result.verdict
        found |= {"strategy": verdict.strategy, "bound": verdict.bound, "gil": verdict.gil}
        for name, part in result.parallel.items():
            gain = gains.in_pool(part, result.workers)
            if gain is not None:
                found[f"speedup_{name}"] = f"{gain.value:.2f}"
    if result.verdict.cautions:
        found["cautions"] = " ".join(caution.slug for caution in result.verdict.cautions)
    if regression:
        found["regression"] = regression
    return [(f"{PROPERTY}{name}", str(value)) for name, value in found.items()]

"""The plugin's busy half: registered only in a session that has something to probe.

A marked test runs as ever. When its call has passed, and before that is reported, it is probed: so the verdict can
stand beside ``PASSED`` and travel in the report. The workers are asked for when the first marked test is about to be
set up: they start while it runs, and a fork then happens between two tests, with no test's patches in force.
"""

from __future__ import annotations

import faulthandler
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gilprobe import abgil, fixture, gating, host, serialize
from pytest_gilprobe import config as configuration
from pytest_gilprobe.distributed import PROPERTY, is_distributed, send_environment
from pytest_gilprobe.gil.switch import Culprits
from pytest_gilprobe.machine import Surveyor
from pytest_gilprobe.model import Status
from pytest_gilprobe.originals import Originals
from pytest_gilprobe.probe import Prober, unmeasured
from pytest_gilprobe.progress import Progress
from pytest_gilprobe.reporting import Reporting
from pytest_gilprobe.workers.arguments import spec_for
from pytest_gilprobe.workers.pool import Pool
from pytest_gilprobe.workers.stuck import Stuck, fixtures_of
from pytest_gilprobe.workers.workload import cannot_repeat

if TYPE_CHECKING:
    import warnings
    from collections.abc import Generator, Sequence

    from pytest_gilprobe.config import Plan, Settings
    from pytest_gilprobe.model import Environment, WorkloadResult


class ProbeSession:
    """Probes the marked tests of one session and reports on them."""

    def __init__(
        self, session: pytest.Session, settings: Settings, keywords: dict[pytest.Item, dict[str, Any]]
    ) -> None:
        """Prepare for the tests in ``keywords``, each with what its marks say."""
        self._session = session
        self._settings = settings
        self._cpus = host.usable_cpus()
        self._plans = {
            item: configuration.plan_for(item.nodeid, said, settings, self._cpus) for item, said in keywords.items()
        }
        self._keep = _kept_collectors(session.items, keywords)
        self.reporting = Reporting(session.config, settings)
        self._originals = Originals()
        self._prober: Prober | None = None
        self._with_gil: abgil.WithGil | None = None
        self._culprits = Culprits()
        self._progress = Progress(session.config)
        self._interrupted = False
        self._calling: pytest.Item | None = None
        self._failed_inside: set[str] = set()

    # While tests run

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Have the workers start before the first marked test does."""
        plan = self._plans.get(item)
        if plan is not None and not self._interrupted:
            with self._originals.in_place():  # what earlier tests left replaced for good
                self._ready_prober().start(plan.workers)
                if self._with_gil is not None:
                    self._with_gil.prober.start(plan.workers)
        done = yield
        if self._interrupted:  # while it probed: the test itself was over, and is reported
            raise KeyboardInterrupt
        return done

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Tell the reports that are made while a test still runs, its subtests', from its own."""
        self._calling = item
        try:
            yield
        finally:
            self._calling = None

    def _ready_prober(self) -> Prober:
        if self._prober is None:
            twice = self._settings.ab_gil
            self._prober = self._new_prober(gil=False if twice else None)
            self._with_gil = abgil.WithGil(self._new_prober(gil=True)) if twice else None
        return self._prober

    def _new_prober(self, *, gil: bool | None) -> Prober:
        pool = Pool(
            spec=spec_for(self._session.config, tuple(self._plans), self._culprits.names),
            start_method=self._settings.start_method if gil is None else abgil.START_METHOD,
            timeout_s=self._settings.timeout_s,
            gil=gil,
            stuck=Stuck(fixtures_of(self._plans)),
        )
        return Prober(pool=pool, surveyor=Surveyor(pool), progress=self._progress.show, is_open=self.reporting.is_open)

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Hear who switched the GIL on in this process, from its first conftest file on."""
        self._culprits.hear(warning_message.message)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Probe a marked test that has passed its call; say why not where it has not."""
        report = yield
        plan = self._plans.get(item)
        if plan is None:
            return report
        if self._calling is item:
            if report.failed:
                self._failed_inside.add(item.nodeid)
            return report
        result: WorkloadResult | None = None
        if (why := self._why_not(item, report)) is not None:
            result = unmeasured(item.nodeid, Status.NOT_PROBED, why, plan.workers)
            if report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
                result = gating.apply(result, plan, self._settings, item, report)
        elif report.when == "call":
            result = gating.apply(self._probe(item, plan, call.duration), plan, self._settings, item, report)
        if result is not None:
            self.reporting.results[item.nodeid] = result
            if self._with_gil is not None:
                self._with_gil.note(result)
            item.user_properties[:] = [*_others(item.user_properties), *_properties(result)]
            report.user_properties[:] = [*_others(report.user_properties), *_properties(result)]
        return report

    def _why_not(self, item: pytest.Item, report: pytest.TestReport) -> str | None:
        if report.when == "call" and report.passed and (given := fixture.of(item)) is not None and given.why_not:
            return given.why_not
        if report.when == "call" and item.nodeid in self._failed_inside:
            return "one of its subtests failed when pytest ran it; mend that first"
        return _why_not(item, report)

    def _probe(self, item: pytest.Item, plan: Plan, duration_s: float) -> WorkloadResult:
        _stop_time_limits(item)
        given = fixture.of(item)
        duration_s = given.call_s if given is not None and given.call_s is not None else duration_s
        try:
            with self._originals.in_place():
                result = self._ready_prober().probe(plan, keep=self._keep[item], known_call_s=duration_s)
                if self._with_gil is not None:
                    self._with_gil.probe(plan, keep=self._keep[item], known_call_s=duration_s)
        except KeyboardInterrupt:
            self._interrupted = True
            self._end_workers()
            return unmeasured(item.nodeid, Status.NOT_PROBED, "its probe was interrupted", plan.workers)
        else:
            return result
        finally:
            self._progress.clear()

    # At the end

    def pytest_keyboard_interrupt(self) -> None:
        """Remember that the user wants out."""
        self._interrupted = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """End the workers and report, or send what the reporting process needs."""
        self._end_workers()
        self.reporting.environment = self._environment(self._prober)
        if self._with_gil is not None:
            self.reporting.environment = abgil.switched(self.reporting.environment, gil=False)
            self.reporting.with_gil = (
                self._with_gil.results,
                abgil.switched(self._environment(self._with_gil.prober), gil=True),
            )
        if is_distributed(self._session.config):
            send_environment(self._session.config, self.reporting.environment)
        else:
            with self._originals.in_place():
                self.reporting.finish(session)

    def pytest_unconfigure(self) -> None:
        """End the workers of a session that did not get as far as its finish."""
        self._end_workers()

    def _end_workers(self) -> None:
        twice = self._with_gil.prober if self._with_gil is not None else None
        for prober in (one for one in (self._prober, twice) if one is not None):
            with self._originals.in_place():
                try:
                    (prober.pool.abandon if self._interrupted else prober.pool.close)()
                except KeyboardInterrupt:  # while it waited for tear-downs; what was measured is still reported
                    self._interrupted = True
                    prober.pool.abandon()

    def _environment(self, prober: Prober | None) -> Environment:
        machine = prober.surveyor.any_machine() if prober is not None else None
        method = prober.pool.start_method if prober is not None else self._settings.start_method
        return host.environment(
            start_method=method or "none started",
            scaling_ceiling=machine.scaling.value if machine is not None and machine.scaling is not None else None,
            ceiling_workers=machine.scaling_workers if machine is not None else None,
            gil_switched_on_by=self._culprits.names,
        )


def _why_not(item: pytest.Item, report: pytest.TestReport) -> str | None:
    """Say why a test is not probed, given the report of one of its phases; None is no reason yet."""
    if hasattr(report, "wasxfail"):
        return "it is expected to fail (xfail)"
    if report.skipped:
        return f"skipped in its {report.when}: {_skip_reason(report)}"
    if report.failed:
        verb = "failed" if report.when == "call" else "errored"
        return f"{verb} in its {report.when} when pytest ran it; mend that first"
    if report.when == "call" and not isinstance(item, pytest.Function):
        return f"not a Python test function but a {type(item).__name__}: there is no call to repeat"
    return cannot_repeat(item) if report.when == "call" else None


def _stop_time_limits(item: pytest.Item) -> None:
    """Cancel what limits the time of the test that has just passed: it is no limit on its probe."""
    hooks = item.config.hook
    if hasattr(hooks, "pytest_timeout_cancel_timer"):
        hooks.pytest_timeout_cancel_timer(item=item)
    if (
        item.config.pluginmanager.hasplugin("faulthandler")
        and float(item.config.getini("faulthandler_timeout") or 0) > 0
    ):
        faulthandler.cancel_dump_traceback_later()


def _skip_reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return report.longreprtext


def _properties(result: WorkloadResult) -> list[tuple[str, object]]:
    """Describe a result as user properties: short ones to read, and one that holds all of it."""
    verdict = result.verdict
    short = {
        "status": result.status,
        "strategy": verdict.strategy,
        "bound": verdict.bound,
        "gil": verdict.gil,
        "threads_speedup": result.threads.speedup.value if result.threads.speedup is not None else None,
        "processes_speedup": result.processes.speedup.value if result.processes.speedup is not None else None,
        "reason": verdict.reason,
    }
    named = [(f"{PROPERTY}_{name}", str(value)) for name, value in short.items() if value is not None]
    return [*named, (PROPERTY, serialize.workload_to_json(result))]


def _others(properties: Sequence[tuple[str, object]]) -> list[tuple[str, object]]:
    return [pair for pair in properties if pair[0] != PROPERTY and not pair[0].startswith(f"{PROPERTY}_")]


def _kept_collectors(items: Sequence[pytest.Item], marked: dict[pytest.Item, Any]) -> dict[pytest.Item, int]:
    """For each marked test, count the collectors that a worker may keep set up after it, from the session down.

    They are those that it shares with every test up to and including the next marked one: what pytest itself keeps.
    After the last one, none.
    """
    kept = {}
    upcoming: pytest.Item | None = None
    shared = 0
    chain: list[Any] = []
    for item in reversed(items):
        if upcoming is not None:
            own = item.listchain()
            common = next((n for n, (a, b) in enumerate(zip(own, chain, strict=False)) if a is not b), len(chain))
            shared = min(shared, common)
        if item in marked:
            kept[item] = shared if upcoming is not None else 0
            upcoming, chain = item, item.listchain()
            shared = len(chain)
    return kept

"""Sentences of reports on generated evidence: none contradicts its own numbers or claims what cannot be."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from evidence import PLAIN, PYTHON_LOOP, estimate, evidence, measurement, tried
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reports_fixture import ENVIRONMENT
from test_stats_scaling import points

from pytest_gilprobe.model.executors import ExecutorResult
from pytest_gilprobe.model.readings import Evidence, Measurement
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.results import StrategyResult, Transfer
from pytest_gilprobe.model.scaling import Scaling
from pytest_gilprobe.model.settings import Expectation, Plan
from pytest_gilprobe.model.thresholds import CLOSE, WORTH_IT
from pytest_gilprobe.model.words import INCONCLUSIVE, SERIAL, Bound, FailOn, Outcome
from pytest_gilprobe.report import brief_terminal, terminal
from pytest_gilprobe.strategies.executor import ViaExecutor
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict import expectations, pool_costs
from pytest_gilprobe.verdict.results import result_of

WORKERS = 2
PLAN = Plan(
    nodeid="tests/test_it.py::test_it",
    workers=WORKERS,
    max_time_s=5.0,
    timeout_s=60.0,
    strategies=frozenset({SERIAL, "threads", "processes"}),
    expectation=Expectation(),
)
"""Two workers, as the evidence has."""
LATE = "processes did not fit into 5 s, since one call takes 4.0 s; max_time=23 would do"
NAMED = ViaExecutor("shop", "shop.pools:make")
EXECUTOR = ExecutorResult(
    factory="shop.pools:make", kind="Pool", workers=2, at_once=2, start_up_s=0.1, round_trip_s=1e-3, task_s=1e-4
)
ONE_OF_ONE = re.compile(r"\b1 (processes|threads|tasks|calls|workers|rounds|workloads)\b")


@st.composite
def gains(draw: st.DrawFn) -> StrategyResult:
    """Make the result of a strategy: a speed-up of the calls, one of a pool that is no higher, or a bad end."""
    outcome = draw(st.sampled_from([Outcome.OK] * 6 + [Outcome.FAILED, Outcome.HUNG, Outcome.CRASHED]))
    if outcome is not Outcome.OK:
        return StrategyResult(outcome=outcome, error="Traceback (most recent call last):\n  File 'a'\nOSError: no")
    value, wide = draw(st.floats(0.2, 3.0)), draw(st.floats(0.0, 0.5))
    kept = draw(st.sampled_from([1.0, 0.9, 0.3, 0.01]))
    bare = estimate(value, value * (1 - wide), value * (1 + wide))
    pool = estimate(bare.value * kept, bare.low * kept, bare.high * kept)
    queued = draw(st.sampled_from([None, 0.0, 0.4]))
    return replace(tried(bare), pool_speedup=pool, dispatch_s_per_call=1e-4, run_queue_share=queued)


@st.composite
def measurements(draw: st.DrawFn, transfer: Transfer | None) -> Measurement:
    """Make a measurement that went well, ran out of time, or was held back by a CPU quota."""
    late = draw(st.sampled_from([None, "time was up after 5 s", LATE]))
    rounds = [PYTHON_LOOP] * draw(st.integers(1, 6))
    return measurement(
        *rounds,
        transfer=transfer,
        throttled_share=draw(st.sampled_from([None, 0.0, 0.3])),
        out_of_time=late,
        allowed_s=None if late is None else draw(st.sampled_from([5.0, 100.0])),
        no_time_for=frozenset({"processes"} if late == LATE else ()),
    )


def in_executor(part: StrategyResult) -> StrategyResult:
    """Make the result of a named executor, which pays off with larger tasks if it gains at all."""
    pays = part.speedup is not None and part.speedup.high >= WORTH_IT
    costs = replace(EXECUTOR, pays_from_calls=4 if pays else None, pays_from_s=1e-3 if pays else None)
    return part if part.broken else replace(part, executor=costs)


@st.composite
def cases(draw: st.DrawFn) -> Evidence:
    """Make evidence of any kind of calls."""
    used, held = draw(st.floats(0.01, 1.0)), draw(st.one_of(st.none(), st.floats(0.0, 1.0)))
    data = draw(st.sampled_from([0, 25, 30_000, 80_000_000]))
    pipe_s = 2e-5 + data * 5e-10
    transfer = Transfer(
        argument_bytes=data, result_bytes=10, pipe_s=pipe_s, parent_s=pipe_s * 0.6, worker_s=pipe_s * 0.4
    )
    moved = draw(st.sampled_from([None, transfer]))
    third = draw(st.sampled_from([None, BUILT_IN["tasks"], NAMED]))
    seen = draw(measurements(moved))
    late = tried(None) if seen.no_time_for else draw(gains())
    found = evidence(
        draw(gains()),
        late if moved is None or late.broken else replace(late, transfer_s_per_call=moved.pipe_s),
        seen=seen,
        strategies=tuple(sorted((*PLAIN, *filter(None, [third])), key=lambda one: one.rank)),
        cpu_utilization=estimate(used),
        held_fraction=None if held is None else estimate(held, held * 0.9, min(1.0, held * 1.1)),
        wall_s_per_call=estimate(draw(st.sampled_from([1e-6, 5e-5, 5e-4, 5e-3, 0.05, 3.0]))),
        extra_cores=draw(st.sampled_from([None, 0.0, 0.5, 1.0])),
        run_queue_share=draw(st.sampled_from([None, 0.0, 0.4])),
    )
    if third is None:
        return found
    part = draw(gains())
    through = in_executor(part) if third is NAMED else part
    results = {**found.results, third.name: through}
    return replace(found, results={name: results[name] for name in (SERIAL, *(one.name for one in found.strategies))})


@st.composite
def expected(draw: st.DrawFn) -> Expectation:
    """Make what a marker may expect of a workload."""
    return Expectation(
        strategies=draw(
            st.sampled_from([frozenset(), *map(frozenset, ({SERIAL}, {"threads"}, {"processes", "tasks"}))])
        ),
        bound=draw(st.sampled_from([None, Bound.IO, Bound.CPU])),
        min_speedup=draw(st.sampled_from([None, 1.1, 1.5, 1.95])),
        max_gil_held=draw(st.sampled_from([None, 0.5])),
        scales_to=draw(st.sampled_from([None, 2])),
    )


def said_by_gates(expectation: Expectation, found: Evidence) -> list[str]:
    """Return the texts of gates that failed, and of those that could not be checked, with a curve of one worker."""
    curve = Scaling(points=points(50, 51)) if expectation.scales_to else None
    result = replace(result_of(PLAN, found), scaling=None if curve is None else {"processes": curve})
    got = expectations.check(expectation, result, frozenset(FailOn), frozenset({"threads", "tasks"}))
    texts = [text for one in got.failures for text in (one.found, one.remedy)]
    return [*texts, *(caution.message for caution in got.cautions)]


def said_of(found: Evidence) -> tuple[str, str]:
    """Return all sentences on a workload in a report, and the short report."""
    result = result_of(PLAN, found)
    report = Report(tool_version="1", created="now", environment=ENVIRONMENT, workloads=(result,))
    whole = terminal.text(terminal.draw(report, BUILT_IN, width=10_000), color=False)
    short = terminal.text(brief_terminal.draw(report, BUILT_IN, width=10_000), color=False)
    return whole[whole.index(PLAN.nodeid) :], short


@pytest.mark.thorough
@given(cases())
@settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None)
def test_no_sentence_claims_what_cannot_be(found: Evidence) -> None:
    """No strategy gives more than its workers, no share exceeds 100 %, nothing is counted in the wrong number."""
    verdict = result_of(PLAN, found).verdict
    whole, short = said_of(found)
    for text in (verdict.reason, verdict.why, verdict.advice, short):
        assert all(float(number) <= WORKERS + 0.005 for number in re.findall(r"([\d.]+)x\b", text)), text
    for text in (whole, short):
        assert all(int(number) <= 100 for number in re.findall(r"(\d+) %", text)), text
        assert not ONE_OF_ONE.search(text), text
        assert "from 1 call" not in text
        assert "Traceback" not in short


@pytest.mark.thorough
@given(cases())
@settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None)
def test_no_advice_contradicts_its_numbers(found: Evidence) -> None:
    """What is advised is worth it and near the best; serial only if nothing is; larger tasks only against dispatch."""
    result = result_of(PLAN, found)
    verdict = result.verdict
    pools = {name: part.pool_speedup.value for name, part in result.parallel.items() if part.pool_speedup}
    best = max((min(value, float(WORKERS)) for value in pools.values()), default=0.0)
    if verdict.strategy == SERIAL:
        assert best < WORTH_IT
    elif verdict.strategy != INCONCLUSIVE:
        assert pools[verdict.strategy] >= WORTH_IT
        assert min(pools[verdict.strategy], WORKERS) * CLOSE * 1.001 >= best
    if "hand a pool" in verdict.advice or "into each task" in verdict.advice:
        assert "dispatching" in verdict.why
        moved_s = [pool_costs.moved_s(part, result.transfer) for part in result.parallel.values() if part.speedup]
        assert min(moved_s) < found.serial.call_s.value * WORKERS * 2
    assert "one more round" not in verdict.advice
    if "near a limit" in verdict.advice:
        assert "more than" not in verdict.advice
    if verdict.strategy == "processes":
        assert "do not use processes" not in verdict.reason
        assert "threads overlap" not in verdict.reason
    if verdict.strategy == INCONCLUSIVE:
        assert verdict.why


@pytest.mark.thorough
@given(cases(), expected())
@settings(max_examples=300, suppress_health_check=list(HealthCheck), deadline=None)
def test_no_gate_claims_what_cannot_be(found: Evidence, expectation: Expectation) -> None:
    """Gates tell errors in a line, count in the right number, and advise larger tasks only where these would do."""
    result = result_of(PLAN, found)
    for text in said_by_gates(expectation, found):
        assert "Traceback" not in text
        assert not ONE_OF_ONE.search(text), text
        assert "cannot be excluded" not in text or "GIL" in text
        assert all(float(number) <= WORKERS + 0.005 for number in re.findall(r"([\d.]+)x\b", text)), text
        if "put several calls into each task" in text:
            call_s = found.serial.call_s.value
            larger = [pool_costs.in_larger_tasks(part, call_s, result.transfer) for part in result.parallel.values()]
            assert max(larger) >= (expectation.min_speedup or 0.0)

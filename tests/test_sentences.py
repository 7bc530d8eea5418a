"""Sentences of reports on generated evidence: none contradicts its own numbers or claims what cannot be."""

from __future__ import annotations

import re
from dataclasses import replace

from evidence import estimate, evidence, measurement, tried
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reports_fixture import ENVIRONMENT

from pytest_gilprobe.model.readings import Evidence
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.results import StrategyResult, Transfer
from pytest_gilprobe.model.settings import Expectation, Plan
from pytest_gilprobe.model.thresholds import CLOSE, WORTH_IT
from pytest_gilprobe.model.words import INCONCLUSIVE, SERIAL, Outcome
from pytest_gilprobe.report import brief_terminal, terminal
from pytest_gilprobe.strategies.registry import BUILT_IN
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


@st.composite
def gains(draw: st.DrawFn) -> StrategyResult:
    """Make the result of a strategy: a speed-up of the calls, one of a pool that is no higher, or a bad end."""
    outcome = draw(st.sampled_from([Outcome.OK] * 6 + [Outcome.FAILED, Outcome.HUNG, Outcome.CRASHED]))
    if outcome is not Outcome.OK:
        return StrategyResult(outcome=outcome, error="Traceback (most recent call last):\n  File 'a'\nOSError: no")
    value, wide = draw(st.floats(0.2, 2.0)), draw(st.floats(0.0, 0.5))
    kept = draw(st.sampled_from([1.0, 0.9, 0.3, 0.01]))
    bare = estimate(value, value * (1 - wide), min(2.2, value * (1 + wide)))
    pool = estimate(bare.value * kept, bare.low * kept, bare.high * kept)
    return replace(tried(bare), pool_speedup=pool)


@st.composite
def cases(draw: st.DrawFn) -> Evidence:
    """Make evidence of any kind of calls."""
    used, held = draw(st.floats(0.01, 1.0)), draw(st.one_of(st.none(), st.floats(0.0, 1.0)))
    data = draw(st.sampled_from([0, 25, 30_000, 80_000_000]))
    pipe_s = 2e-5 + data * 5e-10
    transfer = Transfer(
        argument_bytes=data, result_bytes=10, pipe_s=pipe_s, parent_s=pipe_s * 0.6, worker_s=pipe_s * 0.4
    )
    return evidence(
        draw(gains()),
        draw(gains()),
        seen=measurement(transfer=draw(st.sampled_from([None, transfer]))),
        cpu_utilization=estimate(used),
        held_fraction=None if held is None else estimate(held, held * 0.9, min(1.0, held * 1.1)),
        wall_s_per_call=estimate(draw(st.sampled_from([1e-6, 5e-5, 5e-4, 5e-3, 0.05, 3.0]))),
        extra_cores=draw(st.sampled_from([None, 0.0, 0.5, 1.0])),
    )


def said_of(found: Evidence) -> tuple[str, str]:
    """Return all sentences on a workload in a report, and the short report."""
    result = result_of(PLAN, found)
    report = Report(tool_version="1", created="now", environment=ENVIRONMENT, workloads=(result,))
    whole = terminal.text(terminal.draw(report, BUILT_IN, width=10_000), color=False)
    short = terminal.text(brief_terminal.draw(report, BUILT_IN, width=10_000), color=False)
    return whole[whole.index(PLAN.nodeid) :], short


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
        assert not re.search(r"\b1 (processes|threads|tasks|calls|workers|rounds|workloads)\b", text), text
        assert "from 1 call" not in text
        assert "Traceback" not in short


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
    if "into a task" in verdict.advice or "into each task" in verdict.advice:
        assert "dispatching" in verdict.why
    if verdict.strategy == "processes":
        assert "do not use processes" not in verdict.reason
        assert "threads overlap" not in verdict.reason
    if verdict.strategy == INCONCLUSIVE:
        assert verdict.why

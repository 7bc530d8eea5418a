"""`pytest_gilprobe.strategies.processes`: what processes cost, in sentences with numbers, and what to be warned of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import evidence as makers
import pytest
from evidence import estimate
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.machine import DispatchCosts
from pytest_gilprobe.model.readings import Evidence
from pytest_gilprobe.model.results import Callee, Caution, Transfer, Verdict
from pytest_gilprobe.model.words import INCONCLUSIVE, Bound, Gil, Outcome
from pytest_gilprobe.stats.dispatch import PoolInputs
from pytest_gilprobe.strategies.processes import calls_to_pay_off
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict import pool_costs

MIB = 1024 * 1024
PROCESSES = BUILT_IN["processes"]
NOTHING_TO_MOVE = Transfer(argument_bytes=40, result_bytes=4, pipe_s=2e-5, parent_s=2e-6, worker_s=2e-6)
ARRAY = Transfer(
    argument_bytes=80 * MIB,
    result_bytes=0,
    pipe_s=0.041,
    parent_s=0.03,
    worker_s=0.02,
    shared_parent_s=0.001,
    shared_worker_s=0.002,
)


def evidence(
    *,
    call_s: float = 0.012,
    transfer: Transfer | None = None,
    callee: Callee | None = None,
    start_up_s: float | None = 0.085,
    **machine: Any,
) -> Evidence:
    """Make the evidence of pure Python code whose processes give 1.9x before anything is moved."""
    found = makers.evidence(
        1.0,
        makers.tried(1.9, rss_bytes_per_worker=41 * MIB),
        seen=makers.measurement(transfer=transfer, callee=callee),
        on=makers.machine(
            costs=makers.costs(
                threads=1e-5, processes=DispatchCosts(task_s=1e-4, task_high_s=1e-4, start_up_s=start_up_s)
            ),
            **machine,
        ),
        wall_s_per_call=estimate(call_s),
        cpu_s_per_call=estimate(call_s),
    )
    pool = PROCESSES.in_pool(estimate(1.9), pool_costs.pool_inputs(found, PROCESSES))
    in_processes = replace(found.results["processes"], pool_speedup=pool)
    return replace(found, results={**found.results, "processes": in_processes})


def verdict(strategy: str) -> Verdict:
    return Verdict(bound=Bound.CPU, gil=Gil.HELD, strategy=strategy, speedup=1.9, reason="")


def clauses(strategy: str, found: Evidence) -> str:
    return "; ".join(PROCESSES.costs_text(found, verdict(strategy)))


def cautions(strategy: str, found: Evidence) -> tuple[Caution, ...]:
    return PROCESSES.cautions(found, verdict(strategy))


class TestPaysOff:
    """From how many calls on an executor is worth its start-up."""

    def test_sentence(self) -> None:
        """Advice for processes says from which call on they pay off, if that is many calls."""
        assert clauses("processes", evidence(call_s=0.002)) == (
            "starting the processes takes 85 ms: it pays off from 90 calls on"
        )
        assert not clauses("processes", evidence(call_s=0.02))

    @pytest.mark.parametrize("strategy", ["threads", "serial", INCONCLUSIVE])
    def test_other_advice(self, strategy: str) -> None:
        """Other advice does not speak of starting processes."""
        assert not clauses(strategy, evidence())

    @pytest.mark.parametrize(
        ("method", "import_s", "words"),
        [
            ("fork", 0.0, "takes 85 ms: it pays off from 90 calls on"),
            ("spawn", 0.2, "takes 285 ms with the import of work: it pays off from 310 calls on"),
            ("spawn", None, "takes 85 ms, and importing your modules more: it pays off at the earliest from 90"),
            (None, None, "takes 85 ms: it pays off from 90 calls on"),
        ],
    )
    def test_import(self, method: str | None, import_s: float | None, words: str) -> None:
        """Workers that are not forked import the function's module first; where that is unknown, more may be needed."""
        known = evidence(
            call_s=0.002, callee=Callee(module="work", name="work"), start_method=method, import_s=import_s
        )
        assert words in clauses("processes", known)

    def test_unknown_start_up(self) -> None:
        """Nothing is said of a start-up that was not measured."""
        assert not clauses("processes", evidence(start_up_s=None))

    @given(st.floats(1e-6, 10), st.floats(1.01, 64), st.floats(1e-4, 10))
    def test_definition(self, call_s: float, speedup: float, start_up_s: float) -> None:
        """At the number given, two or more, the executor is no slower than serial calls; one call before, no faster."""
        calls = calls_to_pay_off(call_s, speedup, start_up_s)
        assert calls is not None
        assert start_up_s + calls * call_s / speedup <= calls * call_s * (1 + 1e-9)
        assert calls > 1
        if calls > 2:
            assert start_up_s + (calls - 1) * call_s / speedup >= (calls - 1) * call_s * (1 - 1e-9)

    @pytest.mark.parametrize(("call_s", "speedup"), [(0.01, 1.0), (0.01, 0.5), (0.0, 2.0)])
    def test_never(self, call_s: float, speedup: float) -> None:
        """An executor that is no faster never pays off."""
        assert calls_to_pay_off(call_s, speedup, 0.1) is None


class TestMovingData:
    """What moving the data costs."""

    SAID = "moving its data (80 MiB) to a process and back takes 41 ms a call"

    def test_turns_the_answer(self) -> None:
        """Data that takes longer to move than the work does: the clause says so in numbers, with the way out."""
        said = clauses("serial", evidence(transfer=ARRAY))
        assert said == f"{self.SAID}: do not use processes unless the data stays there"

    def test_small(self) -> None:
        """A transfer under 5 % of the work is not mentioned."""
        assert "moving" not in clauses("processes", evidence(transfer=NOTHING_TO_MOVE))

    def test_where_processes_still_win(self) -> None:
        """Processes that win in spite of it carry the figure without the warning."""
        said = clauses("processes", evidence(call_s=0.2, transfer=ARRAY))
        assert said.startswith(self.SAID)
        assert "do not use" not in said

    def test_an_open_verdict_forbids_nothing(self) -> None:
        """Where processes may yet be the answer, nothing is said against them."""
        assert not clauses(INCONCLUSIVE, evidence(transfer=ARRAY))

    def test_shared_memory_offered(self) -> None:
        """Shared memory is offered where it turns the answer."""
        (caution,) = cautions("serial", evidence(transfer=ARRAY))
        assert caution.slug == "shared-memory-helps"
        assert "3.0 ms per call instead of 41 ms" in caution.message

    def test_shared_memory_not_offered(self) -> None:
        """It is not offered where it would not turn it, or was not measured."""
        too_slow = replace(ARRAY, shared_parent_s=0.05)
        unknown = replace(ARRAY, shared_parent_s=None, shared_worker_s=None)
        for transfer in (too_slow, unknown):
            assert not cautions("serial", evidence(transfer=transfer))

    @given(st.floats(0, 0.1), st.floats(0, 0.1))
    def test_moving_never_helps(self, parent_s: float, worker_s: float) -> None:
        """A prediction with a transfer is never above the one without, and falls as either side's cost rises."""
        inputs = pool_costs.pool_inputs(evidence(), PROCESSES)
        once = replace(ARRAY, parent_s=parent_s, worker_s=worker_s)
        twice = replace(ARRAY, parent_s=parent_s * 2, worker_s=worker_s * 2)
        free, less, more = (self.predicted(inputs, transfer) for transfer in (None, once, twice))
        assert more.value <= less.value <= free.value

    @staticmethod
    def predicted(inputs: PoolInputs, transfer: Transfer | None) -> Estimate:
        return PROCESSES.in_pool(estimate(1.9), replace(inputs, transfer=transfer))


class TestImportable:
    """Functions that no other process finds."""

    CALLEE = Callee(module="work", name="lambda", importable=False)

    def test_caution(self) -> None:
        """Advice for processes warns of a lambda."""
        (caution,) = cautions("processes", evidence(callee=self.CALLEE))
        assert caution.slug == "not-importable"

    def test_no_caution(self) -> None:
        """Neither other advice nor a function at the top level of its module needs the warning."""
        assert not cautions("threads", evidence(callee=self.CALLEE))
        assert not cautions("processes", evidence(callee=replace(self.CALLEE, importable=True)))

    def test_of_a_prompt(self) -> None:
        """A function that was defined at a prompt is not called a lambda."""
        (caution,) = cautions("processes", evidence(callee=replace(self.CALLEE, module="__main__", name="total")))
        assert caution.message.startswith("total is defined at a prompt, in a notebook or inside another function")


def test_broken_processes_are_told_with_how() -> None:
    """Processes that failed, hung or crashed have a caution of their own."""
    assert PROCESSES.when_broken(Outcome.HUNG).message.startswith("in processes it hung: ")

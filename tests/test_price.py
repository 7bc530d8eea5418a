"""`pytest_gilprobe.price`: what processes cost, in sentences with numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports_fixture import estimate, processes, serial, threads, verdict

from pytest_gilprobe import price
from pytest_gilprobe.model import (
    Bound,
    Callee,
    End,
    Evidence,
    Gil,
    Machine,
    Measurement,
    Outcome,
    Recommendation,
    Transfer,
    Verdict,
)
from pytest_gilprobe.stats import pools

MIB = 1024 * 1024
NOTHING_TO_MOVE = Transfer(argument_bytes=40, result_bytes=4, pipe_s=2e-5, queue_s=5e-5, parent_s=2e-6, worker_s=2e-6)
ARRAY = Transfer(
    argument_bytes=80 * MIB,
    result_bytes=0,
    pipe_s=0.041,
    queue_s=0.05,
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
) -> Evidence:
    """Make the evidence of pure Python code whose processes give 1.9x before anything is moved."""
    speedup, call = estimate(1.9), estimate(call_s)
    ok = End(outcome=Outcome.OK)
    return Evidence(
        measurement=Measurement(
            workers=2, rounds=(), threads_end=ok, processes_end=ok, transfer=transfer, callee=callee
        ),
        machine=Machine(cpus=2, process_task_s=0.0001, process_start_up_s=start_up_s),
        serial=serial(call_s, 0.98, 0.99),
        threads=threads(1.0),
        processes=replace(
            processes(1.9), speedup=speedup, pool_speedup=pools.handed_out(speedup, call, 0.0001, transfer=transfer)
        ),
    )


def said(strategy: Recommendation, speedup: float | None = 1.9) -> Verdict:
    return verdict(Bound.CPU, Gil.HELD, strategy, speedup, "CPU-bound")


class TestPaysOff:
    """From how many calls on a pool is worth its start-up."""

    def test_sentence(self) -> None:
        """Advice for processes says from which call on they pay off, with start-up and memory."""
        found = price.priced(said(Recommendation.PROCESSES), evidence(call_s=0.02))
        assert found.reason == "CPU-bound; a pool pays off from 9 calls on (start-up 85 ms, 41 MiB for each worker)"

    @pytest.mark.parametrize("strategy", [Recommendation.THREADS, Recommendation.SERIAL, Recommendation.INCONCLUSIVE])
    def test_other_advice(self, strategy: Recommendation) -> None:
        """Other advice does not speak of starting processes."""
        assert price.priced(said(strategy), evidence()).reason == "CPU-bound"

    @pytest.mark.parametrize(
        ("method", "import_s", "words"),
        [
            ("fork", 0.0, "a pool pays off from 9 calls on (start-up 85 ms, 41 MiB"),
            ("spawn", 0.2, "a pool pays off from 31 calls on (start-up 285 ms, the import of work included, 41 MiB"),
            ("spawn", None, "a pool pays off at the earliest from 9 calls on (start-up 85 ms, and what its workers"),
            (None, None, "a pool pays off from 9 calls on (start-up 85 ms, 41 MiB"),
        ],
    )
    def test_import(self, method: str | None, import_s: float | None, words: str) -> None:
        """Workers that are not forked import the function's module first; where that is unknown, more may be needed."""
        known = evidence(call_s=0.02, callee=Callee(module="work", name="work"))
        known = replace(known, machine=replace(known.machine, start_method=method, import_s=import_s))
        assert words in price.priced(said(Recommendation.PROCESSES), known).reason

    def test_unknown_start_up(self) -> None:
        """Nothing is said of a start-up that was not measured."""
        assert price.priced(said(Recommendation.PROCESSES), evidence(start_up_s=None)).reason == "CPU-bound"

    @given(st.floats(1e-6, 10), st.floats(1.01, 64), st.floats(1e-4, 10))
    def test_definition(self, call_s: float, speedup: float, start_up_s: float) -> None:
        """At the number given the pool is no slower than serial calls; one call before, it is no faster."""
        calls = price.calls_to_pay_off(call_s, speedup, start_up_s)
        assert calls is not None
        assert start_up_s + calls * call_s / speedup <= calls * call_s * (1 + 1e-9)
        if calls > 1:
            assert start_up_s + (calls - 1) * call_s / speedup >= (calls - 1) * call_s * (1 - 1e-9)

    @pytest.mark.parametrize(("call_s", "speedup"), [(0.01, 1.0), (0.01, 0.5), (0.0, 2.0)])
    def test_never(self, call_s: float, speedup: float) -> None:
        """A pool that is no faster never pays off."""
        assert price.calls_to_pay_off(call_s, speedup, 0.1) is None


class TestShipping:
    """What moving the data costs."""

    def test_turns_the_answer(self) -> None:
        """Data dearer to ship than the work: the reason says so in numbers, with the way out."""
        found = price.priced(said(Recommendation.SERIAL, 1.0), evidence(transfer=ARRAY))
        assert found.reason == (
            "CPU-bound; shipping 80 MiB costs 41 ms per call, the work 12 ms: "
            "do not use processes unless the data stays there"
        )

    def test_trifle(self) -> None:
        """A transfer under 5 % of the work is not worth a word."""
        assert "shipping" not in price.priced(said(Recommendation.PROCESSES), evidence(transfer=NOTHING_TO_MOVE)).reason

    def test_told_where_processes_still_win(self) -> None:
        """Processes that win in spite of it carry the figure without the warning."""
        found = price.priced(said(Recommendation.PROCESSES), evidence(call_s=0.2, transfer=ARRAY))
        assert "shipping 80 MiB costs 41 ms per call, the work 200 ms" in found.reason
        assert "do not use" not in found.reason

    def test_an_open_verdict_forbids_nothing(self) -> None:
        """Where processes may yet be the answer, the cost is told and no more."""
        found = price.priced(said(Recommendation.INCONCLUSIVE, None), evidence(transfer=ARRAY))
        assert found.reason == "CPU-bound; shipping 80 MiB costs 41 ms per call, the work 12 ms"

    def test_shared_memory_offered(self) -> None:
        """Shared memory is offered where it turns the answer."""
        (caution,) = price.priced(said(Recommendation.SERIAL, 1.0), evidence(transfer=ARRAY)).cautions
        assert caution.slug == "shared-memory-helps"
        assert "3.0 ms per call instead of 41 ms" in caution.message

    def test_shared_memory_not_offered(self) -> None:
        """It is not offered where it would not turn it, or was not measured."""
        dear = replace(ARRAY, shared_parent_s=0.05)
        without = replace(ARRAY, shared_parent_s=None, shared_worker_s=None)
        for transfer in (dear, without):
            assert not price.priced(said(Recommendation.SERIAL, 1.0), evidence(transfer=transfer)).cautions

    @given(st.floats(0, 0.1), st.floats(0, 0.1))
    def test_moving_never_helps(self, parent_s: float, worker_s: float) -> None:
        """A prediction with a transfer is never above the one without, and falls as either side's cost rises."""
        call, speedup = estimate(0.01), estimate(1.9)
        once = replace(ARRAY, parent_s=parent_s, worker_s=worker_s)
        twice = replace(ARRAY, parent_s=parent_s * 2, worker_s=worker_s * 2)
        free = pools.handed_out(speedup, call, 0.0001)
        costs, more = (pools.handed_out(speedup, call, 0.0001, transfer=moved) for moved in (once, twice))
        assert more.value <= costs.value <= free.value


class TestImportable:
    """Functions that no other process finds."""

    CALLEE = Callee(module="work", name="lambda", importable=False)

    def test_caution(self) -> None:
        """Advice for processes warns of a lambda."""
        (caution,) = price.priced(said(Recommendation.PROCESSES), evidence(callee=self.CALLEE)).cautions
        assert caution.slug == "not-importable"

    def test_no_caution(self) -> None:
        """Neither other advice nor a function at the top level of its module needs the warning."""
        assert not price.priced(said(Recommendation.THREADS), evidence(callee=self.CALLEE)).cautions
        top = replace(self.CALLEE, importable=True)
        assert not price.priced(said(Recommendation.PROCESSES), evidence(callee=top)).cautions

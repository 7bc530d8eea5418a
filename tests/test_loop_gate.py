"""`pytest_gilprobe.verdict.loop_gate`: the gate on blocks of the event loop fails on the code's own time only."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reports_fixture import workloads

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.loop_time import Block, Blocker, CallSite, EventLoop
from pytest_gilprobe.model.results import Callee, Caution, WorkloadResult
from pytest_gilprobe.model.settings import Expectation
from pytest_gilprobe.verdict import expectations, loop_gate
from pytest_gilprobe.verdict.gating import UNCHECKED

LIMIT_S = 0.02


def block(computing: float = 0.0, blocking: float = 0.0, gil: float = 0.0, queue: float | None = 0.0) -> Block:
    length = computing + blocking + gil
    return Block(length_s=length, computing_s=computing, blocking_s=blocking, gil_wait_s=gil, queue_s=queue, calls=3)


def result(found: Block | None, *, queued: float = 0.0, why: str | None = None) -> WorkloadResult:
    """Make a workload whose calls blocked their event loop like this."""
    base = workloads()[0]
    serial = replace(base.strategies["serial"], run_queue_share=queued)
    loop = EventLoop(repeated_block=found, why_unknown=why)
    return replace(base, strategies={**base.strategies, "serial": serial}, event_loop=loop)


@pytest.mark.parametrize(
    ("found", "part", "remedy"),
    [
        (block(computing=0.03), "30 ms computing", "process pool"),
        (block(blocking=0.03), "30 ms asleep in a blocking call", "asyncio.to_thread"),
        (block(computing=0.002, gil=0.03), "30 ms waiting for the GIL", "they hold the GIL"),
    ],
)
def test_long_block_fails(found: Block, part: str, remedy: str) -> None:
    """A block of 30 ms fails a limit of 20 ms, and the failure says what blocked and what to do."""
    (failure,) = loop_gate.check(LIMIT_S, result(found)).failures
    assert failure.expected == "max_loop_block=0.02"
    assert part in failure.evidence
    assert remedy in failure.remedy


@pytest.mark.parametrize(
    ("gil_held", "code"),
    [(0.0, "await asyncio.to_thread(query, 1)"), (1.0, "await loop.run_in_executor(pool, query, 1)")],
)
def test_failure_names_the_line_and_the_code_to_write(gil_held: float, code: str) -> None:
    """The code that blocked, and the coroutine's call that led there, in a thread only if it lets go of the GIL."""
    place = Blocker(
        share=Estimate(value=1.0, low=0.9, high=1.0),
        function="query",
        file="app.py",
        line=8,
        code="time.sleep(1)",
        computing=0.0,
        blocking=1.0,
        gil_wait=0.0,
        gil_held=gil_held,
        call=CallSite(function="handler", file="app.py", line=15, code="query(1)"),
    )
    (failure,) = loop_gate.check(LIMIT_S, result(replace(block(blocking=0.03), place=place))).failures
    assert failure.found == "a block of 30 ms in time.sleep(1) at app.py:8, called by query(1) at app.py:15"
    assert code in failure.remedy


@pytest.mark.parametrize("found", [block(computing=0.03), block(blocking=0.03)])
def test_remedy_in_trio(found: Block) -> None:
    """A failure of calls that trio awaited names what there is in trio."""
    callee = Callee(module="m", name="f", awaited=True, awaited_by="trio")
    (failure,) = loop_gate.check(LIMIT_S, replace(result(found), callee=callee)).failures
    assert "trio.to_thread.run_sync" in failure.remedy
    assert "asyncio." not in failure.remedy


@pytest.mark.parametrize("found", [block(computing=0.005), block(blocking=0.0199), block(0.005, 0.005, 0.005)])
def test_shorter_block_passes(found: Block) -> None:
    """A block below the limit passes without a word."""
    checked = loop_gate.check(LIMIT_S, result(found))
    assert (checked.failures, checked.cautions) == ((), ())


@pytest.mark.parametrize(
    ("found", "queued"),
    [
        (block(computing=0.021), 0.0),  # within the clocks' errors
        (block(computing=0.025), 0.3),  # neighbours slow computing down
        (block(computing=0.005, gil=0.04), 0.3),  # the holder of the GIL may have waited for a core
        (block(computing=0.005, blocking=0.04, queue=None), 0.0),  # the wait may be for a core
    ],
)
def test_what_others_may_have_caused_is_left_open(found: Block, queued: float) -> None:
    """A block that is long only with time that may not be the code's passes, with a caution."""
    checked = loop_gate.check(LIMIT_S, result(found, queued=queued))
    assert checked.failures == ()
    (caution,) = checked.cautions
    assert caution.slug == UNCHECKED
    assert "max_loop_block=0.02" in caution.message


def test_wait_for_a_holder_that_may_have_queued_is_left_open() -> None:
    """The loop did not queue, but a caution says that other threads may have: a wait for the GIL is no failure."""
    found = result(block(computing=0.002, gil=0.04))
    caution = Caution(slug="busy-machine", message="other programs kept the CPUs busy")
    busy = replace(found, verdict=replace(found.verdict, cautions=(caution,)))
    assert loop_gate.check(LIMIT_S, replace(found, verdict=replace(found.verdict, cautions=()))).failures
    checked = loop_gate.check(LIMIT_S, busy)
    assert checked.failures == ()
    assert [one.slug for one in checked.cautions] == [UNCHECKED]


def test_long_block_fails_beside_neighbours_too() -> None:
    """A block that is half as long again as the limit, in its own time alone, fails on a busy machine."""
    assert loop_gate.check(LIMIT_S, result(block(computing=0.03, queue=0.09), queued=0.5)).failures


def test_unknown_blocks_are_open() -> None:
    """Without blocks that were timed, or without a loop, the test passes and the caution gives the reason."""
    (caution,) = loop_gate.check(LIMIT_S, result(None, why="no selector")).cautions
    assert "no selector" in caution.message
    (caution,) = loop_gate.check(LIMIT_S, replace(result(None), event_loop=None)).cautions
    assert "not awaited" in caution.message


def test_no_limit_checks_nothing() -> None:
    """Without a limit the longest block is no finding."""
    checked = loop_gate.check(None, result(block(computing=9.0)))
    assert (checked.failures, checked.cautions) == ((), ())


def test_gate_is_one_of_the_expectations() -> None:
    """`expectations.check` fails by it, and asks for no more rounds: they would not time blocks again."""
    expectation = Expectation(max_loop_block=LIMIT_S)
    assert expectation.says_anything
    checked = expectations.check(expectation, result(block(computing=0.03)))
    assert [one.expected for one in checked.failures] == ["max_loop_block=0.02"]
    assert not checked.wants_rounds

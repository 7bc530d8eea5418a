"""`pytest_gilprobe.verdict.blocking`: which call blocks an event loop, what to write instead, and what that gives."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from reports_fixture import verdict, workloads

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.loop_time import Blocker, CallSite, EventLoop, LoopShares
from pytest_gilprobe.model.results import Callee
from pytest_gilprobe.model.words import Bound, Gil
from pytest_gilprobe.report import snippets
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict import blocking, loop_code

QUERY = CallSite(function="handler", file="app.py", line=15, code="query(1)")


def share(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value)


def blocker(
    part: float, gil_held: float | None = 0.0, call: CallSite | None = QUERY, *, waits: bool = False, line: int = 8
) -> Blocker:
    """Make a place that sleeps, or holds the GIL in another thread, for this part of the blocked time."""
    return Blocker(
        share=share(part),
        function="query",
        file="app.py",
        line=line,
        code="time.sleep(1)",
        computing=0.0,
        blocking=0.0 if waits else part,
        gil_wait=part if waits else 0.0,
        gil_held=gil_held,
        call=call,
    )


def loop(*blockers: Blocker, blocked: float = 0.8, asleep: float = 0.0) -> EventLoop:
    shares = LoopShares(waiting=1 - blocked, computing=blocked - asleep, blocking=asleep, gil_wait=0.0)
    return EventLoop(blocked_fraction=share(blocked), shares=shares, blockers=blockers)


@pytest.mark.parametrize(
    ("code", "in_thread", "in_process"),
    [
        ("query()", "asyncio.to_thread(query)", "loop.run_in_executor(pool, query)"),
        ("db.get(1, *a)", "asyncio.to_thread(db.get, 1, *a)", "loop.run_in_executor(pool, ...)"),
        (
            "get(1, k=2)",
            "asyncio.to_thread(get, 1, k=2)",
            "loop.run_in_executor(pool, functools.partial(get, 1, k=2))",
        ),
        ("sum(i for i in n)", "asyncio.to_thread(sum, (i for i in n))", "loop.run_in_executor(pool, ...)"),
        ("get(await other())", "asyncio.to_thread(...)", "loop.run_in_executor(pool, ...)"),
        ("total += i", "asyncio.to_thread(...)", "loop.run_in_executor(pool, ...)"),
        (f"get({'1, ' * 60})", "asyncio.to_thread(...)", "loop.run_in_executor(pool, ...)"),
    ],
)
def test_code_that_leaves_the_loop_free(code: str, in_thread: str, in_process: str) -> None:
    """A call becomes the same call in a thread or process; what cannot be written so is left for the user to write."""
    assert loop_code.awaited(code, None, in_thread=True) == f"await {in_thread}"
    assert loop_code.awaited(code, None, in_thread=False) == f"await {in_process}"


@pytest.mark.parametrize(
    ("code", "in_thread", "in_process"),
    [
        ("query()", "(query)", "(pool.submit(query).result)"),
        ("db.get(1, *a)", "(db.get, 1, *a)", "(pool.submit(...).result)"),
        ("get(1, k=2)", "(functools.partial(get, 1, k=2))", "(pool.submit(get, 1, k=2).result)"),
        ("sum(i for i in n)", "(sum, (i for i in n))", "(pool.submit(...).result)"),
        ("get(await other())", "(...)", "(pool.submit(...).result)"),
        (f"get({'1, ' * 60})", "(...)", "(pool.submit(...).result)"),
    ],
)
def test_code_that_leaves_a_loop_of_trio_free(code: str, in_thread: str, in_process: str) -> None:
    """In trio a thread makes the call, or waits for the process that does: it has no pool of processes."""
    assert loop_code.awaited(code, "trio", in_thread=True) == f"await trio.to_thread.run_sync{in_thread}"
    assert loop_code.awaited(code, "trio", in_thread=False) == f"await trio.to_thread.run_sync{in_process}"


@pytest.mark.parametrize("library", ["asyncio", "trio"])
@pytest.mark.parametrize("in_thread", [False, True])
def test_code_that_leaves_the_loop_free_runs(library: str, in_thread: bool) -> None:  # noqa: FBT001 - a table
    """What is advised of a call gives that call's result."""
    runs = pytest.importorskip(library)
    for call in ("pow(2, 3)", "dict([(1, 2)])", "dict(a=1)"):
        with ThreadPoolExecutor(1) as pool:  # in place of a pool of processes, which is used alike
            names = {library: runs, "functools": functools, "pool": pool}
            code = loop_code.awaited(call, library, in_thread=in_thread)
            loop = "    loop = asyncio.get_running_loop()\n" if library == "asyncio" else ""
            exec(f"async def main():\n{loop}    return {code}", names)  # noqa: S102 - what users are to write
            main: Any = names["main"]
            assert runs.run(main() if library == "asyncio" else main) == eval(call)  # noqa: S307 - as above


def test_words_of_trio() -> None:
    """Every sentence on a loop of trio names trio's functions, and none of asyncio's."""
    said = [
        blocking.short_remedy(loop(blocker(1.0), asleep=0.8), 2, "trio"),
        blocking.short_remedy(loop(blocked=0.8, asleep=0.4), 8, "trio"),
        blocking.what_follows(loop(blocker(1.0)), 2, "trio"),
        blocking.remedy(blocking.moves(loop(blocker(1.0, gil_held=1.0)), 2, "trio")[0]),
    ]
    assert all(one is not None and "trio.to_thread.run_sync" in one for one in said)
    assert not any("asyncio" in (one or "") or "run_in_executor" in (one or "") for one in said)


def test_gain_of_a_call_in_a_thread() -> None:
    """A call with three quarters of the blocked time, at two places, in a thread: 0.2 remain, so up to 5x."""
    (move,) = blocking.moves(loop(blocker(0.5), blocker(0.25, line=9)), 8)
    assert move.in_thread
    assert move.share == pytest.approx(0.6)
    assert move.gain == pytest.approx(5)
    assert blocking.remedy(move) == (
        "query(1) at app.py:15 lets go of the GIL: with await asyncio.to_thread(query, 1), tasks could give up to 5.0x"
    )
    (move,) = blocking.moves(loop(blocker(1.0)), 2)
    assert move.gain == 2
    (move,) = blocking.moves(loop(blocker(1.0)), 0)
    assert blocking.remedy(move) == "query(1) at app.py:15 lets go of the GIL: write await asyncio.to_thread(query, 1)"


def test_a_call_that_holds_the_gil_needs_a_process() -> None:
    """A thread would not leave the loop free, so none is advised."""
    (move,) = blocking.moves(loop(blocker(1.0, gil_held=1.0)), 2)
    assert not move.in_thread
    assert "run_in_executor(pool, query, 1) and a process pool" in blocking.remedy(move)


def test_what_is_not_known_or_small_gets_no_remedy() -> None:
    """No call of the user's, a tenth of the time, or no share: nothing is advised."""
    assert blocking.moves(loop(blocker(1.0, call=None)), 2) == []
    assert blocking.moves(loop(blocker(0.1)), 2) == []
    assert blocking.moves(EventLoop(blockers=(blocker(1.0),)), 2) == []
    assert blocking.moves(loop(), 2) == []


def test_a_remedy_is_told_once() -> None:
    """Where calls sleep in the loop, a caution has the remedy, and the note does not repeat it."""
    assert blocking.what_follows(loop(blocker(1.0)), 2) is not None
    assert blocking.what_follows(loop(blocker(1.0), asleep=0.8), 2) is None


def test_a_clause_says_what_to_write() -> None:
    """Of what sleeps, and of what computes without the GIL; a call that sleeps with the GIL is no thread's."""
    said = "with await asyncio.to_thread(query, 1), tasks could give up to 2.0x"
    assert blocking.short_remedy(loop(blocker(1.0), asleep=0.8), 2) == said
    assert blocking.short_remedy(loop(blocker(1.0)), 2) == said
    pool = "with await loop.run_in_executor(pool, query, 1) and a process pool, tasks could give up to 2.0x"
    assert blocking.short_remedy(loop(blocker(1.0, gil_held=1.0), asleep=0.8), 2) == pool
    assert blocking.short_remedy(loop(blocker(1.0, gil_held=1.0)), 2) is None


def test_a_clause_without_a_known_call() -> None:
    """Where no call is known, whatever sleeps belongs into a thread, unless it is known to hold the GIL."""
    unknown = blocking.short_remedy(loop(blocked=0.8, asleep=0.4), 8)
    assert unknown == "with its blocking calls in asyncio.to_thread, tasks could give up to 2.5x"
    holding = blocking.short_remedy(loop(blocker(1.0, gil_held=1.0, call=None), asleep=0.8), 2)
    assert holding == "with its blocking calls in a process pool, since they hold the GIL, tasks could give up to 2.0x"
    assert blocking.short_remedy(loop(blocked=0.8), 2) is None
    assert blocking.short_remedy(EventLoop(), 2) is None


def test_the_place_of_a_block_in_words() -> None:
    """The place, the call that led there if that is elsewhere, and whose thread it was."""
    assert blocking.in_block(None) == ""
    assert blocking.in_block(blocker(1.0)) == " in time.sleep(1) at app.py:8, called by query(1) at app.py:15"
    assert blocking.in_block(blocker(1.0, line=15)) == " in time.sleep(1) at app.py:15"
    waiting = blocker(1.0, None, None, waits=True)
    assert blocking.in_block(waiting).endswith(" in time.sleep(1) at app.py:8 (another thread, which held the GIL)")
    assert blocking.does(waiting) == "holding the GIL in another thread"
    assert blocking.held_elsewhere(loop(waiting)) == ", mostly in time.sleep(1) at app.py:8"
    assert blocking.held_elsewhere(loop(blocker(1.0))) == ""


@pytest.mark.parametrize(("held", "told"), [(0.0, True), (1.0, False)])
def test_code_to_paste_names_the_call_that_may_leave_the_loop(held: float, *, told: bool) -> None:
    """Beside the code for processes stands what would leave the loop free, if a thread may do it."""
    result = replace(
        workloads()[0],
        callee=Callee(module="app", name="load", awaited=True),
        event_loop=loop(blocker(1.0, held), blocked=0.9),
        verdict=verdict(Bound.IO, Gil.RELEASED, "processes", 1.9, "processes"),
    )
    found = snippets.code(result, BUILT_IN)
    assert found.is_code
    assert found.text.startswith("# to leave the event loop free instead: await asyncio.to_thread(query, 1);") is told

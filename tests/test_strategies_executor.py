"""`executor:NAME`: how it is named, what it refuses, how it is told, and one session through real pools."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import sessions
from evidence import SERIAL, estimate
from test_config import plain

from pytest_gilprobe import GilprobeError, Prober, cli
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.executors import ExecutorResult
from pytest_gilprobe.model.results import Callee
from pytest_gilprobe.model.words import CallKind, Outcome
from pytest_gilprobe.plugin.config import default_strategies
from pytest_gilprobe.report import workload_notes
from pytest_gilprobe.strategies.executor import ViaExecutor, from_text
from pytest_gilprobe.strategies.registry import BUILT_IN, StrategyError

FOUND = ExecutorResult(
    factory="shop.pools:make",
    kind="shop.Pool",
    workers=2,
    at_once=2,
    start_up_s=0.5,
    round_trip_s=2e-3,
    task_s=1e-3,
    calls_per_task=40,
    single_speedup=estimate(0.5),
    chunk_speedup=estimate(1.8),
    pays_from_calls=13,
    pays_from_s=1.3e-3,
    efficient_calls=55,
    most_single=0.1,
    most_chunked=4.0,
)
POOL = from_text("pool=shop.pools:make")


def evidence(found: ExecutorResult | None = FOUND, call_s: float = 1e-4, speedup: Estimate | None = None) -> Any:
    """Make the part of the evidence from which an executor is told."""
    serial = replace(SERIAL, wall_s_per_call=estimate(call_s))
    part = replace(SERIAL, speedup=speedup or estimate(1.8), executor=found)
    return SimpleNamespace(serial=serial, results={"serial": serial, POOL.name: part})


# The name


def test_a_text_names_an_executor() -> None:
    """``NAME=MODULE:FACTORY`` is the strategy ``executor:NAME``; nothing is imported for it."""
    assert (POOL.name, POOL.factory_text) == ("executor:pool", "shop.pools:make")
    assert POOL.default_for(CallKind.PLAIN)


@pytest.mark.parametrize(
    "text", ["pool", "=m:f", "Pool=m:f", "pool=m", "pool=:f", "pool=m:", "a b=m:f", "serial:x=m:f"]
)
def test_any_other_text_is_refused(text: str) -> None:
    """The error says what was found and what is allowed, wherever the text comes from."""
    with pytest.raises(GilprobeError, match=r"found .*, allowed: "):
        from_text(text)
    with pytest.raises(GilprobeError, match=r"executors: found .*, allowed: NAME=MODULE:FACTORY, such as"):
        Prober(executors=text)


def test_names_are_used_once() -> None:
    """Two executors of one name are refused."""
    with pytest.raises(StrategyError, match="two strategies are called 'executor:a'"):
        BUILT_IN.with_executors(["a=m:f", "a=m:g"])


def test_a_function_is_named_by_its_module() -> None:
    """A conftest file may give the factory itself."""
    assert ViaExecutor("pool", ThreadPoolExecutor).factory_text == "concurrent.futures.thread:ThreadPoolExecutor"


def test_naming_an_executor_asks_for_it() -> None:
    """It is tried beside the default strategies, and beside those of ``--gilprobe-strategies``."""
    settings = plain(executors=("pool=m:f",))
    known = BUILT_IN.with_executors(settings.executors).existing_for(CallKind.PLAIN)
    assert default_strategies(settings, known) == {"serial", "threads", "processes", "executor:pool"}
    only = replace(settings, strategies=("threads",))
    assert default_strategies(only, known) == {"threads", "executor:pool"}


def test_an_executor_of_a_report_is_drawn_anywhere() -> None:
    """A report that names one needs no flag to be drawn; there is no code for it, since its factory is not known."""
    found = BUILT_IN.get("executor:elsewhere")
    assert found is not None
    assert found.color == POOL.color
    assert found.code(Callee(module="m", name="f"), 2, 1) is None
    assert BUILT_IN.get("executor:") is None


# What it refuses


@pytest.mark.parametrize(
    ("given", "is_coroutine", "why"),
    [
        (None, False, r"an executor is given a function, not a test: pass it by the fixture, gilprobe\(function"),
        (True, True, "an executor takes plain functions, and this test calls a coroutine function"),
        (True, False, None),
    ],
)
def test_it_takes_functions_only(given: object, is_coroutine: bool, why: str | None) -> None:  # noqa: FBT001 - a table
    """A marked test and a coroutine function are told why not."""
    found = POOL.refuses(cast("Any", SimpleNamespace(given=given, is_coroutine=is_coroutine)))
    assert (found is None) is (why is None)
    if why is not None:
        assert re.search(why, found or "")


# How it is told


def test_small_calls_are_told_the_size_of_tasks() -> None:
    """The clause has the length of a call, or the number of calls, from which it pays off; a caution what they give."""
    (said,) = POOL.costs_text(evidence(), cast("Any", None))
    assert said == "executor:pool pays off from 1.3 ms a call, or from 13 calls per task"
    (caution,) = POOL.cautions(evidence(), cast("Any", None))
    assert caution.slug == "larger-tasks"
    assert caution.message == (
        "executor:pool gives 1.8x with 40 calls per task, 0.50x with one: dispatching a task takes 1.0 ms"
    )


def test_larger_tasks_are_told_to_give_no_more_than_the_executors_workers() -> None:
    """What was read beyond the number of calls that the executor makes at once is told as that number."""
    found = replace(FOUND, chunk_speedup=estimate(FOUND.at_once * 1.4))
    (caution,) = POOL.cautions(evidence(found), cast("Any", None))
    assert caution.message.startswith(f"executor:pool gives {FOUND.at_once}.0x with 40 calls per task")


def test_long_calls_are_told_that_they_are_enough() -> None:
    """A call that is worth a task of its own is told from which length it would be, as a prediction."""
    found = replace(FOUND, single_speedup=estimate(1.8), chunk_speedup=None, pays_from_calls=1, pays_from_s=3e-3)
    (said,) = POOL.costs_text(evidence(found, 0.02), cast("Any", None))
    assert said == "20 ms a call is enough for executor:pool, which would pay off from 3.0 ms (predicted)"
    assert POOL.cautions(evidence(found, 0.02), cast("Any", None)) == ()


def test_what_never_pays_off_is_told_so() -> None:
    """Without a size that pays off, the best that was seen is given, unless the interval leaves it open."""
    found = replace(FOUND, pays_from_calls=None, pays_from_s=None)
    (said,) = POOL.costs_text(evidence(found, speedup=estimate(0.9)), cast("Any", None))
    assert said == "executor:pool does not pay off with any number of calls per task: 0.90x at best"
    open_yet = evidence(found, speedup=estimate(1.1, 0.8, 1.6))
    assert POOL.costs_text(open_yet, cast("Any", None)) == ("from which size on executor:pool pays off is open",)
    assert POOL.costs_text(evidence(None), cast("Any", None)) == ()


def test_costs_of_tasks_are_a_note() -> None:
    """The note has start-up, dispatch and sizes, and says what is a prediction."""
    assert workload_notes._tasks(FOUND) == (
        "2 workers, start-up 500 ms; an empty task takes 1.0 ms of many, 2.0 ms alone; 55 calls per task reach 90 % of "
        "its best; predicted: its dispatch limits any number of workers to 0.10x with 1 call per task, 4.0x with 40 "
        "calls per task"
    )


def test_code_uses_the_factory() -> None:
    """The code to paste imports the factory, and groups calls into tasks."""
    callee = Callee(module="shop.images", name="resize", parameters=("image",))
    code = "\n".join(POOL.code(callee, 2, 1) or [])
    compile(code, "code", "exec")
    assert "from shop.pools import make" in code
    assert "with make() as pool:" in code
    grouped = "\n".join(POOL.code(callee, 2, 40) or [])
    compile(grouped, "code", "exec")
    assert "calls[at : at + 40]" in grouped


# A session

POOLS = """
import contextlib
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

def threads():
    return ThreadPoolExecutor(2)

@contextlib.contextmanager
def processes():
    with ProcessPoolExecutor(2) as pool:
        yield pool

def broken():
    raise OSError("no cluster")
"""
CONFTEST = """
import pools
from pytest_gilprobe.strategies.executor import ViaExecutor

def pytest_gilprobe_strategies():
    return ViaExecutor("hooked", pools.threads, by_default=False)
"""
TESTS = """
import time
import pytest

def test_nap(gilprobe):
    gilprobe(time.sleep, 0.02)

@pytest.mark.gilprobe(strategies="executor:hooked", max_time=1)
def test_whole():
    time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> sessions.Session:
    """Run one session with four executors."""
    folder = tmp_path_factory.mktemp("executors")
    (folder / "pools.py").write_text(POOLS, encoding="utf-8")
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    ini = "pythonpath = .\ngilprobe_executor =\n    tp=pools:threads\n    pp=pools:processes"
    sessions.write(folder, TESTS, ini=ini)
    flags = ("--gilprobe-executor=tp=pools:threads", "--gilprobe-executor=broken=pools:broken")
    return sessions.run(folder, "-v", *flags, "--gilprobe-executor=pp=pools:processes", budget_s=4)


def test_executors_are_measured(seen: sessions.Session) -> None:
    """Flags replace the ini key's executors; both pools are measured, with what their tasks cost."""
    parts = seen.one("::test_nap")["strategies"]
    for name in ("executor:tp", "executor:pp"):
        assert parts[name]["outcome"] == "ok", seen.output
        found = parts[name]["executor"]
        assert found["task_s"] > 0
        assert found["workers"] == 2
        assert found["single_speedup"]["value"] > 0
    assert parts["executor:hooked"]["impossible"], "not asked for"


def test_an_executor_that_does_not_start_ends_alone(seen: sessions.Session) -> None:
    """The others are measured, and its failure is told with what the factory raised."""
    part = seen.one("::test_nap")["strategies"]["executor:broken"]
    assert part["outcome"] == Outcome.FAILED
    assert "pools:broken raised" in part["error"]
    assert "OSError: no cluster" in part["error"]


def test_a_marked_test_is_told_why_not(seen: sessions.Session) -> None:
    """Executors are given functions; a whole test is skipped there."""
    part = seen.one("::test_whole")["strategies"]["executor:hooked"]
    assert (part["outcome"], part["impossible"]) == (Outcome.SKIPPED, True)
    assert "an executor is given a function, not a test" in part["error"]


def test_executors_are_drawn(seen: sessions.Session) -> None:
    """The terminal names them, with what their tasks cost."""
    assert "tasks in executor:pp: 2 workers, start-up " in " ".join(seen.output.split())


@pytest.mark.thorough
def test_a_function_without_a_test_is_probed_in_executors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``gilprobe run --executor`` does the same."""
    (tmp_path / "shop_pools.py").write_text(POOLS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    arguments = ["run", "time:monotonic", "--strategies=serial", "--executor=tp=shop_pools:threads", "--max-time=1"]
    assert cli.main(arguments) == cli.OK
    assert "executor:tp" in capsys.readouterr().out

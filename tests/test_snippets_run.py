"""Every kind of code to paste is executed, for every kind of callable, by every strategy."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import callables
import pytest
from reports_fixture import probed, processes, serial, threads, verdict
from test_blocking import blocker, loop

from pytest_gilprobe.model.results import Callee, Caution
from pytest_gilprobe.model.words import SERIAL, Bound, Gil
from pytest_gilprobe.report import snippets
from pytest_gilprobe.report.call_source import EXAMPLE_CALLS, source_of
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.workers import naming

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HERE = Path(__file__).parent
CALLS = 3
CALL_S = 1e-4
KNOWN = BUILT_IN.with_executors(["pool=concurrent.futures:ThreadPoolExecutor"])
NAMED = "executor:pool"
INTERPRETERS = pytest.param("interpreters", marks=pytest.mark.slow)  # dozens of pools, whose start takes 0.2 s each
RUNNER = """
import pathlib, runpy, sys, traceback

failed = False
for path in sorted(pathlib.Path(__file__).parent.glob("code_*.py")):
    try:
        runpy.run_path(str(path), run_name="__main__")
    except BaseException:
        failed = True
        traceback.print_exc()
        print(path.read_text(encoding="utf-8"), file=sys.stderr)
sys.exit(failed)
"""
CHECK = """
if __name__ == "__main__":
    wanted = {wanted}
    assert [repr(result) for result in results] == wanted, (results, wanted)
"""
TO_FILL_IN = {
    "a lambda": Callee(module="callables", name="lambda", parameters=("number", "scale="), importable=False),
    "a nested function": Callee(module="callables", name="inner", parameters=("rows",), importable=False),
    "a nested class": Callee(module="callables", name="Inner.price", parameters=("inner",), importable=False),
    "a test": Callee(module="test_shop", name="test_totals", is_test=True),
    "a test called as code is": Callee(module="test_shop", name="test_main", is_test=True),
    "a test with fixtures": Callee(module="test_shop", name="test_list", parameters=("shop", "tmp_path"), is_test=True),
    "a test in a class": Callee(module="test_shop", name="TestShop.test_sell", parameters=("shop",), is_test=True),
}
"""Functions that no program can import: the user fills a definition in."""


def source(kind: str) -> Callee:
    """Name a kind of call as code in another module would."""
    if kind in TO_FILL_IN:
        return TO_FILL_IN[kind]
    known = {**callables.PLAIN, **callables.AWAITED}
    return replace(naming.callee(known[kind]), awaited=kind in callables.AWAITED)


def supplied(kind: str, callee: Callee) -> str:
    """Write what the code says that the user supplies."""
    variables = source_of(callee).variables
    names = "".join(f"{one.many}, " for one in variables)
    own = f"[[None] * {CALLS}] * {len(variables)}" if kind in TO_FILL_IN else f"callables.lists({kind!r}, {CALLS})"
    before = f"import callables\n{names} = {own}\n" if variables else "import callables\n"
    if callee.module == "__main__" and kind not in TO_FILL_IN:
        before += f"from callables import {callee.name.partition('.')[0]}\n"
    return before


def advice(strategy: str, callee: Callee, in_a_task: int) -> str:
    """Give the code as it is printed for a function of a test's file, with every hint, for so many calls a task."""
    made = probed(
        "callables.py::test_it",
        verdict(Bound.CPU, Gil.HELD, strategy, 1.9, "because"),
        serial(CALL_S, 0.98, 0.9),
        replace(threads(1.9), dispatch_s_per_call=2 * CALL_S),
        replace(processes(1.9), dispatch_s_per_call=2 * CALL_S),
    )
    if strategy != SERIAL:
        part = replace(threads(1.9), dispatch_s_per_call=in_a_task * CALL_S * snippets.DISPATCH_SHARE)
        made = replace(made, strategies={**made.strategies, strategy: part})
    blocked = loop(blocker(1.0), blocked=0.9) if callee.awaited else None
    code = snippets.code(replace(made, callee=callee, event_loop=blocked), KNOWN)
    assert code.is_code
    hints = {
        "is defined in a test file": callee.importable and not callee.is_test and callee.module == "callables",
        "a pool is worth a try only with": strategy == SERIAL,
        "to leave the event loop free instead": callee.awaited and strategy != SERIAL,
    }
    assert {hint: hint in code.text for hint in hints} == hints
    return code.text


def programs(strategy: str, kinds: dict[str, Callee]) -> Iterator[str]:
    """Give a program for each kind, with one and with several calls a task: what the user has, the code, a check."""
    for kind, callee in kinds.items():
        before = supplied(kind, callee)
        result = "None" if kind in TO_FILL_IN else callables.result(kind)
        for in_a_task in (1, 2):
            code = advice(strategy, callee, in_a_task).replace(f"range({EXAMPLE_CALLS})", f"range({CALLS})")
            fewer = code.replace(f"[2] * {EXAMPLE_CALLS}", f"[2] * {CALLS}")  # tasks of two calls each
            calls = CALLS if fewer == code else 2 * CALLS
            yield f"{before}{fewer}\n{CHECK.format(wanted=repr([result] * calls))}"


def run(folder: Path, strategy: str, kinds: dict[str, Callee]) -> None:
    """Run the programs of a strategy."""
    run_all(folder, programs(strategy, kinds))


def run_all(folder: Path, texts: Iterable[str]) -> str:
    """Write programs to files, run each as a program's main file, all in one process; return what it says of errors."""
    for at, program in enumerate(texts):
        (folder / f"code_{at:03}.py").write_text(program, encoding="utf-8")
    (folder / "run.py").write_text(RUNNER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(folder / "run.py")],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("strategy", ["serial", "threads", "processes", INTERPRETERS, NAMED])
def test_plain_calls(strategy: str, tmp_path: Path) -> None:
    """The code makes every call of a plain function, as it is pasted."""
    if strategy == "interpreters" and not hasattr(concurrent.futures, "InterpreterPoolExecutor"):
        pytest.skip("no interpreter pools before CPython 3.14")
    left_out = callables.WITH_NUMPY if strategy == "interpreters" else {}
    kinds = {kind: source(kind) for kind in [*callables.PLAIN, *TO_FILL_IN] if kind not in left_out}
    kinds["a function"] = replace(kinds["a function"], module="__main__")
    run(tmp_path, strategy, kinds)


@pytest.mark.parametrize("strategy", [name for name in BUILT_IN.names if name != "interpreters"])
def test_awaited_calls(strategy: str, tmp_path: Path) -> None:
    """The code awaits every call of a coroutine function, as it is pasted.

    Subinterpreters cannot load NumPy, which these functions need; `test_async_snippets` runs the code for them.
    """
    to_fill_in = {kind: replace(callee, awaited=True) for kind, callee in TO_FILL_IN.items()}
    run(tmp_path, strategy, {**{kind: source(kind) for kind in callables.AWAITED}, **to_fill_in})


def test_shared_memory(tmp_path: Path) -> None:
    """The code with shared memory makes every call of a plain function, and leaves no shared memory behind."""
    callees = {kind: source(kind) for kind in [*callables.PLAIN, *TO_FILL_IN]}
    callees["a function"] = replace(callees["a function"], module="__main__")
    texts = []
    for kind, callee in callees.items():
        lines = BUILT_IN["processes"].code_with_shared_memory(callee, 2)
        assert lines is not None
        code = "\n".join(lines).replace(f"range({EXAMPLE_CALLS})", f"range({CALLS})")
        result = "None" if kind in TO_FILL_IN else callables.result(kind)
        texts.append(f"{supplied(kind, callee)}\n{code}\n{CHECK.format(wanted=repr([result] * CALLS))}")
    said = run_all(tmp_path, texts)
    assert "leaked" not in said  # as the resource tracker of multiprocessing would say


def test_shared_memory_where_it_pays() -> None:
    """The code is given where shared memory alone makes a pool pay, with a line that says so; not otherwise."""
    pays = Caution(slug=snippets.SHARED_MEMORY_HELPS, message="with its arrays in shared memory")
    decided = verdict(Bound.CPU, Gil.HELD, SERIAL, None, "because")
    found = probed("a::b", decided, serial(0.02, 0.98, 0.9), threads(1.0), processes(0.9))
    found = replace(found, callee=source("large data"))
    assert "SharedMemory" not in snippets.code(found, BUILT_IN).text
    code = snippets.code(replace(found, verdict=replace(decided, cautions=(pays,))), BUILT_IN)
    assert code.text.startswith("# with arrays in shared memory a pool pays")
    assert code.is_code
    assert "doubled(array)" in code.text

"""`pytest_gilprobe.report.async_snippets`: code to paste for coroutine functions, which runs."""

from __future__ import annotations

import concurrent.futures
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_gilprobe.model.results import Callee
from pytest_gilprobe.strategies.registry import BUILT_IN

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
import LIBRARY

running = most = 0

async def fetch(url, *, timeout=None, loop=None):
    global running, most
    running += 1
    most = max(most, running)
    await LIBRARY.sleep(0.001)
    running -= 1
    return url, timeout

async def now():
    return 1
"""
ARGUMENTS = "url_list = ['a', 'b', 'c', 'd', 'e']\ntimeout_list = [1, 2, 3, 4, 5]\n"
LIBRARIES = (None, "asyncio", "trio")
FETCH = Callee(module="pages", name="fetch", parameters=("url", "timeout="), awaited=True)
WANTED = "[('a', 1), ('b', 2), ('c', 3), ('d', 4), ('e', 5)]"


def ran(folder: Path, callee: Callee, strategy: str, *after: str) -> str:
    """Run the code that a strategy gives for a function of a module, and return what it prints of its results."""
    library = callee.awaited_by or "asyncio"
    pytest.importorskip(library)
    code = BUILT_IN[strategy].code(callee, 2, 1)
    assert code is not None
    (folder / "pages.py").write_text(MODULE.replace("LIBRARY", library), encoding="utf-8")
    guarded = next((len(line) - len(line.lstrip()) for line in code if "results = " in line), 0)
    tail = [" " * guarded + line for line in ("print(results)", *after)]
    source = ARGUMENTS + "\n".join([*code, *tail]) + "\n"
    (folder / "script.py").write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{source}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("strategy", BUILT_IN.names)
def test_code_runs(tmp_path: Path, strategy: str, library: str | None) -> None:
    """The code of every strategy makes all calls in a loop of their library, and has their results in order."""
    if strategy == "interpreters" and not hasattr(concurrent.futures, "InterpreterPoolExecutor"):
        pytest.skip("no interpreter pools before CPython 3.14")
    assert ran(tmp_path, replace(FETCH, awaited_by=library), strategy).strip() == WANTED


@pytest.mark.parametrize("library", LIBRARIES)
def test_tasks_are_limited(tmp_path: Path, library: str | None) -> None:
    """No more calls are under way at once than were measured."""
    said = ran(tmp_path, replace(FETCH, awaited_by=library), "tasks", "import pages", "print('most', pages.most)")
    assert said.splitlines()[-1] == "most 2"


@pytest.mark.parametrize("strategy", ["tasks", "threads"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_function_without_parameters(tmp_path: Path, library: str | None, strategy: str) -> None:
    """A function that takes nothing is called a hundred times."""
    said = ran(tmp_path, Callee(module="pages", name="now", awaited=True, awaited_by=library), strategy)
    assert said.strip() == str([1] * 100)


@pytest.mark.parametrize("strategy", ["tasks", "threads"])
def test_one_argument_by_position(tmp_path: Path, strategy: str) -> None:
    """Trio's code gives one argument as it is."""
    callee = Callee(module="pages", name="fetch", parameters=("url",), awaited=True, awaited_by="trio")
    assert ran(tmp_path, callee, strategy).strip() == str([(letter, None) for letter in "abcde"])


@pytest.mark.parametrize("library", LIBRARIES)
def test_names_do_not_collide(library: str | None) -> None:
    """A parameter that is called as something in the code gets another name there."""
    names = ("loop", "free", "pool", "found", "nursery")
    callee = Callee(module="pages", name="fetch", parameters=names, awaited=True, awaited_by=library)
    for strategy in BUILT_IN:
        code = strategy.code(callee, 2, 1)
        assert code is not None
        assert "loop_" in "\n".join(code)
        compile("\n".join(code), "pasted", "exec")

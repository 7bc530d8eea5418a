"""`pytest_gilprobe.report.async_snippets`: code to paste for coroutine functions, which runs."""

from __future__ import annotations

import concurrent.futures
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_gilprobe.model.results import Callee
from pytest_gilprobe.strategies.registry import BUILT_IN

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
import asyncio

running = most = 0

async def fetch(url, *, timeout=None, loop=None):
    global running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(0.001)
    running -= 1
    return url, timeout

async def now():
    return 1
"""
ARGUMENTS = "url_list = ['a', 'b', 'c', 'd', 'e']\ntimeout_list = [1, 2, 3, 4, 5]\n"
WANTED = "[('a', 1), ('b', 2), ('c', 3), ('d', 4), ('e', 5)]"


def ran(folder: Path, callee: Callee, strategy: str, *after: str) -> str:
    """Run the code that a strategy gives for a function of a module, and return what it prints of its results."""
    code = BUILT_IN[strategy].code(callee, 2, 1)
    assert code is not None
    (folder / "pages.py").write_text(MODULE, encoding="utf-8")
    guarded = next((len(line) - len(line.lstrip()) for line in code if "results = " in line), 0)
    tail = [" " * guarded + line for line in ("print(results)", *after)]
    source = ARGUMENTS + "\n".join([*code, *tail]) + "\n"
    (folder / "script.py").write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{source}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("strategy", BUILT_IN.names)
def test_code_runs(tmp_path: Path, strategy: str) -> None:
    """The code of every strategy makes all calls and has their results in order."""
    if strategy == "interpreters" and not hasattr(concurrent.futures, "InterpreterPoolExecutor"):
        pytest.skip("no interpreter pools before CPython 3.14")
    callee = Callee(module="pages", name="fetch", parameters=("url", "timeout="), awaited=True)
    assert ran(tmp_path, callee, strategy).strip() == WANTED


def test_tasks_are_limited(tmp_path: Path) -> None:
    """No more calls are under way at once than were measured."""
    callee = Callee(module="pages", name="fetch", parameters=("url", "timeout="), awaited=True)
    said = ran(tmp_path, callee, "tasks", "import pages", "print('most', pages.most)")
    assert said.splitlines()[-1] == "most 2"


def test_function_without_parameters(tmp_path: Path) -> None:
    """A function that takes nothing is called a hundred times."""
    said = ran(tmp_path, Callee(module="pages", name="now", awaited=True), "tasks")
    assert said.strip() == str([1] * 100)


def test_names_do_not_collide() -> None:
    """A parameter that is called as something in the code gets another name there."""
    callee = Callee(module="pages", name="fetch", parameters=("loop", "free", "pool"), awaited=True)
    for strategy in BUILT_IN:
        code = strategy.code(callee, 2, 1)
        assert code is not None
        assert "loop_" in "\n".join(code)
        compile("\n".join(code), "pasted", "exec")

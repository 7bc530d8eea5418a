"""Executors of the standard library and of other packages, each in a real session: measured, and told when they fail.

Those of packages that are not installed are skipped; ``tox run -e packages`` has them.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
import sessions
from with_interpreters import HAS_THEM

POOLS = """
import concurrent.futures
import sys

def threads():
    return concurrent.futures.ThreadPoolExecutor(2)

def interpreters():
    return concurrent.futures.InterpreterPoolExecutor(2, initializer=sys.path.extend, initargs=(list(sys.path),))

def loky():
    from loky import get_reusable_executor
    return get_reusable_executor(2)

def mpi():
    from mpi4py.futures import MPIPoolExecutor
    return MPIPoolExecutor(2, path=sys.path)
"""
WORKS = """
import os
import threading
import time

def is_elsewhere(home):
    if os.getpid() != home or threading.current_thread() is not threading.main_thread():
        return True
    try:
        from concurrent import interpreters
    except ImportError:
        return False
    return interpreters.get_current() != interpreters.get_main()

def raises(home):
    if is_elsewhere(home):
        raise KeyError("no such page")
    time.sleep(0.005)

def takes_a_lock(lock):
    with lock:
        time.sleep(0.005)

def ends_its_process(home):
    if os.getpid() != home:
        os._exit(3)
    time.sleep(0.005)
"""
TESTS = """
import os
import threading
import time

import works

def test_nap(gilprobe):
    gilprobe(time.sleep, 0.02)

def test_raises(gilprobe):
    gilprobe(works.raises, os.getpid())

def test_lock(gilprobe):
    gilprobe(works.takes_a_lock, threading.Lock())

def test_worker_lost(gilprobe):
    gilprobe(works.ends_its_process, os.getpid())
"""


def has(package: str) -> bool:
    """Return whether a package is installed."""
    return importlib.util.find_spec(package) is not None


KINDS = [
    pytest.param("threads", "concurrent.futures.thread.ThreadPoolExecutor", ("ok", "ok"), id="threads"),
    pytest.param(
        "interpreters",
        "concurrent.futures.interpreter.InterpreterPoolExecutor",
        ("failed", "ok"),
        id="interpreters",
        marks=pytest.mark.skipif(not HAS_THEM, reason="needs subinterpreters with a GIL of their own"),
    ),
    pytest.param(
        "loky",
        "loky.reusable_executor._ReusablePoolExecutor",
        ("failed", "crashed"),
        id="loky",
        marks=pytest.mark.skipif(not has("loky"), reason="needs loky"),
    ),
    pytest.param(
        "mpi",
        "mpi4py.futures.pool.MPIPoolExecutor",
        ("failed", None),
        id="mpi",
        marks=pytest.mark.skipif(not (has("mpi4py") and shutil.which("mpirun")), reason="needs mpi4py and MPI"),
    ),
]
"""Each executor's factory and class, and how a call ends that is given a lock, and one that ends its process.

A process of MPI that ends takes all others with it, so that this is not tried.
"""


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "kind", "ends"), KINDS)
def test_a_real_executor(
    name: str,
    kind: str,
    ends: tuple[str, str | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is measured, and what fails in it is told as what it is; the session goes on."""
    for variable in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_rmaps_base_oversubscribe"):
        monkeypatch.setenv(variable, "1")
    (tmp_path / "pools.py").write_text(POOLS, encoding="utf-8")
    (tmp_path / "works.py").write_text(WORKS, encoding="utf-8")
    sessions.write(tmp_path, TESTS, ini="pythonpath = .")
    asked = (f"--gilprobe-executor={name}=pools:{name}", f"--gilprobe-strategies=executor:{name}")
    chosen = () if ends[1] is not None else ("--deselect=test_it.py::test_worker_lost",)
    seen = sessions.run(tmp_path, "-v", *asked, *chosen)
    parts = {
        test: seen.one(f"::{test}")["strategies"][f"executor:{name}"]
        for test in ("test_nap", "test_raises", "test_lock", *(("test_worker_lost",) if ends[1] is not None else ()))
    }
    assert parts["test_nap"]["outcome"] == "ok", seen.output
    found = parts["test_nap"]["executor"]
    assert (found["kind"], found["workers"]) == (kind, 2)
    assert found["task_s"] > 0
    assert parts["test_raises"]["outcome"] == "failed", parts["test_raises"]
    assert "KeyError: 'no such page'" in parts["test_raises"]["error"]
    assert parts["test_lock"]["outcome"] == ends[0], parts["test_lock"]
    if ends[0] == "failed":
        assert "cannot be moved to its workers" in parts["test_lock"]["error"]
    if ends[1] is not None:
        assert parts["test_worker_lost"]["outcome"] == ends[1], parts["test_worker_lost"]
    if ends[1] == "crashed":
        assert "lost a worker" in parts["test_worker_lost"]["error"]

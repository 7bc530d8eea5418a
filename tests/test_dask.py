"""`pytest_gilprobe.strategies.dask`: its factories, with a real scheduler and workers where Dask is installed."""

from __future__ import annotations

import sys
import textwrap
from typing import Any

import pytest
import sessions

from pytest_gilprobe import GilprobeError
from pytest_gilprobe.strategies import dask

POOLS = """
import contextlib
import signal
import subprocess
import sys
import os
import time

@contextlib.contextmanager
def scheduler_of_its_own():
    from distributed import Client
    code = (
        "import os, time, distributed\\n"
        "if __name__ == '__main__':\\n"
        "    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)\\n"
        "    print(cluster.scheduler_address, flush=True)\\n"
        "    time.sleep(120)\\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        with Client(process.stdout.readline().strip(), timeout=20) as client:
            yield Killing(client.get_executor(pure=False), process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

class Killing:
    def __init__(self, executor, process):
        self.executor, self.process, self.left = executor, process, 8

    def submit(self, function, /, *args, **kwargs):
        self.left -= 1
        if self.left == 0:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        return self.executor.submit(function, *args, **kwargs)

    def shutdown(self, wait=True):
        self.executor.shutdown(wait=False)
"""
TESTS = """
import os
import time
import pytest

LOCAL = "executor:local"

def ends_elsewhere(home):
    if os.getpid() != home:
        os._exit(3)

@pytest.mark.gilprobe(strategies=LOCAL, max_time=4)
def test_nap(gilprobe):
    gilprobe(time.sleep, 0.05)

@pytest.mark.gilprobe(strategies=LOCAL, max_time=1)
def test_worker_lost(gilprobe):
    gilprobe(ends_elsewhere, os.getpid())

@pytest.mark.gilprobe(strategies=("executor:nowhere", "executor:lost"), max_time=1)
def test_scheduler_lost(gilprobe):
    gilprobe(time.sleep, 0.01)
"""


def versions(**workers: dict[str, str]) -> dict[str, Any]:
    """Make what ``Client.get_versions`` returns, of a client and scheduler with the same versions."""
    own = {"packages": {"python": "3.12.1", "distributed": "2026.7", "numpy": "2.0"}}
    return {"client": own, "scheduler": own, "workers": {name: {"packages": one} for name, one in workers.items()}}


def test_versions_that_differ_are_named_once() -> None:
    """Of what must agree, the first place where it does not is named; other packages may differ."""
    one = {"python": "3.12.1", "distributed": "2026.7", "numpy": "1.26"}
    other = {"python": "3.11.9", "distributed": "2026.7"}
    assert dask.mismatches(versions(a=one)) == []
    assert dask.mismatches(versions(a=one, b=other, c=other)) == ["python 3.12.1 here, 3.11.9 at b"]
    assert dask.mismatches({}) == []


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(GilprobeError, match=r"pip install 'pytest-gilprobe\[dask\]'"), dask.local_cluster():
        pass


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> sessions.Session:
    """Run one session with a cluster on this machine, and with schedulers that are not there."""
    pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("dask")
    (folder / "pools.py").write_text(textwrap.dedent(POOLS), encoding="utf-8")
    sessions.write(folder, TESTS, ini="pythonpath = .")
    own = "pytest_gilprobe.strategies.dask"
    flags = [f"--gilprobe-executor=local={own}:local_cluster", f"--gilprobe-executor=nowhere={own}:connected"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
        patch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
        return sessions.run(folder, "-v", *flags, "--gilprobe-executor=lost=pools:scheduler_of_its_own", budget_s=4)


def test_a_cluster_is_measured(seen: sessions.Session) -> None:
    """Calls that wait gain in it, its workers are counted, and their memory is known."""
    part = seen.one("::test_nap")["strategies"]["executor:local"]
    assert part["outcome"] == "ok", seen.output
    assert part["executor"]["kind"] == "distributed.cfexecutor.ClientExecutor"
    assert part["executor"]["workers"] >= 1
    assert part["executor"]["task_s"] > 0


def test_a_worker_that_is_lost_is_told_so(seen: sessions.Session) -> None:
    """A call that ends its worker has crashed there; the session goes on."""
    part = seen.one("::test_worker_lost")["strategies"]["executor:local"]
    assert part["outcome"] == "crashed", part
    assert "lost a worker, or the connection to it" in part["error"]


def test_schedulers_that_are_not_there_are_told_so(seen: sessions.Session) -> None:
    """Without an address the setting is named; a scheduler that ends is lost, or Dask waits for it to come back."""
    parts = seen.one("::test_scheduler_lost")["strategies"]
    assert parts["executor:nowhere"]["outcome"] == "failed"
    assert "set DASK_SCHEDULER_ADDRESS" in parts["executor:nowhere"]["error"]
    lost = parts["executor:lost"]
    said = {"crashed": "lost a worker, or the connection to it", "hung": "are not there, are not connected, or hang"}
    assert lost["outcome"] in said, lost
    late = "no answer within the time limit"  # on a very busy machine, before the factory gave up
    assert said[lost["outcome"]] in lost["error"] or late in lost["error"]

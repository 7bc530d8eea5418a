"""`pytest_gilprobe.workers.child.process.executor_process`: no process of an executor outlives its worker."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

GONE_S = 10.0
WORKER = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from pytest_gilprobe.workers.child.process import executor_process

def wait(_):
    time.sleep(0.05)
    return os.getpid()

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    executor = ProcessPoolExecutor(2, mp_context=context, initializer=executor_process)
    print(*sorted(set(executor.map(wait, range(8)))), flush=True)
    list(executor.map(wait, range(2000)))
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")


@pytest.mark.parametrize("start_method", multiprocessing.get_all_start_methods())
def test_ends_with_its_worker(start_method: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """When a worker is killed while its executor is at work, the executor's processes end as well."""
    script = tmp_path_factory.mktemp("worker") / "worker.py"
    script.write_text(WORKER, encoding="utf-8")
    with subprocess.Popen([sys.executable, str(script), start_method], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        processes = [psutil.Process(int(pid)) for pid in worker.stdout.readline().split()]
        assert len(processes) == 2
        for process in processes:
            process.send_signal(signal.SIGINT)  # a Ctrl-C is for pytest to handle
        assert worker.poll() is None
        worker.kill()
    until = time.monotonic() + GONE_S
    while left := [process for process in processes if runs(process)]:
        assert time.monotonic() < until, f"processes left behind: {left}"
        time.sleep(0.05)


def runs(process: psutil.Process) -> bool:
    """Tell whether a process is there and more than an entry that nobody has collected."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_does_nothing_without_a_worker() -> None:
    """A process that `multiprocessing` has not started has no worker to end with, and no thread that waits for it."""
    code = (
        "from pytest_gilprobe.workers.child.process import executor_process\n"
        "import threading\nexecutor_process()\nprint(threading.active_count())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "1", done.stderr

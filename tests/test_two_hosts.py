"""Dask between two hosts: network namespaces with an address each, and a link that is made slow and lossy.

Needs Dask, and the right to make network namespaces. The packets stay in the namespaces that this makes and removes.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import sessions

SCHEDULER = "10.203.0.1"
WORKERS = "10.203.0.2"
PORT = 8786
SLOW = ("netem delay 60ms loss 2% rate 2mbit", "tbf rate 2mbit burst 32kbit latency 4s")
"""What `tc` makes of the link, half a second for the data of one call: slow and lossy, or where the kernel has no netem
slow."""
TESTS = """
import time

import pytest

def summary(data):
    time.sleep(0.05)
    return len(data)

@pytest.mark.gilprobe(strategies=("processes", "executor:cluster"), max_time=6)
def test_summary(gilprobe):
    gilprobe(summary, bytes(100_000))
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


class Hosts(NamedTuple):
    """Two network namespaces: the one with the scheduler and pytest, and the one with the workers."""

    here: str
    there: str

    def inside(self, host: str) -> tuple[str, ...]:
        """Return the beginning of a command that runs on a host."""
        return ("ip", "netns", "exec", host)

    def make_slow(self) -> None:
        """Delay, drop and throttle the packets of the link, in both directions."""
        for host in self:
            command = (*self.inside(host), "tc", "qdisc", "replace", "dev", "wire", "root")
            if all(run(*command, *slow.split()).returncode for slow in SLOW):
                pytest.skip("tc makes no link slow here")


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Make two namespaces with a link between them."""
    if importlib.util.find_spec("distributed") is None:
        pytest.skip("needs Dask")
    if not all(map(shutil.which, ("ip", "tc"))):
        pytest.skip("needs ip and tc of iproute2")
    own = Hosts(f"gilprobe-{os.getpid()}-a", f"gilprobe-{os.getpid()}-b")
    with ExitStack() as stack:
        for host in own:
            done = run("ip", "netns", "add", host)
            if done.returncode:
                pytest.skip(f"network namespaces are not to be had here: {done.stderr.strip()}")
            stack.callback(run, "ip", "netns", "delete", host)
        steps = [
            f"ip link add wire netns {own.here} type veth peer name wire netns {own.there}",
            *(
                f"ip -n {host} {step}"
                for host, address in zip(own, (SCHEDULER, WORKERS), strict=True)
                for step in (f"address add {address}/24 dev wire", "link set wire up", "link set lo up")
            ),
        ]
        for step in steps:
            done = run(*step.split())
            if done.returncode:
                pytest.skip(f"{step}: {done.stderr.strip()}")
        yield own


@pytest.fixture
def cluster(hosts: Hosts, tmp_path: Path) -> Iterator[Hosts]:
    """Start a scheduler on one host, and two worker processes with four threads each on the other."""
    environment = os.environ | {
        "PYTHONPATH": str(tmp_path),
        "DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "spawn",
    }
    scheduler = ("-m", "distributed.cli.dask_scheduler", "--host", SCHEDULER, "--port", str(PORT), "--no-dashboard")
    worker = ("-m", "distributed.cli.dask_worker", f"tcp://{SCHEDULER}:{PORT}", "--nthreads", "4", "--no-dashboard")
    commands = [
        (*hosts.inside(hosts.here), sys.executable, *scheduler),
        *([(*hosts.inside(hosts.there), sys.executable, *worker, "--no-nanny", "--host", WORKERS)] * 2),
    ]
    with ExitStack() as stack:
        for command in commands:
            process = subprocess.Popen(
                command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield hosts


def answer(hosts: Hosts, folder: Path) -> tuple[str, sessions.Session]:
    """Probe on the scheduler's host; return what is advised."""
    factory = "cluster=pytest_gilprobe.strategies.dask:connected"
    flags = (f"--gilprobe-executor={factory}", "--gilprobe-timeout=60")
    seen = sessions.run(folder, *flags, budget_s=6, inside=hosts.inside(hosts.here))
    return seen.one("::test_summary")["verdict"]["strategy"], seen


def test_a_slow_link_makes_local_processes_the_advice(
    cluster: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight workers on the other host are the advice for calls that wait, until the link is slow and lossy."""
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", f"tcp://{SCHEDULER}:{PORT}")
    sessions.write(tmp_path, TESTS)
    advised, seen = answer(cluster, tmp_path)
    assert advised == "executor:cluster", seen.output
    part = seen.one("::test_summary")["strategies"]["executor:cluster"]
    assert part["executor"]["workers"] == 8
    assert not part["executor"]["on_this_machine"]
    cluster.make_slow()
    advised, seen = answer(cluster, tmp_path)
    assert advised == "processes", seen.output
    slow = seen.one("::test_summary")["strategies"]["executor:cluster"]
    assert slow["outcome"] == "ok", slow
    assert slow["executor"]["data_s"] > part["executor"]["data_s"]

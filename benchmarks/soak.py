"""Probe many marked tests in one session: memory must stay flat, and the last probes take as long as the first.

Usage: ``python benchmarks/soak.py [--tests 500] [--start-method M]``. Exit status 1 if a worker or the parent grew by
more than a fifth, or the last fifth of the probes took more than a third longer than the first (medians; the first ten
tests, which warm up, are left out).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

WARM_UP = 10
MOST_GROWTH = 1.2
MOST_SLOWDOWN = 4 / 3
TESTS = """
import pytest

@pytest.mark.gilprobe(max_time=0.3)
@pytest.mark.parametrize("number", range({count}))
def test_one(number, tmp_path):
    sum(range(20_000))
"""
CONFTEST = """
import json, os, psutil

SEEN = []

def pytest_runtest_logfinish():
    here = psutil.Process()
    workers = [child.memory_info().rss for child in here.children() if child.is_running()]
    SEEN.append([here.memory_info().rss, max(workers, default=0), len(os.listdir("/proc/self/fd"))])

def pytest_sessionfinish():
    if "PYTEST_GILPROBE_WORKER" not in os.environ:
        with open("seen.json", "w") as file:
            json.dump(SEEN, file)
"""


def main() -> int:
    """Run the session and compare its ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tests", type=int, default=500)
    parser.add_argument("--start-method", default=None)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        (folder / "test_soak.py").write_text(TESTS.format(count=asked.tests), encoding="utf-8")
        (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--gilprobe-report",
            "--gilprobe-workers=2",
        ]
        if asked.start_method is not None:
            command.append(f"--gilprobe-start-method={asked.start_method}")
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stdout + done.stderr)
            return 1
        seen = json.loads((folder / "seen.json").read_text("utf-8"))[WARM_UP:]
        workloads = json.loads((folder / "reports" / "gilprobe.json").read_text("utf-8"))["workloads"][WARM_UP:]
    good = all(workload["status"] != "error" for workload in workloads)
    fifth = len(seen) // 5
    for column, what, unit in ((0, "parent", 2**20), (1, "largest worker", 2**20), (2, "parent's file descriptors", 1)):
        first, last = (median(row[column] for row in rows) for rows in (seen[:fifth], seen[-fifth:]))
        print(f"{what}: {first / unit:.1f} -> {last / unit:.1f}{' MiB' if unit > 1 else ''} ({last / first:.2f}x)")
        good = good and last <= first * MOST_GROWTH
    first, last = (median(one["probe_time_s"] for one in part) for part in (workloads[:fifth], workloads[-fifth:]))
    print(f"time per probe: {first * 1e3:.0f} -> {last * 1e3:.0f} ms ({last / first:.2f}x)")
    return 0 if good and last <= first * MOST_SLOWDOWN else 1


if __name__ == "__main__":
    sys.exit(main())

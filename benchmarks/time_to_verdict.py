"""How long does a verdict take beside the least that it could: one batch of each strategy at the calibrated size?

    python benchmarks/time_to_verdict.py [--repeat 5] [PATH ...]

Bars: the median over workloads is at most 1.5 times the floor, and a workload of up to 60 ms a call takes at most 1.0
s on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections import defaultdict
from typing import Any

from verdicts import probe_all

MOST_RATIO = 1.5
MOST_S = 1.0
LONGEST_CALL_S = 0.06


def floor_s(workload: dict[str, Any]) -> float | None:
    """Return the length of one batch of each strategy, from the report's own times per call."""
    serial, *parallel = workload["strategies"].values()
    if serial["outcome"] != "ok":
        return None
    calls = serial["calls"] / serial["rounds"]
    times = [one["wall_s_per_call"]["value"] * workload["workers"] for one in parallel if one["wall_s_per_call"]]
    return float(calls * (serial["wall_s_per_call"]["value"] + sum(times)))


def main() -> int:
    """Probe, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", default=["sample_workloads"])
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    print(
        f"CPython {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the start, "
        f"{options.repeat} repetitions\n"
    )
    times: dict[str, list[float]] = defaultdict(list)
    floors: dict[str, list[float]] = defaultdict(list)
    calls: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.repeat):
            workloads: list[dict[str, Any]] = probe_all(options.paths, folder, [])
            for workload in workloads:
                least = floor_s(workload)
                if least is not None:
                    times[workload["nodeid"]].append(workload["probe_time_s"])
                    floors[workload["nodeid"]].append(least)
                    calls[workload["nodeid"]] = workload["strategies"]["serial"]["wall_s_per_call"]["value"]
    print("| workload | per call | floor | probe, median | ratio |\n|---|---:|---:|---:|---:|")
    ratios, slow = [], []
    for nodeid, took in times.items():
        probe, least = statistics.median(took), statistics.median(floors[nodeid])
        ratios.append(probe / least)
        if calls[nodeid] <= LONGEST_CALL_S and probe > MOST_S:
            slow.append(nodeid)
        print(
            f"| {nodeid.split('::')[-1]} | {calls[nodeid] * 1e3:.3g} ms | {least:.2f} s | {probe:.2f} s | "
            f"{probe / least:.2f} |"
        )
    print(
        f"\nmedian ratio {statistics.median(ratios):.2f} (bar {MOST_RATIO}); "
        f"over {MOST_S} s: {', '.join(slow) or 'none'}"
    )
    return 1 if statistics.median(ratios) > MOST_RATIO or slow else 0


if __name__ == "__main__":
    sys.exit(main())

"""Subinterpreters beside threads and processes: what workloads gain, what handing data over costs (CPython 3.14).

    python benchmarks/interpreters.py                 both tables, about two minutes
    python benchmarks/interpreters.py --speedups      what workloads gain, by a real session of this plugin
    python benchmarks/interpreters.py --data          what handing an argument over costs, by the three executors

A figure of the second table is the least over rounds of what a call in an executor with one worker takes longer than
one without data. The last column has what starting an executor of two workers takes, its first four tasks included.
Prints Markdown.
"""

from __future__ import annotations

import argparse
import array
import concurrent.futures
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_gilprobe.model import numbers  # noqa: E402 - the checkout beside this file is what is measured

if TYPE_CHECKING:
    from collections.abc import Callable

STRATEGIES: Final = ("threads", "interpreters", "processes")
RIGHT: Final = {
    "test_loop": {"interpreters", "processes"},
    "test_json": {"interpreters", "processes"},
    "test_re": {"interpreters", "processes"},
    "test_sqlite": {"interpreters", "processes"},
    "test_zlib": {"threads"},
    "test_sleep": {"threads"},
}
"""The answers that are right for each workload: those that hold the GIL gain apart, the others in threads."""
WORKLOADS: Final = """
import json, re, sqlite3, time, zlib

TEXT = json.dumps([{"a": at, "b": str(at) * 3, "c": [at, at / 3]} for at in range(6000)])
WORDS = TEXT[:150_000]

def test_loop():
    sum(at * at for at in range(150_000))

def test_json():
    json.loads(TEXT)

def test_re():
    re.findall(r"(\\d+)[^\\d]+?(\\d+)", WORDS)

def test_sqlite():
    with sqlite3.connect(":memory:") as db:
        db.execute("create table t(a, b)")
        db.executemany("insert into t values(?, ?)", [(at, str(at)) for at in range(6000)])
        db.execute("select sum(a) from t where b like '%7%'").fetchone()

def test_zlib():
    zlib.compress(TEXT.encode())

def test_sleep():
    time.sleep(0.01)
"""
SIZES: Final = (1024, 100 * 1024, 1024**2, 10 * 1024**2)
ROUNDS: Final = 12
KINDS: Final[dict[str, Callable[[int], Any]]] = {
    "bytes": bytes,
    "str": lambda size: "x" * size,
    "memoryview": lambda size: memoryview(bytes(size)),
    "array": lambda size: array.array("d", bytes(size)),
    "list of ints": lambda size: list(range(2**30, 2**30 + size // 5)),
}
"""Objects of about so many pickled bytes."""


def nothing(*_: object) -> None:
    """Take an argument and do nothing."""


def executors(workers: int) -> dict[str, concurrent.futures.Executor]:
    """Return a new executor of each kind."""
    return {
        "threads": concurrent.futures.ThreadPoolExecutor(workers),
        "interpreters": concurrent.futures.InterpreterPoolExecutor(workers),  # type: ignore[attr-defined, unused-ignore]
        "processes": concurrent.futures.ProcessPoolExecutor(workers),
    }


def speedups() -> None:
    """Probe the workloads in a session of their own, and print what each strategy gave."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_workloads.py").write_text(WORKLOADS, encoding="utf-8")
        flags = (
            "--gilprobe-all",
            f"--gilprobe-strategies={','.join(STRATEGIES)}",
            "--gilprobe-report",
            "--gilprobe-report-dir=reports",
        )
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *flags]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        subprocess.run(
            command, cwd=folder, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.DEVNULL, check=True
        )
        report = json.loads(Path(folder, "reports", "gilprobe.json").read_text("utf-8"))
    print("| workload | a call | threads | interpreters | processes | interpreters / processes | answer | right |")
    print("|---|---|---|---|---|---|---|---|")
    for found in report["workloads"]:
        print(f"| {' | '.join(row(found))} |")
    parts = [found["strategies"] for found in report["workloads"]]
    print("\nMemory of a worker with pytest's session, and seconds until it was ready for its first test:", end=" ")
    said = []
    for name in ("interpreters", "processes"):
        memory = max(part[name]["rss_bytes_per_worker"] or 0 for part in parts)
        ready_s = min(part[name]["start_up_s"] or 0.0 for part in parts)
        said.append(f"{name} {numbers.size(memory)}, {ready_s:.2f} s")
    print("; ".join(said))


def row(found: dict[str, Any]) -> list[str]:
    """Return the cells of one workload."""
    name, parts, verdict = found["nodeid"].rpartition("::")[2], found["strategies"], found["verdict"]["strategy"]
    gains = [(parts[one]["speedup"] or {}).get("value") for one in STRATEGIES]
    ratio = f"{gains[1] / gains[2]:.2f}" if gains[1] and gains[2] else "n/a"
    right = "open" if verdict == "inconclusive" else "yes" if verdict in RIGHT[name] else "NO"
    shown = [f"{gain:.2f}x" if gain else "n/a" for gain in gains]
    return [name, numbers.seconds(parts["serial"]["wall_s_per_call"]["value"]), *shown, ratio, verdict, right]


def data() -> None:
    """Print what handing an argument over costs in each executor, and what starting one takes."""
    started = {name: start_up_s(name) for name in STRATEGIES}
    pools = executors(1)
    empty = {name: least_s(pool, ()) for name, pool in pools.items()}
    print("| argument | threads | interpreters | processes | processes / interpreters |\n|---|---|---|---|---|")
    shown = " | ".join(numbers.seconds(empty[name]) for name in STRATEGIES)
    print(f"| a call without data | {shown} | {empty['processes'] / empty['interpreters']:.1f} |")
    for kind, make in KINDS.items():
        for size in SIZES:
            cost = {name: handed_s(pool, make(size), empty[name]) for name, pool in pools.items()}
            cells = [numbers.seconds(one) if one is not None else "cannot" for one in cost.values()]
            there, here = cost["processes"], cost["interpreters"]
            ratio = f"{there / here:.1f}" if there is not None and here is not None and here > 0 else "n/a"
            print(f"| {kind}, {numbers.size(size)} | {' | '.join(cells)} | {ratio} |")
    for pool in pools.values():
        pool.shutdown()
    took = "; ".join(f"{name} {numbers.seconds(one)}" for name, one in started.items())
    print(f"\nTwo workers started and four tasks done: {took}")


def start_up_s(name: str) -> float:
    """Return the seconds to start an executor of two workers and have four tasks done by it."""
    began = time.perf_counter()
    with executors(2)[name] as pool:
        for task in [pool.submit(nothing) for _ in range(4)]:
            task.result()
        return time.perf_counter() - began


def handed_s(pool: concurrent.futures.Executor, argument: object, empty_s: float) -> float | None:
    """Return the seconds that an argument adds to a call; ``None`` if it cannot be handed over."""
    try:
        return max(0.0, least_s(pool, (argument,)) - empty_s)
    except Exception:  # noqa: BLE001 - a pickling error, or what an executor makes of it
        return None


def least_s(pool: concurrent.futures.Executor, arguments: tuple[object, ...]) -> float:
    """Return the seconds of a call, the least of some rounds."""
    least = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(5):
            pool.submit(nothing, *arguments).result()
        least = min(least, (time.perf_counter() - began) / 5)
    return least


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speedups", action="store_true")
    parser.add_argument("--data", action="store_true")
    wanted = parser.parse_args()
    both = not (wanted.speedups or wanted.data)
    print(f"CPython {platform.python_version()}, {os.cpu_count()} CPUs\n")
    if wanted.speedups or both:
        speedups()
        print()
    if wanted.data or both:
        data()


if __name__ == "__main__":
    main()

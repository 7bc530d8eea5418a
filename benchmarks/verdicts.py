"""Are the verdicts right? Probe every workload many times, on an idle and on a loaded machine.

And print the confusion matrix.

    python benchmarks/verdicts.py                             # sample workloads, 20 times idle
    python benchmarks/verdicts.py --busy 2 --repeat 10        # with two busy loops beside it
    python benchmarks/verdicts.py path/to/tests               # any tests whose markers say what to expect

What is right is what each test's own marker expects (``expect=``, ``expect_bound=``). Exit status 1 if any verdict was
wrong. Every process that this starts it also ends.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = ("serial", "tasks", "threads", "processes", "inconclusive")
ROOT = Path(__file__).resolve().parent.parent


class Collector:
    """Keeps what each marked test expects."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.expected: dict[str, tuple[frozenset[str], str | None]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Read the markers."""
        for item in items:
            mark = item.get_closest_marker("gilprobe")
            if mark is not None and "expect" in mark.kwargs:
                expect = mark.kwargs["expect"]
                strategies = frozenset((expect,) if isinstance(expect, str) else expect)
                self.expected[item.nodeid] = (strategies, mark.kwargs.get("expect_bound"))


@contextlib.contextmanager
def busy_loops(number: int) -> Iterator[None]:
    """Keep ``number`` CPUs busy with Python loops; they end with this process in any case, as they look for it."""
    code = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"
    loops = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def probe_all(paths: list[str], folder: str, options: list[str]) -> list[dict[str, object]]:
    """Run one probing session and return its workloads."""
    file = Path(folder, "gilprobe.json")
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--gilprobe-report"]
    done = subprocess.run(
        [*command, f"--gilprobe-report-dir={folder}", *options, *paths],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if not file.exists():  # a wrong verdict fails its test, and is what is counted here
        msg = f"the probing session failed:\n{done.stdout}\n{done.stderr}"
        raise SystemExit(msg)
    workloads: list[dict[str, object]] = json.loads(file.read_text("utf-8"))["workloads"]
    return workloads


def main() -> int:
    """Probe, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", default=["sample_workloads"])
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--busy", type=int, default=0, help="busy loops beside the probes (default: none)")
    parser.add_argument("--option", action="append", default=[], help="a further option for pytest")
    options = parser.parse_args()
    collector = Collector()
    with contextlib.redirect_stdout(open(os.devnull, "w")):  # noqa: PTH123
        pytest.main(
            [
                "--collect-only",
                "-q",
                "-p",
                "no:cacheprovider",
                f"--rootdir={ROOT}",
                *(str(ROOT / path) if not Path(path).exists() else path for path in options.paths),
            ],
            plugins=[collector],
        )
    print(
        f"CPython {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the start, "
        f"{options.busy} busy loops, {options.repeat} repetitions, {len(collector.expected)} workloads\n"
    )
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    bounds: defaultdict[str, Counter[str]] = defaultdict(Counter)
    why: defaultdict[str, list[str]] = defaultdict(list)
    with busy_loops(options.busy), tempfile.TemporaryDirectory() as folder:
        for _ in range(options.repeat):
            for workload in probe_all(options.paths, folder, options.option):
                nodeid, verdict = str(workload["nodeid"]), workload["verdict"]
                assert isinstance(verdict, dict)
                seen[nodeid][verdict["strategy"]] += 1
                bounds[nodeid][verdict["bound"]] += 1
                expected = collector.expected.get(nodeid)
                if expected and verdict["strategy"] not in expected[0]:
                    why[nodeid].append(f"{verdict['strategy']}: {verdict['reason']}")
    return report(collector, seen, bounds, why)


def report(
    collector: Collector,
    seen: dict[str, Counter[str]],
    bounds: dict[str, Counter[str]],
    why: dict[str, list[str]],
) -> int:
    """Print one row per workload, then the shares; return 1 if a verdict was wrong."""
    print(f"| workload | expected | {' | '.join(COLUMNS)} | bound |\n|---|---|{'---:|' * len(COLUMNS)}---|")
    wrong = unsure = total = wrong_bounds = 0
    for nodeid, (strategies, bound) in collector.expected.items():
        counts = seen[nodeid]
        cells = [str(counts[column] or "") for column in COLUMNS]
        found = ", ".join(f"{name} {number}" for name, number in bounds[nodeid].most_common())
        print(f"| {nodeid.split('::')[-1]} | {' or '.join(sorted(strategies))} | {' | '.join(cells)} | {found} |")
        total += sum(counts.values())
        unsure += counts["inconclusive"]
        wrong += sum(n for strategy, n in counts.items() if strategy not in strategies and strategy != "inconclusive")
        wrong_bounds += sum(n for name, n in bounds[nodeid].items() if bound and name not in {bound, "inconclusive"})
    print(
        f"\n{total} probes: {total - wrong - unsure} right, {wrong} wrong, {unsure} inconclusive "
        f"({unsure / max(total, 1):.1%}); wrong bounds: {wrong_bounds}"
    )
    for nodeid, reasons in why.items():
        for reason, number in Counter(reasons).most_common(3):
            print(f"- {nodeid} ({number}x) {reason}")
    return 1 if wrong or wrong_bounds else 0


if __name__ == "__main__":
    sys.exit(main())

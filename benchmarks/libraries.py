"""Are verdicts right for what people do every day? Thirteen kinds of work, probed and run in real pools, in one go.

    python benchmarks/libraries.py                                alone, then beside one busy loop
    python benchmarks/libraries.py --truth pools.json --busy      only in pools, kept in a file
    python benchmarks/libraries.py --truth pools.json --busy 1    probes only, compared with that file
    python benchmarks/libraries.py --tests FILE                   the same for any marked tests

Each call is first run serially, in a ``ThreadPoolExecutor`` and in a ``ProcessPoolExecutor`` (``truth.py``), then
probed with default settings, under each condition. Wrong is an answer that the rule gives for no speed-ups within 10 %
of those of the pools; where other programs disturbed these, nothing is graded. Needs pandas, scikit-learn, requests,
httpx, lxml, beautifulsoup4, PyYAML, Pillow, SQLAlchemy, pydantic, cryptography and Jinja2 beside the package. Prints
Markdown; exit status 1 if an answer is wrong, or if more than 15 % are open.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from record import write_truths  # noqa: E402 - the checkout beside this file
from replay import NEAR  # noqa: E402
from truth import SECONDS  # noqa: E402
from verdicts import busy_loops, probe_all  # noqa: E402

from pytest_gilprobe.model.words import INCONCLUSIVE  # noqa: E402
from pytest_gilprobe.verdict.rule import at_corners  # noqa: E402

TESTS: Final = "benchmarks/library_workloads.py"
MOST_OPEN: Final = 0.15
POOLS: Final = ("threads", "processes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """One probe: what it answered, which answers the pools allow, if known, and the numbers of both."""

    name: str
    condition: str
    said: str
    right: frozenset[str] | None
    numbers: tuple[str, ...]
    reason: str

    @property
    def grade(self) -> str:
        """Right, wrong or open; empty if the pools were disturbed."""
        if self.said == INCONCLUSIVE:
            return "open"
        if self.right is None:
            return ""
        return "right" if self.said in self.right else "**wrong**"


def kept_truths(path: Path, tests: str, select: str, seconds: float, *, measure: bool) -> dict[str, Any]:
    """Return the truths in a file, after those of the selected calls were measured anew, if that is asked for."""
    if measure:
        fresh = truths(tests, select, seconds)
        write_truths(path, {"python": platform.python_version(), "cpus": os.cpu_count()}, fresh)
    found: dict[str, Any] = json.loads(path.read_text("ascii"))["workloads"]
    return found


def truths(tests: str, select: str, seconds: float) -> dict[str, Any]:
    """Run the selected calls of the tests in real pools; return what each gained there, by node id."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "truth.json")
        command = [sys.executable, str(ROOT / "benchmarks" / "truth.py"), str(file), tests, "-k", select]
        environment = {**os.environ, SECONDS: f"{seconds:g}", "PYTHONPATH": str(ROOT)}
        subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)
        found: dict[str, Any] = json.loads(file.read_text("ascii"))["workloads"]
        return found


def right_answers(truth: Mapping[str, Any]) -> frozenset[str]:
    """Return the answers of the rule for speed-ups near those of the pools."""
    factors = {name: NEAR * (1 + 2 * truth["pool"][name]["error"]) for name in POOLS}
    values = {name: truth["pool"][name]["value"] for name in POOLS}
    return frozenset(at_corners({name: (values[name] / factors[name], values[name] * factors[name]) for name in POOLS}))


def graded(workload: Mapping[str, Any], truth: Mapping[str, Any], condition: str) -> Probed:
    """Compare a probe with the pools."""
    verdict = workload["verdict"]
    numbers = []
    for name in POOLS:
        found = (workload["strategies"].get(name) or {}).get("pool_speedup")
        probed = f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]" if found else "none"
        numbers.append(f"{truth['pool'][name]['value']:.2f}: {probed}")
    return Probed(
        name=workload["nodeid"].partition("::")[2].removeprefix("test_work").strip("_[]"),
        condition=condition,
        said=verdict["strategy"] if workload["status"] == "probed" else str(workload["reason"]),
        right=None if truth["disturbed"] else right_answers(truth),
        numbers=tuple(numbers),
        reason=verdict["reason"],
    )


def table(found: Sequence[Probed]) -> Iterator[str]:
    """Draw a line for each probe, then the counts of each condition."""
    gains = " | ".join(f"{name}: pool, probe" for name in POOLS)
    yield f"| work | condition | answer | pools allow | grade | {gains} |"
    yield "|---|---|---|---|---|---|---|"
    for one in found:
        numbers = " | ".join(one.numbers)
        right = "unknown" if one.right is None else " or ".join(sorted(one.right))
        yield f"| {one.name} | {one.condition} | {one.said} | {right} | {one.grade} | {numbers} |"
    yield ""
    for condition in dict.fromkeys(one.condition for one in found):
        grades = [one.grade for one in found if one.condition == condition]
        wrong, still_open = grades.count("**wrong**"), grades.count("open")
        yield f"* {condition}: {len(grades)} probes, {wrong} wrong, {still_open} open"
    for one in found:
        if one.grade in {"open", "**wrong**"}:
            yield f"* {one.name}, {one.condition}: {one.reason}"


def main() -> int:
    """Run in pools, probe, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--select", default="test", metavar="EXPR", help="workloads, as for pytest -k (default: all)")
    parser.add_argument("--tests", default=TESTS, metavar="FILE", help="marked tests of your own, in place of these")
    parser.add_argument("--busy", type=int, nargs="*", default=[0, 1], help="busy loops beside the probes")
    parser.add_argument("--truth", type=Path, metavar="FILE", help="keep what pools gave; without --busy, measure it")
    parser.add_argument("--truth-time", type=float, default=3, metavar="S", help="time of each in pools (default: 3)")
    asked = parser.parse_args()
    print(f"CPython {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the start\n")
    if asked.truth is None:
        pools = truths(asked.tests, asked.select, asked.truth_time)
    else:
        pools = kept_truths(asked.truth, asked.tests, asked.select, asked.truth_time, measure=not asked.busy)
    disturbed = [name for name, one in pools.items() if one["disturbed"]]
    found: list[Probed] = []
    for busy in asked.busy:
        condition = f"beside {busy} busy loops" if busy else "no busy loop"
        with busy_loops(busy), tempfile.TemporaryDirectory() as folder:
            probed = probe_all([asked.tests], folder, ["-k", asked.select])
        found += [graded(one, pools[str(one["nodeid"])], condition) for one in probed]
    print("\n".join(table(found)))
    print("".join(f"* the pools were disturbed by another program: {name}\n" for name in disturbed), end="")
    grades = [one.grade for one in found]
    return 1 if "**wrong**" in grades or grades.count("open") > MOST_OPEN * len(grades) else 0


if __name__ == "__main__":
    sys.exit(main())

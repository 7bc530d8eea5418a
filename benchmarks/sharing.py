"""Does the sweep name what threads share, on a free-threaded build?

    PYTHON_GIL=0 python benchmarks/sharing.py [--repetitions 5] [--only NAME ...] [--others 0.1]

Each workload is probed with ``Prober``: a shared list, a shared dict, a shared counter under a lock, an object whose
attribute is written, an object of a module that is only read, and private objects only. Each is given further arguments
that cost nothing. The table at the end has the medians of the speed-ups: of threads that share everything, of those
with copies of all objects, and of the control, plain Python that shares nothing. Exit status 1 unless the sweep names
the right object each time, none where everything is private, and says that the module's is shared elsewhere. Run it on
an idle machine, or with ``--others 0.1``: then a probe beside which other programs used more than a tenth of the CPUs
does not count and is made again, whatever it found.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import sys
import threading
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from pytest_gilprobe import Prober, WorkloadResult
from pytest_gilprobe.model.sharing import ALL

LAPS = 60_000
ELSEWHERE = "shared elsewhere"
"""What the sweep says where copies of all objects do not reach the control."""


class Counter:
    """A number that threads add to under a lock."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.lock = threading.Lock()
        self.number = 0

    def add(self) -> None:
        """Add 1."""
        with self.lock:
            self.number += 1


class Writer:
    """An object whose attribute each call writes."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.number = 0

    def run(self, sizes: list[int]) -> int:
        """Write the attribute again and again."""
        for at in range(LAPS):
            self.number = at
        return len(sizes)


def in_list(rows: list[int], sizes: list[int]) -> int:
    """Write to a list."""
    for at in range(LAPS):
        rows[at & 63] = at
    return len(sizes)


def in_dict(cache: dict[int, int], sizes: list[int]) -> int:
    """Write to a dict."""
    for at in range(LAPS):
        cache[at & 63] = at
    return len(sizes)


def count(counter: Counter, sizes: list[int]) -> int:
    """Add to a counter under a lock."""
    for _ in range(LAPS // 4):
        counter.add()
    return len(sizes)


class Limits:
    """Settings that calls only read."""

    def __init__(self) -> None:
        """Set the one that there is."""
        self.most = 3


LIMITS = Limits()


def of_module(sizes: list[int]) -> int:
    """Read an attribute of a module's object: that counts a reference to it for a moment."""
    total = len(sizes)
    for _ in range(LAPS):
        total ^= LIMITS.most
    return total


def private(sizes: list[int], names: dict[str, int]) -> int:
    """Write to a list of this call's own."""
    rows = [0] * 64
    for at in range(LAPS):
        rows[at & 63] = at
    return len(sizes) + len(names) + len(rows)


class Case(NamedTuple):
    """A workload, and what the sweep should name: an object, `ELSEWHERE`, or ``None`` for nothing."""

    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    shared: str | None


def cases() -> dict[str, Case]:
    """Return the workloads by name, with new objects."""
    sizes = list(range(8))
    return {
        "list": Case(in_list, ([0] * 64, sizes), "argument rows (a list)"),
        "dict": Case(in_dict, (dict.fromkeys(range(64), 0), sizes), "argument cache (a dict)"),
        "counter": Case(count, (Counter(), sizes), "argument counter (a Counter)"),
        "attribute": Case(Writer().run, (sizes,), "its object (a Writer)"),
        "module": Case(of_module, (sizes,), ELSEWHERE),
        "private": Case(private, (sizes, {"one": 1}), None),
    }


class Found(NamedTuple):
    """What one probe found: speed-ups of threads that share all, of copies of all, of the control; and what it named.

    A speed-up is ``None`` if the sweep was not asked, or had too few rounds.
    """

    shared: float | None
    private: float | None
    control: float | None
    named: str

    @classmethod
    def of(cls, result: WorkloadResult) -> Found:
        """Read a result; where the sweep was not asked, threads gained what CPUs allow, which the rounds tell."""
        found = result.sharing
        if found is None or found.speedup is None:
            threads = result.strategies["threads"].speedup
            return cls(None if threads is None else threads.value, None, None, "none")
        private = next((one.speedup.value for one in found.copies if one.name == ALL), None)
        named = ", ".join(found.costly) or (ELSEWHERE if ELSEWHERE in result.verdict.advice else "none")
        return cls(found.speedup.value, private, None if found.best is None else found.best.value, named)


def table(found: dict[str, list[Found]]) -> Iterator[str]:
    """Yield the lines of a table in Markdown: a row for each case, with medians, and what was named how often."""
    yield "| threads share | sharing all | copies of all | plain Python | named, of the probes |"
    yield "|---|---|---|---|---|"
    for name, probes in found.items():
        gains = [
            f"{median(known):.2f}x" if (known := [value for value in column if value is not None]) else "not asked"
            for column in zip(*((one.shared, one.private, one.control) for one in probes), strict=True)
        ]
        named = ", ".join(f"{what} {number}" for what, number in Tally(one.named for one in probes).most_common())
        yield f"| {name} | {' | '.join(gains)} | {named} of {len(probes)} |"


class Others:
    """What other programs use of the CPUs from now on; of this one and its children that have ended nothing counts."""

    def __init__(self) -> None:
        """Read the clocks."""
        self._before = self._read()

    def share(self) -> float:
        """Return the others' share of the time of all CPUs, from 0 to 1."""
        all_s, idle_s, own_s = (now - then for now, then in zip(self._read(), self._before, strict=True))
        return max(0.0, (all_s - idle_s - own_s) / max(all_s, 1e-9))

    @staticmethod
    def _read() -> tuple[float, float, float]:
        first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
        ticks = [int(one) / os.sysconf("SC_CLK_TCK") for one in first.split()[1:9]]
        used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(ticks), ticks[3] + ticks[4], sum(one.ru_utime + one.ru_stime for one in used)


def undisturbed(case: str, most: float) -> tuple[WorkloadResult, int]:
    """Probe a workload until others used at most a share of the CPUs meanwhile; return also how often they did not."""
    for repeated in itertools.count():
        others, one = Others(), cases()[case]
        result = Prober().probe(one.call, *one.arguments).result
        if others.share() <= most:
            return result, repeated
    raise AssertionError


def main() -> int:
    """Probe each workload so many times; print what the sweep named, whether that was right, and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(cases()))
    parser.add_argument("--others", type=float, default=1.0, metavar="SHARE", help="of the CPUs that others may use")
    asked = parser.parse_args()
    wrong = again = 0
    seen: dict[str, list[Found]] = {name: [] for name in asked.only}
    for name in asked.only:
        for _ in range(asked.repetitions):
            result, repeated = undisturbed(name, asked.others)
            again += repeated
            one = Found.of(result)
            seen[name].append(one)
            right = one.named == (cases()[name].shared or "none")
            wrong += not right
            print(f"{name:10} {'right' if right else 'WRONG'}  {one.named}", flush=True)
            for copy in () if result.sharing is None else result.sharing.copies:
                gain = copy.gain
                print(f"{'':17} {copy.name}: gain {gain.value:.2f} ({gain.low:.2f} to {gain.high:.2f})")
            if result.sharing is not None and result.sharing.best is not None and result.sharing.of_best is not None:
                best, part = result.sharing.best, result.sharing.of_best
                print(f"{'':17} control {best.value:.2f} ({best.low:.2f} to {best.high:.2f}), of which copies reach")
                print(f"{'':17} {part.value:.2f} ({part.low:.2f} to {part.high:.2f})")
            print(f"{'':17} {result.verdict.reason} [{result.probe_time_s:.1f} s]")
    print("\n".join(table(seen)))
    print(f"{again} further probes were made beside other programs and do not count")
    return min(1, wrong)


if __name__ == "__main__":
    sys.exit(main())

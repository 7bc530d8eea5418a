"""Does the sweep name what threads share, on a free-threaded build?

    PYTHON_GIL=0 python benchmarks/sharing.py [--repetitions 5] [--only NAME ...]

Each workload is probed with ``Prober``: a shared list, a shared dict, a shared counter under a lock, an object whose
attribute is written, and private objects only. Each is given two further arguments that cost nothing. Exit status 1
unless the sweep names the right one each time, and none where everything is private. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from pytest_gilprobe import Prober

LAPS = 60_000


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


class Tally:
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


def private(sizes: list[int], names: dict[str, int]) -> int:
    """Write to a list of this call's own."""
    rows = [0] * 64
    for at in range(LAPS):
        rows[at & 63] = at
    return len(sizes) + len(names) + len(rows)


class Case(NamedTuple):
    """A workload, and the object that the sweep should name; ``None`` for none."""

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
        "attribute": Case(Tally().run, (sizes,), "its object (a Tally)"),
        "private": Case(private, (sizes, {"one": 1}), None),
    }


def main() -> int:
    """Probe each workload so many times; print what the sweep named, and say whether that was right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(cases()))
    asked = parser.parse_args()
    wrong = 0
    for name in asked.only:
        for _ in range(asked.repetitions):
            case = cases()[name]
            result = Prober().probe(case.call, *case.arguments).result
            found = result.sharing
            named = () if found is None else found.costly
            right = named == (() if case.shared is None else (case.shared,))
            wrong += not right
            print(f"{name:10} {'right' if right else 'WRONG'}  {', '.join(named) or 'none'}")
            for one in () if found is None else found.copies:
                print(f"{'':17} {one.name}: gain {one.gain.value:.2f} ({one.gain.low:.2f} to {one.gain.high:.2f})")
            print(f"{'':17} {result.verdict.reason} [{result.probe_time_s:.1f} s]")
    return min(1, wrong)


if __name__ == "__main__":
    sys.exit(main())

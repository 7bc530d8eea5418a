"""How long 10,000 workloads take to write, read and draw, and how much memory that needs.

Run it from the checkout: ``python benchmarks/large_report.py [WORKLOADS]``. Times are CPU seconds of
this process, which other programs disturb little.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from reports_fixture import rich_report  # noqa: E402 the path comes first

from pytest_gilprobe.model.report_json import from_json, to_json  # noqa: E402
from pytest_gilprobe.report import html, layout, markdown, terminal  # noqa: E402
from pytest_gilprobe.strategies.registry import BUILT_IN  # noqa: E402


def main(number: int) -> None:
    """Write, read and draw a report of so many workloads; print the seconds of each step and the peak memory."""
    pattern = rich_report()
    copies = (replace(each, nodeid=f"{each.nodeid}-{at}") for at in range(number) for each in pattern.workloads)
    report = replace(pattern, workloads=tuple(each for each, _ in zip(copies, range(number), strict=False)))
    total = 0.0

    def step(name: str, make: Callable[[], Any]) -> Any:
        nonlocal total
        start = time.process_time()
        made = make()
        took = time.process_time() - start
        total += took
        print(f"{name:<20} {took:5.2f} s" + (f" {len(made) / 1e6:6.1f} MB" if isinstance(made, str) else ""))
        return made

    text = step("JSON written", lambda: to_json(report))
    assert step("JSON read", lambda: from_json(text, "x")) == report
    view = step("laid out", lambda: layout.report_view(report, BUILT_IN))
    step("terminal", lambda: terminal.text(terminal.draw_view(view, width=80), color=False))
    step("Markdown, all", lambda: markdown.draw_view(view, limit=None))
    step("HTML", lambda: html.draw_view(view))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'in all':<20} {total:5.2f} s, peak {peak:.0f} MiB, {number} workloads, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)

"""Join the reports that tox left, one folder a Python, into one table: ``matrix.md`` and ``matrix.html`` beside them.

Usage: python benchmarks/join.py FOLDER [--describe]

The table is also printed. With ``--describe`` the documents that quote these reports are brought up to date, between
their marks: FOLDER/README.md, which describes the machine, docs/textbook.md and docs/free-threading.md.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gilprobe.cli import main
from pytest_gilprobe.model import gains, numbers, report_json
from pytest_gilprobe.report import layout, machine_layout
from pytest_gilprobe.strategies.registry import BUILT_IN

if TYPE_CHECKING:
    from pytest_gilprobe.model.report import Report
    from pytest_gilprobe.model.results import WorkloadResult

ROOT = Path(__file__).resolve().parents[1]
TEXTBOOK = "py313"
"""The Python whose numbers the textbook gives."""
THREADED = ("py313/gilprobe.json", "py313t/gilprobe-gil1.json", "py313t/gilprobe.json")
"""One version with its GIL, without the need for it, and without it."""
DESCRIPTIONS = {
    "downloading_files": "wait for a server, read 256 KiB",
    "api_calls": "wait for a server, read a little",
    "image_processing": "turn a picture grey, pixel by pixel in Python",
    "data_crunching": "`sum(i * i for i in range(200_000))`",
    "simple_scripting": "read a few settings",
    "hashing": "hash a MiB, in C without the GIL",
    "json_parsing": "`json.loads`, in C with the GIL",
    "regular_expressions": "`re.findall`, in C with the GIL",
    "waiting_inside_the_gil": "a sleep in C that keeps the GIL",
    "waiting_for_a_lock": "wait, holding a lock that threads share",
    "matrix_product": "a product of matrices that uses all cores already",
}
"""The sample workloads in a few words each."""


def order(path: Path) -> tuple[int, bool, bool]:
    """Put Pythons in order: a free-threaded build behind the standard one, with its GIL on before off."""
    version, threaded = re.fullmatch(r"py(\d+)(t?)", path.parent.name).groups()  # type: ignore[union-attr]  # globbed so
    return int(version), bool(threaded), not path.stem.endswith("gil1")


def found(folder: Path) -> list[Path]:
    """List the reports, in the order of their columns."""
    reports = [*folder.glob("py*/gilprobe.json"), *folder.glob("py*t/gilprobe-gil1.json")]
    return sorted((path for path in reports if re.fullmatch(r"py\d+t?", path.parent.name)), key=order)


def machine(folder: Path) -> str:
    """Say when, with what and on what machine the reports were made: no names of hosts or folders."""
    lines = [
        "| report | made (UTC) | Python | GIL | CPUs | load at the end | ceiling |",
        "|---|---|---|---|---|---|---|",
    ]
    platforms = set()
    for path in found(folder):
        report = report_json.read(path)
        here = report.environment
        platforms.add(f"{here.platform}, {here.machine}")
        load = "n/a" if here.load_average_1min is None else f"{here.load_average_1min:.1f}"
        build = f"{here.implementation} {here.python}{' free-threaded' if here.free_threaded_build else ''}"
        name = path.relative_to(folder).as_posix()
        gil = "on" if here.gil_enabled else "off"
        lines.append(
            f"| [{name}]({name}) | {report.created.partition('+')[0]} | {build} | {gil} | "
            f"{here.cpus_usable} of {here.cpus_logical} | {load} | {machine_layout.ceiling(here)} |"
        )
    return "\n".join([*lines, "", f"Machine: {'; '.join(sorted(platforms))}."])


def textbook(folder: Path) -> str:
    """Draw the sample workloads of one Python as a table: what each does, what was measured, what to use."""
    report = report_json.read(folder / TEXTBOOK / "gilprobe.json")
    here = report.environment
    names = [
        name
        for name in layout.report_view(report, BUILT_IN).columns
        if any(_speedup(one, name) != numbers.NOT_AVAILABLE for one, _ in _described(report))
    ]
    workers = max((workload.workers for workload in report.workloads), default=0)
    lines = [
        f"With {machine_layout.python(here)}, {machine_layout.cpus(here)} CPUs, {workers} workers:",
        "",
        f"| a call | takes | on a core | holds the GIL | {' | '.join(names)} | use |",
        f"|---|---:|---:|---:|{'---:|' * len(names)}---|",
    ]
    for workload, words in _described(report):
        view = layout.workload_view(workload, BUILT_IN)
        speedups = " | ".join(_speedup(workload, name) for name in names)
        share = view.gil_share or numbers.NOT_AVAILABLE
        lines.append(f"| {words} | {view.per_call} | {view.cpu} | {share} | {speedups} | **{view.answer.word}** |")
    return "\n".join(lines)


def threaded(folder: Path) -> str:
    """Draw what threads gain in one version of Python, with the GIL and without."""
    reports = [report_json.read(folder / name) for name in THREADED]
    names = [report.environment.label for report in reports]
    lines = [
        f"| a call | {' | '.join(f'{name}: threads' for name in names)} | serial call, {names[2]} / {names[0]} |",
        "|---|---:|---:|---:|---:|",
    ]
    first, *others = reports
    for workload, words in _described(first):
        same = [next((each for each in report.workloads if each.nodeid == workload.nodeid), None) for report in others]
        cells = [_speedup(each, "threads") for each in (workload, *same)]
        lines.append(f"| {words} | {' | '.join(cells)} | {_ratio(same[-1], workload)} |")
    return "\n".join(lines)


def _described(report: Report) -> list[tuple[WorkloadResult, str]]:
    by_name = {workload.nodeid.rpartition("::test_")[2]: workload for workload in report.workloads}
    return [(by_name[name], words) for name, words in DESCRIPTIONS.items() if name in by_name]


def _speedup(workload: WorkloadResult | None, strategy: str) -> str:
    """Format what a pool of a strategy gives, as the reports do."""
    part = None if workload is None else workload.strategies.get(strategy)
    gain = None if part is None or workload is None else gains.in_pool(part, workload.workers)
    return numbers.times(None if gain is None else gain.value)


def _ratio(new: WorkloadResult | None, old: WorkloadResult) -> str:
    if new is None or new.serial is None or old.serial is None:
        return numbers.NOT_AVAILABLE
    return f"{new.serial.call_s.value / old.serial.call_s.value:.2f}"


QUOTES = {
    "machine": ("reports/README.md", machine),
    "textbook": ("docs/textbook.md", textbook),
    "threaded": ("docs/free-threading.md", threaded),
}
"""What is quoted: the name of its marks, the document, and what draws it."""


def quoted(name: str, text: str, drawn: str) -> str:
    """Put what is drawn between the marks ``name`` of a document's text."""
    marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    return marks.sub(lambda match: f"{match[1]}{drawn}\n\n{match[2]}", text)


def join(folder: Path, *, describe: bool) -> int:
    """Print the table, write the files; return an exit status."""
    names = [str(path) for path in found(folder)]
    status = main(["compare", *names])
    for suffix in ("md", "html"):
        status = status or main(["compare", *names, "-o", str(folder / f"matrix.{suffix}")])
    for name, (document, draw) in QUOTES.items() if describe else ():
        path = ROOT / document
        try:
            path.write_text(quoted(name, path.read_text("utf-8"), draw(folder)), "utf-8")
        except report_json.ReportError as missing:  # that Python is not on this machine
            print(f"{document} stays as it was: {missing}")
    return status


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    sys.exit(join(Path(sys.argv[1]), describe="--describe" in sys.argv))

"""Join the reports that tox left, one folder a Python, into one table: ``matrix.md`` and ``matrix.html`` beside them.

Usage: python benchmarks/join.py FOLDER [--describe]

The table is also printed. With ``--describe`` the machine that made the reports is told in FOLDER/README.md, between its marks.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pytest_gilprobe import serialize
from pytest_gilprobe.cli import main

MARKS = re.compile(r"(<!-- machine -->\n).*?(<!-- end of machine -->)", re.DOTALL)


def order(path: Path) -> tuple[int, bool, bool]:
    """Put Pythons in order: a free-threaded build behind the standard one, with its GIL on before off."""
    version, threaded = re.fullmatch(r"py(\d+)(t?)", path.parent.name).groups()  # type: ignore[union-attr] - globbed so
    return int(version), bool(threaded), not path.stem.endswith("gil1")


def found(folder: Path) -> list[Path]:
    """List the reports, in the order of their columns."""
    reports = [*folder.glob("py*/gilprobe.json"), *folder.glob("py*t/gilprobe-gil1.json")]
    return sorted((path for path in reports if re.fullmatch(r"py\d+t?", path.parent.name)), key=order)


def described(paths: list[Path]) -> str:
    """Tell when, with what and on what machine the reports were made: no names of hosts or folders."""
    lines = ["| report | made (UTC) | Python | GIL | CPUs | load at the end | ceiling |", "|---|---|---|---|---|---|---|"]
    platforms = set()
    for path in paths:
        report = serialize.read(path)
        here = report.environment
        platforms.add(f"{here.platform}, {here.machine}")
        load = "n/a" if here.load_average_1min is None else f"{here.load_average_1min:.1f}"
        ceiling = "n/a" if here.scaling_ceiling is None else f"{here.scaling_ceiling:.2f}x in {here.ceiling_workers} processes"
        build = f"{here.implementation} {here.python}{' free-threaded' if here.free_threaded_build else ''}"
        name = path.relative_to(path.parents[1]).as_posix()
        gil = "on" if here.gil_enabled else "off"
        lines.append(
            f"| [{name}]({name}) | {report.created.partition('+')[0]} | {build} | {gil} | "
            f"{here.cpus_usable} of {here.cpus_logical} | {load} | {ceiling} |"
        )
    return "\n".join([*lines, "", f"Machine: {'; '.join(sorted(platforms))}.", ""])


def join(folder: Path, *, describe: bool) -> int:
    """Print the table, write the files; return an exit status."""
    paths = found(folder)
    names = [str(path) for path in paths]
    status = main(["compare", *names])
    for suffix in ("md", "html"):
        status = status or main(["compare", *names, "-o", str(folder / f"matrix.{suffix}")])
    if describe:
        readme = folder / "README.md"
        text = MARKS.sub(lambda marks: f"{marks[1]}{described(paths)}{marks[2]}", readme.read_text("utf-8"))
        readme.write_text(text, "utf-8")
    return status


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    sys.exit(join(Path(sys.argv[1]), describe="--describe" in sys.argv))

"""Scan public suites and print what the scan says of where they hold the GIL: what `docs/scan.md` tells of three.

Usage: ``python benchmarks/suite_scans.py FOLDER [--only NAME ...]``, where FOLDER holds source distributions, as for
``benchmarks/suites.py``, which also says what the suites need::

    pip download --no-binary :all: --no-deps -d FOLDER werkzeug packaging jinja2

Each suite is scanned once, whole, with its project's own settings. Exit status 1 if a scan has no report.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from suites import OLD_NAMES, SUITES, Suite, archives, environment, run, unpack


def main() -> int:
    """Scan the suites that are there and print their reports."""
    names = [suite.name for suite in SUITES]
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"Suites: {', '.join(names)}.", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--environment", type=Path, help="keep the virtual environment here, or use the one here")
    asked = parser.parse_args()
    chosen = [suite for suite in SUITES if suite.name in asked.only and archives(suite, asked.folder)]
    with tempfile.TemporaryDirectory(prefix="suite-scans-") as name:
        folder = Path(name)
        (folder / "gilprobe_old_names.py").write_text(OLD_NAMES, encoding="utf-8")
        python = environment(asked.environment or folder / "venv", chosen)
        told = [scanned(suite, unpack(suite, asked.folder, folder), python) for suite in chosen]
    return 0 if told and all(told) else 1


def scanned(suite: Suite, folder: Path, python: Path) -> bool:
    """Scan one suite and print its report, or all that pytest said if it has none."""
    reports = folder / "gilprobe-reports"
    seen = run(suite, folder, python, 1.0, "--gilprobe-scan", "--gilprobe-report", f"--gilprobe-report-dir={reports}")
    path = reports / "gilprobe.md"
    report = path.read_text("utf-8") if path.exists() else ""
    print(f"# {folder.name}: {len(seen.outcomes)} tests in {seen.took_s:.0f} s\n\n{report or seen.output}", flush=True)
    return bool(report)


if __name__ == "__main__":
    sys.exit(main())

"""A scan as a report, and the report's files."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest_gilprobe
from pytest_gilprobe import host
from pytest_gilprobe.model import Report
from pytest_gilprobe.scan.orders import Farewell
from pytest_gilprobe.scan.reduce import Scanned


def scan_report(found: Scanned, farewell: Farewell) -> Report:
    """Put what a scan found beside the machine and the Python that it was found on.

    That Python is this one, but what a pytest can be told to be other than its watcher comes with ``farewell``.
    """
    here = host.environment(start_method="none started", scaling_ceiling=None, ceiling_workers=None)
    return Report(
        tool_version=pytest_gilprobe.__version__,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        environment=replace(here, gil_enabled=farewell.gil_enabled, switch_interval_s=farewell.switch_interval_s),
        workloads=found.results,
        scan=found.scan,
    )


def write_files(report: Report, folder: Path) -> None:
    """Write ``gilprobe.json``, ``.md`` and ``.html``; raises `ReportError` where one cannot be written."""
    from pytest_gilprobe import serialize  # noqa: PLC0415 - only for those who want files
    from pytest_gilprobe.reporters import html, markdown  # noqa: PLC0415

    drawings = {"gilprobe.json": serialize.to_json, "gilprobe.md": markdown.draw, "gilprobe.html": html.draw}
    for name, draw in drawings.items():
        serialize.write_atomic(folder / name, draw(report))

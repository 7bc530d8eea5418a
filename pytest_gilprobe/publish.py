"""Where a finished report goes: its files, and the step summary of a GitHub workflow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gilprobe import serialize
from pytest_gilprobe.reporters import html, layout, markdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.model import Report

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""Names the file that a GitHub workflow shows as its step's summary. *Source:* GitHub Docs, "Workflow commands"."""


def publish(report: Report, folder: Path) -> tuple[str, ...]:
    """Write ``gilprobe.json``, ``.md`` and ``.html`` into ``folder``, and the step summary where there is one.

    Each file is written whole or not at all. Returns what could not be written, a line each, naming the option that
    chose the place.
    """
    view = layout.report_view(report)
    text = markdown.draw(view)
    files: dict[str, Callable[[], str]] = {
        "gilprobe.json": lambda: serialize.to_json(report),
        "gilprobe.md": lambda: text,
        "gilprobe.html": lambda: html.draw(view),
    }
    problems = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in files.items():
            serialize.write_atomic(folder / name, draw())
    except (OSError, serialize.ReportError) as error:
        problems.append(f"--gilprobe-report-dir: could not write to {folder}: {error}")
    if summary := os.environ.get(STEP_SUMMARY):
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(f"{text}\n")
        except OSError as error:
            problems.append(f"{STEP_SUMMARY}: could not append to {summary}: {error}")
    return tuple(problems)

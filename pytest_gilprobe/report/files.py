"""Write finished reports: their files, and the step summary that GitHub Actions shows."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gilprobe.model import report_json
from pytest_gilprobe.report import html, layout, markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_gilprobe.model.comparison import Comparison
    from pytest_gilprobe.model.report import Report
    from pytest_gilprobe.strategies.registry import Strategies

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""Environment variable with the path of GitHub Actions' step summary. *Source:* GitHub Docs, "Workflow commands"."""
PAIR = {False: "gilprobe-gil0.json", True: "gilprobe-gil1.json"}
"""File name of each report of ``--gilprobe-ab-gil`` (one run with the GIL, one without), by whether the GIL was on."""


def write(report: Report, folder: Path, strategies: Strategies) -> tuple[str, ...]:
    """Write ``gilprobe.json``, ``.md`` and ``.html`` into ``folder``; append the Markdown to GitHub's step summary.

    Each file in ``folder`` is written whole or not at all. Nothing is appended if `STEP_SUMMARY` is not set, as outside
    GitHub Actions. Returns one error message for ``folder`` and one for the summary, each only if writing there failed.
    A message names the option or variable that sets the place.
    """
    view = layout.report_view(report, strategies)
    summary = markdown.draw_view(view)
    files: dict[str, Callable[[], str]] = {
        "gilprobe.json": partial(report_json.to_json, report),
        "gilprobe.md": lambda: summary,
        "gilprobe.html": partial(html.draw_view, view),
    }
    return _write(files, folder, summary)


def write_pair(
    halves: Mapping[bool, Report], comparison: Comparison | None, folder: Path, strategies: Strategies
) -> tuple[str, ...]:
    """Write both reports of ``--gilprobe-ab-gil`` and, unless ``comparison`` is ``None``, their comparison.

    ``halves`` maps whether the GIL was on to the report. Only the comparison is appended to GitHub's step summary.
    Returns error messages as `write` does.
    """
    files: dict[str, Callable[[], str]] = {
        PAIR[gil]: partial(report_json.to_json, report) for gil, report in halves.items()
    }
    if comparison is None:
        return _write(files, folder, None)
    files["gilprobe-ab-gil.md"] = partial(markdown.draw_comparison, comparison, strategies, limit=None)
    files["gilprobe-ab-gil.html"] = partial(html.draw_comparison, comparison, strategies)
    return _write(files, folder, markdown.draw_comparison(comparison, strategies))


def _write(files: Mapping[str, Callable[[], str]], folder: Path, summary: str | None) -> tuple[str, ...]:
    """Write files by name, and append ``summary`` to the step summary; return what could not be written."""
    problems = []
    try:
        for name, draw in files.items():
            report_json.write_atomic(folder / name, draw())
    except report_json.ReportError as error:
        problems.append(f"--gilprobe-report-dir: could not write to {folder}: {error}")
    path = os.environ.get(STEP_SUMMARY)
    if path and summary is not None:
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(f"{summary}\n")
        except OSError as error:
            problems.append(f"{STEP_SUMMARY}: could not append to {path}: {error}")
    return tuple(problems)

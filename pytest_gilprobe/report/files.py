"""Write finished reports to files, and to the summary that GitHub Actions shows of a job."""

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
"""Name of the environment variable with the path of a file that GitHub Actions shows as the summary of the job.
*Source:* GitHub Docs, "Workflow commands"."""
PAIR = {False: "gilprobe-gil0.json", True: "gilprobe-gil1.json"}
"""File names of the two reports of ``--gilprobe-ab-gil``, which runs the tests once without the GIL (the key ``False``)
and once with it (the key ``True``)."""


def write(report: Report, folder: Path, strategies: Strategies) -> tuple[str, ...]:
    """Write a report as ``gilprobe.json``, ``gilprobe.md`` and ``gilprobe.html`` into ``folder``.

    Each file is written whole or not at all. If the environment variable ``GITHUB_STEP_SUMMARY`` names a file, as in
    GitHub Actions, the Markdown is appended to it. ``strategies`` are the registered strategies, which provide colors
    and code to paste. Returns up to two error messages, one on ``folder`` and one on that file; none if all went well.
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
    """Write the two reports of ``--gilprobe-ab-gil`` as JSON and their comparison as Markdown and HTML into ``folder``.

    ``halves`` has the report of the run with the GIL under ``True``, that of the run without it under ``False``. No
    comparison is written if ``comparison`` is ``None``. If the environment variable ``GITHUB_STEP_SUMMARY`` names a
    file, as in GitHub Actions, the comparison is appended to it. ``strategies`` are the registered strategies, which
    provide colors. Returns up to two error messages, one on ``folder`` and one on that file; none if all went well.
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

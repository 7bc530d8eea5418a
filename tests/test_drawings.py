"""Every drawing of a report: a hostile node id, and a strategy that is not known here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from reports_fixture import HOSTILE_NODEID, rich_report, threads, with_parts

from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.report import comparison_terminal, files, html, markdown, terminal
from pytest_gilprobe.report.compare import compare
from pytest_gilprobe.strategies.registry import BUILT_IN

UNKNOWN = "executor:elsewhere"


def odd_report() -> Report:
    """Make a report of one hostile workload, for which a strategy is advised that is not known here."""
    found = next(each for each in rich_report().workloads if each.nodeid == HOSTILE_NODEID)
    found = with_parts(found, **{UNKNOWN: threads(1.7)})
    advised = replace(found.verdict, strategy=UNKNOWN, speedup=1.7, candidates={UNKNOWN: 1.0})
    return replace(rich_report(), workloads=(replace(found, verdict=advised),))


def on_screen(report: Report, width: int) -> str:
    """Draw for a terminal."""
    return terminal.text(terminal.draw(report, BUILT_IN, width=width), color=False)


def in_words(report: Report) -> str:
    """Draw on one line, and as a word."""
    (result,) = report.workloads
    return f"{terminal.one_line(result, BUILT_IN)}\n{terminal.word(result, BUILT_IN)}"


def beside_itself(draw: Callable[..., str]) -> Callable[[Report], str]:
    """Draw a comparison of a report with itself."""
    return lambda report: draw(compare([("a.json", report), ("b.json", report)]), BUILT_IN)


DRAWINGS: dict[str, Callable[[Report], str]] = {
    "wide": lambda report: on_screen(report, 200),
    "two lines": lambda report: on_screen(report, 90),
    "list": lambda report: on_screen(report, 40),
    "words": in_words,
    "markdown": lambda report: markdown.draw(report, BUILT_IN),
    "html": lambda report: html.draw(report, BUILT_IN),
    "terminal, compared": beside_itself(lambda *what: terminal.text(comparison_terminal.draw(*what), color=False)),
    "markdown, compared": beside_itself(markdown.draw_comparison),
    "html, compared": beside_itself(html.draw_comparison),
}


@pytest.mark.parametrize("kind", DRAWINGS)
def test_odd_report_is_drawn(kind: str) -> None:
    """Nothing of a node id or an error acts on the medium, and the unknown strategy is named."""
    drawn = DRAWINGS[kind](odd_report())
    assert "executor:" in drawn
    assert not any(acts in drawn for acts in ("\x1b[31m", "\x1b[2J", "\u202e", "\u2066", "\ud800"))
    if "html" in kind or "markdown" in kind:
        assert "<script>alert(1)" not in drawn
        assert "<img" not in re.sub(r"`[^`\n]*`", "", drawn)


class TestFiles:
    """Report files and the step summary."""

    def test_three_files_and_the_summary(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """JSON, Markdown and HTML are written into the folder, and the Markdown is appended to the step summary."""
        summary, folder = tmp_path / "summary.md", tmp_path / "new" / "reports"
        summary.write_text("before\n", "utf-8")
        monkeypatch.setenv(files.STEP_SUMMARY, str(summary))
        assert files.write(rich_report(), folder, BUILT_IN) == ()
        assert sorted(path.name for path in folder.iterdir()) == ["gilprobe.html", "gilprobe.json", "gilprobe.md"]
        assert report_json.read(folder / "gilprobe.json") == rich_report()
        assert summary.read_text("utf-8") == f"before\n{(folder / 'gilprobe.md').read_text('utf-8')}\n"

    def test_a_pair(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two halves and their comparison are four files; without anything to compare they are two."""
        monkeypatch.delenv(files.STEP_SUMMARY, raising=False)
        halves = {False: rich_report(), True: rich_report()}
        comparison = compare([(name, halves[gil]) for gil, name in files.PAIR.items()])
        assert files.write_pair(halves, comparison, tmp_path, BUILT_IN) == ()
        drawn = {"gilprobe-ab-gil.html", "gilprobe-ab-gil.md"}
        assert {path.name for path in tmp_path.iterdir()} == {*files.PAIR.values(), *drawn}
        assert files.write_pair(halves, None, tmp_path / "bare", BUILT_IN) == ()
        assert {path.name for path in (tmp_path / "bare").iterdir()} == set(files.PAIR.values())

    def test_what_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A place that cannot be written is a message that names the option or variable which chose it."""
        (tmp_path / "file").touch()
        monkeypatch.setenv(files.STEP_SUMMARY, str(tmp_path))
        problems = files.write(rich_report(), tmp_path / "file", BUILT_IN)
        assert [problem.partition(":")[0] for problem in problems] == ["--gilprobe-report-dir", files.STEP_SUMMARY]

"""Drawings as Markdown."""

from __future__ import annotations

import re
from dataclasses import replace

import goldens
import pytest
from comparison_fixture import free_threaded_report, precise_report
from hypothesis import HealthCheck, given, settings
from reports_fixture import rich_report
from strategies import TEXT, reports

from pytest_gilprobe.model import safe_text
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.report import layout, markdown
from pytest_gilprobe.report.compare import compare
from pytest_gilprobe.strategies.registry import BUILT_IN

TAGS = re.compile(r"<(?=[a-zA-Z/!?])(?!/?(?:code|details|summary)>|br>|!-- -->)")


def test_golden() -> None:
    """The fixed report is a table, folded reasons and what was not probed."""
    goldens.check("report.md", markdown.draw(rich_report(), BUILT_IN))


def test_golden_comparison() -> None:
    """A comparison is what changed in words, and a row for each workload."""
    compared = compare([("py313.json", precise_report()), ("py313t.json", free_threaded_report())])
    goldens.check("comparison.md", markdown.draw_comparison(compared, BUILT_IN))


def outside_code(line: str) -> str:
    """Take out code spans, in which markup does not act."""
    return re.sub(r"`[^`]*`", "", line)


@pytest.mark.thorough
@given(reports())
@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
def test_any_report_has_no_markup_of_its_own(report: Report) -> None:
    """Whatever a report holds, its rows have a cell for each header and no tag but ours is outside of code."""
    view = layout.report_view(report, BUILT_IN)
    bars = 0
    for line in markdown.draw_view(view).split("\n"):
        assert line.isprintable()
        assert not TAGS.search(outside_code(line))
        if not line.startswith("|"):
            bars = 0  # the next row is the header of another table
            continue
        bars = bars or line.count("|")
        assert line.count("|") == bars


@given(TEXT)
def test_code_holds_anything(text: str) -> None:
    """Any safe text can be set in a fixed font: as a span without pipe or backtick, else as literal characters."""
    shown = markdown.code(safe_text.safe_line(text))
    assert "|" not in shown
    assert shown.count("`") in (0, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a|b", "a&#124;b"),
        ("<b>", "&#60;b&#62;"),
        ("*x* _y_", "&#42;x&#42; &#95;y&#95;"),
        ("[a](b)", "&#91;a&#93;(b)"),
        ("@someone", "@<!-- -->someone"),
        ("http://x", "http&#58;//x"),
        ("#12", "&#35;12"),
        ("&amp;", "&#38;amp;"),
        ("1.94x", "1.94x"),
    ],
)
def test_escape(text: str, said: str) -> None:
    """Markup, links, mentions and issue numbers are literal."""
    assert markdown.escape(text) == said


def test_fits_a_comment() -> None:
    """A report too long for a comment is cut between workloads, and says how many are missing."""
    workloads = tuple(replace(rich_report().workloads[1], nodeid=f"test_{number}") for number in range(1000))
    report = replace(rich_report(), workloads=workloads)
    text = markdown.draw(report, BUILT_IN)
    assert 50_000 < len(text) <= markdown.COMMENT_LIMIT
    shown = text.partition("Where the GIL is held")[0].count("| `test_")
    assert text.count("\n- `test_") == shown
    assert f"{1000 - shown} more workloads: see the JSON report." in text
    assert "more workload" not in markdown.draw(report, BUILT_IN, limit=None)


def test_long_comparison_fits_a_comment() -> None:
    """A comparison too long for a comment is cut likewise."""
    workloads = tuple(replace(rich_report().workloads[1], nodeid=f"test_{number}") for number in range(1000))
    report = replace(rich_report(), workloads=workloads)
    text = markdown.draw_comparison(compare([("a", report), ("b", report)]), BUILT_IN)
    assert 40_000 < len(text) <= markdown.COMMENT_LIMIT
    assert "more workloads: see the JSON report." in text


def test_overlap() -> None:
    """A workload that a report does not have is a dash."""
    some = replace(rich_report(), workloads=rich_report().workloads[:1])
    text = markdown.draw_comparison(compare([("a", rich_report()), ("b", rich_report()), ("c", some)]), BUILT_IN)
    assert "`tests/test_shared.py::test_counter` | **processes** 1.8x<br>threads failed<br>processes 1.84x " in text
    assert text.count(" | - |") == 8


def test_nothing_probed() -> None:
    """Without numbers there is no table."""
    report = replace(rich_report(), workloads=rich_report().workloads[-2:])
    text = markdown.draw(report, BUILT_IN)
    assert "| --- |" not in text
    assert "worker could not be started" in text

"""Drawings for a terminal."""

from __future__ import annotations

import sys

import goldens
import pytest
from comparison_fixture import free_threaded_report, precise_report
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reports_fixture import rich_report
from strategies import reports

from pytest_gilprobe.compare import compare
from pytest_gilprobe.model import Report
from pytest_gilprobe.reporters import terminal
from pytest_gilprobe.reporters.inert import display_width
from pytest_gilprobe.reporters.screen import Page

RESULTS = rich_report().workloads


def drawn(report: Report, width: int, encoding: str = "utf-8", *, color: bool = False) -> str:
    """Draw a report to text."""
    return terminal.text(terminal.draw(report, width=width, encoding=encoding), color=color)


@pytest.mark.parametrize("width", [140, 80, 50])
def test_golden(width: int) -> None:
    """The fixed report is a table with intervals, a table of two-line rows, or a list, as the width allows."""
    goldens.check(f"report_{width}.txt", drawn(rich_report(), width))


@pytest.mark.parametrize("width", [100, 60, 36])
def test_golden_comparison(width: int) -> None:
    """A comparison says what changed, why to read it with care, which reports, and a cell for each."""
    compared = compare([("py313.json", precise_report()), ("py313t.json", free_threaded_report())])
    text = terminal.text(terminal.draw_comparison(compared, width=width), color=False)
    goldens.check(f"comparison_{width}.txt", text)


@given(reports(), st.integers(20, 160), st.sampled_from(["utf-8", "ascii", "latin-1"]))
@settings(max_examples=80, suppress_health_check=list(HealthCheck), deadline=None)
def test_any_report_fits(report: Report, width: int, encoding: str) -> None:
    """Every line of every report fits the width, is printable and is in the encoding."""
    text = drawn(report, width, encoding)
    text.encode(encoding)
    for line in text.split("\n"):
        assert line.isprintable()
        if line.isascii():
            assert display_width(line) <= width


def test_numbers_are_kept_at_80_columns() -> None:
    """At 80 columns each workload still has its speed-ups, intervals and strategy."""
    text = drawn(rich_report(), 80)
    assert "1.88-2.00" in text
    assert "processes\n" in text
    assert max(map(len, text.split("\n"))) <= 80


def test_narrow_is_a_list() -> None:
    """Under 60 columns there is no table."""
    assert "-----" in drawn(rich_report(), 80)
    assert "-----" not in drawn(rich_report(), 59)


def test_ascii() -> None:
    """Without a micro sign in the encoding the unit reads us."""
    assert "4.1 us" in drawn(rich_report(), 80, "ascii")


def test_color() -> None:
    """Colour marks the strategy's cell and nothing else in its row."""
    text = drawn(rich_report(), 140, color=True)
    assert "held >99 %     \x1b[1;36mprocesses\x1b[0m\n" in text
    assert "\x1b" not in drawn(rich_report(), 140).replace(r"\x1b", "")


def test_segments_are_for_a_terminal_writer() -> None:
    """Segments are text and markup that pytest's writer knows; line ends stand alone."""
    known = {"bold", "light", "red", "green", "yellow", "blue", "purple", "cyan"}
    for text, style in terminal.draw(rich_report(), width=80):
        assert text == "\n" or "\n" not in text
        assert style.keys() <= known


def test_one_line() -> None:
    """A workload's line has answer, speed-up, name and reason."""
    assert terminal.one_line(RESULTS[0]) == (
        "threads       2.0x  sample_workloads/test_scenarios.py::test_download_files  "
        "I/O-bound (3 % of one core): 2 threads give 2.0x; a waiting thread releases the GIL"
    )


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_one_line_fits(width: int) -> None:
    """A workload's line is cut to the width."""
    for result in RESULTS:
        assert display_width(terminal.one_line(result, width=width)) <= width


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (0, "threads 2.0x"),
        (2, "serial"),
        (4, "processes 1.7x, failed in threads"),
        (5, "inconclusive, hung in threads, crashed in processes"),
        (7, "not probed"),
    ],
)
def test_word(number: int, word: str) -> None:
    """Beside PASSED stands the answer in a word, and what broke."""
    assert terminal.word(RESULTS[number]) == word


def test_style() -> None:
    """Answers have colours of their own; one that was not probed has none."""
    styles = [tuple(terminal.style(result)) for result in RESULTS]
    assert len({styles[0], styles[1], styles[2], styles[5], styles[7], styles[8]}) == 6
    assert styles[7] == ()


def test_same_test_in_two_files() -> None:
    """Names that shortening makes equal are told apart."""
    from dataclasses import replace  # noqa: PLC0415

    twins = tuple(replace(RESULTS[0], nodeid=f"tests/{letter * 60}/test_long.py::test_{'x' * 60}") for letter in "ab")
    for width in (80, 110):
        text = drawn(replace(rich_report(), workloads=twins), width)
        assert "#1" in text
        assert "#2" in text


def test_tabulate_is_loaded_late(pytester: pytest.Pytester) -> None:
    """Importing the drawing does not import tabulate."""
    code = "import sys, pytest_gilprobe.reporters.terminal; sys.exit('tabulate' in sys.modules)"
    assert pytester.run(sys.executable, "-c", code).ret == 0


def test_comparison_of_many_on_a_narrow_page() -> None:
    """Reports that do not fit beside each other are several tables, of three reports at least, or else a list."""
    found = [(f"{number}.json", precise_report()) for number in range(7)]
    compared = compare(found)
    wide, narrow, least = (
        terminal.text(terminal.draw_comparison(compared, width=width), color=False) for width in (140, 80, 50)
    )
    assert [text.count("\nworkload ") for text in (wide, narrow, least)] == [1, 2, 0]
    for text, width in ((wide, 140), (narrow, 80), (least, 50)):
        assert max(map(len, text.split("\n"))) <= width
        assert text.count("inconclusive") >= 7 * 2


def test_per_cent_stays_with_its_number() -> None:
    """A line does not break between a number and its per cent sign."""
    lines = Page(width=20, encoding="ascii").wrap("it takes longer by 25 % than before")
    assert lines == ["it takes longer by", "  25 % than before"]

"""Drawings for a terminal."""

from __future__ import annotations

import sys
from dataclasses import replace

import goldens
import pytest
from comparison_fixture import free_threaded_report, precise_report
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reports_fixture import rich_report, threads, with_parts
from strategies import reports

from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.safe_text import display_width
from pytest_gilprobe.report import comparison_terminal, terminal
from pytest_gilprobe.report.compare import compare
from pytest_gilprobe.report.screen import Page
from pytest_gilprobe.strategies.registry import BUILT_IN

RESULTS = rich_report().workloads


def drawn(report: Report, width: int, encoding: str = "utf-8", *, color: bool = False) -> str:
    """Draw a report to text."""
    return terminal.text(terminal.draw(report, BUILT_IN, width=width, encoding=encoding), color=color)


@pytest.mark.parametrize("width", [140, 80, 50])
def test_golden(width: int) -> None:
    """The fixed report is a table with intervals, a table of two-line rows, or a list, as the width allows."""
    goldens.check(f"report_{width}.txt", drawn(rich_report(), width))


@pytest.mark.parametrize("width", [100, 60, 36])
def test_golden_comparison(width: int) -> None:
    """A comparison says what changed, why to read it with care, which reports, and a cell for each."""
    compared = compare([("py313.json", precise_report()), ("py313t.json", free_threaded_report())])
    text = terminal.text(comparison_terminal.draw(compared, BUILT_IN, width=width), color=False)
    goldens.check(f"comparison_{width}.txt", text)


@pytest.mark.thorough
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
    assert "1.84-1.96" in text
    assert "processes\n" in text
    assert max(map(len, text.split("\n"))) <= 80


@pytest.mark.parametrize(("width", "said"), [(140, "threads or serial?\n"), (80, "threads or\n")])
def test_an_open_answer_names_what_is_left(width: int, said: str) -> None:
    """The table has the strategies that may be the answer, as the short report and the other formats do."""
    table = drawn(rich_report(), width).partition("-----")[2].partition("\n\n")[0] + "\n"
    assert said in table
    assert "serial?" in table


def test_narrow_is_a_list() -> None:
    """Under 60 columns there is no table."""
    assert "-----" in drawn(rich_report(), 80)
    assert "-----" not in drawn(rich_report(), 59)


def test_many_strategies() -> None:
    """Six strategies are a table on a wide page and a list on a narrow one; every line fits."""
    more = {f"executor:{'engine' * count}": threads(1.0 + count / 10) for count in range(1, 5)}
    report = replace(rich_report(), workloads=(with_parts(RESULTS[1], **more), *RESULTS[:2]))
    for width, is_table in ((240, True), (120, False), (80, False), (30, False)):
        text = drawn(report, width)
        assert ("-----" in text) == is_table
        assert all(name in text for name in ("executor:", "engineengine", "1.36x"))
        assert max(map(len, text.split("\n"))) <= width


def test_title_of_two_parts() -> None:
    """In a narrow table a name with a colon takes two lines."""
    report = replace(rich_report(), workloads=(with_parts(RESULTS[1], **{"executor:engine": threads(1.5)}),))
    lines = drawn(report, 100).split("\n")
    at = next(number for number, line in enumerate(lines) if line.startswith("workload "))
    assert lines[at].index("executor:") == lines[at + 1].index("engine") == lines[at + 3].index("1.46x")


def test_ascii() -> None:
    """Without a micro sign in the encoding the unit reads us."""
    assert "4.1 us" in drawn(rich_report(), 80, "ascii")


def test_color() -> None:
    """Colour marks the strategy's cell and nothing else in its row."""
    text = drawn(rich_report(), 140, color=True)
    assert "held 98 %      \x1b[1;36mprocesses\x1b[0m\n" in text
    assert "\x1b" not in drawn(rich_report(), 140).replace(r"\x1b", "")


def test_segments_are_for_a_terminal_writer() -> None:
    """Segments are text and markup that pytest's writer knows; line ends stand alone."""
    known = {"bold", "light", "red", "green", "yellow", "blue", "purple", "cyan"}
    for text, style in terminal.draw(rich_report(), BUILT_IN, width=80):
        assert text == "\n" or "\n" not in text
        assert style.keys() <= known


def test_one_line() -> None:
    """A workload's line has answer, speed-up, name and reason."""
    assert terminal.one_line(RESULTS[0], BUILT_IN) == (
        "threads       2.0x  sample_workloads/test_scenarios.py::test_download_files  "
        "I/O-bound (3 % of one core): 2 threads give 2.0x; a waiting thread releases the GIL"
    )


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (0, "threads 2.0x"),
        (2, "serial"),
        (4, "processes 1.8x, failed in threads"),
        (5, "inconclusive, hung in threads, crashed in processes"),
        (7, "not probed"),
    ],
)
def test_word(number: int, word: str) -> None:
    """Beside PASSED stands the answer in a word, and what broke."""
    assert terminal.word(RESULTS[number], BUILT_IN) == word


def test_same_test_in_two_files() -> None:
    """Names that shortening makes equal are told apart."""
    twins = tuple(replace(RESULTS[0], nodeid=f"tests/{letter * 60}/test_long.py::test_{'x' * 60}") for letter in "ab")
    for width in (80, 110):
        text = drawn(replace(rich_report(), workloads=twins), width)
        assert "#1" in text
        assert "#2" in text


def test_tabulate_is_loaded_late(pytester: pytest.Pytester) -> None:
    """Importing the drawing does not import tabulate."""
    code = "import sys, pytest_gilprobe.report.terminal; sys.exit('tabulate' in sys.modules)"
    assert pytester.run(sys.executable, "-c", code).ret == 0


def test_comparison_of_many_on_a_narrow_page() -> None:
    """Reports that do not fit beside each other are several tables, of three reports at least, or else a list."""
    found = [(f"{number}.json", precise_report()) for number in range(7)]
    compared = compare(found)
    wide, narrow, least = (
        terminal.text(comparison_terminal.draw(compared, BUILT_IN, width=width), color=False) for width in (160, 80, 50)
    )
    assert [text.count("\nworkload ") for text in (wide, narrow, least)] == [1, 3, 0]
    for text, width in ((wide, 160), (narrow, 80), (least, 50)):
        assert max(map(len, text.split("\n"))) <= width
        assert text.count("inconclusive") >= 7


def test_per_cent_stays_with_its_number() -> None:
    """A line does not break between a number and its per cent sign."""
    lines = Page(width=20, encoding="ascii").wrap("it takes longer by 25 % than before")
    assert lines == ["it takes longer by", "  25 % than before"]


def test_a_number_that_leaves_its_per_cent_sign_no_room_is_broken_there() -> None:
    """Nothing of the tie between them is left on the line, which all terminals can show."""
    assert Page(width=20, encoding="ascii").wrap("123456789012345 % more", "    ") == [
        "    123456789012345",
        "      % more",
    ]

"""The rule by which two strategies are told apart stands beside the table where a verdict is open by it, only there."""

from __future__ import annotations

from dataclasses import replace
from html import unescape

import pytest
from comparison_fixture import CRUNCHING, with_workload
from reports_fixture import processes, rich_report, threads, verdict

from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.words import INCONCLUSIVE, Bound, Gil, Outcome
from pytest_gilprobe.report import comparison_layout, comparison_terminal, html, markdown, near, terminal
from pytest_gilprobe.report.compare import compare
from pytest_gilprobe.strategies.registry import BUILT_IN

RULE = "the one that costs more is the answer only if it is more than 15 % faster than the other"


def left_open(**candidates: float) -> Report:
    """Make a report with a verdict that leaves these candidates."""
    made = replace(verdict(Bound.CPU, Gil.PARTIAL, INCONCLUSIVE, None, "open"), candidates=candidates)
    return with_workload(rich_report(), CRUNCHING, verdict=made, threads=threads(1.8), processes=processes(1.95))


NEAR = left_open(threads=0.6, processes=0.4)


def plain(text: str) -> str:
    """Take the line ends and entities out of a drawing."""
    return " ".join(unescape(text).split())


def drawings(report: Report) -> dict[str, str]:
    """Draw a report, and its comparison with itself, in each format."""
    compared = compare([("one", report), ("other", report)])
    return {
        "markdown": plain(markdown.draw(report, BUILT_IN)),
        "html": plain(html.draw(report, BUILT_IN)),
        "terminal": plain(terminal.text(terminal.draw(report, BUILT_IN), color=False)),
        "markdown of a comparison": plain(markdown.draw_comparison(compared, BUILT_IN)),
        "html of a comparison": plain(html.draw_comparison(compared, BUILT_IN)),
        "terminal of a comparison": plain(terminal.text(comparison_terminal.draw(compared, BUILT_IN), color=False)),
    }


def test_rule_is_told_once_in_each_format() -> None:
    """Every drawing says it, and none twice."""
    assert {name: text.count(RULE) for name, text in drawings(NEAR).items()} == dict.fromkeys(drawings(NEAR), 1)


@pytest.mark.parametrize(
    "report",
    [
        rich_report(),
        left_open(threads=0.6, serial=0.4),
        left_open(processes=1.0),
        left_open(threads=0.996, processes=0.004),
        with_workload(NEAR, CRUNCHING, threads=replace(threads(1.8), outcome=Outcome.HUNG, pool_speedup=None)),
    ],
)
def test_rule_is_not_told_elsewhere(report: Report) -> None:
    """Nothing is said where serial is the other answer, or where one strategy alone was measured."""
    if report.workloads[1].parallel["threads"].pool_speedup is None:
        report = with_workload(
            report, CRUNCHING, threads=replace(report.workloads[1].parallel["threads"], speedup=None)
        )
    assert not near.rule(report.workloads)
    assert not [name for name, text in drawings(report).items() if RULE in text]


def in_words(**candidates: float) -> str:
    """Return what is said of a verdict that leaves these candidates."""
    report = left_open(**candidates)
    parts = {"interpreters": threads(1.9)} if "interpreters" in candidates else {}
    return near.rule(with_workload(report, CRUNCHING, **parts).workloads)


def test_rule_says_of_how_many_strategies_it_is() -> None:
    """Of two strategies it is that of the dearer one; of three, a dearer one may win by less over the next cheaper."""
    assert in_words(threads=0.6, processes=0.4).endswith(f"between two strategies: {RULE}")
    said = in_words(threads=0.5, interpreters=0.2, processes=0.3)
    assert "two" not in said
    assert said.endswith("the answer is the cheapest of those than which none is more than 15 % faster")


def test_threshold_is_named_where_serial_is_left() -> None:
    """Only there is it open whether any strategy pays."""
    assert in_words(threads=0.5, processes=0.3, serial=0.2).endswith(
        "; where serial is left, too: serial is the answer if none gives 1.3x"
    )
    assert "1.3x" not in in_words(threads=0.6, processes=0.4)


def test_a_comparison_says_of_what_its_times_are() -> None:
    """Every format says that the serial times are without waits for a CPU; one without times does not."""
    compared = compare([("one", NEAR), ("other", NEAR)])
    said = comparison_layout.SERIAL_TIME
    assert "net of waits for a CPU" in said
    assert [name for name, text in drawings(NEAR).items() if said in text] == [
        *("markdown of a comparison", "html of a comparison", "terminal of a comparison")
    ]
    elsewhere = replace(NEAR, environment=replace(NEAR.environment, machine="other"))
    compared = compare([("one", NEAR), ("other", elsewhere)])
    assert said not in plain(markdown.draw_comparison(compared, BUILT_IN))

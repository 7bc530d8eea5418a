"""The short report: for each workload a line with the answer, one with the reason, and what to do."""

from __future__ import annotations

from dataclasses import replace

import goldens
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reports_fixture import not_probed, processes, rich_report, threads, with_parts
from strategies import reports

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.results import Caution, StrategyResult, WorkloadResult
from pytest_gilprobe.model.safe_text import display_width, unique_ends
from pytest_gilprobe.model.words import INCONCLUSIVE, Outcome
from pytest_gilprobe.report import brief_terminal, terminal
from pytest_gilprobe.report.brief import FEW
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict import same_call

RESULTS = rich_report().workloads
DOWNLOAD, CRUNCHING, SCRIPTING = RESULTS[:3]


def drawn(report: Report, width: int = 80, encoding: str = "utf-8", *, color: bool = False) -> str:
    """Draw a report to text."""
    return terminal.text(brief_terminal.draw(report, BUILT_IN, width=width, encoding=encoding), color=color)


def lines_of(*results: WorkloadResult, width: int = 80, holders: bool = False) -> list[str]:
    """Return the lines of a report of these workloads, without summary and, unless asked, holders of the GIL."""
    if not holders:
        results = tuple(replace(one, gil=replace(one.gil, holders=None)) for one in results)
    return drawn(replace(rich_report(), workloads=results), width).splitlines()[1:]


def without_cautions(result: WorkloadResult) -> WorkloadResult:
    """Take the cautions from a workload."""
    return replace(result, verdict=replace(result.verdict, cautions=()))


def open_one(**candidates: float) -> WorkloadResult:
    """Make a workload that several strategies may be the answer for."""
    said = replace(
        CRUNCHING.verdict,
        strategy=INCONCLUSIVE,
        candidates=candidates,
        why="in a pool: threads 0.90x to 1.80x, processes 0.80x to 2.00x",
        advice="a quieter machine may settle it",
    )
    return replace(CRUNCHING, verdict=said)


@pytest.mark.parametrize("width", [140, 80, 50])
def test_golden(width: int) -> None:
    """The fixed report, on terminals of three widths."""
    goldens.check(f"brief_{width}.txt", drawn(rich_report(), width))


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


def test_a_workload_is_two_lines() -> None:
    """Answer, name, time, bound and the other strategies are on the first line, the reason is on the second."""
    assert lines_of(DOWNLOAD, CRUNCHING) == [
        "threads 2.0x    test_download_files: 25 ms, I/O-bound; processes 1.9x",
        "  a waiting thread releases the GIL",
        "processes 1.9x  test_data_crunching: 13 ms, CPU-bound; threads 1.0x",
        "  the threads take turns: the GIL is held for 98 % of the time",
    ]


def test_a_wide_terminal_has_one_line_a_workload() -> None:
    """Whatever fits on one line stands there, with the whole node id."""
    (line,) = lines_of(DOWNLOAD, width=160)
    assert line.startswith("threads 2.0x  sample_workloads/test_scenarios.py::test_download_files: 25 ms, I/O-bound")
    assert line.endswith("; processes 1.9x; a waiting thread releases the GIL")


def test_what_to_do_follows_the_reason() -> None:
    """Advice stands behind the reason if it fits there, else below it."""
    assert lines_of(SCRIPTING) == [
        "serial  test_simple_scripting: 4.1 µs, CPU-bound; threads 0.17x, processes 0.05x",
        "  dispatching a call takes 20 µs to processes",
        "  keep it serial, or hand a pool 50 calls at a time",
    ]


@pytest.mark.parametrize(
    "error",
    [
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    open(1)\nOSError: no\n',
        "failed in call: def test_it():\n>       open(1)\nE       OSError: no\n\na.py:1: OSError",
    ],
)
def test_a_reason_with_a_traceback_names_the_exception(error: str) -> None:
    """A test that was not probed since it failed says with what, on its line."""
    text = "\n".join(lines_of(not_probed("a::test_it", f"it passed once, but not when called once more: {error}")))
    assert "called once more: " in text
    assert text.endswith("OSError: no")


def test_an_open_answer_names_what_it_may_be() -> None:
    """The answer has the strategies, the likeliest first, the reason their intervals and odds."""
    assert lines_of(open_one(threads=0.3, processes=0.7)) == [
        "processes or threads?  test_data_crunching: 13 ms, CPU-bound",
        "  in a pool: threads 0.90x to 1.80x, processes 0.80x to 2.00x; odds 70 : 30",
        "  a quieter machine may settle it",
    ]
    assert lines_of(open_one())[0].startswith("inconclusive  test_data_crunching")


def test_what_a_pool_gives_is_on_the_scale_of_the_answer() -> None:
    """Beside an answer stand speed-ups of pools, as it is one itself, and never more than there are workers."""
    beyond = Estimate(value=2.4, low=2.2, high=2.6)
    part = replace(threads(2.4, call_s=0.0134, pool=2.4), pool_speedup=beyond)
    assert lines_of(with_parts(CRUNCHING, threads=part))[0].endswith("; threads 2.0x")
    short = with_parts(SCRIPTING, processes=processes(1.91, call_s=4e-6, pool=0.05))
    assert lines_of(short)[0].endswith("processes 0.05x")


def test_cautions_that_change_nothing_are_left_to_the_whole_report() -> None:
    """What the reason says already is not said again; what changes what to do is, and new cautions are."""
    said = replace(
        DOWNLOAD.verdict,
        cautions=(
            Caution(slug="gil-part-open", message="the GIL's part may be partial or held"),
            Caution(slug="leaves-changed", message="its calls leave the locale changed"),
        ),
    )
    lines = lines_of(replace(DOWNLOAD, verdict=said))
    assert lines[2:] == ["  caution: its calls leave the locale changed [leaves-changed]"]


def test_calls_that_change_their_arguments_take_three_lines() -> None:
    """Why there is no verdict and what to do is said once; what was not tried for it is not listed."""
    not_tried = StrategyResult(outcome=Outcome.SKIPPED, error=same_call.NOT_COMPARED)
    caution = Caution(slug=same_call.CHANGES, message="its first call leaves later ones other work")
    verdict = replace(
        CRUNCHING.verdict, strategy=INCONCLUSIVE, why="no verdict: a call takes 19 ms", cautions=(caution,)
    )
    verdict = replace(verdict, advice=same_call.REMEDY)
    found = with_parts(replace(CRUNCHING, verdict=verdict), threads=not_tried, processes=not_tried)
    assert lines_of(found, holders=True)[1:] == ["  no verdict: a call takes 19 ms", f"  {same_call.REMEDY}"]


def test_a_report_of_few_workloads_says_where_the_gil_is_held() -> None:
    """The three largest, a line each, and what follows; not where the GIL is not in the way, nor of many workloads."""
    lines = lines_of(CRUNCHING, DOWNLOAD, holders=True)
    told = lines.index("  where the GIL is held: 61 % in json.loads(raw) at tests/test_orders.py:9")
    assert [line.startswith("    ") for line in lines[told + 1 : told + 4]] == [True, True, True]
    assert sum("where the GIL is held" in line for line in lines) == 1
    assert "where the GIL is held" not in "".join(lines_of(*[CRUNCHING] * (FEW + 1), holders=True))
    unknown = replace(CRUNCHING, gil=replace(CRUNCHING.gil, holders=None, holders_reason="too few samples"))
    assert "where the GIL is held" not in "".join(lines_of(unknown, holders=True))


def test_names_are_told_apart() -> None:
    """A test's name stands alone if no other test has it, else with its class, its file, its folders."""
    assert unique_ends(["a/test_x.py::test_one", "a/test_x.py::test_two[1::2]"]) == ["test_one", "test_two[1::2]"]
    assert unique_ends(["a/test_x.py::T::test_one", "a/test_x.py::U::test_one"]) == ["T::test_one", "U::test_one"]
    assert unique_ends(["a/test_x.py::test_one", "a/test_y.py::test_one"]) == [
        "test_x.py::test_one",
        "test_y.py::test_one",
    ]
    assert unique_ends(["a/test_x.py::test_one", "b/test_x.py::test_one"]) == [
        "a/test_x.py::test_one",
        "b/test_x.py::test_one",
    ]
    assert unique_ends(["module:function", "module:function"]) == ["module:function", "module:function"]


def test_the_answer_has_its_color() -> None:
    """Only the answer is colored, as in the whole report."""
    text = drawn(replace(rich_report(), workloads=(CRUNCHING,)), color=True)
    assert "\x1b[1;36mprocesses 1.9x\x1b[0m  test_data_crunching: 13 ms" in text


def test_title() -> None:
    """The heading has the Python and the machine."""
    assert brief_terminal.title(rich_report()) == "CPython 3.13.0 (GIL on), CPUs: 2 of 4 usable, workers: 2, load: 0.31"


def test_many_workloads_take_about_two_lines_each() -> None:
    """Twenty workloads beside other programs are no more than 45 lines, and these programs are told once."""
    busy = Caution(slug="busy-machine", message="other programs")
    pair = [replace(one, verdict=replace(one.verdict, cautions=(busy,))) for one in (DOWNLOAD, CRUNCHING)]
    many = tuple(replace(one, nodeid=f"tests/test_a.py::test_{at}") for at, one in enumerate(pair * 10))
    text = drawn(replace(rich_report(), workloads=many))
    assert text.count("busy-machine") == 1
    assert 20 < len(text.splitlines()) <= 45


@pytest.mark.parametrize("width", [40, 80, 160])
def test_answers_alone_are_a_line_each(width: int) -> None:
    """Without the flag for a report each workload has one line: the answer, the test, and what fits of the figures."""
    text = terminal.text(brief_terminal.draw_answers(rich_report(), BUILT_IN, width=width), color=False)
    lines = text.splitlines()
    assert len(lines) == len(RESULTS)
    assert max(map(display_width, lines)) <= width
    assert all("..." not in line for line in lines)
    if width == 80:
        assert lines[1] == "processes 1.9x  test_data_crunching: 13 ms, CPU-bound; threads 1.0x"
        assert lines[-1] == "error           test_tool: worker could not be started"

"""Curves in the report: sentence and table in the terminal, table in Markdown, in whatever width and with any name."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from reports_fixture import rich_report
from test_stats_scaling import points

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.loop_time import EventLoop
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.results import Callee, WorkloadResult
from pytest_gilprobe.model.scaling import Scaling
from pytest_gilprobe.model.words import Outcome
from pytest_gilprobe.report import curve_svg, html, markdown, snippets, terminal
from pytest_gilprobe.report.curve_layout import curve_views, rate
from pytest_gilprobe.report.curve_views import CurveView
from pytest_gilprobe.strategies.registry import BUILT_IN

ENOUGH = Scaling(
    points=points(50, 100, 200, 201), enough_workers=4, best_workers=8, limit="the other side", model="capped",
    parameters={"per_worker": 50.0, "per_worker_se": 0.1, "ceiling": 200.0, "ceiling_se": 0.2},
)  # fmt: skip


def report(curve: Scaling, name: str = "threads") -> Report:
    """Make the fixed report whose first workload has a curve."""
    found = rich_report()
    first, *others = found.workloads
    return replace(found, workloads=(replace(first, scaling={name: curve}), *others))


def drawn(curve: Scaling, width: int = 80) -> str:
    """Draw the report for a terminal."""
    return terminal.text(terminal.draw(report(curve), BUILT_IN, width=width), color=False)


def test_terminal_has_a_sentence_and_a_table() -> None:
    """The number, the throughput there and the limit are said; the table marks the number and says what the mark is."""
    text = drawn(ENOUGH)
    assert "  threads: 4 are enough (200 calls/s, 4.0x), 8 give 201; limit: the other side\n" in text
    assert "    workers     1     2    4*     8\n    calls/s    50   100   200   201\n" in text
    assert "    +/-       2 %   2 %   2 %   2 %\n" in text
    assert "    * enough workers\n" in text
    assert "* enough" not in drawn(replace(ENOUGH, enough_workers=None, open_because="a busy machine"))


@pytest.mark.parametrize("width", [20, 40, 80])
def test_table_fits_the_width(width: int) -> None:
    """A curve of many numbers is broken into several tables."""
    many = replace(ENOUGH, points=points(*range(50, 62)))
    assert max(map(len, drawn(many, width).splitlines())) <= width


@pytest.mark.parametrize(
    ("curve", "said"),
    [
        (
            replace(ENOUGH, enough_workers=None, open_because="a busy machine"),
            "how many threads are enough is open: a busy machine",
        ),
        (
            replace(ENOUGH, enough_workers=1, best_workers=1),
            "threads: more than one gain nothing (50 calls/s); limit: the other side",
        ),
        (
            replace(ENOUGH, points=points(50, 52, 56), enough_workers=1, best_workers=4),
            "threads: more than one gain little (50 calls/s), 4 give 56, 1.1x; limit",
        ),
        (
            replace(ENOUGH, points=points(50, 100, 200, 120), best_workers=4),
            "threads: 4 are enough (200 calls/s, 4.0x), 8 only 120; limit: the other side",
        ),
        (replace(ENOUGH, enough_workers=8), "threads: 8, the most that were tried, gain most (201 calls/s, 4.0x)"),
        (Scaling(points=(), error="too long"), "no curve of threads: too long"),
        (
            replace(ENOUGH, failed_at=16, outcome=Outcome.HUNG, error="no answer"),
            "with 16 threads it hung: no answer",
        ),
        (
            replace(ENOUGH, failed_at=16, outcome=Outcome.HUNG, error="no answer", limit="with 16 threads it hung"),
            "threads: 4 are enough (200 calls/s, 4.0x), 8 give 201; with 16 threads it hung: no answer",
        ),
    ],
)
def test_what_is_said(curve: Scaling, said: str) -> None:
    """An open curve, a flat one, one that still grows, none, and a failure are told apart."""
    assert said in " ".join(drawn(curve, 400).split())


def test_no_gain_is_above_the_number_of_workers() -> None:
    """Two threads that were measured at 2.1 times what one gave are told as 2.0x, in the table and in words."""
    text = drawn(Scaling(points=points(100, 210, 420), enough_workers=4, best_workers=4))
    assert "4.0x" in text
    assert "4.2x" not in text
    assert "2.1x" not in text


def test_head_says_whether_other_numbers_were_tried() -> None:
    """Without a curve, the head says that the number of workers was not tried, and how to."""
    assert "workers: 2 (others not tried: --gilprobe-scale)" in drawn_without()
    assert "workers: 2 (the only ones tried in 6 of 7 workloads; others: --gilprobe-scale)" in drawn(ENOUGH, 200)
    every = tuple(replace(one, scaling={"threads": ENOUGH}) for one in rich_report().workloads)
    text = terminal.text(terminal.draw(replace(rich_report(), workloads=every), BUILT_IN, width=80), color=False)
    assert "workers: 2\n" in text.replace("  ", "\n")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("threads", "(200 calls/s, 4.0x, at most 40 MiB of memory)"),
        ("processes", "(200 calls/s, 4.0x, about 220 ms to start each with pytest, at most 40 MiB of memory)"),
    ],
)
def test_costs_where_they_are_known(name: str, said: str) -> None:
    """Memory is said of every strategy; the start-up of those that have processes of their own."""
    big = tuple(replace(point, rss_bytes=point.workers * 10 * 2**20) for point in ENOUGH.points)
    found = report(replace(ENOUGH, points=big), name)
    first, *others = found.workloads
    parts = {
        key: replace(part, start_up_s=0.22 if key == "processes" else None) for key, part in first.strategies.items()
    }
    found = replace(found, workloads=(replace(first, strategies=parts), *others))
    assert said in terminal.text(terminal.draw(found, BUILT_IN, width=400), color=False)


@pytest.mark.parametrize(("coherency", "said"), [(1e-9, ", coherency none"), (0.01, ", coherency 0.01 \u00b1 0.001")])
def test_parameter_without_effect_has_no_number(coherency: float, said: str) -> None:
    """A parameter at the edge of the fit is none: neither its value nor its standard error says anything."""
    found = {"contention": 0.2, "contention_se": 0.01, "coherency": coherency, "coherency_se": 0.001}
    (view,) = views(replace(ENOUGH, model="usl", parameters={"per_worker": 50.0, **found}))
    assert view.law.endswith(said)


USL = replace(
    ENOUGH,
    model="usl",
    parameters={"contention": 0.2, "contention_se": 0.01, "coherency": 0.001, "coherency_se": 0.0003},
)
HELD = "the GIL, which a call holds for 2 % of its time, gives"


@pytest.mark.parametrize(
    ("curve", "law"),
    [
        (ENOUGH, f"each adds 50 \u00b1 0.1 calls/s, up to 200 \u00b1 0.2 ({HELD} 2,500)"),
        (
            USL,
            f"Universal Scalability Law: contention 0.2 \u00b1 0.01 ({HELD} 0.02), coherency 0.001 \u00b1 0.0003",
        ),
    ],
)
def test_law_stands_beside_the_held_share(curve: Scaling, law: str) -> None:
    """Terminal, Markdown and page show the law, and what the GIL alone would give in its unit."""
    assert f"    law: {law}\n" in drawn(curve, 400)
    assert max(map(len, drawn(curve, 80).splitlines())) <= 80
    assert f"Law: {law}\n" in markdown.draw(report(curve), BUILT_IN)
    assert law in html.draw(report(curve), BUILT_IN)


def test_law_of_what_no_gil_limits() -> None:
    """Processes have no ceiling of their own, and neither have threads of which the held share is unknown."""
    of_processes = markdown.draw(report(ENOUGH, "processes"), BUILT_IN)
    assert "Law: each adds 50 \u00b1 0.1 calls/s, up to 200 \u00b1 0.2\n" in of_processes
    found = report(ENOUGH).workloads[0]
    unknown = replace(found, gil=replace(found.gil, held_fraction=None, threads_ceiling=None))
    (view,) = curve_views(unknown, BUILT_IN, None)
    assert view.law == "each adds 50 \u00b1 0.1 calls/s, up to 200 \u00b1 0.2"
    (large,) = views(replace(ENOUGH, parameters={"per_worker": 4321.0, "per_worker_se": 12.0}))
    assert large.law.startswith("each adds 4,321 \u00b1 12 calls/s")


def drawn_without() -> str:
    """Draw the fixed report, which has no curve."""
    return terminal.text(terminal.draw(rich_report(), BUILT_IN, width=200), color=False)


def test_markdown_has_a_folded_table() -> None:
    """The table's titles are the numbers of workers."""
    text = markdown.draw(report(ENOUGH), BUILT_IN)
    assert "<details><summary>How many workers</summary>" in text
    assert "| workers | 1 | 2 | 4 (enough) | 8 |" in text
    assert "| +/- | 2 % | 2 % | 2 % | 2 % |" in text


@pytest.mark.parametrize("draw", [markdown.draw, html.draw])
def test_hostile_words_act_as_text(draw: object) -> None:
    """Names and errors from a report of elsewhere cannot become markup."""
    hostile = replace(ENOUGH, limit="<script>alert(1)</script>")
    assert callable(draw)
    assert "<script>alert" not in draw(report(hostile, "threads"), BUILT_IN)


def test_page_has_a_picture_with_every_point() -> None:
    """The picture has a point for each number, a ring around the one that is enough, the ideal line and a label."""
    page = html.draw(report(ENOUGH), BUILT_IN)
    picture = page[page.index('<svg class="curve"') :]
    picture = picture[: picture.index("</svg>")]
    assert picture.count("<title>") >= 5
    assert "<title>4 threads: 200 calls/s 4.0x</title>" in picture
    assert picture.count('class="knee"') == 1
    assert 'class="ideal"' in picture
    assert 'aria-label="threads: 4 are enough' in picture


def test_limit_is_level_in_the_picture() -> None:
    """Doublings that gain rise by equal steps; those that gain nothing lie level."""
    points_drawn = re.search(r'<polyline points="([^"]*)"', curve_svg.picture(views(ENOUGH)))
    assert points_drawn is not None
    heights = [float(pair.split(",")[1]) for pair in points_drawn[1].split()]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)
    assert heights[3] == pytest.approx(heights[2], abs=1)


@pytest.mark.parametrize("rates", [(50.0,), (1e-3, 1e7), (5, 5, 5), (50, 40, 30, 1)])
def test_any_curve_is_drawn(rates: tuple[float, ...]) -> None:
    """One point is no picture; steep, flat and falling curves stay within the frame."""
    picture = curve_svg.picture(views(replace(ENOUGH, points=points(*rates))))
    assert bool(picture) == (len(rates) > 1)
    assert all(0 <= float(y) <= 220 for y in re.findall(r' c?y[12]?="([^"]*)"', picture))


def test_roofs_of_several_curves_name_theirs() -> None:
    """The GIL caps threads alone, so its roof names them; what all curves share is drawn once."""
    threads, processes = (replace(view, roofs=(("2 CPUs", 101.0),)) for view in (*views(ENOUGH), *views(ENOUGH)))
    threads = replace(threads, roofs=(("the GIL", 60.0), ("2 CPUs", 100.0)))
    picture = curve_svg.picture([threads, replace(processes, name="processes")])
    assert "<title>the GIL, threads: 60 calls/s at most</title>" in picture
    assert picture.count("2 CPUs: 100 calls/s at most") == 1
    assert picture.count('class="roof"') == 2


GAINS = (1.0, 1.8, 1.8)
COMPUTED = replace(
    ENOUGH, points=tuple(replace(one, machine_gain=GAINS[at]) for at, one in enumerate(points(50, 90, 95)))
)


def test_machine_is_drawn_where_calls_compute() -> None:
    """A row says what it gave to each number; the page draws it as a roof, in place of the CPUs' number."""
    computes = replace(report(COMPUTED), workloads=(computing(report(COMPUTED).workloads[0]),))
    text = terminal.text(terminal.draw(computes, BUILT_IN, width=80), color=False)
    assert "    machine  1.0x  1.8x  1.8x\n" in text
    assert "machine: what as many threads that compute without a GIL gain" in text
    assert "machine  1.0x" not in drawn(ENOUGH)
    assert "| machine | 1.0x | 1.8x | 1.8x |" in re.sub(r" +", " ", markdown.draw(computes, BUILT_IN))
    found = curve_views(computes.workloads[0], BUILT_IN, computes.environment)
    assert [per_s for _, per_s in found[0].machine] == pytest.approx([50, 90, 90])
    assert "2 CPUs" not in dict(found[0].roofs)
    picture = curve_svg.picture([*found, replace(found[0], name="processes")])
    assert picture.count('<polyline class="roof"') == 1
    assert "the machine: 90 calls/s at most with 4 workers" in picture
    faster = replace(found[0], name="3.13t", machine=tuple((n, 1.5 * per_s) for n, per_s in found[0].machine))
    assert "the machine, threads" in curve_svg.picture([*found, faster])


def computing(workload: WorkloadResult) -> WorkloadResult:
    """Let serial calls use a whole CPU."""
    serial = replace(workload.strategies["serial"], cpu_utilization=Estimate(value=1.0, low=0.98, high=1.0))
    return replace(workload, strategies={**workload.strategies, "serial": serial})


def test_tasks_have_the_event_loop_for_a_roof() -> None:
    """A call that blocks its loop for a tenth of its time leaves room for 10 times the throughput of one."""
    found = report(ENOUGH, "tasks")
    loop = EventLoop(blocked_fraction=Estimate(value=0.1, low=0.1, high=0.1))
    (view,) = curve_views(replace(found.workloads[0], event_loop=loop), BUILT_IN, found.environment)
    assert dict(view.roofs)["the event loop"] == pytest.approx(500.0)
    assert "the GIL" not in dict(view.roofs)


def views(curve: Scaling) -> tuple[CurveView, ...]:
    """Lay out a curve of the fixed report's first workload."""
    found = report(curve)
    return curve_views(found.workloads[0], BUILT_IN, found.environment)


def test_code_to_paste_has_the_number_of_the_verdict() -> None:
    """The pool is as large as the verdict says."""
    workload = rich_report().workloads[0]
    verdict = replace(workload.verdict, strategy="threads", workers=12)
    wanted = replace(workload, verdict=verdict, callee=Callee(module="shop.images", name="resize"))
    assert "max_workers=12" in snippets.code(wanted, BUILT_IN).text


@pytest.mark.parametrize(
    ("per_s", "text"), [(0.52, "0.52"), (4.96, "5.0"), (197.3, "197"), (12300.0, "12,300"), (2e8, "2.0e+08")]
)
def test_rate(per_s: float, text: str) -> None:
    """Throughputs have two or three digits."""
    assert rate(per_s) == text

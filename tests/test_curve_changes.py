"""Changes of curves: what a comparison tells of gains with other numbers of workers, and what a baseline fails on."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from reports_fixture import ENVIRONMENT
from test_baseline import gains, regressions, report, through_compare, workload
from test_stats_scaling import LAWS, curve, points

from pytest_gilprobe.model.comparison import Change, ChangeKind
from pytest_gilprobe.model.results import WorkloadResult
from pytest_gilprobe.model.scaling import Scaling, ScalingPoint
from pytest_gilprobe.model.words import FailOn, Outcome
from pytest_gilprobe.plugin.reporting import Reporting
from pytest_gilprobe.probing.assembly import environment_of
from pytest_gilprobe.report import comparison_terminal, html, markdown, terminal
from pytest_gilprobe.report.compare import compare
from pytest_gilprobe.stats import scaling
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict import baseline

GROWS = Scaling(points=points(50, 100, 200, 400), enough_workers=8, best_workers=8)
STOPS = Scaling(points=points(50, 100, 200, 201), enough_workers=4, best_workers=4)
FAILS = replace(
    STOPS, points=points(50, 100), enough_workers=2, failed_at=4, outcome=Outcome.FAILED, error="OSError: x"
)


def curved(**curves: Scaling) -> WorkloadResult:
    """Make a workload for which threads are advised, with these curves."""
    return replace(workload("a", 1.9, 1.9), scaling=curves)


def curve_changes(old: WorkloadResult, new: WorkloadResult) -> list[Change]:
    """List what ``gilprobe compare`` finds to have changed in curves."""
    return [change for change in through_compare(old, new) if change.kind is ChangeKind.CURVE]


def test_less_gain_with_more_workers() -> None:
    """The advised strategy that gains less with as many workers as were enough is a regression, for both doors."""
    old, new = curved(threads=GROWS), curved(threads=STOPS)
    (found,) = curve_changes(old, new)
    assert found.message == (
        "threads with 8 workers gave 8.00x [7.69, 8.33], now 4.02x [3.86, 4.18] (8 were enough, now 4)"
    )
    assert (found.strategy, found.before, found.after, found.worse) == ("threads", "8.00x", "4.02x", True)
    assert regressions(old, new) == [found.message]


def test_every_drawing_tells_it() -> None:
    """The terminal, Markdown and the page have the sentence."""
    found = compare([("old", report(curved(threads=GROWS))), ("new", report(curved(threads=STOPS)))])
    seen = terminal.text(comparison_terminal.draw(found, BUILT_IN), color=False)
    for drawn in (seen, markdown.draw_comparison(found, BUILT_IN), html.draw_comparison(found, BUILT_IN)):
        assert "threads with 8 workers gave 8.00x" in " ".join(drawn.replace("\\", "").split())


@pytest.mark.parametrize(
    "now",
    [
        replace(GROWS, points=points(25, 50, 100, 200)),
        replace(STOPS, points=points(50, 100, 200, 201, width=0.2)),
        replace(STOPS, open_because="a busy machine", enough_workers=None),
        replace(GROWS, points=points(50)),
        Scaling(points=(), error="too long"),
    ],
)
def test_what_is_no_change(now: Scaling) -> None:
    """Slower calls that gain alike, wide intervals, open curves and missing points change nothing."""
    assert curve_changes(curved(threads=GROWS), curved(threads=now)) == []
    assert curve_changes(curved(threads=now), curved(threads=GROWS)) == []
    assert curve_changes(curved(threads=GROWS), curved(processes=now)) == []


def test_what_is_told_and_no_regression() -> None:
    """More gain, less of a strategy that nobody counted on, or with more workers than were enough is told only."""
    few = replace(GROWS, points=points(50, 100, 104, 108), enough_workers=2)
    for old, new in (
        (curved(threads=STOPS), curved(threads=GROWS)),
        (curved(processes=GROWS), curved(processes=STOPS)),
        (curved(threads=few), curved(threads=replace(few, points=points(50, 100, 104, 60)))),
        (curved(threads=GROWS), replace(curved(threads=STOPS), workers=4)),
    ):
        assert [change.worse for change in curve_changes(old, new)] == [False]
        assert regressions(old, new) == []


def test_worse_goes_before_larger() -> None:
    """A fall that is a regression is told, not a larger one with more workers than were enough."""
    old = replace(GROWS, points=points(50, 100, 104, 108), enough_workers=2)
    (found,) = curve_changes(curved(threads=old), curved(threads=replace(old, points=points(50, 60, 50, 10))))
    assert found.worse
    assert found.message.startswith("threads with 2 workers gave 2.00x")


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.10])
def test_noise_alone_is_no_regression(noise: float) -> None:
    """Of two curves of one law none is worse, with noise of up to 10 %; a limit of 4 is, nearly always."""
    lost = 0
    for seed in range(20):
        grown, again, limited = (
            judged(curve(LAWS[law][0], noise, seed + run, (1, 2, 4, 8, 16)))
            for law, run in (("linear", 0), ("linear", 1000), ("limit of 4", 2000))
        )
        assert curve_changes(curved(threads=grown), curved(threads=again)) == []
        lost += bool(regressions(curved(threads=grown), curved(threads=limited)))
    assert lost >= 18


def judged(found: tuple[ScalingPoint, ...]) -> Scaling:
    """Make a curve of points."""
    return Scaling(points=found, enough_workers=scaling.enough_workers(found))


def test_a_test_is_told_of_its_curve() -> None:
    """The property of a test has what the summary at the session's end has: both know on which machine it runs."""
    settings = SimpleNamespace(fail_on={FailOn.REGRESSION})
    here = report(curved(threads=GROWS), environment=environment_of(None))
    for fell, old in ((True, here), (False, replace(here, environment=replace(here.environment, cpus_usable=4096)))):
        reporting: Any = SimpleNamespace(_settings=settings, _baseline=old)
        said = Reporting.regression(reporting, curved(threads=STOPS))
        assert said.startswith("threads with 8 workers gave 8.00x") is fell


def test_other_machine() -> None:
    """A curve goes beyond the CPUs of a smaller machine, so less gain there is told, and no regression."""
    larger = replace(ENVIRONMENT, cpus_usable=16, cpus_logical=16)
    old, new = report(curved(threads=GROWS), environment=larger), report(curved(threads=STOPS))
    assert baseline.since(old, new).findings == ()
    assert [change.worse for change in compare([("old", old), ("new", new)]).changes] == [False]


def test_calls_that_fail_with_fewer_workers() -> None:
    """Calls that fail now with as many workers as were enough, or fewer, are a regression; the reverse is none."""
    old, new = curved(threads=GROWS), curved(threads=FAILS)
    (found,) = curve_changes(old, new)
    assert found.message == "in threads it was ok with 8 workers, now it failed with 4 workers: OSError: x"
    assert regressions(old, new) == [found.message]
    assert curve_changes(new, old) == []
    spare = replace(GROWS, points=points(50, 100, 104, 104), enough_workers=2)
    assert [change.worse for change in curve_changes(curved(threads=spare), new)] == [False]


def test_advice_is_compared_at_the_same_workers() -> None:
    """Advice that promises 8x with the 16 workers of a curve is no more than 1.9x of the 2 that both tried."""
    plain = workload("a", 1.0, 1.9)
    many = replace(plain, verdict=replace(plain.verdict, speedup=8.0, workers=16))
    better = workload("a", 1.9, 1.9)
    assert regressions(many, better) == []
    assert gains(many, better) == ["advice was processes (8.0x with 16 workers), is threads (1.9x)"]

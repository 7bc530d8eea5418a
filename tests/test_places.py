"""`pytest_gilprobe.verdict.places` and `gil_gates`: what follows from a holder, and the limits on the GIL."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reports_fixture import HELD_SOMEWHERE, HOLDERS, gil, probed, processes, serial, threads, verdict

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.loop_time import EventLoop
from pytest_gilprobe.model.results import Caution, StrategyResult, WorkloadResult
from pytest_gilprobe.model.settings import Expectation
from pytest_gilprobe.model.words import Bound, FailOn, Gil, GilMethod
from pytest_gilprobe.verdict import expectations, gating, places


def held(share: float = 0.95, wait: float = 0.4, hold_s: float | None = 0.03, spread: float = 0.02) -> WorkloadResult:
    """Make a result whose GIL is held for this share, in threads that wait for it for this share of their time."""
    found = probed(
        "test_it.py::test_it",
        verdict(Bound.CPU, Gil.HELD, "processes", 1.9, "why"),
        serial(0.02, 0.99, share),
        threads(1.0, wait=wait),
        processes(1.9),
    )
    estimate = Estimate(value=share, low=max(0.0, share - spread), high=min(1.0, share + spread))
    seen = replace(gil(HELD_SOMEWHERE), held_fraction=estimate, longest_hold_s=hold_s, longest_holder=HOLDERS[0])
    return replace(found, gil=replace(seen, threads_ceiling=1 / share))


def failed(expectation: Expectation, result: WorkloadResult, *fail_on: FailOn) -> list[str]:
    """Return the texts of a gate's failures."""
    return [one.text() for one in expectations.check(expectation, result, frozenset(fail_on)).failures]


def test_the_ceiling_without_the_largest_holder() -> None:
    """Held for 95 %, of which 61 % in one call: the rest is held for 37 % of the time, so two threads may give 2x."""
    assert places.ceiling_without(held().gil, HOLDERS[0], 8) == pytest.approx(1 / (0.95 * 0.39))
    assert places.ceiling_without(held().gil, HOLDERS[0], 2) == 2
    assert places.what_follows(held()) == "if json.loads(raw) (61 %) let go of the GIL, threads could give up to 2.0x"


def test_only_what_is_not_written_in_python_lets_go_of_the_gil() -> None:
    """A library in Python, such as `copy.deepcopy`, cannot: it would have to run where there is no GIL."""
    found = held()
    python = replace(HOLDERS[0], code="copy.deepcopy(raw)", native=None, library="copy.py: deepcopy")
    said = places.what_follows(replace(found, gil=replace(found.gil, holders=(python,))))
    assert said == "if copy.deepcopy(raw) (61 %) ran without the GIL, threads could give up to 2.0x"


def test_threads_are_not_promised_where_calls_are_awaited() -> None:
    """A coroutine is tried in tasks and processes."""
    assert places.what_follows(replace(held(), event_loop=EventLoop())) is None


def test_a_holder_that_changes_little_is_not_worth_a_sentence() -> None:
    """Without a share, with a small one, or with a GIL that is not in the way, nothing follows."""
    found = held()
    small = replace(found.gil, holders=(replace(HOLDERS[2], share=Estimate(value=0.04, low=0.03, high=0.05)),))
    assert places.what_follows(replace(found, gil=small)) is None
    assert places.what_follows(replace(found, gil=replace(found.gil, held_fraction=None))) is None
    assert places.what_follows(replace(found, verdict=replace(found.verdict, gil=Gil.RELEASED))) is None


def test_a_gil_held_for_too_long_fails_and_names_the_holder() -> None:
    """The failure says the share, the limit, and where."""
    (text,) = failed(Expectation(max_gil_held=0.5), held())
    assert "max_gil_held=0.5" in text
    assert "json.loads(raw) at tests/test_orders.py:9" in text


@pytest.mark.parametrize("share", [0.3, 0.52])
def test_a_share_that_may_be_within_the_limit_passes(share: float) -> None:
    """An interval that reaches below the limit excludes nothing; more rounds may, and a caution tells."""
    found = expectations.check(Expectation(max_gil_held=0.5), held(share, spread=0.05))
    assert found.failures == ()
    assert found.wants_rounds is (share > 0.5)
    assert bool(found.cautions) is (share > 0.5)


def test_a_long_hold_fails_where_threads_wait_for_the_gil() -> None:
    """A hold is known only where another thread waited; without, the test passes with a caution."""
    (text,) = failed(Expectation(max_gil_hold_s=0.02), held(hold_s=0.03))
    assert "a hold of 30 ms, most of it in json.loads(raw)" in text
    assert failed(Expectation(max_gil_hold_s=0.05), held(hold_s=0.03)) == []
    for unknown in (held(wait=0.01), held(hold_s=None)):
        found = expectations.check(Expectation(max_gil_hold_s=0.02), unknown)
        assert found.failures == ()
        assert [one.slug for one in found.cautions] == [gating.UNCHECKED]
        assert "max_gil_hold=0.02" in found.cautions[0].message


@pytest.mark.parametrize(
    ("hold_s", "wait", "method", "limit_s", "more"),
    [
        (None, 0.4, GilMethod.MEMORY, 0.02, True),
        (0.03, 0.4, GilMethod.MEMORY, 0.05, False),
        (None, 0.4, GilMethod.HEARTBEAT, 0.02, False),
        (None, 0.0, GilMethod.MEMORY, 0.02, False),
        (None, 0.4, GilMethod.MEMORY, None, False),
    ],
    ids=["disturbed", "seen", "cannot be seen", "nobody waits", "not asked for"],
)
def test_a_hold_that_disturbed_rounds_did_not_show_wants_more_rounds(
    hold_s: float | None, wait: float, method: GilMethod, limit_s: float | None, *, more: bool
) -> None:
    """Further rounds may be quiet; where the GIL's memory is not read, or no thread waits, no round shows a hold."""
    found = held(hold_s=hold_s, wait=wait)
    found = replace(found, gil=replace(found.gil, method=method))
    assert expectations.check(Expectation(max_gil_hold_s=limit_s), found).wants_rounds is more


def test_a_gil_that_an_import_switched_on_fails_only_if_asked_for() -> None:
    """The caution's text, which names the module, is the evidence."""
    found = held()
    caution = Caution(slug="gil-switched-on", message="the GIL was switched on to load shop._speed")
    found = replace(found, verdict=replace(found.verdict, cautions=(caution,)))
    assert failed(Expectation(), found) == []
    (text,) = failed(Expectation(), found, FailOn.GIL_SWITCHED_ON)
    assert "shop._speed" in text
    assert failed(Expectation(), held(), FailOn.GIL_SWITCHED_ON) == []


def test_a_result_without_any_measurement_of_the_gil_is_unchecked() -> None:
    """Nothing known of the GIL fails no limit."""
    blind: WorkloadResult = replace(held(), gil=gil(None))
    assert isinstance(blind.serial, StrategyResult)
    found = expectations.check(Expectation(max_gil_held=0.1), blind)
    assert found.failures == ()
    assert "not known" in found.cautions[0].message

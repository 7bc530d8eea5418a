"""`pytest_gilprobe.stats.sharing` and `verdict.sharing`: which object's sharing costs speed, and when that is asked."""

from __future__ import annotations

from dataclasses import replace

import evidence as made
import pytest
from fake_workers import plan
from reports_fixture import rich_report

from pytest_gilprobe.model import codec
from pytest_gilprobe.model.results import WorkloadResult
from pytest_gilprobe.model.sharing import ALL, ALONE, SHARED, Sharing, SharingReading, Suspect
from pytest_gilprobe.report import brief_terminal, html, markdown, terminal
from pytest_gilprobe.stats.sharing import FEWEST_ROUNDS, estimated, falls_short
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict.results import result_of

CACHE, ROWS = "argument cache (a dict)", "argument rows (a list)"


def reading(*, rounds: int = 8, shake: float = 0.01, **seconds: float) -> SharingReading:
    """Make rounds of two lanes: one alone takes 1 s per call; every second round takes longer by ``shake``."""
    names = {"shared": SHARED, "everything": ALL, "cache": CACHE, "rows": ROWS}
    times = {ALONE: 1.0} | {names[name]: value for name, value in seconds.items()}
    spread = [
        {name: value * (1 + shake * ((at // 2 + number) % 2)) for at, (name, value) in enumerate(times.items())}
        for number in range(rounds)
    ]
    return SharingReading(lanes=2, rounds=tuple(spread))


def test_names_the_object_whose_sharing_costs() -> None:
    """Only the object of which an own copy makes threads faster is named, with their speed-ups, not all objects."""
    found = estimated(reading(shared=2.2, everything=1.05, cache=1.05, rows=2.2))
    assert found.costly == (CACHE,)
    assert found.speedup is not None
    assert found.speedup.value == pytest.approx(0.91, abs=0.03)
    assert {one.name: round(one.speedup.value, 1) for one in found.copies} == {CACHE: 1.9, ALL: 1.9, ROWS: 0.9}


def test_all_are_named_only_together() -> None:
    """Where no single object's copies help, but those of all of them do, that is what is said."""
    assert estimated(reading(shared=2.2, everything=1.05, cache=2.1, rows=2.2)).costly == (ALL,)


def test_the_one_object_that_gains_is_named_for_all() -> None:
    """Where only all objects together gain for certain, but one of them gains about as much, that one is named."""
    uncertain = reading(shared=2.2, everything=1.5, cache=1.5, rows=2.2)
    rounds = [{**one, CACHE: one[CACHE] * (1.4 if at % 2 else 1.0)} for at, one in enumerate(uncertain.rounds)]
    assert estimated(replace(uncertain, rounds=tuple(rounds))).costly == (CACHE,)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(reading(shared=1.1, everything=1.05, cache=1.05, rows=1.1), id="copies do not matter"),
        pytest.param(reading(shared=2.2, everything=1.05, cache=1.05, rounds=FEWEST_ROUNDS - 1), id="too few rounds"),
        pytest.param(reading(shared=1.6, everything=1.2, cache=1.2, rounds=4, shake=0.9), id="timings vary too much"),
        pytest.param(SharingReading(lanes=2, not_copied={ROWS: "it has a __del__"}), id="nothing to copy"),
    ],
)
def test_says_nothing_where_unsure(found: SharingReading) -> None:
    """Where intervals do not tell, or nothing could be tried, no object is named."""
    assert estimated(found).costly == ()
    assert estimated(found).not_copied == found.not_copied


@pytest.mark.parametrize(
    ("wall_s", "busy", "gil_on", "expected"),
    [
        (0.2, 1.0, False, True),  # two threads on two CPUs take as long as one after the other
        (0.1, 1.0, False, False),
        (0.2, 1.0, True, False),  # that is all that the GIL allows
        (0.2, 0.05, True, True),  # calls that wait should overlap
        (0.1, 0.05, True, False),
    ],
)
def test_threads_fall_short(wall_s: float, busy: float, *, gil_on: bool, expected: bool) -> None:
    """Threads fall short where they gain less than CPUs and GIL allow, the latter at most for the calls' CPU time."""
    rounds = [made.round_(made.serial(0.1, busy), threads=made.threads(wall_s, busy / 2)) for _ in range(3)]
    assert falls_short(rounds, "threads", 2, 2, gil_on=gil_on) is expected


def test_waits_for_a_cpu_do_not_make_threads_fall_short() -> None:
    """Threads that a busy machine held up for half of their time gain what CPUs allow."""
    busy = made.threads(0.2, 0.5, queue_s=0.1)
    assert not falls_short([made.round_(made.serial(0.1), threads=busy)] * 3, "threads", 2, 2, gil_on=False)


def test_advice_names_the_object() -> None:
    """The verdict's advice and its whole sentence say what threads gain with a copy each."""
    sharing = reading(shared=2.2, everything=1.05, cache=1.05, rows=2.2)
    rounds = [made.round_(threads=made.threads(), processes=made.processes()) for _ in range(3)]
    found = made.evidence(seen=made.measurement(*rounds))
    told = result_of(plan(), replace(found, measurement=replace(found.measurement, sharing=sharing)))
    clause = "with a copy of argument cache (a dict) for each thread, threads gain 1.9x instead of 0.91x"
    assert told.verdict.advice.endswith(clause)
    assert told.verdict.reason.endswith(clause)
    assert result_of(plan(), found).sharing is None


LOCK, LOG = "fixture lock (a Lock)", "argument log (a TextIOWrapper)"


def told_of(sharing: SharingReading) -> WorkloadResult:
    """Judge a workload of which threads share this."""
    rounds = [made.round_(threads=made.threads(), processes=made.processes()) for _ in range(3)]
    return result_of(plan(), made.evidence(seen=replace(made.measurement(*rounds), sharing=sharing)))


def unknown() -> SharingReading:
    """Return a reading of an object that cannot be copied, and nothing else."""
    return SharingReading(lanes=2, not_copied={LOG: "an open file"})


def test_what_cannot_be_copied_is_told() -> None:
    """Where no copy explains why threads fall short, the sentence names what could not be copied, and why."""
    told = told_of(unknown())
    clause = f"{LOG} cannot be copied (an open file), so what sharing costs there is not known"
    assert told.verdict.advice.endswith(clause)
    assert told.verdict.reason.endswith(clause)
    several = told_of(SharingReading(lanes=2, not_copied=dict.fromkeys((LOG, LOCK, ROWS, CACHE), "it is open")))
    assert f"{LOG} and {LOCK} and 2 more cannot be copied (it is open), so" in several.verdict.advice


def test_what_explains_it_goes_first() -> None:
    """A suspect goes before what cannot be copied; an object whose sharing costs for certain goes without it."""
    suspect = Suspect(name="COUNTS (a dict)", file="a.py", line=3)
    both = told_of(SharingReading(lanes=2, not_copied={LOG: "an open file"}, suspects=(suspect,)))
    assert 0 < both.verdict.advice.index("COUNTS") < both.verdict.advice.index("cannot be copied")
    certain = replace(reading(shared=2.2, everything=1.05, cache=1.05), not_copied={LOG: "an open file"})
    assert "cannot be copied" not in told_of(certain).verdict.advice


def test_every_drawing_has_what_threads_share() -> None:
    """The terminal's whole report, Markdown and the page list the copies with their gains, and what has none."""
    sharing = replace(
        reading(shared=2.2, everything=1.05, cache=1.05), not_copied={LOG: "an\x1b open file"}, not_tried=(ROWS,)
    )
    report = replace(rich_report(), workloads=(told_of(sharing),))
    seen = terminal.text(terminal.draw(report, BUILT_IN, width=140), color=False)
    for drawn in (seen, markdown.draw(report, BUILT_IN), html.draw(report, BUILT_IN)):
        plain = drawn.replace("\\", "")
        assert "\x1b" not in drawn
        assert "what threads share" in plain
        assert f"with a copy of {CACHE} for each: 1.9" in plain
        assert "with a copy of all objects for each: 1.9" in plain
        assert f"{LOG} cannot be copied, so what its sharing costs is not known: an" in plain
        assert f"copied only together with all others: {ROWS}" in plain
    short = terminal.text(brief_terminal.draw(replace(report, workloads=(told_of(unknown()),)), BUILT_IN), color=False)
    assert "cannot be copied (an open file)" in " ".join(short.split())


def test_copies_are_told_to_gain_no_more_than_the_threads() -> None:
    """Copies that seemed to make two threads gain more than 2x are told as 2x."""
    sharing = reading(shared=2.2, everything=0.8, cache=0.8, rows=2.2)
    rounds = [made.round_(threads=made.threads(), processes=made.processes()) for _ in range(3)]
    found = made.evidence(seen=made.measurement(*rounds))
    told = result_of(plan(), replace(found, measurement=replace(found.measurement, sharing=sharing)))
    assert told.verdict.advice.endswith("threads gain 2.0x instead of 0.91x")


def test_survives_json() -> None:
    """What is written to a report is read back unchanged."""
    found = estimated(reading(shared=2.2, everything=1.05, cache=1.05))
    assert codec.decoder(Sharing)(codec.plain(found)) == found

"""`pytest_gilprobe.stats.sharing` and `verdict.sharing`: which object's sharing costs speed, and when that is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import evidence as made
import pytest
from fake_workers import plan
from reports_fixture import rich_report

from pytest_gilprobe.model import codec
from pytest_gilprobe.model.results import WorkloadResult
from pytest_gilprobe.model.sharing import ALL, ALONE, CONTROL, CONTROL_ALONE, SHARED, Sharing, SharingReading, Suspect
from pytest_gilprobe.report import brief_terminal, html, markdown, terminal
from pytest_gilprobe.stats.sharing import FEWEST_ROUNDS, estimated, falls_short
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict.results import result_of

CACHE, ROWS = "argument cache (a dict)", "argument rows (a list)"


def reading(*, rounds: int = 8, shake: float = 0.01, **seconds: float) -> SharingReading:
    """Make rounds of two lanes: one alone takes 1 s per call; every second round takes longer by ``shake``.

    ``control`` is what the control takes in two lanes; alone it takes 1 s.
    """
    names = {"shared": SHARED, "everything": ALL, "cache": CACHE, "rows": ROWS, "control": CONTROL}
    times = (
        {ALONE: 1.0}
        | ({CONTROL_ALONE: 1.0} if "control" in seconds else {})
        | {names[name]: value for name, value in seconds.items()}
    )
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


def test_control_is_no_copy() -> None:
    """The control's speed-up is apart from those of copies; theirs, or without them the lanes', is a share of it."""
    found = estimated(reading(shared=2.2, everything=1.25, cache=1.25, control=1.0))
    assert {one.name for one in found.copies} == {CACHE, ALL}
    assert found.best is not None
    assert found.of_best is not None
    assert found.best.value == pytest.approx(2.0, abs=0.05)
    assert found.best.low < found.best.value < found.best.high
    assert found.of_best.value == pytest.approx(0.8, abs=0.02)
    bare = estimated(reading(shared=2.0, control=1.0))
    assert (bare.copies, bare.costly) == ((), ())
    assert bare.of_best is not None
    assert bare.of_best.value == pytest.approx(0.5, abs=0.02)
    without = estimated(reading(shared=2.2, everything=1.25, cache=1.25))
    assert (without.best, without.of_best) == (None, None)


LOCK, LOG = "fixture lock (a Lock)", "argument log (a TextIOWrapper)"


def told_of(sharing: SharingReading, **changes: Any) -> WorkloadResult:
    """Judge a workload of which threads share this; ``changes`` are of its serial calls."""
    rounds = [made.round_(threads=made.threads(), processes=made.processes()) for _ in range(3)]
    return result_of(plan(), made.evidence(seen=replace(made.measurement(*rounds), sharing=sharing), **changes))


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


BEST = "plain Python that shares nothing gains 1.9x here, the most that this build and machine give"
PLACES = "objects or classes of modules, the allocator, or memory"
COUNTS = Suspect(name="COUNTS (a dict)", file="a.py", line=3)
CONTROLLED = reading(shared=2.2, everything=1.05, cache=1.05, rows=2.2, control=1.05)


@pytest.mark.parametrize(
    ("found", "ends"),
    [
        pytest.param(
            CONTROLLED,
            f"threads gain 1.9x instead of 0.91x; {BEST}: nothing else that threads share costs much",
            id="a copy reaches it",
        ),
        pytest.param(
            replace(CONTROLLED, suspects=(COUNTS,)),
            f"{BEST}: nothing else that threads share costs much",
            id="then nothing is suspected",
        ),
        pytest.param(
            reading(shared=2.2, everything=1.6, cache=1.6, rows=2.2, control=1.05),
            f"1.2x instead of 0.91x; {BEST}; what still holds threads up is shared elsewhere: {PLACES}",
            id="copies fall short of it",
        ),
        pytest.param(
            reading(shared=2.2, control=1.05),
            f"; {BEST}; what holds threads up is shared elsewhere: {PLACES}",
            id="nothing to copy",
        ),
        pytest.param(
            replace(reading(shared=2.2, everything=2.2, cache=2.2, control=1.05), suspects=(COUNTS,)),
            f"; {BEST}; what holds threads up is shared elsewhere; the code writes to or locks COUNTS (a dict) at "
            "a.py:3 in all threads, which may hold them up: see whether they need to share it",
            id="a suspect is what remains",
        ),
        pytest.param(
            replace(reading(shared=2.2, control=1.05), not_copied={LOG: "an open file"}),
            f"shared elsewhere: objects that cannot be copied, {PLACES}; {LOG} cannot be copied (an open file), so "
            "what sharing costs there is not known",
            id="what cannot be copied may be what remains",
        ),
        pytest.param(
            replace(reading(shared=1.05, everything=1.05, cache=1.05, control=1.05), suspects=(COUNTS,)),
            f"; {BEST}: nothing that threads share costs much",
            id="sharing costs nothing",
        ),
        pytest.param(
            reading(shared=2.2, everything=1.25, cache=1.25, rows=2.2, control=1.05),
            f"threads gain 1.6x instead of 0.91x; {BEST}",
            id="whether copies reach it is open",
        ),
    ],
)
def test_what_remains_beside_the_control(found: SharingReading, ends: str) -> None:
    """Private copies that reach the control leave nothing to look for; where they fall short, it is said where."""
    told = told_of(found)
    assert told.verdict.advice.endswith(ends.removeprefix("; "))
    assert told.verdict.reason.endswith(ends)


@pytest.mark.parametrize(
    ("found", "changes"),
    [
        pytest.param(CONTROLLED, {"cpu_utilization": made.estimate(0.5)}, id="calls that wait may gain more"),
        pytest.param(
            reading(shared=2.2, everything=1.05, cache=1.05, control=1.4), {}, id="copies gain more than the control"
        ),
        pytest.param(
            replace(
                CONTROLLED,
                rounds=tuple({**one, CONTROL: 1.0 + at % 3} for at, one in enumerate(CONTROLLED.rounds)),
            ),
            {},
            id="a control that varies",
        ),
    ],
)
def test_control_that_is_no_measure(found: SharingReading, changes: dict[str, Any]) -> None:
    """Where the control does not show the most that calls can gain, the sentence has nothing of it; the report does."""
    told = told_of(found, **changes)
    assert "plain Python" not in told.verdict.reason
    assert "instead of 0.91x" in told.verdict.advice
    assert told.sharing is not None
    assert told.sharing.best is not None


def test_control_that_varies_may_show_what_is_missing() -> None:
    """Other programs can only lower what the control gains: calls that fall short of it all the same surely do."""
    found = reading(shared=2.2, everything=2.2, cache=2.2, control=1.05)
    rounds = tuple({**one, CONTROL: 1.0 + at % 2 / 2} for at, one in enumerate(found.rounds))
    told = told_of(replace(found, rounds=rounds))
    assert told.sharing is not None
    assert told.sharing.best is not None
    assert told.sharing.best.low < 0.85 * told.sharing.best.value
    assert told.verdict.advice.endswith(f"what holds threads up is shared elsewhere: {PLACES}")


def test_unsure_gain_of_copies_is_not_told_to_be_none() -> None:
    """Where copies may gain, it is not said that sharing costs nothing, though they reach the control."""
    unsure = reading(shared=1.05, everything=1.05, cache=1.05, control=1.05)
    rounds = tuple({**one, SHARED: 1.05 + at % 2} for at, one in enumerate(unsure.rounds))
    told = told_of(replace(unsure, rounds=rounds))
    assert told.sharing is not None
    assert told.sharing.costly == ()
    assert "share" not in told.verdict.reason


def test_every_drawing_has_what_threads_share() -> None:
    """The terminal's whole report, Markdown and the page list the copies with their gains, and what has none."""
    sharing = replace(
        reading(shared=2.2, everything=1.05, cache=1.05, control=1.1),
        not_copied={LOG: "an\x1b open file"},
        not_tried=(ROWS,),
        suspects=(COUNTS, replace(COUNTS, name="LOCK\x1b (a lock)", line=9, held_share=0.62)),
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
        assert "plain Python that shares nothing, timed between these: 1.8" in plain
        assert "only suspected, not tried: all write to or lock COUNTS (a dict) at a.py:3" in plain
        assert "a.py:9, with 62 % of the GIL" in plain
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
    found = replace(estimated(CONTROLLED), suspects=(replace(COUNTS, held_share=0.5),))
    assert codec.decoder(Sharing)(codec.plain(found)) == found


def test_reads_what_had_no_control() -> None:
    """Reports of before the control was timed are read: its fields are unknown."""
    found = estimated(reading(shared=2.2, everything=1.05, cache=1.05))
    old = {name: value for name, value in codec.plain(found).items() if name not in ("best", "of_best")}
    old["suspects"] = [{"name": "COUNTS (a dict)", "file": "a.py", "line": 3}]
    assert codec.decoder(Sharing)(old) == replace(found, suspects=(COUNTS,))

"""`pytest_gilprobe.cautions`: each caution where it belongs, silence where it does not, and a catalogue of them all."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from evidence import estimate, evidence, machine, measurement, processes, serial, threads, told

from pytest_gilprobe import cautions
from pytest_gilprobe.model import (
    Bound,
    Evidence,
    Gil,
    Measurement,
    Outcome,
    ProcessesResult,
    Round,
    ThreadsResult,
    TimeShares,
)

QUIET = evidence()
"""Computing under the GIL on a quiet machine: nothing to caution about."""
SWITCHED_ON = measurement(Round(serial=serial(gil=True)), gil_on_at_start=False)
SLOW_NOW = measurement(controls=(Round(serial=serial(), processes=processes(0.2, 0.5)),))
"""Between the rounds, the machine gave a plain loop nothing either, whatever it gave at the session's start."""
CATALOGUE = Path(__file__).resolve().parents[1] / "docs/messages.md"


def rising(*factors: float) -> Measurement:
    """Make a measurement whose serial batches take so many times 0.1 s."""
    return measurement(*(Round(serial=serial(0.1 * factor)) for factor in factors))


def wanting(share: float) -> ThreadsResult:
    """Make threads that waited for the GIL for a share of their time."""
    rest = 1 - share
    shares = TimeShares(cpu=rest, cpu_with_gil=rest, cpu_without_gil=0.0, gil_wait=share, blocked=share, run_queue=0.0)
    return ThreadsResult(**told(1.0), shares=shares)


CASES: dict[str, list[tuple[Evidence, Bound, Gil]]] = {
    "unsafe-in-threads": [
        (evidence(ThreadsResult(outcome=outcome, error="why"), 2.0), Bound.CPU, Gil.HELD)
        for outcome in (Outcome.FAILED, Outcome.HUNG, Outcome.CRASHED)
    ],
    "fails-in-processes": [
        (evidence(1.0, ProcessesResult(outcome=outcome, error="why")), Bound.CPU, Gil.HELD)
        for outcome in (Outcome.FAILED, Outcome.HUNG, Outcome.CRASHED)
    ],
    "blocks-holding-gil": [
        (evidence(cpu_utilization=estimate(0.01), gil_held_fraction=estimate(0.95)), Bound.IO, Gil.HELD)
    ],
    "stalls-threads": [(evidence(wanting(0.4), longest_hold_s=0.05), Bound.CPU, Gil.HELD)],
    "gil-switched-on": [(evidence(seen=SWITCHED_ON), Bound.CPU, Gil.HELD)],
    "already-parallel": [(evidence(native_cpu_share=0.9), Bound.CPU, Gil.RELEASED)],
    "children-compute": [
        (evidence(seen=measurement(Round(serial=serial(busy=0.01, children_s=0.09)))), Bound.IO, Gil.RELEASED)
    ],
    "threads-slower": [(evidence(estimate(0.6, 0.5, 0.7), 2.0), Bound.CPU, Gil.HELD)],
    "not-the-gil": [
        (evidence(1.0, 2.0, gil_held_fraction=estimate(0.05)), Bound.CPU, Gil.RELEASED),
        (evidence(ThreadsResult(**told(1.0, ceiling=1.9)), 2.0), Bound.IO, Gil.PARTIAL),
    ],
    "contended-without-gil": [
        (evidence(1.0, 2.0, gil_held_fraction=None), Bound.CPU, Gil.ABSENT),
        (
            evidence(estimate(1.42, 1.25, 1.61), 1.9, on=machine(scaling=estimate(1.94, 1.85, 2.03))),
            Bound.CPU,
            Gil.ABSENT,
        ),
    ],
    "more-workers-than-cpus": [(evidence(on=machine(cpus=1)), Bound.CPU, Gil.HELD)],
    "busy-machine": [(evidence(run_queue_share=0.3), Bound.CPU, Gil.HELD)],
    "throttled": [(evidence(seen=measurement(throttled_share=0.1)), Bound.CPU, Gil.HELD)],
    "traced": [(evidence(seen=measurement(tracers=("sys.settrace",))), Bound.CPU, Gil.HELD)],
    "leaves-changed": [(evidence(seen=measurement(left_changed=("the working directory",))), Bound.CPU, Gil.HELD)],
    "slow-first-call": [(evidence(first_call_s=0.5), Bound.CPU, Gil.HELD)],
    "uneven-calls": [
        (evidence(seen=rising(1.0, 1.1, 1.2, 1.3, 1.4, 1.5)), Bound.CPU, Gil.HELD),
        (evidence(seen=rising(1.0, 2.0, 1.0, 2.0, 1.0, 2.0)), Bound.CPU, Gil.HELD),
    ],
    "gil-unwatched": [
        (evidence(seen=measurement(gil_unwatched="no right to"), gil_held_fraction=None), Bound.CPU, Gil.UNKNOWN)
    ],
    "gil-part-open": [
        (evidence(gil_held_fraction=estimate(0.85, 0.7, 1.0)), Bound.CPU, Gil.HELD),
        (evidence(gil_held_fraction=estimate(0.5, 0.1, 0.9)), Bound.CPU, Gil.UNKNOWN),
        (
            evidence(gil_held_fraction=estimate(0.3), cpu_utilization=estimate(0.36, 0.3, 0.42)),
            Bound.INCONCLUSIVE,
            Gil.HELD,
        ),
    ],
}
SILENT: list[tuple[str, Evidence, Bound, Gil]] = [
    ("unsafe-in-threads", evidence(None, 2.0), Bound.CPU, Gil.HELD),
    ("fails-in-processes", evidence(1.0, None), Bound.CPU, Gil.HELD),
    ("blocks-holding-gil", evidence(gil_held_fraction=None), Bound.CPU, Gil.UNKNOWN),
    ("stalls-threads", evidence(wanting(0.4), longest_hold_s=0.004), Bound.CPU, Gil.HELD),
    ("stalls-threads", evidence(wanting(0.01), longest_hold_s=0.05), Bound.CPU, Gil.HELD),
    ("stalls-threads", evidence(longest_hold_s=0.05), Bound.CPU, Gil.HELD),
    ("gil-switched-on", evidence(seen=replace(SWITCHED_ON, gil_on_at_start=True)), Bound.CPU, Gil.HELD),
    ("already-parallel", evidence(native_cpu_share=None), Bound.CPU, Gil.RELEASED),
    ("children-compute", evidence(), Bound.IO, Gil.RELEASED),
    ("threads-slower", evidence(estimate(0.8, 0.6, 1.0), 2.0), Bound.CPU, Gil.HELD),
    ("not-the-gil", evidence(1.9, 2.0), Bound.CPU, Gil.RELEASED),
    ("not-the-gil", evidence(1.0, 2.0), Bound.CPU, Gil.HELD),
    ("not-the-gil", evidence(1.0, 2.0), Bound.INCONCLUSIVE, Gil.RELEASED),
    ("not-the-gil", evidence(1.0, 1.0, native_cpu_share=0.9), Bound.CPU, Gil.RELEASED),
    ("not-the-gil", evidence(1.0, 1.0, on=machine(scaling=estimate(1.0))), Bound.CPU, Gil.RELEASED),
    ("not-the-gil", evidence(1.0, 1.0, seen=SLOW_NOW), Bound.CPU, Gil.RELEASED),
    ("contended-without-gil", evidence(1.0, 1.0, seen=SLOW_NOW), Bound.CPU, Gil.ABSENT),
    ("contended-without-gil", evidence(1.0, 2.0), Bound.IO, Gil.ABSENT),
    ("contended-without-gil", evidence(estimate(1.42, 1.15, 1.75), 2.0), Bound.CPU, Gil.ABSENT),
    ("contended-without-gil", evidence(1.9, 2.0), Bound.CPU, Gil.ABSENT),
    ("contended-without-gil", evidence(1.0, 1.0, native_cpu_share=0.9), Bound.CPU, Gil.ABSENT),
    ("contended-without-gil", evidence(1.0, 1.0, on=machine(scaling=None)), Bound.CPU, Gil.ABSENT),
    ("more-workers-than-cpus", evidence(on=machine(cpus=1)), Bound.IO, Gil.RELEASED),
    ("busy-machine", evidence(run_queue_share=None), Bound.CPU, Gil.HELD),
    ("throttled", evidence(seen=measurement(throttled_share=0.001)), Bound.CPU, Gil.HELD),
    ("slow-first-call", evidence(first_call_s=None), Bound.CPU, Gil.HELD),
    ("slow-first-call", evidence(first_call_s=1e-4, wall_s_per_call=estimate(1e-6)), Bound.CPU, Gil.HELD),
    ("uneven-calls", evidence(seen=rising(1.0, 2.0, 1.0)), Bound.CPU, Gil.HELD),
    ("uneven-calls", evidence(seen=rising(1.0, 1.1, 1.0, 1.1, 1.0, 1.1)), Bound.CPU, Gil.HELD),
    ("uneven-calls", evidence(seen=rising(1.0, 1.0, 1.4, 1.0, 1.3, 1.4)), Bound.CPU, Gil.HELD),
    ("gil-unwatched", evidence(seen=measurement(gil_unwatched="free"), gil_held_fraction=None), Bound.CPU, Gil.ABSENT),
    ("gil-unwatched", evidence(seen=measurement(gil_unwatched="at times")), Bound.CPU, Gil.HELD),
    ("gil-part-open", evidence(gil_held_fraction=estimate(0.9, 0.81, 0.95)), Bound.CPU, Gil.HELD),
    ("gil-part-open", evidence(gil_held_fraction=estimate(0.5, 0.1, 0.9)), Bound.CPU, Gil.ABSENT),
    ("gil-part-open", evidence(gil_held_fraction=None), Bound.CPU, Gil.UNKNOWN),
]


def slugs(found: Evidence, bound: Bound, gil: Gil) -> list[str]:
    return [caution.slug for caution in cautions.of(found, bound, gil)]


def test_quiet_evidence_has_no_caution() -> None:
    """An undisturbed textbook case is told without a word of caution."""
    assert cautions.of(QUIET, Bound.CPU, Gil.HELD) == ()


@pytest.mark.parametrize(("slug", "case"), [(slug, case) for slug, cases in CASES.items() for case in cases])
def test_caution_where_it_belongs(slug: str, case: tuple[Evidence, Bound, Gil]) -> None:
    """Evidence that asks for a caution gets it."""
    assert slug in slugs(*case)


@pytest.mark.parametrize(("slug", "found", "bound", "gil"), SILENT)
def test_silence_where_it_does_not(slug: str, found: Evidence, bound: Bound, gil: Gil) -> None:
    """Evidence that nearly asks for a caution, or cannot tell, does not get it."""
    assert slug not in slugs(found, bound, gil)


def test_every_caution_has_a_case() -> None:
    """No caution is untested, and none is tested that does not exist."""
    assert set(CASES) == set(cautions._RULES)


def test_gravest_comes_first() -> None:
    """Cautions stand in the order of the rules: harm before noise."""
    found = evidence(ThreadsResult(outcome=Outcome.HUNG, error="why"), 2.0, run_queue_share=0.5, first_call_s=1.0)
    assert slugs(found, Bound.CPU, Gil.HELD) == ["unsafe-in-threads", "busy-machine", "slow-first-call"]


def test_already_parallel_is_told_with_its_number() -> None:
    """A caution gives what was measured: here the part of another core."""
    (only,) = cautions.of(evidence(native_cpu_share=0.9), Bound.CPU, Gil.HELD)
    assert "90 %" in only.message


def other_slugs() -> set[str]:
    """Find the slugs that other rooms give their cautions: as a literal, or by a name in the same module."""
    found: set[str] = set()
    for path in Path(cautions.__file__).parent.rglob("*.py"):
        text = path.read_text("utf-8")
        for slug in re.findall(r"\bCaution\(\s*slug=([^,\s]+),", text):
            literal = slug if slug.startswith('"') else re.findall(rf"^{slug} = (.*)$", text, re.MULTILINE)
            found.update([literal] if isinstance(literal, str) else literal)
    return {slug.strip('"') for slug in found}


def test_catalogue_lists_every_slug() -> None:
    """``docs/messages.md`` has a heading for each caution: the rules, in their order, then gates and prices."""
    headings = re.findall(r"^## `([a-z-]+)`$", CATALOGUE.read_text("utf-8"), re.MULTILINE)
    rules = list(cautions._RULES)
    assert headings[: len(rules)] == rules
    assert sorted(headings[len(rules) :]) == sorted(other_slugs())


def test_catalogue_lists_what_comparisons_and_scans_say() -> None:
    """``docs/messages.md`` has a heading for each slug of a comparison, and for each of a scan."""
    text = CATALOGUE.read_text("utf-8").partition("\n## In a comparison\n")[2]
    compared, _, scanned = text.partition("\n## In a scan\n")
    package = Path(cautions.__file__).parent
    for part, sources in ((compared, ("compare.py", "reporters/matrix.py")), (scanned, ("scan/findings.py",))):
        said = "".join((package / source).read_text("utf-8") for source in sources)
        assert set(re.findall(r"^### `([a-z-]+)`$", part, re.MULTILINE)) == set(
            re.findall(r'"((?:[a-z-]+-differ)|(?:scan-[a-z]+))"', said)
        )


def test_threads_without_gil_that_scale_are_fine() -> None:
    """Threads that reach the machine's own scaling are not contended."""
    one = Round(serial=serial(gil=False), threads=threads(0.1, 1.0, gil=False), processes=processes(gil=False))
    seen = measurement(one, gil_on_at_start=False)
    assert slugs(evidence(2.0, 2.0, seen=seen, gil_held_fraction=None), Bound.CPU, Gil.ABSENT) == []

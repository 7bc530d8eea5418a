"""`pytest_gilprobe.verdict.cautions`: each where it belongs, silence where it does not, and a catalogue of them all."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from evidence import PLAIN, control, estimate, evidence, machine, measurement, processes, round_, serial, threads, tried

from pytest_gilprobe.model.holders import Holder
from pytest_gilprobe.model.readings import Evidence, Measurement
from pytest_gilprobe.model.results import Caution, StrategyResult, TimeShares, Verdict
from pytest_gilprobe.model.words import BROKEN, Bound, Gil, GilMethod, Outcome
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.strategies.threads import Threads
from pytest_gilprobe.verdict import cautions

QUIET = evidence()
"""Computing under the GIL on a quiet machine: nothing to caution about."""
HEARD = replace(QUIET.gil, method=GilMethod.HEARTBEAT)
SWITCHED_ON = measurement(round_(serial(gil_on=True)), gil_on_at_start=False)
SLOW_NOW = measurement(controls=(control(serial(), processes(0.2, 0.5)),))
"""Between the rounds, the machine gave a plain loop nothing either, whatever it gave at the session's start."""
PACKAGE = Path(cautions.__file__).resolve().parents[1]
CATALOGUE = Path(__file__).resolve().parents[1] / "docs/messages.md"
TASKS = BUILT_IN["tasks"]
WHEN_BROKEN = [one.when_broken(Outcome.FAILED).slug for one in BUILT_IN.parallel]


def rising(*factors: float) -> Measurement:
    """Make a measurement whose serial batches take so many times 0.1 s."""
    return measurement(*(round_(serial(0.1 * factor)) for factor in factors))


def wanting(share: float) -> StrategyResult:
    """Make threads that waited for the GIL for a share of their time."""
    rest = 1 - share
    shares = TimeShares(cpu=rest, cpu_with_gil=rest, cpu_without_gil=0.0, gil_wait=share, blocked=share, run_queue=0.0)
    return tried(1.0, shares=shares)


def broken(outcome: Outcome) -> StrategyResult:
    """Make a strategy that ended badly."""
    return StrategyResult(outcome=outcome, error="why")


CASES: dict[str, list[tuple[Evidence, Bound, Gil]]] = {
    "unsafe-in-threads": [(evidence(broken(outcome), 2.0), Bound.CPU, Gil.HELD) for outcome in sorted(BROKEN)],
    "fails-in-processes": [(evidence(1.0, broken(outcome)), Bound.CPU, Gil.HELD) for outcome in sorted(BROKEN)],
    "fails-in-interpreters": [
        (
            replace(
                evidence(),
                strategies=(BUILT_IN["interpreters"],),
                results={**QUIET.results, "interpreters": broken(outcome)},
            ),
            Bound.CPU,
            Gil.HELD,
        )
        for outcome in sorted(BROKEN)
    ],
    "unsafe-in-tasks": [
        (replace(evidence(), strategies=(TASKS,), results={**QUIET.results, "tasks": broken(outcome)}), bound, Gil.HELD)
        for outcome, bound in zip(sorted(BROKEN), Bound, strict=False)
    ],
    "blocks-holding-gil": [
        (evidence(cpu_utilization=estimate(0.01), held_fraction=estimate(0.95)), Bound.IO, Gil.HELD)
    ],
    "stalls-threads": [(evidence(wanting(0.4), longest_hold_s=0.05), Bound.CPU, Gil.HELD)],
    "gil-switched-on": [(evidence(seen=SWITCHED_ON), Bound.CPU, Gil.HELD)],
    "already-parallel": [(evidence(extra_cores=0.9), Bound.CPU, Gil.RELEASED)],
    "children-compute": [
        (evidence(seen=measurement(round_(serial(busy=0.01, children_s=0.09)))), Bound.IO, Gil.RELEASED)
    ],
    "threads-slower": [(evidence(estimate(0.6, 0.5, 0.7), 2.0), Bound.CPU, Gil.HELD)],
    "not-the-gil": [
        (evidence(1.0, 2.0, held_fraction=estimate(0.05)), Bound.CPU, Gil.RELEASED),
        (evidence(1.0, 2.0, held_fraction=estimate(1 / 1.9)), Bound.IO, Gil.PARTIAL),
    ],
    "limit-per-process": [(evidence(1.0, 2.0, held_fraction=estimate(0.05)), Bound.IO, Gil.RELEASED)],
    "page-faults": [
        (evidence(on=machine(page_fault_s=2e-6), page_faults_per_call=2700.0), Bound.CPU, Gil.HELD),
    ],
    "contended-without-gil": [
        (evidence(1.0, 2.0, held_fraction=None), Bound.CPU, Gil.ABSENT),
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
    "queueing-unseen": [(evidence(run_queue_share=None), Bound.CPU, Gil.HELD)],
    "gil-unwatched": [
        (evidence(seen=measurement(gil_unwatched="no right to"), held_fraction=None), Bound.CPU, Gil.UNKNOWN),
        (replace(evidence(seen=measurement(gil_unwatched="no right to")), gil=HEARD), Bound.CPU, Gil.HELD),
    ],
    "gil-part-open": [
        (evidence(held_fraction=estimate(0.5, 0.1, 0.9)), Bound.CPU, Gil.UNKNOWN),
        (
            evidence(held_fraction=estimate(0.18), cpu_utilization=estimate(0.36, 0.3, 0.42)),
            Bound.INCONCLUSIVE,
            Gil.HELD,
        ),
    ],
}
SILENT: list[tuple[str, Evidence, Bound, Gil]] = [
    ("unsafe-in-threads", evidence(None, 2.0), Bound.CPU, Gil.HELD),
    ("fails-in-processes", evidence(1.0, None), Bound.CPU, Gil.HELD),
    ("blocks-holding-gil", evidence(held_fraction=None), Bound.CPU, Gil.UNKNOWN),
    ("stalls-threads", evidence(wanting(0.4), longest_hold_s=0.004), Bound.CPU, Gil.HELD),
    ("stalls-threads", evidence(wanting(0.01), longest_hold_s=0.05), Bound.CPU, Gil.HELD),
    ("stalls-threads", evidence(longest_hold_s=0.05), Bound.CPU, Gil.HELD),
    ("gil-switched-on", evidence(seen=replace(SWITCHED_ON, gil_on_at_start=True)), Bound.CPU, Gil.HELD),
    ("already-parallel", evidence(extra_cores=None), Bound.CPU, Gil.RELEASED),
    ("children-compute", evidence(), Bound.IO, Gil.RELEASED),
    ("threads-slower", evidence(estimate(0.8, 0.6, 1.0), 2.0), Bound.CPU, Gil.HELD),
    ("not-the-gil", evidence(1.9, 2.0), Bound.CPU, Gil.RELEASED),
    ("not-the-gil", evidence(1.0, 2.0), Bound.CPU, Gil.HELD),
    ("not-the-gil", evidence(1.0, 2.0), Bound.INCONCLUSIVE, Gil.RELEASED),
    ("not-the-gil", evidence(1.0, 1.0, extra_cores=0.9), Bound.CPU, Gil.RELEASED),
    ("not-the-gil", evidence(1.0, 1.0, on=machine(scaling=estimate(1.0))), Bound.CPU, Gil.RELEASED),
    ("not-the-gil", evidence(1.0, 1.0, seen=SLOW_NOW), Bound.CPU, Gil.RELEASED),
    ("limit-per-process", evidence(1.0, 2.0, held_fraction=estimate(0.05)), Bound.CPU, Gil.RELEASED),
    ("limit-per-process", evidence(1.9, 2.0, held_fraction=estimate(0.05)), Bound.IO, Gil.RELEASED),
    ("page-faults", evidence(on=machine(page_fault_s=2e-6), page_faults_per_call=270.0), Bound.CPU, Gil.HELD),
    ("page-faults", evidence(on=machine(page_fault_s=None), page_faults_per_call=2700.0), Bound.CPU, Gil.HELD),
    ("page-faults", evidence(on=machine(page_fault_s=2e-6)), Bound.CPU, Gil.HELD),
    ("contended-without-gil", evidence(1.0, 1.0, seen=SLOW_NOW), Bound.CPU, Gil.ABSENT),
    ("contended-without-gil", evidence(1.0, 2.0), Bound.IO, Gil.ABSENT),
    ("contended-without-gil", evidence(estimate(1.42, 1.15, 1.75), 2.0), Bound.CPU, Gil.ABSENT),
    ("contended-without-gil", evidence(1.9, 2.0), Bound.CPU, Gil.ABSENT),
    ("contended-without-gil", evidence(1.0, 1.0, extra_cores=0.9), Bound.CPU, Gil.ABSENT),
    ("contended-without-gil", evidence(1.0, 1.0, on=machine(scaling=None)), Bound.CPU, Gil.ABSENT),
    ("more-workers-than-cpus", evidence(on=machine(cpus=1)), Bound.IO, Gil.RELEASED),
    ("busy-machine", evidence(run_queue_share=None), Bound.CPU, Gil.HELD),
    ("blocks-holding-gil", evidence(cpu_utilization=estimate(0.3, 0.3, 1.0)), Bound.INCONCLUSIVE, Gil.HELD),
    ("queueing-unseen", evidence(run_queue_share=0.0), Bound.CPU, Gil.HELD),
    ("throttled", evidence(seen=measurement(throttled_share=0.001)), Bound.CPU, Gil.HELD),
    ("slow-first-call", evidence(first_call_s=None), Bound.CPU, Gil.HELD),
    ("slow-first-call", evidence(first_call_s=1e-4, wall_s_per_call=estimate(1e-6)), Bound.CPU, Gil.HELD),
    ("uneven-calls", evidence(seen=rising(1.0, 2.0, 1.0)), Bound.CPU, Gil.HELD),
    ("uneven-calls", evidence(seen=rising(1.0, 1.1, 1.0, 1.1, 1.0, 1.1)), Bound.CPU, Gil.HELD),
    ("uneven-calls", evidence(seen=rising(1.0, 1.0, 1.4, 1.0, 1.3, 1.4)), Bound.CPU, Gil.HELD),
    ("gil-unwatched", evidence(seen=measurement(gil_unwatched="free"), held_fraction=None), Bound.CPU, Gil.ABSENT),
    ("gil-unwatched", evidence(seen=measurement(gil_unwatched="at times")), Bound.CPU, Gil.HELD),
    ("gil-part-open", evidence(held_fraction=estimate(0.9, 0.81, 0.95)), Bound.CPU, Gil.HELD),
    ("gil-part-open", evidence(held_fraction=estimate(0.85, 0.7, 1.0)), Bound.CPU, Gil.HELD),
    ("gil-part-open", evidence(held_fraction=estimate(0.5, 0.1, 0.9)), Bound.CPU, Gil.ABSENT),
    ("gil-part-open", evidence(held_fraction=None), Bound.CPU, Gil.UNKNOWN),
]


def slugs(found: Evidence, bound: Bound, gil: Gil) -> list[str]:
    return [caution.slug for caution in cautions_of(found, bound, gil)]


def cautions_of(found: Evidence, bound: Bound, gil: Gil) -> tuple[Caution, ...]:
    """List the cautions beside a verdict for processes."""
    return cautions.of(found, Verdict(bound=bound, gil=gil, strategy="processes", speedup=2.0, reason=""))


@pytest.mark.parametrize(("strategy", "said"), [("threads", False), ("serial", True), ("inconclusive", True)])
def test_open_gil_part_matters_unless_threads_pay(strategy: str, said: bool) -> None:  # noqa: FBT001
    """Where threads are the answer, nobody needs to know whether the GIL or something else holds threads back."""
    verdict = Verdict(bound=Bound.CPU, gil=Gil.UNKNOWN, strategy=strategy, speedup=None, reason="")
    found = cautions.of(evidence(held_fraction=estimate(0.5, 0.1, 0.9)), verdict)
    assert ("gil-part-open" in [one.slug for one in found]) is said


def test_quiet_evidence_has_no_caution() -> None:
    """An undisturbed textbook case is told without a word of caution."""
    assert cautions_of(QUIET, Bound.CPU, Gil.HELD) == ()


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
    assert set(CASES) == {*WHEN_BROKEN, *cautions._RULES}


def blocking(blocked: float, gil_wait: float | None) -> TimeShares:
    """Make a lane's shares: blocked for a part of its time, of which it waited for the GIL for a part."""
    return TimeShares(
        cpu=1 - blocked,
        cpu_with_gil=None,
        cpu_without_gil=None,
        gil_wait=gil_wait,
        blocked=blocked,
        run_queue=0.0,
    )


@pytest.mark.parametrize(
    ("blocked", "gil_wait", "cause"),
    [
        (0.5, 0.2, "a lock for which a call waits 30 % of its time is likely"),
        (0.5, 0.4, "handing the GIL back and forth is likely"),
        (0.5, None, "handing the GIL back and forth is likely"),
    ],
)
def test_cause_is_what_lanes_waited_for(blocked: float, gil_wait: float | None, cause: str) -> None:
    """If the waits of threads are longer than the GIL explains, a lock is named, not the GIL."""
    slow = tried(1.0, shares=blocking(blocked, gil_wait))
    found = evidence(slow, 2.0, held_fraction=estimate(0.5), shares=blocking(0.0, 0.0))
    (only,) = (one for one in cautions_of(found, Bound.CPU, Gil.PARTIAL) if one.slug == "not-the-gil")
    assert cause in only.message


def test_page_faults_as_cause() -> None:
    """Where a call has much memory mapped anew, threads that fall short of what the GIL allows queue for that."""
    found = evidence(1.0, 1.0, held_fraction=estimate(0.05), on=machine(page_fault_s=2e-6), page_faults_per_call=2700.0)
    said = {one.slug: one.message for one in cautions_of(found, Bound.CPU, Gil.RELEASED)}
    assert "having the system map memory" in said["not-the-gil"]
    assert "2700 pages" in said["page-faults"]
    assert "54 % of its time, and threads queue for that" in said["page-faults"]


def test_gravest_comes_first() -> None:
    """Cautions stand in the order of the rules: harm before noise."""
    found = evidence(broken(Outcome.HUNG), 2.0, run_queue_share=0.5, first_call_s=1.0)
    assert slugs(found, Bound.CPU, Gil.HELD) == ["unsafe-in-threads", "busy-machine", "slow-first-call"]


def test_already_parallel_is_told_with_its_number() -> None:
    """A caution gives what was measured: here the part of another core."""
    (only,) = cautions_of(evidence(extra_cores=0.9), Bound.CPU, Gil.HELD)
    assert "90 %" in only.message


def test_lanes_of_another_strategy_that_share_a_process() -> None:
    """Rules about lanes that share a process go by the strategy's trait and say its name."""

    class Fibres(Threads):
        name = "fibres"
        rank = 30

    known = evidence(None, 2.0, strategies=(*PLAIN, Fibres()))
    slow = replace(known, results={**known.results, "fibres": tried(0.5)})
    (only,) = cautions_of(slow, Bound.CPU, Gil.HELD)
    assert only.slug == "threads-slower"
    assert only.message.startswith("fibres are slower than serial calls")


def other_slugs() -> set[str]:
    """Find the slugs that gates and strategies give their cautions: as a literal, or by a name in the same module."""
    found: set[str] = set()
    for path in (*PACKAGE.glob("verdict/*.py"), *PACKAGE.glob("strategies/*.py")):
        text = path.read_text("utf-8")
        for slug in re.findall(r"\bCaution\(\s*slug=([^,\s]+),", text):
            literal = slug if slug.startswith('"') else re.findall(rf"^{slug} = (.*)$", text, re.MULTILINE)
            found.update([literal] if isinstance(literal, str) else literal)
    return {slug.strip('"') for slug in found if not slug.startswith("f")} - set(WHEN_BROKEN)


@pytest.mark.parametrize(("used", "share", "named"), [(0.3, 0.63, True), (0.6, 0.63, False), (0.01, 0.9, True)])
def test_nobody_blocks_who_may_have_computed(used: float, share: float, named: bool) -> None:  # noqa: FBT001
    """Of a GIL held for 95 % of the time, a holder of 63 % computes if all computing is 60 %; no line is blamed."""
    place = Holder(share=estimate(share), function="f", file="a.py", line=3, code="read()")
    found = evidence(cpu_utilization=estimate(used), held_fraction=estimate(0.95))
    found = replace(found, gil=replace(found.gil, holders=(place,)))
    (said,) = (one.message for one in cautions_of(found, Bound.CPU, Gil.HELD) if one.slug == "blocks-holding-gil")
    assert ("it does so in read() at a.py:3" in said) == named


def test_children_are_counted_in_cores() -> None:
    """Child processes may keep several cores busy: that is no percentage of one."""
    found = evidence(seen=measurement(round_(serial(busy=0.01, children_s=0.162))))
    (said,) = (one.message for one in cautions_of(found, Bound.IO, Gil.RELEASED) if one.slug == "children-compute")
    assert "they keep 1.6 cores busy" in said


def test_catalogue_lists_every_slug() -> None:
    """``docs/messages.md`` has a heading for each caution: broken strategies, the rules in their order, then others."""
    headings = re.findall(r"^## `([a-z-]+)`$", CATALOGUE.read_text("utf-8"), re.MULTILINE)
    rules = [*WHEN_BROKEN, *cautions._RULES]
    assert headings[: len(rules)] == rules
    assert sorted(headings[len(rules) :]) == sorted(other_slugs())


def test_catalogue_lists_what_comparisons_and_scans_say() -> None:
    """``docs/messages.md`` has a heading for each slug of a comparison, and for each of a scan."""
    text = CATALOGUE.read_text("utf-8").partition("\n## In a comparison\n")[2]
    compared, _, scanned = text.partition("\n## In a scan\n")
    said = "".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    for part, pattern in ((compared, r'"([a-z-]+-differ)"'), (scanned, r'"(scan-[a-z-]+)"')):
        assert set(re.findall(r"^### `([a-z-]+)`$", part, re.MULTILINE)) == set(re.findall(pattern, said))


def test_threads_without_gil_that_scale_are_fine() -> None:
    """Threads that reach the machine's own scaling are not contended."""
    one = round_(serial(gil_on=False), threads=threads(0.1, 1.0, gil_on=False), processes=processes(gil_on=False))
    seen = measurement(one, gil_on_at_start=False)
    assert slugs(evidence(2.0, 2.0, seen=seen, held_fraction=None), Bound.CPU, Gil.ABSENT) == []

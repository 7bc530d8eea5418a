"""From single calls to a whole suite."""

from __future__ import annotations

import random
import shlex
from dataclasses import replace

import pytest
from reports_fixture import rich_report

from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.scans import ScanFinding
from pytest_gilprobe.model.words import SERIAL, Bound, Gil, GilMethod, Outcome, Status
from pytest_gilprobe.report import scan_layout, scan_terminal, terminal
from pytest_gilprobe.scan.samples import SampleCounts, ScannedCall, held_share
from pytest_gilprobe.scan.suite import ScanResult, SuiteTotals, workload_result
from pytest_gilprobe.verdict import scan_findings

MS = 1_000_000


def _call(
    nodeid: str = "a.py::test",
    *,
    wall_ms: float = 100,
    cpu: float = 1.0,
    held: float | None = 1.0,
    others: float = 0.0,
    fixtures: tuple[str, ...] = (),
    samples: int | None = None,
) -> ScannedCall:
    wall_ns = round(wall_ms * MS)
    seen = round(wall_ms) if samples is None else samples
    alone = held is not None and seen >= 16
    return ScannedCall(
        nodeid=nodeid,
        fixtures=fixtures,
        wall_ns=wall_ns,
        cpu_ns=round(cpu * wall_ns),
        process_cpu_ns=round((cpu + others) * wall_ns),
        run_queue_ns=0,
        counts=SampleCounts(
            samples=seen, held=round(seen * (held or 0)), running=seen, running_held=round(seen * (held or 0))
        ),
        held=_estimate(held) if alone and held is not None else None,
        alone=True,
    )


def _estimate(held: float) -> Estimate:
    return Estimate(value=held, low=max(0, held - 0.05), high=min(1, held + 0.05))


def _sum_up(*calls: ScannedCall) -> ScanResult:
    totals = SuiteTotals()
    for call in calls:
        totals.add(call)
    return totals.result(gil_absent=False)


def _finding(found: ScanResult, slug: str) -> ScanFinding | None:
    return next((finding for finding in found.scan.findings if finding.slug == slug), None)


@pytest.mark.parametrize(
    ("cpu", "held", "bound", "gil", "words"),
    [
        (1.0, 1.0, Bound.CPU, Gil.HELD, "threads would not help"),
        (0.0, 0.0, Bound.IO, Gil.RELEASED, "would overlap in threads"),
        (1.0, 0.02, Bound.CPU, Gil.RELEASED, "threads might help"),
        (0.01, 0.99, Bound.IO, Gil.HELD, "blocks while holding the GIL"),
        (0.5, 0.5, Bound.MIXED, Gil.HELD, "up to 2.0x"),
        (1.0, 0.5, Bound.CPU, Gil.PARTIAL, "up to 2.0x"),
        (1.0, None, Bound.CPU, Gil.UNKNOWN, "computes (100 % of one core)"),
    ],
)
def test_a_long_test_is_reported_alone(cpu: float, held: float | None, bound: Bound, gil: Gil, words: str) -> None:
    """Bound and GIL follow a probe's thresholds, and the sentence says what to expect."""
    result = workload_result(_call(cpu=cpu, held=held), gil_absent=False)
    assert (result.status, result.verdict.bound, result.verdict.gil) == (Status.SCANNED, bound, gil)
    assert words in result.verdict.reason


def test_a_scanned_test_has_one_serial_call_and_no_other_strategy() -> None:
    """What a scan never tries has no entry; what was seen of the GIL is where a probe has it."""
    result = workload_result(_call(cpu=0.5, held=0.25, others=0.5), gil_absent=False)
    assert list(result.strategies) == [SERIAL]
    assert result.serial is not None
    assert (result.serial.calls, result.serial.outcome, result.serial.extra_cores) == (1, Outcome.OK, 0.5)
    assert (result.gil.held_fraction, result.gil.method) == (_estimate(0.25), GilMethod.MEMORY)


def test_without_a_gil_nothing_is_said_to_hold_it() -> None:
    """On a free-threaded build the GIL is absent, not unknown."""
    result = workload_result(_call(held=None), gil_absent=True)
    assert result.verdict.gil is Gil.ABSENT
    assert "there is no GIL" in result.verdict.reason


def test_short_tests_are_grouped_by_file_and_by_fixture_and_none_is_lost() -> None:
    """Every test is reported alone or is in its file's group; a fixture makes one where several tests share it."""
    calls = [
        _call(f"{name}.py::test_{number}", wall_ms=2, held=0.5, fixtures=("db", f"own_{name}{number}"))
        for name in "ab"
        for number in range(30)
    ]
    found = _sum_up(*calls, _call("a.py::long"))
    assert found.scan.tests == 61
    assert [result.nodeid for result in found.results] == ["a.py::long"]
    groups = {(group.kind, group.name): group for group in found.scan.groups}
    assert {key: group.tests for key, group in groups.items()} == {
        ("file", "a.py"): 30,
        ("file", "b.py"): 30,
        ("fixture", "db"): 60,
    }
    held = groups["fixture", "db"].gil_held_fraction
    assert held is not None
    assert held.value == pytest.approx(0.5, abs=0.01)
    assert groups["fixture", "db"].wall_s == pytest.approx(0.12)


def test_the_fewest_tests_that_hold_most_of_the_gil_time_are_named_first() -> None:
    """The heaviest tests are named, weightiest first, until they hold 70 % of the suite's GIL time."""
    calls = [_call(f"a.py::test_{number}", wall_ms=100) for number in range(10)]
    big, idle = _call("a.py::big", wall_ms=3000), _call("a.py::idle", cpu=0, held=0)
    found = _finding(_sum_up(*calls, big, idle), "scan-heavy")
    assert found is not None
    assert found.names == ("a.py::big",)
    assert "75 %" in found.message


@pytest.mark.parametrize(
    ("slug", "cpu", "held", "others"),
    [
        ("scan-blocks", 0.0, 1.0, 0.0),
        ("scan-waits", 0.0, 0.0, 0.0),
        ("scan-releases", 1.0, 0.0, 0.0),
        ("scan-parallel", 1.0, 0.5, 0.9),
    ],
)
def test_each_property_is_found_where_it_is_and_nowhere_else(slug: str, cpu: float, held: float, others: float) -> None:
    """A finding names the tests that have the property, and is absent where none has it."""
    plain = _call("a.py::plain")
    found = _finding(_sum_up(plain, _call("a.py::special", cpu=cpu, held=held, others=others)), slug)
    assert found is not None
    assert found.names == ("a.py::special",)
    assert _finding(_sum_up(plain), slug) is None


def test_a_test_whose_other_threads_compute_does_not_wait() -> None:
    """CPU time is the process's: waiting for a thread that computes is computing."""
    result = workload_result(_call(cpu=0.0, held=1.0, others=1.0), gil_absent=False)
    assert result.verdict.bound is Bound.CPU
    assert result.serial is not None
    assert not scan_findings.blocks(result.serial, result.gil)


def test_the_share_of_the_suite_weighs_tests_by_their_time() -> None:
    """Two tests of 300 ms and 100 ms that hold all and nothing hold three quarters."""
    held = _sum_up(_call("a", wall_ms=300), _call("b", wall_ms=100, cpu=0, held=0)).scan.gil_held_fraction
    assert held is not None
    assert held.value == pytest.approx(0.75)
    assert held.low < 0.75 < held.high


def test_the_interval_from_counts_covers_the_truth() -> None:
    """In simulations the 95 % interval of added samples holds the true share in about 95 % of the cases."""
    rng = random.Random(7)
    covered = 0
    for _ in range(1000):
        truth, samples = rng.random(), rng.randint(30, 300)
        held = sum(rng.random() < truth for _ in range(samples))
        found = held_share(SampleCounts(samples=samples, held=held))
        assert found is not None
        covered += found.low <= truth <= found.high
    assert 930 <= covered <= 975


def test_blind_samples_widen_the_interval_and_too_many_say_nothing() -> None:
    """What was not seen is bounded by free and held, and half of it blind is a guess."""
    clear = held_share(SampleCounts(samples=100, held=50, running=100, running_held=50))
    dim = held_share(SampleCounts(samples=100, held=40, blind=20, running=80, running_held=40))
    assert clear is not None
    assert dim is not None
    assert dim.value == pytest.approx(clear.value)
    assert dim.high - dim.low > clear.high - clear.low
    assert held_share(SampleCounts(samples=100, blind=51)) is None
    assert held_share(SampleCounts(samples=15, held=15)) is None


def test_an_empty_suite_says_nothing() -> None:
    """Without a test there is no share, no finding and no group."""
    scan = _sum_up().scan
    assert (scan.tests, scan.gil_held_fraction, scan.findings, scan.groups) == (0, None, (), ())


def _report(found: ScanResult) -> Report:
    plain = rich_report()
    return Report(
        tool_version="0", created=plain.created, environment=plain.environment, workloads=found.results, scan=found.scan
    )


def test_a_scan_survives_its_json() -> None:
    """A scanned report is read back from JSON as it was written; one without a scan has no such key."""
    found = _sum_up(_call("a.py::long"), *(_call(f"a.py::{number}", wall_ms=1) for number in range(20)))
    scanned = _report(found)
    assert report_json.from_json(report_json.to_json(scanned), "a.json") == scanned
    assert '"scan"' not in report_json.to_json(rich_report())


@pytest.mark.parametrize("name", ["a.py::test[it's $HOME]", "a b.py::test[--x]", "c.py::test_äöü"])
def test_command_that_probes_names_tests_as_they_are(name: str) -> None:
    """A shell gets just the node ids of what stands out, each once, whatever characters they have."""
    found = _sum_up(_call(name), _call("b.py::test_waits", cpu=0.0, held=0.0), _call("c.py::test", wall_ms=25))
    parts = scan_layout.command(found.scan)
    assert shlex.split(" ".join(parts)) == ["pytest", "--gilprobe-all", "--gilprobe-report", name, "b.py::test_waits"]
    drawn = terminal.text(scan_terminal.draw(_report(found), width=40), color=False)
    assert shlex.split(drawn[drawn.index("pytest --gilprobe-all") :].replace("\\\n", "")) == shlex.split(
        " ".join(parts)
    )


def test_a_share_that_is_not_told_is_explained_where_it_could_be_known() -> None:
    """Below the tables; not where there is no GIL, nor where a caution says why nothing was watched."""
    known = _report(_sum_up(_call("a.py::long")))
    short = _report(_sum_up(_call("a.py::long"), _call("b.py::long", held=None, samples=5)))
    said = "GIL held n/a: too few samples, since calls are short or CPUs were busy"
    assert scan_layout.not_available(known) is None
    assert scan_layout.not_available(short) == said
    assert said in terminal.text(scan_terminal.draw(short), color=False)
    assert short.scan is not None
    assert scan_layout.not_available(replace(short, scan=replace(short.scan, unwatched="no right to"))) is None
    absent = replace(short, environment=replace(short.environment, gil_enabled=False))
    assert scan_layout.not_available(absent) is None


def test_no_command_where_nothing_stands_out() -> None:
    """Nothing is proposed for a suite of short tests, nor a test whose name no line can hold."""
    assert scan_layout.command(_sum_up(_call(wall_ms=25, cpu=0.5, held=0.5)).scan) == ()
    assert scan_layout.command(_sum_up(_call("a.py::test[\x1b\n]")).scan) == ()

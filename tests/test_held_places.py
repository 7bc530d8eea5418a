"""In which functions a suite's tests hold the GIL, and how a report says so."""

from __future__ import annotations

from dataclasses import replace

from test_scan_samples import _samples, _window
from test_scan_suite import _call

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.readings import GilSamples
from pytest_gilprobe.model.scans import HoldingFunction, Scan
from pytest_gilprobe.model.stacks import Frame, Stack
from pytest_gilprobe.report import holding_functions, scan_layout
from pytest_gilprobe.scan import held_places
from pytest_gilprobe.scan.held_places import HeldPlaces
from pytest_gilprobe.scan.samples import PendingSamples, ScannedCall
from pytest_gilprobe.scan.suite import SuiteTotals

TEST = Frame(function="test_a", file="test_a.py", line=3, code="work()", statement="work()", own=True)
WORK = Frame(function="work", file="own.py", line=7, code="load(text)", statement="return load(text)", own=True)
LOAD = Frame(function="load", file="yaml/__init__.py", line=9, code="a + b", statement="c = a + b", package="yaml")
JSON = Frame(function="loads", file="json/__init__.py", line=2, code="scan(s)", statement="return scan(s)")


def _places(*stacks: Stack) -> set[tuple[str, str | None, int]]:
    return {(place.function, place.package, place.samples) for place in held_places.count(stacks)}


def test_a_stack_counts_for_the_innermost_function_of_the_project_and_the_package_that_it_called() -> None:
    """Functions of Python itself count for who called them."""
    assert _places((JSON, LOAD, WORK, TEST), (JSON, WORK, TEST), (WORK, TEST)) == {
        ("work", None, 3),
        ("load", "yaml", 1),
    }


def test_a_package_that_calls_the_project_does_not_hold_what_the_project_holds() -> None:
    """A callback is the project's own time."""
    assert _places((WORK, LOAD, TEST)) == {("work", None, 1)}


def test_a_package_in_a_thread_of_its_own_is_told_without_the_project() -> None:
    """A stack with no function of the project counts for the package alone; one with neither for nobody."""
    assert _places((JSON, LOAD), (JSON,), ()) == {("load", "yaml", 1)}


def test_shares_are_of_all_stacks_and_each_function_names_its_most_frequent_line() -> None:
    """A call whose samples are thinned out counts for the time that it took."""
    totals = HeldPlaces()
    other = replace(WORK, line=8, code="dump()", statement="dump()")
    totals.add(held_places.count([(WORK, TEST)] * 30 + [(other, TEST)] * 10), 40, 1)
    totals.add(held_places.count([(JSON, LOAD, TEST)] * 30), 30, 2)
    found = totals.functions()
    assert found is not None
    assert [(one.function, one.share.value, one.line, one.line_share, one.calls) for one in found] == [
        ("test_a", 0.6, 3, 0.6, 1),
        ("work", 0.4, 7, 0.3, 1),
        ("load", 0.6, 9, 0.6, 1),
    ]
    assert all(one.share.low < one.share.value < one.share.high for one in found)


def test_too_few_samples_name_nobody() -> None:
    """Not even if they are all alike."""
    totals = HeldPlaces()
    totals.add(held_places.count([(WORK,)] * 15), 15, 1)
    assert totals.functions() is None


def _stacks(samples: GilSamples, *stacks: Stack) -> GilSamples:
    size = len(samples.at_ns)
    return replace(samples, stack=tuple(at % len(stacks) for at in range(size)), stacks=stacks)


def _taken(pending: PendingSamples) -> ScannedCall:
    return pending.take(_window(0, 10**9))


def test_the_stacks_of_one_test_are_those_of_its_samples_though_they_came_in_parts() -> None:
    """Each part numbers its stacks from 0; what is told of the test is its largest holder."""
    pending = PendingSamples()
    pending.add(_stacks(_samples(list(range(0, 2000, 100))), (TEST,)))
    pending.add(_stacks(_samples(list(range(2000, 6000, 100))), (JSON, WORK, TEST), (LOAD, WORK, TEST)))
    found = _taken(pending)
    assert found.stacks == 60
    assert found.holders is not None
    assert [(one.function, round(one.share.value, 3)) for one in found.holders] == [("work", 0.667), ("test_a", 0.333)]
    assert {(one.function, one.samples) for one in found.places} == {("work", 40), ("test_a", 20), ("load", 20)}


def test_stacks_read_while_the_test_queued_for_a_processor_do_not_count() -> None:
    """The thread would have held the GIL for less on an idle machine."""
    pending = PendingSamples()
    samples = _stacks(_samples(list(range(1000, 41_000, 1000))), (TEST,), (WORK, TEST))
    pending.add(replace(samples, queue_ns=(*[0] * 20, *[20_000] * 20)))
    assert _taken(pending).stacks == 20


def test_thinned_samples_stand_for_more_time_until_the_test_has_ended() -> None:
    """The next test's samples are dense again."""
    pending = PendingSamples()
    pending.add(_stacks(_samples(list(range(0, 8000, 100))), (TEST,)))
    pending.thin()
    assert pending.thinned == 2
    assert _taken(pending).thinned == 2
    assert pending.thinned == 1


def test_a_report_names_the_functions_of_the_project_and_of_packages() -> None:
    """A call with its places is drawn as two lists."""
    totals = SuiteTotals()
    places = held_places.count([(JSON, LOAD, WORK, TEST)] * 30 + [(TEST,)] * 10)
    totals.add(replace(_call(), places=places, stacks=40))
    said = dict(holding_functions.lists(totals.result(gil_absent=False).scan.functions or ()))
    assert said[holding_functions.OF_PROJECT][0] == "75 % in work (own.py), line 7: load(text)"
    assert said[holding_functions.OF_PACKAGES] == ("75 % in load (yaml/__init__.py), line 9: a + b",)


def test_a_lines_share_is_not_repeated_where_it_reads_as_its_functions() -> None:
    """What is drawn is compared: 53.1 and 52.9 percent read the same."""
    share = Estimate(value=0.531, low=0.5, high=0.56)
    one = HoldingFunction(
        share=share, function="parse", file="w.py", package=None, calls=1, line=4, code="f()", line_share=0.529
    )
    assert dict(holding_functions.lists([one])) == {
        holding_functions.OF_PROJECT: ("53 % in parse (w.py), line 4: f()",)
    }
    ((_, said),) = holding_functions.lists([replace(one, line_share=0.3)])
    assert said == ("53 % in parse (w.py), 30 % in line 4: f()",)


def test_a_scan_without_stacks_names_nobody() -> None:
    """There is no empty list in a report."""
    scan = Scan(tests=1, tests_alone=0, wall_s=1.0, cpu_s=1.0)
    assert list(scan_layout.notes(scan)) == []

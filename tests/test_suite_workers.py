"""What ``pytest -n N`` would give for a suite, predicted from one serial run."""

from __future__ import annotations

import random
from array import array
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_fixture import rich_report

from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.scans import Scan, SuiteRun, SuiteWorkers
from pytest_gilprobe.model.suite_times import Cost, SuiteTimes
from pytest_gilprobe.report import markdown, scan_layout, scan_terminal
from pytest_gilprobe.report.suite_layout import answer, row
from pytest_gilprobe.scan import suite_file
from pytest_gilprobe.stats import suite_workers
from pytest_gilprobe.stats.xdist_schedule import LoadSchedule
from pytest_gilprobe.strategies.registry import BUILT_IN

CROWDED = 1 + suite_workers.CROWDED
NOTHING = Cost(wall_s=0.0, cpu_s=0.0)
FREE = 1e-9
"""A call of the control so short that pytest-xdist's own work takes no time."""


def _suite(
    walls_s: list[float],
    computing: float = 1.0,
    *,
    start: Cost = NOTHING,
    collection: Cost = NOTHING,
    needs: list[int] | None = None,
    fixture_sets: tuple[tuple[int, ...], ...] = ((),),
    fixtures: tuple[Cost, ...] = (),
) -> SuiteTimes:
    return SuiteTimes(
        start=start,
        collection=collection,
        walls_s=walls_s,
        cpus_s=[wall_s * computing for wall_s in walls_s],
        needs=needs or [0] * len(walls_s),
        fixture_sets=fixture_sets,
        fixtures=fixtures,
        names={number: f"test_{number}" for number in range(len(walls_s))},
    )


def _predict(suite: SuiteTimes, cpus: float = 2, loop_s: float = FREE) -> SuiteWorkers:
    found = suite_workers.predict(suite, cpus=cpus, loop_s=loop_s)
    assert found is not None
    return found


def _wall_s(found: SuiteWorkers, workers: int) -> float:
    return next(run.wall_s for run in found.runs if run.workers == workers)


def test_tests_that_compute_gain_what_there_are_cpus() -> None:
    """On two CPUs two workers nearly halve the time of equal tests, and more workers gain nothing."""
    found = _predict(_suite([0.01] * 1000))
    assert _wall_s(found, 2) == pytest.approx(5 * CROWDED, rel=0.01)
    assert _wall_s(found, 8) == pytest.approx(5 * CROWDED, rel=0.01)
    assert found.enough_workers == 2


def test_tests_that_wait_gain_from_more_workers_than_cpus() -> None:
    """Tests that compute for 5 % of their time gain up to the number of workers, whatever the CPUs."""
    found = _predict(_suite([0.1] * 1600, 0.05))
    assert _wall_s(found, 2) == pytest.approx(80, rel=0.02)
    assert _wall_s(found, 16) == pytest.approx(10, rel=0.1)
    assert found.enough_workers > 16


def test_mixed_tests_share_the_cpus() -> None:
    """Eight workers whose tests compute half of the time want four CPUs: two CPUs give them half of that."""
    found = _predict(_suite([0.1] * 800, 0.5))
    assert _wall_s(found, 8) == pytest.approx(800 * 0.1 * 0.5 / 2 * CROWDED, rel=0.05)


def test_start_and_collection_are_repeated_by_each_worker() -> None:
    """Each worker starts and collects, after the controller's start: a small suite takes longer than before."""
    part = Cost(wall_s=1.0, cpu_s=1.0)
    found = _predict(_suite([0.01] * 10, start=part, collection=part))
    assert _wall_s(found, 2) == pytest.approx(1 + 2 * CROWDED, rel=0.05)
    assert _wall_s(found, 8) == pytest.approx(1 + 8 * CROWDED, rel=0.05)
    assert found.enough_workers == 1
    assert found.wall_s == pytest.approx(2.1)


def test_each_worker_sets_up_a_shared_fixture_for_itself() -> None:
    """A fixture of a session that takes 5 s takes them in every worker that runs a test with it."""
    fixture = Cost(wall_s=5.0, cpu_s=0.0)
    suite = _suite([0.01] * 400, 0.0, fixture_sets=((0,),), fixtures=(fixture,))
    found = _predict(suite)
    assert found.wall_s == pytest.approx(9)
    assert _wall_s(found, 4) == pytest.approx(5 + 1, rel=0.02)


def test_a_fixture_of_one_module_is_set_up_where_its_tests_run() -> None:
    """A worker without a test of the module does not set its fixture up."""
    suite = _suite([1.0] * 2, 0.0, needs=[0, 1], fixture_sets=((), (0,)), fixtures=(Cost(wall_s=3.0, cpu_s=0.0),))
    assert _wall_s(_predict(suite), 2) == pytest.approx(4)


def test_the_long_tail_is_named() -> None:
    """A test that runs at the end while the other workers are idle is named; the suite takes at least its time."""
    found = _predict(_suite([0.01] * 500 + [10.0], 0.0))
    assert [test.nodeid for test in found.long_tests] == ["test_500"]
    assert _wall_s(found, 8) >= 10
    assert found.runs[-1].idle > 0.5


def test_a_suite_of_equal_tests_has_no_tail() -> None:
    """No test is named where all workers end at about the same time."""
    assert _predict(_suite([0.01] * 800)).long_tests == ()


def test_messages_take_the_controller_time_for_each_test() -> None:
    """Tests of no length cannot be faster than the controller can take their reports."""
    found = _predict(_suite([1e-6] * 1000), cpus=64, loop_s=0.001)
    least_s = 1000 * suite_workers.CONTROLLER_LOOPS * 0.001
    assert all(run.wall_s >= least_s for run in found.runs)


def test_neighbouring_short_tests_are_joined_without_a_difference() -> None:
    """A suite of 50,000 short tests is predicted like one of 1,000 tests of the same sum, and in the same memory."""
    many, few = _predict(_suite([0.001] * 50_000)), _predict(_suite([0.05] * 1_000))
    assert [run.wall_s for run in many.runs] == pytest.approx([run.wall_s for run in few.runs], rel=0.02)


def test_a_run_of_no_time_is_drawn_without_a_speedup() -> None:
    """A report from elsewhere may have a run that took 0 s."""
    found = _predict(_suite([0.1] * 40))
    run = replace(found.runs[0], wall_s=0.0)
    assert row(found, run)[2] == "n/a"
    assert "n/a" in answer(replace(found, runs=(run,), enough_workers=run.workers))


def test_one_test_has_no_prediction() -> None:
    """A suite of fewer than two tests has nothing to share out."""
    assert suite_workers.predict(_suite([1.0]), cpus=2, loop_s=FREE) is None


@settings(max_examples=50, deadline=None)
@given(
    walls_s=st.lists(st.floats(0, 1), min_size=2, max_size=60),
    computing=st.floats(0, 2),
    cpus=st.integers(1, 8),
)
def test_no_prediction_is_better_than_physics_allows(walls_s: list[float], computing: float, cpus: int) -> None:
    """No run is shorter than its longest test, an equal share for each worker, or its CPU time on all CPUs."""
    suite = _suite(walls_s, computing)
    for run in _predict(suite, cpus=cpus).runs:
        least_s = max(*walls_s, sum(walls_s) / run.workers, sum(suite.cpus_s) / cpus)
        assert run.wall_s >= least_s * 0.998 - 1e-6
        assert 0 <= run.idle < 1


class _Node:
    """A worker as pytest-xdist's scheduler sees it."""

    def __init__(self) -> None:
        self.shutting_down, self.gateway = False, SimpleNamespace(id="gw")
        self.got: list[int] = []

    def send_runtest_some(self, tests: list[int]) -> None:
        self.got += tests

    def shutdown(self) -> None:
        self.shutting_down = True


class _Config:
    option = None

    def getoption(self, _: str) -> None:
        return None

    def getvalue(self, _: str) -> list[str]:
        return ["popen"]


@pytest.mark.parametrize("seed", range(20))
def test_tests_are_handed_out_as_xdist_does(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real scheduler of pytest-xdist gives each worker the same tests, for any order in which tests end."""
    load: Any = pytest.importorskip("xdist.scheduler.load")
    rng = random.Random(seed)
    tests, workers = rng.randint(1, 400), rng.randint(1, 9)
    monkeypatch.setattr(load, "parse_tx_spec_config", lambda _: ["popen"] * workers)
    real = load.LoadScheduling(_Config())
    nodes = [_Node() for _ in range(workers)]
    for node in nodes:
        real.add_node(node)
    for node in nodes:
        real.add_node_collection(node, [str(test) for test in range(tests)])
    real.schedule()
    ours = LoadSchedule(tests, workers)
    done: list[list[int]] = [[] for _ in nodes]
    while running := [worker for worker in range(workers) if ours.current(worker) is not None]:
        worker, duration_s = rng.choice(running), rng.choice([0.01, 0.5])
        test = ours.current(worker)
        assert test is not None
        done[worker].append(test)
        real.mark_test_complete(nodes[worker], test, duration_s)
        ours.complete(worker, duration_s)
    assert done == [node.got for node in nodes]
    assert sorted(chain(*done)) == list(range(tests))


def test_the_file_keeps_all_times(tmp_path: Path) -> None:
    """What pytest writes is what its watcher reads; a file that was cut off is refused."""
    suite = SuiteTimes(
        start=Cost(wall_s=1.0, cpu_s=0.5),
        collection=NOTHING,
        walls_s=array("d", [0.25, 1e-6]),
        cpus_s=array("d", [0.0, 3.5]),
        needs=array("I", [0, 1]),
        fixture_sets=((), (0,)),
        fixtures=(Cost(wall_s=2.0, cpu_s=1.0),),
        names={1: "test_ä.py::test[\n]"},
    )
    path = tmp_path / suite_file.NAME
    suite_file.write(path, suite)
    assert suite_file.read(path) == suite
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="cut off"):
        suite_file.read(path)


def _drawn(found: SuiteWorkers) -> tuple[str, str]:
    scan = Scan(tests=3, tests_alone=0, wall_s=1.0, cpu_s=1.0, suite_workers=found)
    report = replace(rich_report(), workloads=(), scan=scan)
    terminal = "".join(text for text, _ in scan_terminal.draw(report, width=80))
    return terminal, "\n".join(line for note in scan_layout.notes(scan) for line in note.lines)


def test_the_answer_names_the_number_of_workers_and_why() -> None:
    """Terminal and page have the answer, why it is so, and the tests of the tail; lines fit the terminal."""
    terminal, _ = _drawn(_predict(_suite([0.1] * 500 + [8.0, 9.0], 0.05)))
    assert max(map(len, terminal.splitlines())) <= 80
    for text in _drawn(_predict(_suite([0.1] * 500 + [8.0, 9.0], 0.05))):
        assert "pytest -n 32 would take about" in " ".join(text.split())
        assert "it waits, so more workers than CPUs may pay" in " ".join(text.split())
        assert "test_501" in text


def test_markdown_lists_the_numbers_of_workers_below_the_answer() -> None:
    """One line for each number, none of them in the answer's own line."""
    found = _predict(_suite([0.1] * 500 + [8.0, 9.0], 0.05))
    scan = Scan(tests=3, tests_alone=0, wall_s=1.0, cpu_s=1.0, suite_workers=found)
    drawn = markdown.draw(replace(rich_report(), workloads=(), scan=scan), BUILT_IN).splitlines()
    answer = next(at for at, line in enumerate(drawn) if line.startswith("- **pytest -n**: pytest -n 32 would take"))
    assert [line.partition(":")[0] for line in drawn[answer + 1 :][: len(found.runs)]] == [
        f"  - -n {run.workers}" for run in found.runs
    ]


def test_a_small_suite_is_told_to_stay_serial() -> None:
    """Where start and collection cost more than there is to gain, the answer says so and how much they take."""
    text, _ = _drawn(_predict(_suite([0.01] * 10, start=Cost(wall_s=1.0, cpu_s=1.0))))
    assert "pytest -n would not make it faster" in " ".join(text.split())
    assert "each worker takes 1.0 s to start and collect" in " ".join(text.split())


def test_a_small_gain_is_not_denied() -> None:
    """Where some number of workers is a little faster, the answer does not contradict the table below it."""
    found = replace(_predict(_suite([0.01] * 10)), wall_s=5.0, enough_workers=1)
    for wall_s, makes in ((4.7, "would hardly make it faster"), (5.2, "would not make it faster")):
        runs = (SuiteRun(workers=2, wall_s=wall_s, idle=0.0),)
        assert f"pytest -n {makes}" in answer(replace(found, runs=runs))


@pytest.mark.usefixtures("alone")
def test_a_scan_predicts_from_one_run(pytester: pytest.Pytester) -> None:
    """Shared fixtures are counted once and apart from their tests; the tests' own waiting remains theirs."""
    pytester.makepyfile(
        """
        import time, pytest
        @pytest.fixture(scope="module")
        def server():
            time.sleep(0.3)
            yield
            time.sleep(0.2)
        @pytest.fixture
        def own(server): time.sleep(0.01)
        def test_a(own): pass
        def test_b(own): time.sleep(0.1)
        def test_c(): pass
        """
    )
    result = pytester.runpytest_subprocess("--gilprobe-scan", "--gilprobe-report", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["pytest -n *time*speed-up*"])
    scan = report_json.read(pytester.path / "reports" / "gilprobe.json").scan
    assert scan is not None
    found = scan.suite_workers
    assert found is not None
    assert found.fixtures_s >= 0.5
    assert found.start_s > 0
    assert found.collection_s > 0
    assert found.wall_s >= found.start_s + found.collection_s + found.fixtures_s + 0.12
    assert [run.workers for run in found.runs][:3] == [2, 4, 8]


@pytest.mark.usefixtures("alone")
def test_a_session_that_stops_early_predicts_nothing(pytester: pytest.Pytester) -> None:
    """Where not all tests ran, their times are not those of the suite."""
    pytester.makepyfile("def test_a(): assert 0\ndef test_b(): pass")
    result = pytester.runpytest_subprocess("--gilprobe-scan", "-x", "-p", "no:cacheprovider")
    assert "pytest -n" not in result.stdout.str()

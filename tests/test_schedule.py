"""`pytest_gilprobe.probing.schedule`: the schedule, on a clock that moves only when a batch says so."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from evidence import lane, serial
from fake_workers import (
    FRAMES_NOT,
    NODEID,
    STRATEGIES,
    WATCHED_NOT,
    Behaviour,
    FakeGroup,
    FakeWorker,
    failed,
    lost,
    plan,
)
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model.call_readings import ArgumentsReading
from pytest_gilprobe.model.readings import BatchReading, GilSamples, Measurement, WorkerReading
from pytest_gilprobe.model.words import GilMethod, NextStep, Outcome
from pytest_gilprobe.observe import clocks, machine
from pytest_gilprobe.probing import bursts, schedule
from pytest_gilprobe.probing.open_test import NotProbed
from pytest_gilprobe.probing.pace import BATCH_S, MOST_CALLS
from pytest_gilprobe.probing.schedule import MOST_ROUNDS, Job
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.workers.burst_messages import MakeBursts
from pytest_gilprobe.workers.parent.hung_fixtures import Fixture, HungFixtures
from pytest_gilprobe.workers.parent.worker import Lost
from pytest_gilprobe.workers.protocol import (
    ArgumentsCompared,
    Batch,
    Close,
    CompareArguments,
    Control,
    Done,
    Failed,
    MeasureTransfer,
    Open,
    Opened,
    TransferMeasured,
    WatchArguments,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.workers.parent.group import WorkerGroup


def run(
    group: FakeGroup,
    settled: Callable[[Measurement], NextStep] = lambda _: NextStep.STOP,
    seen: list[tuple[str, int]] | None = None,
    **changes: Any,
) -> Measurement:
    """Measure the pretended workload; ``seen`` collects the progress."""
    known = {"known_call_s": changes.pop("known_call_s", 0.0), "own_run": changes.pop("own_run", None)}
    job = Job(keep=0, cpus=changes.pop("cpus", 2), plan=plan(**changes), **known)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "perf_counter_ns", group.clock.read_ns)
        patch.setattr(machine, "throttled_s", lambda: None)
        return schedule.measure(
            job,
            cast("WorkerGroup", group),
            BUILT_IN,
            settled,
            lambda *step: seen.append(step) if seen is not None else None,
        )


def rounds_until(number: int) -> Callable[[Measurement], NextStep]:
    """Be settled after so many rounds."""
    return lambda so_far: NextStep.STOP if len(so_far.rounds) >= number else NextStep.ROUND


def span_s(measurement: Measurement, number: int = 0) -> float:
    reading = measurement.rounds[number].serial.lanes[0]
    return (reading.end_ns - reading.start_ns) / 1e9


def test_settled_probe_stops_after_one_round() -> None:
    """When no decision is open after the first round, there is no second."""
    found = run(FakeGroup())
    assert len(found.rounds) == 1
    batches = found.rounds[0].batches
    assert {name: len(batch.workers) for name, batch in batches.items()} == {"serial": 1, "threads": 1, "processes": 2}
    assert len(batches["threads"].lanes) == 2


@pytest.mark.parametrize(
    ("queued", "call_s", "cpus", "made"),
    [(0.5, 0.001, 2, True), (0.0, 0.001, 2, False), (0.5, 0.2, 2, False), (0.5, 0.001, 1, False)],
)
def test_bursts_follow_each_round_in_which_threads_queued(
    queued: float, call_s: float, cpus: int, *, made: bool
) -> None:
    """Short batches are made beside other programs only, of short calls, and where each thread may have a CPU."""
    found = run(FakeGroup(Behaviour(call_s=call_s, queued=queued)), rounds_until(3), cpus=cpus)
    assert len(found.rounds) == 3
    assert bool(found.bursts) is made
    assert all(set(one.batches) == {"serial", "threads"} for one in found.bursts)
    assert all(lane.calls == 2 for one in found.bursts for lane in one.serial.lanes)


@pytest.mark.parametrize(("call_s", "calls", "least"), [(0.000_01, 150, 16), (0.02, 1, 3)])
def test_bursts_have_so_many_calls_as_run_undisturbed(call_s: float, calls: int, least: int) -> None:
    """A burst takes 1.5 ms, or one call; of long calls a few bursts are made, and none is made for much longer."""
    group = FakeGroup(Behaviour(call_s=call_s, queued=0.5))
    found = run(group, rounds_until(1))
    assert {one.calls for burst in found.bursts for one in burst.serial.lanes} == {calls}
    assert len(found.bursts) >= least
    assert len(found.bursts) * 2 * calls * call_s < 2 * bursts.SPENT_S


def test_no_more_bursts_are_made_than_are_needed() -> None:
    """Once enough were undisturbed, a round has none."""

    def calm(_: FakeWorker, question: object, __: int) -> object:
        undisturbed = FakeGroup(Behaviour(call_s=0.001), group.clock)
        return undisturbed._bursts(question) if isinstance(question, MakeBursts) else None

    group = FakeGroup(Behaviour(call_s=0.001, queued=0.5), script=calm)
    assert len(run(group, rounds_until(8)).bursts) == 16


def test_bursts_are_limited_and_keep_to_the_time() -> None:
    """A workload that stays disturbed gets so many bursts and no more; they end with the time of the probe."""
    group = FakeGroup(Behaviour(call_s=0.001, queued=0.5))
    assert len(run(group, rounds_until(60), max_time_s=100.0).bursts) == bursts.MOST_BURSTS
    short = FakeGroup(Behaviour(call_s=0.001, queued=0.5))
    since_ns = short.clock.now_ns
    assert 0 < len(run(short, rounds_until(60), max_time_s=1.0).bursts) < bursts.MOST_BURSTS
    assert short.clock.now_ns - since_ns < 1.1e9


@pytest.mark.parametrize("answer", [Failed(error="ValueError: no"), lost()])
def test_threads_that_fail_in_bursts_end(answer: Failed | Lost) -> None:
    """What fails in a short batch fails in threads; the other strategies go on."""
    group = FakeGroup(
        Behaviour(call_s=0.001, queued=0.5),
        script=lambda _, question, __: answer if isinstance(question, MakeBursts) else None,
    )
    found = run(group, rounds_until(3))
    assert found.ends["threads"].outcome is (Outcome.HUNG if isinstance(answer, Lost) else Outcome.FAILED)
    assert "16 batches of 2 calls" in (found.ends["threads"].error or "")
    assert found.ends["processes"].outcome is Outcome.OK
    assert len(found.rounds) == 3


def test_order_rotates() -> None:
    """Each round begins with another strategy, so that drift hits all alike."""
    steps: list[tuple[str, int]] = []
    run(FakeGroup(), rounds_until(3), steps)
    assert [strategy for strategy, _ in steps] == [
        *("serial", "threads", "processes"),
        *("threads", "processes", "serial"),
        *("processes", "serial", "threads"),
    ]
    assert [number for _, number in steps] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


@given(call_s=st.floats(1e-8, 1.0))
def test_batches_are_long_enough_and_not_much_longer(call_s: float) -> None:
    """Calls per batch are calibrated to at least 50 ms, whatever one call takes, and a longer call is a batch."""
    found = run(FakeGroup(Behaviour(call_s=call_s)), max_time_s=60.0)
    calls = found.rounds[0].serial.lanes[0].calls
    if calls < MOST_CALLS:
        assert span_s(found) >= BATCH_S * 0.999
    assert span_s(found) <= max(BATCH_S * 1.05 + call_s, call_s)


@given(call_s=st.floats(1e-6, 0.02), first_s=st.floats(0.1, 0.5))
def test_a_slow_first_call_does_not_size_the_batches(call_s: float, first_s: float) -> None:
    """A first call that loads or fills a cache is no measure of the later ones: batches are full all the same."""
    found = run(FakeGroup(Behaviour(call_s=call_s, first_s=first_s)), max_time_s=60.0)
    assert span_s(found) >= BATCH_S * 0.5
    assert found.first_call_s == pytest.approx(call_s + first_s, rel=1e-3)


def test_all_strategies_of_a_round_make_the_same_calls_per_lane() -> None:
    """A thread and a worker make as many calls in a batch as the serial loop."""
    found = run(FakeGroup(Behaviour(call_s=0.001)))
    batches = found.rounds[0].batches
    assert len(batches) == 3
    assert len({lane.calls for batch in batches.values() for lane in batch.lanes}) == 1


def test_budget_is_wall_time() -> None:
    """A probe whose decisions stay open ends within its budget and says so; one round more is no promise."""
    group = FakeGroup(Behaviour(call_s=0.2))
    began = group.clock.now_ns
    found = run(group, rounds_until(10_000), max_time_s=5.0)
    took = (group.clock.now_ns - began) / 1e9
    assert 3.0 < took <= 5.0
    assert found.allowed_s == 5.0
    assert found.out_of_time is not None
    assert found.out_of_time == "time was up after 5 s"


def test_what_contradicts_an_expectation_may_take_longer() -> None:
    """Only that: once it is no longer contradicted, the usual time holds again, and has passed."""
    group = FakeGroup(Behaviour(call_s=0.2))
    began = group.clock.now_ns

    def settled(_: Measurement) -> NextStep:
        return NextStep.PROOF if group.clock.now_ns - began < 8e9 else NextStep.ROUND

    run(group, settled, max_time_s=5.0, proof_time_s=20.0)
    assert 8.0 <= (group.clock.now_ns - began) / 1e9 < 9.0


@pytest.mark.parametrize(("proof_time_s", "most_s"), [(10.0, 10.0), (0.0, 5.0)])
def test_proof_has_a_time_too(proof_time_s: float, most_s: float) -> None:
    """What cannot be proven in its own longer time passes; with none of its own, in the usual one."""
    group = FakeGroup(Behaviour(call_s=0.2))
    began = group.clock.now_ns
    found = run(group, lambda _: NextStep.PROOF, max_time_s=5.0, proof_time_s=proof_time_s)
    assert most_s - 2 < (group.clock.now_ns - began) / 1e9 <= most_s
    assert found.out_of_time is not None
    assert found.out_of_time == f"time was up after {most_s:g} s"


@given(call_s=st.floats(0.001, 1.2), busy=st.floats(0, 1), budget=st.floats(2.5, 20))
def test_budget_is_kept_whatever_the_workload(call_s: float, busy: float, budget: float) -> None:
    """A probe overruns its budget by one round at most, even when threads and processes are no faster than serial."""
    group = FakeGroup(Behaviour(call_s=call_s, busy=busy, gains={"threads": 1.0, "processes": 1.0}))
    began = group.clock.now_ns
    with contextlib.suppress(NotProbed):  # when the first call in every worker already took the budget
        run(group, rounds_until(10_000), max_time_s=budget)
    one_round = max(call_s, BATCH_S + call_s) * 5
    assert (group.clock.now_ns - began) / 1e9 <= budget + one_round


def test_rounds_are_limited() -> None:
    """A probe with time without end stops at some number of rounds."""
    assert len(run(FakeGroup(), rounds_until(10_000), max_time_s=1e6).rounds) == MOST_ROUNDS


def test_call_that_is_too_long_is_not_probed() -> None:
    """A call that already took more than half of the budget is not called again, and the reason names what would do."""
    group = FakeGroup()
    with pytest.raises(NotProbed, match=r"one call takes 3\.0 s, too long for max_time=5; max_time=18 would do"):
        run(group, known_call_s=3.0)
    assert group.asked == []


@pytest.mark.parametrize(
    ("busy", "strategies", "tried"),
    [
        (0.0, STRATEGIES, ["serial", "threads"]),  # processes would need as long again
        (1.0, STRATEGIES, ["serial", "processes"]),  # threads might take turns
        (1.0, ("serial", "threads"), []),
    ],
)
def test_long_call_is_made_once_by_what_fits(busy: float, strategies: tuple[str, ...], tried: list[str]) -> None:
    """Of a call too long to be repeated, each strategy gets one call in turn as far as the time allows."""
    group = FakeGroup(Behaviour(call_s=3.0, busy=busy, gains={}))
    own = serial(3.0, busy)
    with pytest.raises(NotProbed, match="too long for max_time=5") as caught:
        run(group, known_call_s=3.0, own_run=own, max_time_s=5.0, strategies=frozenset(strategies))
    seen = caught.value.seen
    assert seen is not None
    assert [name for one in seen.rounds for name in one.batches] == tried
    assert bool(group.asked) is bool(tried)
    assert not any(worker.is_open for worker in group.workers)


def test_long_call_that_fails_again_ends_its_strategy() -> None:
    """How a single call failed is kept, and the next strategy has its turn."""

    def answers(_: Any, question: Any, __: int) -> Any:
        return Failed(error="no") if isinstance(question, Batch) and question.strategy == "threads" else None

    group = FakeGroup(Behaviour(call_s=3.0, busy=0.0, gains={}), script=answers)
    with pytest.raises(NotProbed) as caught:
        run(group, known_call_s=3.0, own_run=serial(3.0, 0.0), max_time_s=5.0)
    seen = caught.value.seen
    assert seen is not None
    assert seen.ends["threads"].outcome is Outcome.FAILED
    assert list(seen.rounds[0].batches) == ["serial", "processes"]


def test_long_call_leaves_out_what_does_not_fit() -> None:
    """Where the budget allows serial calls alone, they are measured, and the rest is put down to time."""
    found = run(FakeGroup(Behaviour(call_s=1.2)), rounds_until(9), max_time_s=2.5)
    assert len(found.rounds) == 1
    assert "threads" not in found.rounds[0].batches
    assert found.no_time_for == {"threads"}
    assert found.out_of_time is not None
    assert found.out_of_time.startswith("threads did not fit into 2.5 s, since one call takes 1.2 s; max_time=")
    assert "processes" in found.rounds[0].batches
    assert found.out_of_time is not None
    assert found.ends["threads"].outcome is Outcome.OK


def test_warm_up_stands_for_the_first_batch_in_processes() -> None:
    """One call that fills a batch, made in all workers at once to warm them up, is not made twice."""
    group = FakeGroup(Behaviour(call_s=0.5))
    found = run(group)
    assert group.batches().count((1, 1, 2)) == 1
    assert "processes" in found.rounds[0].batches


def test_slow_first_call_is_not_a_batch() -> None:
    """A warm-up that took longer than later calls does not stand for a batch, and is kept as the first call."""
    group = FakeGroup(Behaviour(call_s=0.2, first_s=0.3))
    found = run(group)
    assert group.batches().count((1, 1, 2)) == 2
    assert found.first_call_s == pytest.approx(0.5)


def test_normal_run_is_kept_without_its_queueing() -> None:
    """What other programs cost the test's own run is no sign that later calls have less to do."""
    worker = WorkerReading(
        lanes=(lane(0.5, cpu_s=0.1, queue_s=0.4),), process_cpu_ns=0, peak_rss_bytes=None, gil_enabled=True
    )
    found = run(FakeGroup(Behaviour(call_s=0.1)), known_call_s=0.5, own_run=BatchReading(workers=(worker,)))
    assert found.normal_call_s == pytest.approx(0.1)


def test_only_strategies_asked_for_are_run() -> None:
    """Left out of the plan, a strategy is skipped with that reason, and one worker is enough for threads."""
    group = FakeGroup()
    found = run(group, strategies=frozenset({"serial", "threads"}))
    assert found.ends["processes"].outcome is Outcome.SKIPPED
    assert found.ends["processes"].error == "not among the strategies asked for"
    assert "processes" not in found.rounds[0].batches
    assert group.started == 1


def test_unsafe_fixture_keeps_threads_out() -> None:
    """What must not be shared between threads is not run in threads, and the reason is kept."""

    def script(worker: FakeWorker, question: Any, _: int) -> Any:
        if isinstance(question, Open):
            worker.is_open = True
            return Opened(refused={"threads": "it uses capsys"})
        return None

    found = run(FakeGroup(script=script))
    assert (found.ends["threads"].outcome, found.ends["threads"].error) == (Outcome.SKIPPED, "it uses capsys")
    assert "threads" not in found.rounds[0].batches


# What goes wrong


def in_threads(answer: Any) -> Callable[[FakeWorker, Any, int], Any]:
    """Answer batches in threads so."""
    return lambda _, question, __: answer if isinstance(question, Batch) and question.lanes > 1 else None


def in_processes(answer: Any, *, calls: int) -> Callable[[FakeWorker, Any, int], Any]:
    """Answer batches of so many calls in several workers so, in one of these workers."""
    return lambda worker, question, together: (
        answer
        if isinstance(question, Batch) and together > 1 and worker.number == 2 and question.calls == calls
        else None
    )


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Failed(error="ValueError: no"), Outcome.FAILED),
        (lost(), Outcome.HUNG),
        (lost(Outcome.CRASHED), Outcome.CRASHED),
    ],
)
def test_bad_end_in_threads_leaves_the_rest(answer: Any, outcome: Outcome) -> None:
    """Threads that fail, hang or crash are out; serial and processes go on, in fresh workers, to a verdict."""
    group = FakeGroup(script=in_threads(answer))
    found = run(group, rounds_until(2))
    assert found.ends["threads"].outcome is outcome
    assert found.ends["threads"].error is not None
    assert ["processes" in one.batches for one in found.rounds] == [True, True]
    assert group.started == 3
    assert not any(worker.is_open for worker in group.workers)


def test_bad_end_in_processes_leaves_the_rest() -> None:
    """A worker that dies in a processes batch takes processes out; serial and threads go on."""
    group = FakeGroup(Behaviour(call_s=0.06), script=in_processes(lost(Outcome.CRASHED), calls=1))
    found = run(group, rounds_until(2))
    assert found.ends["processes"].outcome is Outcome.CRASHED
    assert ["threads" in one.batches for one in found.rounds] == [True, True]


def test_first_call_that_fails_in_one_of_several_workers() -> None:
    """A first call that fails only where several are made at once takes processes out."""
    group = FakeGroup(script=in_processes(Failed(error="OSError: address in use"), calls=1))
    found = run(group)
    assert found.ends["processes"].outcome is Outcome.FAILED
    assert found.ends["processes"].error == "its first call in one of 2 processes at once: OSError: address in use"
    assert "threads" in found.rounds[0].batches


def test_calls_that_fail_only_beside_each_other_go_on_alone() -> None:
    """Where every first call fails beside the others, as with one port, a new worker alone may still be measured."""

    def script(_: FakeWorker, question: Any, together: int) -> Any:
        beside = isinstance(question, Batch) and together > 1
        return Failed(error="OSError: address in use") if beside else None

    found = run(FakeGroup(script=script), rounds_until(2))
    assert found.ends["processes"].outcome is Outcome.FAILED
    assert "OSError: address in use" in (found.ends["processes"].error or "")
    assert ["threads" in one.batches for one in found.rounds] == [True, True]


def set_up_once(answer: Any) -> FakeGroup:
    """Make a group whose second worker ends so in a batch, and in which the test can be set up twice only."""
    opened: list[int] = []

    def script(worker: FakeWorker, question: Any, _: int) -> Any:
        if isinstance(question, Open):
            opened.append(worker.number)
            return Failed(error="a stale lock file") if len(opened) > 2 else None
        if isinstance(question, Batch) and question.strategy == "processes" and question.calls > 1:
            return answer if worker.number == 2 else None
        return None

    return FakeGroup(script=script)


def test_a_worker_that_is_lost_for_good_leaves_the_rest() -> None:
    """A worker that dies in processes and whose set-up cannot be repeated does not end the whole probe."""
    found = run(set_up_once(lost(Outcome.CRASHED)), rounds_until(2))
    assert found.ends["processes"].outcome is Outcome.CRASHED
    assert ["threads" in one.batches for one in found.rounds] == [True, True]


def test_threads_that_spoil_the_only_worker_leave_the_others() -> None:
    """After threads failed and the set-up cannot be repeated, serial calls go on where the test is still open."""
    group = set_up_once(None)
    once, threads = group.script, in_threads(Failed(error="ValueError: no"))
    group.script = lambda *given: once(*given) or threads(*given)
    found = run(group, rounds_until(2))
    assert found.ends["threads"].outcome is Outcome.FAILED
    assert found.ends["processes"].outcome is Outcome.FAILED
    assert found.ends["processes"].error == "set-up after a worker was lost: a stale lock file"
    assert len(found.rounds) == 2


def test_spare_workers_keep_the_test_open_until_the_end() -> None:
    """The tear-down in a worker that is not needed any more may take away what the others use: it comes last."""
    group = FakeGroup(Behaviour(call_s=0.06), script=in_processes(Failed(error="OSError: locked"), calls=1))
    run(group, rounds_until(3))
    kinds = [type(asked) for asked, _ in group.asked]
    assert kinds.index(Close) > max(at for at, kind in enumerate(kinds) if kind is Batch)
    assert not any(worker.is_open for worker in group.workers)


def test_control_runs_in_as_many_workers_as_lanes() -> None:
    """What the machine can give is asked of all workers, also where processes have ended or were not asked for."""
    ended = FakeGroup(Behaviour(call_s=0.06), script=in_processes(Failed(error="OSError: locked"), calls=1))
    for group, asked in ((ended, STRATEGIES), (FakeGroup(), ("serial", "threads"))):

        def no_control_yet(seen: Measurement) -> NextStep:
            return NextStep.STOP if seen.controls else NextStep.CONTROL

        found = run(group, no_control_yet, strategies=frozenset(asked))
        assert [len(one.together.workers) for one in found.controls] == [2]


def test_serial_calls_that_hang_are_a_bad_end_of_their_own() -> None:
    """Where no strategy of several processes is asked for, it is serial that hung."""
    group = FakeGroup(script=lambda _, question, __: lost() if isinstance(question, Batch) else None)
    with pytest.raises(NotProbed) as finding:
        run(group, strategies=frozenset({"serial", "threads"}))
    assert finding.value.seen is not None
    assert finding.value.seen.ends["serial"].outcome is Outcome.HUNG


def test_every_worker_is_warmed_up_by_serial_calls() -> None:
    """The first calls are the test's own, whatever a strategy makes of them, in every worker where the test is open."""
    group = FakeGroup()
    run(group)
    first = next((question, workers) for question, workers in group.asked if isinstance(question, Batch))
    assert (first[0].strategy, first[0].calls, first[1]) == ("serial", 1, 2)


def test_a_strategy_that_workers_do_not_know_is_skipped() -> None:
    """A conftest file that is not loaded for a test cannot bring its strategies to it."""
    group = FakeGroup()
    for worker in cast("list[FakeWorker]", group.ready(2)):
        known = frozenset({"serial", "processes"})
        worker.ready = replace(worker.ready, strategies=known) if worker.ready is not None else None
    found = run(group)
    assert (found.ends["threads"].outcome, found.ends["threads"].impossible) == (Outcome.SKIPPED, True)


def opening(answers: dict[int, Any]) -> tuple[FakeGroup, list[int]]:
    """Make a group whose workers, by number, answer so when a test is opened in several of them at once.

    Also returns the list of workers that are asked to open, one after the other.
    """
    asked: list[int] = []

    def script(worker: FakeWorker, question: Any, together: int) -> Any:
        if isinstance(question, Open):
            asked.append(worker.number)
        return answers.get(worker.number) if isinstance(question, Open) and together > 1 else None

    return FakeGroup(script=script), asked


@pytest.mark.parametrize(
    ("bad", "outcome", "said"),
    [
        (Failed(error="PortTaken"), Outcome.FAILED, "set-up in several processes at once: PortTaken"),
        (lost(Outcome.HUNG), Outcome.HUNG, "set-up in one of 2 processes at once: it is gone"),
        (lost(Outcome.CRASHED), Outcome.CRASHED, "set-up in one of 2 processes at once: it is gone"),
    ],
)
@pytest.mark.parametrize("which", [1, 2])
def test_set_up_that_works_in_one_process_only(which: int, bad: Any, outcome: Outcome, said: str) -> None:
    """A fixture that several processes cannot hold at once takes processes out; the rest runs where it was set up."""
    group, asked = opening({which: bad})
    found = run(group)
    assert (found.ends["processes"].outcome, found.ends["processes"].error) == (outcome, said)
    assert "threads" in found.rounds[0].batches
    assert asked == [1, 2], "it was set up once more"
    assert not any(worker.is_open for worker in group.workers)


def test_threads_fail_where_one_process_only_could_set_up() -> None:
    """The worker that takes the place of the only one in which the test was open is the only one to be asked."""
    group, asked = opening({1: Failed(error="PortTaken")})
    several, threads = group.script, in_threads(Failed(error="ValueError: no"))
    group.script = lambda *given: several(*given) or threads(*given)
    found = run(group, rounds_until(2))
    assert found.ends["threads"].outcome is Outcome.FAILED
    assert len(found.rounds) == 2
    assert asked == [1, 2, 1]


def test_set_up_that_fails_in_all_at_once_is_tried_alone() -> None:
    """Processes that are in each other's way may all fail; one alone may not."""
    group, asked = opening({1: Failed(error="PortTaken"), 2: lost(Outcome.CRASHED)})
    found = run(group)
    assert found.ends["processes"].error == "set-up in several processes at once: PortTaken"
    assert "threads" in found.rounds[0].batches
    assert asked == [1, 2, 1]


def test_set_up_that_hangs_costs_one_time_out() -> None:
    """A test whose set-up hangs in every worker is not set up once more."""
    group, asked = opening({1: lost(), 2: lost()})
    with pytest.raises(NotProbed, match="could not be set up again in a worker process: it is gone"):
        run(group)
    assert asked == [1, 2]


SERVER = Fixture(name="server", place="", function="start_server")
STACKS = 'killed\nits threads then:\nThread 0x1 (most recent call first):\n  File "conftest.py", line 9 in start_server'


def with_fixture(answers: dict[int, Any]) -> tuple[FakeGroup, list[int]]:
    """Make a group as `opening` does, in which the test has one fixture."""
    group, asked = opening(answers)
    group.hung_fixtures = HungFixtures({NODEID: frozenset({SERVER})})
    return group, asked


def test_fixture_that_hung_is_not_waited_for_again() -> None:
    """Once it hung in every worker, tests that ask for it are not set up again; the reason names it and the test."""
    hung = Lost(outcome=Outcome.HUNG, error=STACKS)
    group, asked = with_fixture({1: hung, 2: hung})
    with pytest.raises(NotProbed, match="could not be set up again"):
        run(group)
    with pytest.raises(NotProbed, match=f"its fixture server hung there in the set-up of {NODEID}"):
        run(group)
    assert asked == [1, 2]


def test_fixture_that_hung_in_several_processes_is_set_up_in_one() -> None:
    """Once it hung beside another worker's, tests that ask for it are set up in one worker only."""
    group, asked = with_fixture({2: Lost(outcome=Outcome.HUNG, error=STACKS)})
    assert run(group).ends["processes"].outcome is Outcome.HUNG
    again = run(group)
    assert again.ends["processes"].outcome is Outcome.SKIPPED
    assert "its fixture server hung there" in (again.ends["processes"].error or "")
    assert "threads" in again.rounds[0].batches
    assert asked == [1, 2, 1]


def test_set_up_that_hangs_takes_no_time_from_the_rest() -> None:
    """What waiting for a worker that hung in set-up took is not counted as time of the probe."""
    group, _ = with_fixture({2: Lost(outcome=Outcome.HUNG, error=STACKS)})
    asked = group.script

    def script(worker: FakeWorker, question: Any, together: int) -> Any:
        if isinstance(question, Open) and worker.number == 2:
            group.clock.pass_s(60)
        return asked(worker, question, together)

    group.script = script
    found = run(group, rounds_until(2))
    assert len(found.rounds) == 2
    assert found.out_of_time is None


@pytest.mark.parametrize(
    "bad", [Failed(error=STACKS), Lost(outcome=Outcome.CRASHED, error=STACKS), Lost(outcome=Outcome.HUNG, error="")]
)
def test_what_did_not_hang_for_certain_is_tried_again(bad: Any) -> None:
    """A failure, a death, or a hang without stacks tells nothing of another set-up."""
    group, asked = with_fixture({2: bad})
    run(group)
    run(group)
    assert asked == [1, 2, 1, *([2] if isinstance(bad, Failed) else [3])]


def test_set_up_that_fails_everywhere_is_not_probed() -> None:
    """A test that cannot be set up in a worker is not probed, with the worker's words."""
    with pytest.raises(NotProbed, match="could not be set up again in a worker process: ValueError: no"):
        run(FakeGroup(script=failed))


def test_pool_that_cannot_start_is_not_probed() -> None:
    """Without workers there is nothing to measure, and the reason is the group's."""
    group = FakeGroup(refuses=lost())
    with pytest.raises(NotProbed, match="it is gone"):
        run(group)


def only_batches(at_least: int) -> Callable[[FakeWorker, Any, int], Any]:
    """Fail serial batches of so many calls or more."""
    return lambda _, question, together: (
        Failed(error="it is full")
        if isinstance(question, Batch) and question.lanes == 1 and together == 1 and question.calls >= at_least
        else None
    )


def test_first_call_that_fails_is_not_probed() -> None:
    """A test that passed but cannot be called again is not probed."""
    script = lambda _, question, __: Failed(error="it is full") if isinstance(question, Batch) else None  # noqa: E731
    with pytest.raises(NotProbed, match="passed once, but not when called again in a worker process: it is full"):
        run(FakeGroup(script=script))


@pytest.mark.parametrize("call_s", [0.02, 0.001])
def test_call_that_works_only_a_few_times_is_not_probed(call_s: float) -> None:
    """A test that cannot be called many times in a row is not probed, and the reason counts the calls."""
    group = FakeGroup(Behaviour(call_s=call_s), script=only_batches(2))
    with pytest.raises(NotProbed, match=r"passed once, but not when called \d+ times in a row: it is full"):
        run(group)
    assert not any(worker.is_open for worker in group.workers)


@pytest.mark.parametrize("script", [lambda *_: None, in_threads(Failed(error="no")), only_batches(2)])
def test_test_is_closed_wherever_it_was_opened(script: Any) -> None:
    """However a probe ends, no living worker is left with the test set up."""
    group = FakeGroup(script=script)
    try:
        run(group)
    except NotProbed:
        assert script is not None
    assert [worker.number for worker in group.workers if worker.is_open] == []
    assert isinstance(group.asked[-1][0], Close)


# What is kept beside the rounds


def test_circumstances_are_kept() -> None:
    """Start-up, the GIL's state and why it was not watched travel with the measurement."""
    found = run(FakeGroup())
    assert (found.start_up_s, found.gil_on_at_start, found.gil_unwatched) == (0.2, True, WATCHED_NOT)
    assert found.holders_unread == FRAMES_NOT
    assert found.throttled_share is None


def test_throttling_is_a_share_of_the_probes_time() -> None:
    """Time under the quota's brake is divided by how long the rounds took, and told before each decision."""
    group = FakeGroup(Behaviour(call_s=0.05))
    told, moments, shares = iter([1.0, 1.125, 9.0]), [], []
    job = Job(plan=plan(), keep=0, cpus=2, known_call_s=0.0)

    def throttled_s() -> float:
        moments.append(group.clock.now_ns)
        return next(told)

    def settled(so_far: Measurement) -> NextStep:
        shares.append(so_far.throttled_share)
        return rounds_until(2)(so_far)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "perf_counter_ns", group.clock.read_ns)
        patch.setattr(machine, "throttled_s", throttled_s)
        found = schedule.measure(job, cast("WorkerGroup", group), BUILT_IN, settled, lambda *_: None)
    began, first, _ = moments
    assert shares == [pytest.approx(0.125 / ((first - began) / 1e9)), 1.0]
    assert found.throttled_share == 1.0


@pytest.mark.parametrize(
    ("watched", "why"), [((False, False), "not just now"), ((True, False), None), ((False, True), None)]
)
def test_watching_is_told_of_serial_batches(watched: tuple[bool, bool], why: str | None) -> None:
    """Why the GIL was not watched is kept as long as no serial batch was, whatever became of the threads'."""
    seen = iter(watched)
    group = FakeGroup()
    usual = FakeGroup.ask_sampled

    class Watched(FakeGroup):
        def ask_sampled(self, worker: FakeWorker, question: Any, mean_s: float, **watched: Any) -> Any:
            answer, _, _ = usual(group, worker, question, mean_s, **watched)
            if question.lanes > 1:
                return answer, None, "no threads watched"
            if next(seen):
                return answer, GilSamples(method=GilMethod.MEMORY, at_ns=(), held=(), late_ns=()), None
            return answer, None, "not just now"

    group = Watched(Behaviour(call_s=0.05))
    assert run(group, rounds_until(2)).gil_unwatched == why


def test_gil_that_an_import_switched_on_is_listened_to() -> None:
    """A worker that started without its GIL, and has it on in a batch, is heard by a heartbeat like any other."""
    for later in (False, True):
        group = FakeGroup(Behaviour(call_s=0.05, gil_enabled=later))
        for worker in cast("list[FakeWorker]", group.ready(2)):
            worker.ready = replace(worker.ready, gil_enabled=False) if worker.ready is not None else None
        run(group)
        assert any(isinstance(asked, Batch) and asked.heartbeat for asked, _ in group.asked) is later


def test_wish_for_a_control_is_granted() -> None:
    """Asked whether the machine could have done better, the control runs between rounds, and is judged again."""
    next_steps = iter([NextStep.CONTROL, NextStep.STOP])
    group = FakeGroup()
    found = run(group, lambda _: next(next_steps))
    assert len(found.controls) == 1
    assert len(found.controls[0].together.workers) == 2
    assert len(found.rounds) == 1
    assert [count for asked, count in group.asked if isinstance(asked, Control)] == [1, 2]


def test_open_question_names_the_test_and_what_to_keep() -> None:
    """The workers are told the node id, and how many collectors stay set up."""
    group = FakeGroup()
    job = Job(plan=plan(), keep=3, cpus=2, known_call_s=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "perf_counter_ns", group.clock.read_ns)
        schedule.measure(job, cast("WorkerGroup", group), BUILT_IN, lambda _: NextStep.STOP, lambda *_: None)
    assert group.asked[0] == (Open(nodeid=NODEID, keep=3), 2)


def test_worker_without_a_start_up_time() -> None:
    """A worker whose start-up was not timed leaves that unknown."""
    group = FakeGroup()
    for worker in cast("list[FakeWorker]", group.ready(2)):
        worker.start_up_s = None
        worker.ready = replace(worker.ready, gil_enabled=False) if worker.ready is not None else None
    found = run(group)
    assert found.start_up_s is None
    assert found.gil_on_at_start is False


def test_run_queue_time_does_not_shorten_batches() -> None:
    """Calibration takes the time that a batch waited for a core out, so that a busy machine gets batches as long."""

    def script(worker: FakeWorker, question: Any, _: int) -> Any:
        if not isinstance(question, Batch) or question.lanes > 1:
            return None
        answer = group._batch(worker, question, 1)
        only = answer.reading.lanes[0]
        waited = replace(only, end_ns=only.end_ns * 2 - only.start_ns, run_queue_ns=only.end_ns - only.start_ns)
        return Done(reading=replace(answer.reading, lanes=(waited,)))

    group = FakeGroup(Behaviour(call_s=0.001), script=script)
    calls = run(group).rounds[0].serial.lanes[0].calls
    assert calls * 0.001 >= BATCH_S * 0.999


# Moving the data of a call


def given_data(answer: Any, moving_s: float = 0.0) -> FakeGroup:
    """Pretend that a function was given with its arguments, which take so long to move."""
    group = FakeGroup()

    def script(worker: FakeWorker, question: Any, together: int) -> Any:
        if isinstance(question, Open):
            worker.is_open = True
            return Opened(given=True)
        if isinstance(question, MeasureTransfer):
            assert together == 1
            group.clock.now_ns += round(moving_s * 1e9)
            return answer
        return None

    group.script = script
    return group


def test_result_of_the_first_call_is_kept_to_be_moved() -> None:
    """The first call's result is what is moved, whatever a call takes: no call is made for it, none leaves it out."""
    group = given_data(TransferMeasured())
    run(group)
    questions = [question for question, _ in group.asked if isinstance(question, Batch | MeasureTransfer)]
    assert isinstance(questions[0], Batch)
    assert questions[0].keep_result
    assert isinstance(questions[1], MeasureTransfer)
    assert not any(question.keep_result for question in questions[2:] if isinstance(question, Batch))


def test_nothing_is_kept_of_a_test_that_gave_no_function() -> None:
    """A test's own call returns nothing that anybody would move."""
    group = FakeGroup()
    run(group)
    assert not any(question.keep_result for question, _ in group.asked if isinstance(question, Batch))
    assert not any(isinstance(question, MeasureTransfer) for question, _ in group.asked)


def test_moving_takes_no_time_from_the_rounds() -> None:
    """Where data takes longer to move than a probe may last, its calls are measured all the same."""
    found = run(given_data(TransferMeasured(), moving_s=60.0), max_time_s=5.0)
    assert len(found.rounds) == 1
    assert found.ends["processes"].outcome is Outcome.OK


@pytest.mark.parametrize(("outcome", "said"), [(Outcome.HUNG, Outcome.SKIPPED), (Outcome.CRASHED, Outcome.CRASHED)])
def test_data_that_does_not_arrive_ends_processes_only(outcome: Outcome, said: Outcome) -> None:
    """Data that takes too long to move is no call that hangs; a process that dies of it is one that dies."""
    found = run(given_data(lost(outcome)))
    assert found.ends["processes"].outcome is said
    assert found.ends["processes"].error is not None
    assert found.ends["processes"].error.startswith("moving its data: ")
    assert "threads" in found.rounds[0].batches


# Arguments that calls change

DRAINED = ArgumentsReading(changed=("argument heap (a list)",), fresh_s=(0.05,) * 3, used_s=(1e-7,) * 3)
STEADY = ArgumentsReading(changed=("argument heap (a list)",), fresh_s=(0.05,) * 3, used_s=(0.05,) * 3)


def compared(*readings: ArgumentsReading) -> tuple[FakeGroup, list[object]]:
    """Make workers that report these comparisons in turn, and a list of the questions about arguments."""
    asked: list[object] = []

    def script(_: FakeWorker, question: Any, __: int) -> Any:
        if isinstance(question, WatchArguments):
            asked.append(question)
            return ArgumentsCompared()
        if isinstance(question, CompareArguments):
            asked.append(question)
            return ArgumentsCompared(reading=readings[min(len(asked) - 2, len(readings) - 1)])
        return None

    return FakeGroup(script=script), asked


def test_strategies_are_not_compared_by_calls_that_have_other_work() -> None:
    """Once calls are known to change their arguments, one serial batch is all that is made."""
    group, asked = compared(DRAINED)
    found = run(group, lambda _: NextStep.ROUND)
    assert [type(question) for question in asked] == [WatchArguments, CompareArguments]
    assert [list(one.batches) for one in found.rounds] == [["serial"]]
    assert {end.outcome for end in found.ends.values()} == {Outcome.SKIPPED}
    assert found.arguments == DRAINED


def test_arguments_are_compared_again_after_the_last_round() -> None:
    """What the first call changed without consequence, a thousand calls may use up."""
    group, asked = compared(STEADY, DRAINED)
    found = run(group, rounds_until(2))
    assert [type(question) for question in asked] == [WatchArguments, CompareArguments, CompareArguments]
    assert len(found.rounds) == 2
    assert found.arguments == DRAINED
    assert {end.outcome for end in found.ends.values()} == {Outcome.SKIPPED}


def test_unchanged_arguments_are_compared_once() -> None:
    """Calls that change nothing cost one comparison."""
    group, asked = compared(ArgumentsReading())
    found = run(group)
    assert [type(question) for question in asked] == [WatchArguments, CompareArguments]
    assert {found.ends[name].outcome for name in ("threads", "processes")} == {Outcome.OK}


def test_worker_that_is_lost_over_its_arguments_is_replaced() -> None:
    """An argument whose pickling ends the process costs a worker, and nothing is known of the arguments."""
    group = FakeGroup(script=lambda _, question, __: lost() if isinstance(question, WatchArguments) else None)
    found = run(group)
    assert group.started == 3
    assert found.arguments is None
    assert len(found.rounds) == 1

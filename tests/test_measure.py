"""`pytest_gilprobe.measure`: the schedule, on a clock that moves only when a batch says so."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from fake_workers import NODEID, WATCHED_NOT, Behaviour, FakePool, FakeWorker, failed, lost, plan
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe import host, measure
from pytest_gilprobe.bench import NotProbed
from pytest_gilprobe.measure import BATCH_S, MOST_CALLS, MOST_ROUNDS, Job
from pytest_gilprobe.model import GilMethod, GilTrace, Measurement, Outcome, Strategy, Wish
from pytest_gilprobe.workers.protocol import Batch, Close, Control, Done, Failed, Open, Opened, Ship, Shipped
from pytest_gilprobe.workers.stuck import Fixture, Stuck
from pytest_gilprobe.workers.worker import Lost

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.workers.pool import Pool


def run(
    pool: FakePool,
    settled: Callable[[Measurement], Wish] = lambda _: Wish.NOTHING,
    seen: list[tuple[Strategy, int]] | None = None,
    **changes: Any,
) -> Measurement:
    """Measure the pretended workload; ``seen`` collects the progress."""
    known_call_s = changes.pop("known_call_s", 0.0)
    job = Job(plan=plan(**changes), keep=0, cpus=2, known_call_s=known_call_s)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host, "perf_counter_ns", pool.clock.read_ns)
        patch.setattr(host, "throttled_s", lambda: None)
        return measure.measure(
            job, cast("Pool", pool), settled, lambda *step: seen.append(step) if seen is not None else None
        )


def rounds_until(number: int) -> Callable[[Measurement], Wish]:
    """Be settled after so many rounds."""
    return lambda so_far: Wish.NOTHING if len(so_far.rounds) >= number else Wish.ROUND


def span_s(measurement: Measurement, number: int = 0) -> float:
    reading = measurement.rounds[number].serial.readings[0].threads[0]
    return (reading.end_ns - reading.start_ns) / 1e9


def test_settled_probe_stops_after_one_round() -> None:
    """When no decision is open after the first round, there is no second."""
    found = run(FakePool())
    assert len(found.rounds) == 1
    only = found.rounds[0]
    assert only.threads is not None
    assert only.processes is not None
    assert [len(sample.readings) for sample in (only.serial, only.threads, only.processes)] == [1, 1, 2]
    assert len(only.threads.readings[0].threads) == 2


def test_order_rotates() -> None:
    """Each round begins with another strategy, so that drift hits all alike."""
    steps: list[tuple[Strategy, int]] = []
    run(FakePool(), rounds_until(3), steps)
    serial, threads, processes = Strategy
    assert [strategy for strategy, _ in steps] == [
        *(serial, threads, processes),
        *(threads, processes, serial),
        *(processes, serial, threads),
    ]
    assert [number for _, number in steps] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


@given(call_s=st.floats(1e-8, 1.0))
def test_batches_are_long_enough_and_not_much_longer(call_s: float) -> None:
    """Calls per batch are calibrated to at least 50 ms, whatever one call takes, and a longer call is a batch."""
    found = run(FakePool(Behaviour(call_s=call_s)), max_time_s=60.0)
    calls = found.rounds[0].serial.readings[0].threads[0].calls
    if calls < MOST_CALLS:
        assert span_s(found) >= BATCH_S * 0.999
    assert span_s(found) <= max(BATCH_S * 1.05 + call_s, call_s)


@given(call_s=st.floats(1e-6, 0.02), first_s=st.floats(0.1, 0.5))
def test_a_slow_first_call_does_not_size_the_batches(call_s: float, first_s: float) -> None:
    """A first call that loads or fills a cache is no measure of the later ones: batches are full all the same."""
    found = run(FakePool(Behaviour(call_s=call_s, first_s=first_s)), max_time_s=60.0)
    assert span_s(found) >= BATCH_S * 0.5
    assert found.first_call_s == pytest.approx(call_s + first_s, rel=1e-3)


def test_all_strategies_of_a_round_make_the_same_calls_per_lane() -> None:
    """A thread and a worker make as many calls in a batch as the serial loop."""
    found = run(FakePool(Behaviour(call_s=0.001)))
    only = found.rounds[0]
    assert only.threads is not None
    assert only.processes is not None
    samples = (only.serial, only.threads, only.processes)
    assert len({thread.calls for s in samples for reading in s.readings for thread in reading.threads}) == 1


def test_budget_is_wall_time() -> None:
    """A probe whose decisions stay open ends within its budget and says what would allow more."""
    pool = FakePool(Behaviour(call_s=0.2))
    began = pool.clock.now_ns
    found = run(pool, rounds_until(10_000), max_time_s=5.0)
    took = (pool.clock.now_ns - began) / 1e9
    assert 3.0 < took <= 5.0
    assert found.out_of_time is not None
    assert found.out_of_time.startswith("not within 5 s; max_time=")


def test_what_contradicts_an_expectation_may_take_longer() -> None:
    """Only that: once it is no longer contradicted, the usual time holds again, and has passed."""
    pool = FakePool(Behaviour(call_s=0.2))
    began = pool.clock.now_ns

    def settled(_: Measurement) -> Wish:
        return Wish.PROOF if pool.clock.now_ns - began < 8e9 else Wish.ROUND

    run(pool, settled, max_time_s=5.0, proof_time_s=20.0)
    assert 8.0 <= (pool.clock.now_ns - began) / 1e9 < 9.0


@pytest.mark.parametrize(("proof_time_s", "most_s"), [(10.0, 10.0), (0.0, 5.0)])
def test_proof_has_a_time_too(proof_time_s: float, most_s: float) -> None:
    """What cannot be proven in its own longer time passes; with none of its own, in the usual one."""
    pool = FakePool(Behaviour(call_s=0.2))
    began = pool.clock.now_ns
    found = run(pool, lambda _: Wish.PROOF, max_time_s=5.0, proof_time_s=proof_time_s)
    assert most_s - 2 < (pool.clock.now_ns - began) / 1e9 <= most_s
    assert found.out_of_time is not None
    assert found.out_of_time.startswith(f"not within {most_s:g} s; max_time=")


@given(call_s=st.floats(0.001, 1.2), busy=st.floats(0, 1), budget=st.floats(2.5, 20))
def test_budget_is_kept_whatever_the_workload(call_s: float, busy: float, budget: float) -> None:
    """A probe overruns its budget by one round at most, even when threads and processes are no faster than serial."""
    pool = FakePool(Behaviour(call_s=call_s, busy=busy, threads=1.0, processes=1.0))
    began = pool.clock.now_ns
    with contextlib.suppress(NotProbed):  # when the first call in every worker already took the budget
        run(pool, rounds_until(10_000), max_time_s=budget)
    one_round = max(call_s, BATCH_S + call_s) * 5
    assert (pool.clock.now_ns - began) / 1e9 <= budget + one_round


def test_rounds_are_limited() -> None:
    """A probe with time without end stops at some number of rounds."""
    assert len(run(FakePool(), rounds_until(10_000), max_time_s=1e6).rounds) == MOST_ROUNDS


def test_call_that_is_too_long_is_not_probed() -> None:
    """A call that already took more than half of the budget is not called again, and the reason names what would do."""
    pool = FakePool()
    with pytest.raises(NotProbed, match=r"one call takes 3\.0 s, too long for max_time=5; max_time=18 would do"):
        run(pool, known_call_s=3.0)
    assert pool.asked == []


def test_long_call_leaves_out_what_does_not_fit() -> None:
    """Where the budget allows serial calls alone, they are measured, and the rest is put down to time."""
    found = run(FakePool(Behaviour(call_s=1.2)), rounds_until(9), max_time_s=2.5)
    assert len(found.rounds) == 1
    assert found.rounds[0].threads is None
    assert found.no_time_for == {Strategy.THREADS}
    assert found.rounds[0].processes is not None
    assert found.out_of_time is not None
    assert found.threads_end.outcome is Outcome.OK


def test_warm_up_stands_for_the_first_batch_in_processes() -> None:
    """One call that fills a batch, made in all workers at once to warm them up, is not made twice."""
    pool = FakePool(Behaviour(call_s=0.5))
    found = run(pool)
    assert pool.batches().count((1, 1, 2)) == 1
    assert found.rounds[0].processes is not None


def test_slow_first_call_is_not_a_batch() -> None:
    """A warm-up that took longer than later calls does not stand for a batch, and is kept as the first call."""
    pool = FakePool(Behaviour(call_s=0.2, first_s=0.3))
    found = run(pool)
    assert pool.batches().count((1, 1, 2)) == 2
    assert found.first_call_s == pytest.approx(0.5)


def test_only_strategies_asked_for_are_run() -> None:
    """Left out of the plan, a strategy is skipped with that reason, and one worker is enough for threads."""
    pool = FakePool()
    found = run(pool, strategies=frozenset({Strategy.SERIAL, Strategy.THREADS}))
    assert found.processes_end.outcome is Outcome.SKIPPED
    assert found.processes_end.error == "not among the strategies asked for"
    assert found.rounds[0].processes is None
    assert pool.started == 1


def test_unsafe_fixture_keeps_threads_out() -> None:
    """What must not be shared between threads is not run in threads, and the reason is kept."""

    def script(worker: FakeWorker, question: Any, _: int) -> Any:
        if isinstance(question, Open):
            worker.is_open = True
            return Opened(unsafe_in_threads="it uses capsys")
        return None

    found = run(FakePool(script=script))
    assert (found.threads_end.outcome, found.threads_end.error) == (Outcome.SKIPPED, "it uses capsys")
    assert found.rounds[0].threads is None


# What goes wrong


def in_threads(answer: Any) -> Callable[[FakeWorker, Any, int], Any]:
    """Answer batches in threads so."""
    return lambda _, question, __: answer if isinstance(question, Batch) and question.threads > 1 else None


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
    pool = FakePool(script=in_threads(answer))
    found = run(pool, rounds_until(2))
    assert found.threads_end.outcome is outcome
    assert found.threads_end.error is not None
    assert [one.processes is not None for one in found.rounds] == [True, True]
    assert pool.started == 3
    assert not any(worker.is_open for worker in pool.workers)


def test_bad_end_in_processes_leaves_the_rest() -> None:
    """A worker that dies in a processes batch takes processes out; serial and threads go on."""
    pool = FakePool(Behaviour(call_s=0.06), script=in_processes(lost(Outcome.CRASHED), calls=1))
    found = run(pool, rounds_until(2))
    assert found.processes_end.outcome is Outcome.CRASHED
    assert [one.threads is not None for one in found.rounds] == [True, True]


def test_first_call_that_fails_in_one_of_several_workers() -> None:
    """A first call that fails only where several are made at once takes processes out."""
    pool = FakePool(script=in_processes(Failed(error="OSError: address in use"), calls=1))
    found = run(pool)
    assert found.processes_end.outcome is Outcome.FAILED
    assert found.processes_end.error == "its first call: OSError: address in use"
    assert found.rounds[0].threads is not None


def opening(answers: dict[int, Any]) -> tuple[FakePool, list[int]]:
    """Make a pool whose workers, by number, answer so when a test is opened in several of them at once.

    Also returns the list of workers that are asked to open, one after the other.
    """
    asked: list[int] = []

    def script(worker: FakeWorker, question: Any, together: int) -> Any:
        if isinstance(question, Open):
            asked.append(worker.number)
        return answers.get(worker.number) if isinstance(question, Open) and together > 1 else None

    return FakePool(script=script), asked


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
    pool, asked = opening({which: bad})
    found = run(pool)
    assert (found.processes_end.outcome, found.processes_end.error) == (outcome, said)
    assert found.rounds[0].threads is not None
    assert asked == [1, 2], "it was set up once more"
    assert not any(worker.is_open for worker in pool.workers)


def test_threads_fail_where_one_process_only_could_set_up() -> None:
    """The worker that takes the place of the only one in which the test was open is the only one to be asked."""
    pool, asked = opening({1: Failed(error="PortTaken")})
    several, threads = pool.script, in_threads(Failed(error="ValueError: no"))
    pool.script = lambda *given: several(*given) or threads(*given)
    found = run(pool, rounds_until(2))
    assert found.threads_end.outcome is Outcome.FAILED
    assert len(found.rounds) == 2
    assert asked == [1, 2, 1]


def test_set_up_that_fails_in_all_at_once_is_tried_alone() -> None:
    """Processes that are in each other's way may all fail; one alone may not."""
    pool, asked = opening({1: Failed(error="PortTaken"), 2: lost(Outcome.CRASHED)})
    found = run(pool)
    assert found.processes_end.error == "set-up in several processes at once: PortTaken"
    assert found.rounds[0].threads is not None
    assert asked == [1, 2, 1]


def test_set_up_that_hangs_costs_one_time_out() -> None:
    """A test whose set-up hangs in every worker is not set up once more."""
    pool, asked = opening({1: lost(), 2: lost()})
    with pytest.raises(NotProbed, match="could not be set up again in a worker process: it is gone"):
        run(pool)
    assert asked == [1, 2]


SERVER = Fixture(name="server", place="", function="start_server")
STACKS = 'killed; its threads then:\nThread 0x1 (most recent call first):\n  File "conftest.py", line 9 in start_server'


def stuck_pool(answers: dict[int, Any]) -> tuple[FakePool, list[int]]:
    """Make a pool as `opening` does, in which the test has one fixture."""
    pool, asked = opening(answers)
    pool.stuck = Stuck({NODEID: frozenset({SERVER})})
    return pool, asked


def test_fixture_that_hung_is_not_waited_for_again() -> None:
    """Once it hung in every worker, tests that ask for it are not set up again; the reason names it and the test."""
    hung = Lost(outcome=Outcome.HUNG, error=STACKS)
    pool, asked = stuck_pool({1: hung, 2: hung})
    with pytest.raises(NotProbed, match="could not be set up again"):
        run(pool)
    with pytest.raises(NotProbed, match=f"its fixture server hung there in the set-up of {NODEID}"):
        run(pool)
    assert asked == [1, 2]


def test_fixture_that_hung_in_several_processes_is_set_up_in_one() -> None:
    """Once it hung beside another worker's, tests that ask for it are set up in one worker only."""
    pool, asked = stuck_pool({2: Lost(outcome=Outcome.HUNG, error=STACKS)})
    assert run(pool).processes_end.outcome is Outcome.HUNG
    again = run(pool)
    assert again.processes_end.outcome is Outcome.SKIPPED
    assert "its fixture server hung there" in (again.processes_end.error or "")
    assert again.rounds[0].threads is not None
    assert asked == [1, 2, 1]


def test_set_up_that_hangs_takes_no_time_from_the_rest() -> None:
    """What waiting for a worker that hung in set-up took is not counted as time of the probe."""
    pool, _ = stuck_pool({2: Lost(outcome=Outcome.HUNG, error=STACKS)})
    asked = pool.script

    def script(worker: FakeWorker, question: Any, together: int) -> Any:
        if isinstance(question, Open) and worker.number == 2:
            pool.clock.pass_s(60)
        return asked(worker, question, together)

    pool.script = script
    found = run(pool, rounds_until(2))
    assert len(found.rounds) == 2
    assert found.out_of_time is None


@pytest.mark.parametrize(
    "bad", [Failed(error=STACKS), Lost(outcome=Outcome.CRASHED, error=STACKS), Lost(outcome=Outcome.HUNG, error="")]
)
def test_what_did_not_hang_for_certain_is_tried_again(bad: Any) -> None:
    """A failure, a death, or a hang without stacks tells nothing of another set-up."""
    pool, asked = stuck_pool({2: bad})
    run(pool)
    run(pool)
    assert asked == [1, 2, 1, *([2] if isinstance(bad, Failed) else [3])]


def test_set_up_that_fails_everywhere_is_not_probed() -> None:
    """A test that cannot be set up in a worker is not probed, with the worker's words."""
    with pytest.raises(NotProbed, match="could not be set up again in a worker process: ValueError: no"):
        run(FakePool(script=failed))


def test_pool_that_cannot_start_is_not_probed() -> None:
    """Without workers there is nothing to measure, and the reason is the pool's."""
    pool = FakePool(refuses=lost())
    with pytest.raises(NotProbed, match="it is gone"):
        run(pool)


def only_batches(at_least: int) -> Callable[[FakeWorker, Any, int], Any]:
    """Fail serial batches of so many calls or more."""
    return lambda _, question, together: (
        Failed(error="it is full")
        if isinstance(question, Batch) and question.threads == 1 and together == 1 and question.calls >= at_least
        else None
    )


def test_first_call_that_fails_is_not_probed() -> None:
    """A test that passed but cannot be called again is not probed."""
    script = lambda _, question, __: Failed(error="it is full") if isinstance(question, Batch) else None  # noqa: E731
    with pytest.raises(NotProbed, match="passed once, but not when called again in a worker process: it is full"):
        run(FakePool(script=script))


@pytest.mark.parametrize("call_s", [0.02, 0.001])
def test_call_that_works_only_a_few_times_is_not_probed(call_s: float) -> None:
    """A test that cannot be called many times in a row is not probed, and the reason counts the calls."""
    pool = FakePool(Behaviour(call_s=call_s), script=only_batches(2))
    with pytest.raises(NotProbed, match=r"passed once, but not when called \d+ times in a row: it is full"):
        run(pool)
    assert not any(worker.is_open for worker in pool.workers)


@pytest.mark.parametrize("script", [lambda *_: None, in_threads(Failed(error="no")), only_batches(2)])
def test_test_is_closed_wherever_it_was_opened(script: Any) -> None:
    """However a probe ends, no living worker is left with the test set up."""
    pool = FakePool(script=script)
    try:
        run(pool)
    except NotProbed:
        assert script is not None
    assert [worker.number for worker in pool.workers if worker.is_open] == []
    assert isinstance(pool.asked[-1][0], Close)


# What is kept beside the rounds


def test_circumstances_are_kept() -> None:
    """Start-up, the GIL's state and why it was not watched travel with the measurement."""
    found = run(FakePool())
    assert (found.start_up_s, found.gil_on_at_start, found.gil_unwatched) == (0.2, True, WATCHED_NOT)
    assert found.throttled_share is None


def test_throttling_is_a_share_of_the_probes_time() -> None:
    """Time under the quota's brake is divided by how long the rounds took, and told before each decision."""
    pool = FakePool(Behaviour(call_s=0.05))
    told, moments, shares = iter([1.0, 1.125, 9.0]), [], []
    job = Job(plan=plan(), keep=0, cpus=2, known_call_s=0.0)

    def throttled_s() -> float:
        moments.append(pool.clock.now_ns)
        return next(told)

    def settled(so_far: Measurement) -> Wish:
        shares.append(so_far.throttled_share)
        return rounds_until(2)(so_far)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host, "perf_counter_ns", pool.clock.read_ns)
        patch.setattr(host, "throttled_s", throttled_s)
        found = measure.measure(job, cast("Pool", pool), settled, lambda *_: None)
    began, first, _ = moments
    assert shares == [pytest.approx(0.125 / ((first - began) / 1e9)), 1.0]
    assert found.throttled_share == 1.0


@pytest.mark.parametrize(
    ("watched", "why"), [((False, False), "not just now"), ((True, False), None), ((False, True), None)]
)
def test_watching_is_told_of_serial_batches(watched: tuple[bool, bool], why: str | None) -> None:
    """Why the GIL was not watched is kept as long as no serial batch was, whatever became of the threads'."""
    seen = iter(watched)
    pool = FakePool()
    usual = FakePool.ask_watched

    class Watched(FakePool):
        def ask_watched(self, worker: FakeWorker, question: Any, mean_interval_s: float) -> Any:
            answer, _, _ = usual(pool, worker, question, mean_interval_s)
            if question.threads > 1:
                return answer, None, "no threads watched"
            if next(seen):
                return answer, GilTrace(method=GilMethod.MEMORY, at_ns=(), held=(), late_ns=()), None
            return answer, None, "not just now"

    pool = Watched(Behaviour(call_s=0.05))
    assert run(pool, rounds_until(2)).gil_unwatched == why


def test_gil_that_an_import_switched_on_is_listened_to() -> None:
    """A worker that started without its GIL, and has it on in a batch, is heard by a heartbeat like any other."""
    for later in (False, True):
        pool = FakePool(Behaviour(call_s=0.05, gil_enabled=later))
        for worker in cast("list[FakeWorker]", pool.ready(2)):
            worker.ready = replace(worker.ready, gil_enabled=False) if worker.ready is not None else None
        run(pool)
        assert any(isinstance(asked, Batch) and asked.heartbeat for asked, _ in pool.asked) is later


def test_wish_for_a_control_is_granted() -> None:
    """Asked whether the machine could have done better, the control runs between rounds, and is judged again."""
    wishes = iter([Wish.CONTROL, Wish.NOTHING])
    pool = FakePool()
    found = run(pool, lambda _: next(wishes))
    assert len(found.controls) == 1
    assert found.controls[0].processes is not None
    assert len(found.rounds) == 1
    assert [count for asked, count in pool.asked if isinstance(asked, Control)] == [1, 2]


def test_open_question_names_the_test_and_what_to_keep() -> None:
    """The workers are told the node id, and how many collectors stay set up."""
    pool = FakePool()
    job = Job(plan=plan(), keep=3, cpus=2, known_call_s=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host, "perf_counter_ns", pool.clock.read_ns)
        measure.measure(job, cast("Pool", pool), lambda _: Wish.NOTHING, lambda *_: None)
    assert pool.asked[0] == (Open(nodeid=NODEID, keep=3), 2)


def test_worker_without_a_start_up_time() -> None:
    """A worker whose start-up was not timed leaves that unknown."""
    pool = FakePool()
    for worker in cast("list[FakeWorker]", pool.ready(2)):
        worker.start_up_s = None
        worker.ready = replace(worker.ready, gil_enabled=False) if worker.ready is not None else None
    found = run(pool)
    assert found.start_up_s is None
    assert found.gil_on_at_start is False


def test_run_queue_time_does_not_shorten_batches() -> None:
    """Calibration takes the time that a batch waited for a core out, so that a busy machine gets batches as long."""

    def script(worker: FakeWorker, question: Any, _: int) -> Any:
        if not isinstance(question, Batch) or question.threads > 1:
            return None
        answer = pool._batch(worker, question, 1)
        only = answer.reading.threads[0]
        waited = replace(only, end_ns=only.end_ns * 2 - only.start_ns, run_queue_ns=only.end_ns - only.start_ns)
        return Done(reading=replace(answer.reading, threads=(waited,)))

    pool = FakePool(Behaviour(call_s=0.001), script=script)
    calls = run(pool).rounds[0].serial.readings[0].threads[0].calls
    assert calls * 0.001 >= BATCH_S * 0.999


# Moving the data of a call


def given_data(answer: Any, moving_s: float = 0.0) -> FakePool:
    """Pretend that a function was given with its arguments, which take so long to move."""
    pool = FakePool()

    def script(worker: FakeWorker, question: Any, together: int) -> Any:
        if isinstance(question, Open):
            worker.is_open = True
            return Opened(given=True)
        if isinstance(question, Ship):
            assert together == 1
            pool.clock.now_ns += round(moving_s * 1e9)
            return answer
        return None

    pool.script = script
    return pool


def test_result_of_the_first_call_is_kept_to_be_moved() -> None:
    """The first call's result is what is moved, whatever a call takes: no call is made for it, none leaves it out."""
    pool = given_data(Shipped())
    run(pool)
    questions = [question for question, _ in pool.asked if isinstance(question, Batch | Ship)]
    assert isinstance(questions[0], Batch)
    assert questions[0].keep_result
    assert isinstance(questions[1], Ship)
    assert not any(question.keep_result for question in questions[2:] if isinstance(question, Batch))


def test_nothing_is_kept_of_a_test_that_gave_no_function() -> None:
    """A test's own call returns nothing that anybody would move."""
    pool = FakePool()
    run(pool)
    assert not any(question.keep_result for question, _ in pool.asked if isinstance(question, Batch))
    assert not any(isinstance(question, Ship) for question, _ in pool.asked)


def test_moving_takes_no_time_from_the_rounds() -> None:
    """Where data takes longer to move than a probe may last, its calls are measured all the same."""
    found = run(given_data(Shipped(), moving_s=60.0), max_time_s=5.0)
    assert len(found.rounds) == 1
    assert found.processes_end.outcome is Outcome.OK


@pytest.mark.parametrize(("outcome", "said"), [(Outcome.HUNG, Outcome.SKIPPED), (Outcome.CRASHED, Outcome.CRASHED)])
def test_data_that_does_not_arrive_ends_processes_only(outcome: Outcome, said: Outcome) -> None:
    """Data that takes too long to move is no call that hangs; a process that dies of it is one that dies."""
    found = run(given_data(lost(outcome)))
    assert found.processes_end.outcome is said
    assert found.processes_end.error is not None
    assert found.processes_end.error.startswith("moving its data: ")
    assert found.rounds[0].threads is not None

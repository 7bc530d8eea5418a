"""Calls that have new arguments each time: `gilprobe.fresh`, the marker's ``fresh=True``, and tests that need it."""

from __future__ import annotations

import asyncio
import threading
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest
from sessions import Session, is_late, run, write

from pytest_gilprobe.strategies.tasks import Tasks
from pytest_gilprobe.workers.child import batch, fresh, home_loop, left_body, workload
from pytest_gilprobe.workers.fixture import FixtureError, Gilprobe, Served
from pytest_gilprobe.workers.naming import Given


def drain(heap: list[int]) -> int:
    found = len(heap)
    heap.clear()
    return found


def made(size: int = 3) -> fresh.MadeByUser:
    return fresh.MadeByUser(Given(func=drain, make=lambda: list(range(size))))


# The fixture


def test_fresh_calls_with_what_make_returns() -> None:
    """A tuple is the positional arguments, anything else the only one; the call is the workload and is timed alone."""
    gilprobe = Gilprobe("a::b")
    assert gilprobe.fresh(divmod, lambda: (7, 2)) == (3, 1)
    assert gilprobe.why_not is None
    assert gilprobe.call_s is not None
    assert Gilprobe("a::b").fresh(drain, lambda: [1, 2]) == 2


def test_fresh_of_two_coroutine_functions() -> None:
    """``make`` is awaited in the same loop, if it is a coroutine function as ``func`` is."""
    loops: list[object] = []

    async def make() -> list[int]:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())
        return [1, 2]

    async def later(heap: list[int]) -> int:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())
        return drain(heap)

    async def main() -> None:
        assert await cast("Any", Gilprobe("a::b").fresh(later, make)) == 2

    asyncio.run(main())
    assert len(loops) == 2
    assert loops[0] is loops[1]


def test_only_an_awaited_function_has_an_awaited_make() -> None:
    """A plain function cannot be given what a coroutine function would make."""

    async def make() -> list[int]:
        raise NotImplementedError

    with pytest.raises(FixtureError, match="only where func is a coroutine function, too"):
        Gilprobe("a::b").fresh(drain, make)


@pytest.mark.parametrize("wrong", [[1, 2], None])
def test_fresh_needs_a_function(wrong: Any) -> None:
    """The arguments themselves, in place of a function that makes them, are refused."""
    with pytest.raises(FixtureError, match="allowed: a function that returns the arguments"):
        Gilprobe("a::b").fresh(drain, wrong)


def test_fresh_is_one_use() -> None:
    """It counts as the one use of the fixture."""
    gilprobe = Gilprobe("a::b")
    gilprobe.fresh(drain, lambda: [1])
    with pytest.raises(FixtureError, match="a second time"):
        gilprobe(len, "a")


def test_fresh_hands_over_its_function_in_a_worker() -> None:
    """In a worker the call, its first arguments and the function that makes more are served."""
    seen: list[Given] = []

    def serve(given: Given) -> NoReturn:
        seen.append(given)
        raise Served

    def make() -> list[int]:
        return [1]

    with pytest.raises(Served):
        Gilprobe("a::b", serve).fresh(drain, make)
    assert (seen[0].func, seen[0].args, seen[0].make) == (drain, ([1],), make)


def test_fresh_of_a_coroutine_function_is_awaited() -> None:
    """It is awaited with what ``make`` returns, here and in a worker, where the function that makes more is served."""
    seen: list[Given] = []

    async def later(heap: list[int]) -> int:
        await asyncio.sleep(0)
        return drain(heap)

    async def serve(given: Given) -> NoReturn:
        await asyncio.sleep(0)
        seen.append(given)
        raise Served

    async def main() -> None:
        gilprobe = Gilprobe("a::b")
        assert await cast("Any", gilprobe.fresh(later, lambda: [1, 2])) == 2
        assert (gilprobe.awaited, gilprobe.why_not) == (True, None)
        with pytest.raises(Served):
            await cast("Any", Gilprobe("a::b", None, serve).fresh(later, lambda: [3]))

    asyncio.run(main())
    assert [given.args for given in seen] == [([3],)]


# Calls


@pytest.mark.parametrize("is_awaited", [False, True])
def test_awaited_calls_have_arguments_made_in_their_loop(*, is_awaited: bool) -> None:
    """Serial calls and tasks get new arguments, made by the event loop's thread before the clocks begin."""
    log: list[str] = []

    def make() -> list[int]:
        asyncio.get_running_loop()
        log.append("made")
        return [1]

    async def make_later() -> list[int]:
        await asyncio.sleep(0)
        return make()

    async def later(heap: list[int]) -> None:
        await asyncio.sleep(0)
        log.append(f"called with {drain(heap)}")

    async def main() -> None:
        home = home_loop.of_this_task()
        assert home is not None

        def serve() -> None:
            given = Given(func=later, args=([],), make=make_later if is_awaited else make)
            work = workload.awaited_by_fixture(cast("Any", None), given, home)
            assert work.fresh is not None
            work.fresh.prepare(2)
            assert work.serial(2).lanes[0].calls == 2
            work.fresh.prepare(4)
            assert len(work.tasks(2, 2).lanes) == 2
            work.call()  # with arguments that were not made before
            assert "own event loop" in (workload.unsafe_in_threads(work) or "")

        await home.serve(serve)

    asyncio.run(main())
    made = [*["made"] * 2, *["called with 1"] * 2, *["made"] * 4, *["called with 1"] * 4]
    assert log == [*made, "made", "called with 1"]


def test_each_call_has_arguments_of_its_own() -> None:
    """However a call is made, it finds its arguments as new; those made in advance come first."""
    call = made()
    call.prepare(2)
    assert [one() for one in call.taken(3)] == [3, 3, 3]
    assert (call(), call()) == (3, 3)


def test_batch_makes_each_call_with_new_arguments() -> None:
    """Serial calls and calls in threads get new arguments, whether they were made in advance or not."""
    found: list[int] = []
    call = fresh.MadeByUser(Given(func=lambda heap: found.append(drain(heap)), make=lambda: list(range(5))))
    reading = batch.run_serial(call, 4)
    assert (reading.lanes[0].calls, found) == (4, [5] * 4)
    work = workload.Workload(item=cast("Any", None), call=call, given=Given(func=drain, args=([],)))
    call.prepare(3)
    reading = batch.run_threads([work.lane(0), work.lane(1)], 2)
    assert ([lane.calls for lane in reading.lanes], found) == ([2, 2], [5] * 8)


def test_making_is_not_timed() -> None:
    """The clocks of a batch begin when all its arguments are made, in the thread that makes the calls."""
    log: list[str] = []

    def make() -> tuple[()]:
        log.append(f"made in {threading.current_thread().name}")
        return ()

    call = fresh.MadeByUser(Given(func=lambda: log.append("called"), make=make))
    batch.run_threads([workload.Workload(item=cast("Any", None), call=call, given=Given(func=drain)).lane(0)], 2)
    assert log == ["made in gilprobe-lane"] * 2 + ["called"] * 2


def test_failure_to_make_arguments_is_reported() -> None:
    """An exception of the function that makes arguments is the batch's error, with its traceback."""
    call = fresh.MadeByUser(Given(func=drain, make=lambda: 1 / 0))
    with pytest.raises(batch.WorkloadError, match="ZeroDivisionError"):
        batch.run_serial(call, 1)


def test_few_large_arguments_are_made_in_advance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of calls of a batch is limited by the memory that their arguments take, and is never 0."""
    assert fresh.most_calls(made()) > 100
    monkeypatch.setattr(fresh, "MOST_BYTES", 100_000)
    assert 1 <= fresh.most_calls(made(1000)) <= 12
    assert fresh.most_calls(made(100_000)) == 1


def test_arguments_of_which_only_one_set_can_exist() -> None:
    """If arguments cannot be made a second time while the first ones exist, batches have one call, and threads none."""
    free = [True]

    def make() -> list[int]:
        assert free[0], "in use"
        free[0] = False
        return [1]

    call = fresh.MadeByUser(Given(func=drain, make=make))
    assert fresh.most_calls(call) == 1
    work = workload.Workload(item=cast("Any", SimpleNamespace()), call=call, given=Given(func=drain))
    assert "in use" in (workload.unsafe_in_threads(work) or "")


def test_tasks_need_arguments_that_can_exist_at_the_same_time() -> None:
    """Tasks are refused for the reason why batches have one call; else they are not."""
    home = cast("Any", SimpleNamespace())
    call = fresh.MadeInLoop(Given(func=drain, make=lambda: [1]), home)
    work = workload.Workload(item=cast("Any", None), call=call, awaited=cast("Any", call), home=home)
    assert Tasks().refuses(work) is None
    call.alone = "a port of one number"
    assert Tasks().refuses(work) == "a port of one number"


@pytest.mark.parametrize("leaves_task", [False, True])
def test_arguments_that_leave_tasks_are_not_made_in_advance(
    monkeypatch: pytest.MonkeyPatch, *, leaves_task: bool
) -> None:
    """Such tasks run beside the timed calls: there are as many as calls at once."""
    monkeypatch.setattr(fresh, "MOST_S", 1000)
    tasks: list[asyncio.Task[Any]] = []

    async def make() -> list[int]:
        task = asyncio.create_task(asyncio.sleep(1000 if leaves_task else 0))
        tasks.append(task)
        await asyncio.sleep(0.001)
        return [1]

    async def main() -> int:
        home = home_loop.of_this_task()
        assert home is not None
        found: list[int] = []
        call = fresh.MadeInLoop(Given(func=drain, make=make), home)
        await home.serve(lambda: found.append(fresh.most_calls(call, home)))
        for task in tasks:
            task.cancel()
        return found[0]

    most = asyncio.run(main())
    assert (most == 1) == leaves_task


def test_kinds_of_calls_are_not_compared_where_one_fails() -> None:
    """Nothing is known then, and the worker has perhaps changed half-way."""
    call = fresh.MadeByUser(Given(func=lambda: 1 / 0, make=lambda: ()))
    work = workload.Workload(item=cast("Any", None), call=call, given=Given(func=drain))
    watch = left_body.LeftBody(work, call, lambda: 0.1)
    found = watch.compare()
    assert (found.fresh_s, found.used_s, watch.failed) == ((), (), True)


def test_kinds_of_calls_are_made_in_turn() -> None:
    """Both kinds have as many calls, and what they were made with is given back after each."""
    given_back: list[int] = []

    class Counted(fresh.MadeByUser):
        def tear_down(self) -> None:
            given_back.append(1)
            super().tear_down()

    call = Counted(Given(func=drain, make=lambda: [1]))
    work = workload.Workload(item=cast("Any", None), call=call, given=Given(func=drain))
    found = left_body.LeftBody(work, call, lambda: 0.1).compare()
    assert set(found.fresh_s) == {0.1}
    assert len(found.fresh_s) == len(found.used_s) >= 1
    assert len(given_back) == 2 * len(found.used_s)


def test_loop_that_is_started_for_each_job() -> None:
    """`run_by` hands each job to what runs the loop, and what the job returns or raises comes back."""
    found: list[home_loop.HomeLoop | None] = []

    async def look() -> None:
        await asyncio.sleep(0)
        found.append(home_loop.of_this_task())

    async def one() -> str:
        await asyncio.sleep(0)
        return "done"

    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError

    with asyncio.Runner() as runner:
        runner.run(look())
        home = found[0]
        assert home is not None
        home.run_by(lambda job: runner.run(cast("Any", job())))
        assert home.run(one) == "done"
        with pytest.raises(LookupError):
            home.run(fails)
        home.run_by(lambda _: None)
        with pytest.raises(home_loop.LoopGoneError):
            home.run(one)


# Sessions

TESTS = """
    import asyncio, heapq, logging, sqlite3, time
    import pytest

    LOG = []


    def drain(heap):
        while heap:
            heapq.heappop(heap)


    def test_drain(gilprobe):
        gilprobe.fresh(drain, lambda: (list(range(2000)),))


    def test_wait(gilprobe):
        gilprobe.fresh(lambda waits: time.sleep(waits.pop()), lambda: [0.01])


    def test_same_object(gilprobe):
        heap = list(range(50_000))
        gilprobe.fresh(drain, lambda: (heap,))


    @pytest.fixture(scope="module")
    def once():
        yield LOG
        assert LOG.count("made") == LOG.count("gone")


    @pytest.fixture
    def counted(once):
        once.append("made")
        yield once
        once.append("gone")


    @pytest.fixture
    def rows(counted):
        return list(range(3000, 0, -1)) * 3


    @pytest.mark.gilprobe(fresh=True)
    def test_rows(rows):
        assert rows[0] == 3000
        rows.sort()


    @pytest.fixture
    def db():
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        connection.execute("create table t (x)")
        yield connection
        connection.close()


    @pytest.mark.gilprobe
    def test_count(db):
        db.executemany("insert into t values (?)", [(at,) for at in range(1000)])
        assert db.execute("select count(*) from t").fetchone() == (1000,)


    @pytest.mark.gilprobe
    def test_folder(tmp_path):
        (tmp_path / "x").mkdir()


    @pytest.mark.gilprobe
    def test_log(caplog):
        logging.getLogger().warning("once")
        assert len(caplog.records) == 1


    class TestInClass:
        def setup_method(self):
            self.rows = list(range(1000))

        @pytest.mark.gilprobe
        def test_method(self):
            assert len(self.rows) == 1000
            self.rows.clear()


    @pytest.mark.gilprobe(fresh=True)
    def test_given(gilprobe, rows):
        more = rows + [0]
        gilprobe(more.sort)


    class Client:
        def __init__(self):
            self.open = False

        def __enter__(self):
            self.open = True
            return self

        def __exit__(self, *_):
            self.open = False

        def get(self, rows):
            assert len(rows) == 9000
            rows.clear()
            if self.open:
                time.sleep(0.003)


    @pytest.mark.gilprobe(fresh=True)
    def test_quick_after_body(gilprobe, rows):
        with Client() as client:
            gilprobe(client.get, rows)


    @pytest.mark.gilprobe
    def test_given_by_itself(gilprobe, rows):
        with Client() as client:
            gilprobe(client.get, rows)


    @pytest.mark.gilprobe(fresh=True)
    def test_alone(monkeypatch, capsys):
        monkeypatch.setenv("ALONE", "1")
        print("x")
        assert capsys.readouterr().out == "x\\n"


    @pytest.mark.gilprobe
    def test_module_state(tmp_path):
        LOG.append("one more")
        assert LOG.count("one more") == 1


    async def later(heap):
        drain(heap)
        await asyncio.sleep(0.002)


    @pytest.mark.gilprobe
    @pytest.mark.anyio
    async def test_later(gilprobe):
        await gilprobe.fresh(later, lambda: list(range(500)))


    @pytest.mark.gilprobe(fresh=True)
    def test_own_loop(gilprobe, rows):
        async def main():
            await gilprobe(later, rows)

        asyncio.run(main())
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Probe every kind of test in one session; where anyio is not installed, its test fails there."""
    folder = tmp_path_factory.mktemp("fresh")
    write(folder, TESTS)
    return run(folder, *(("-p", "anyio.pytest_plugin") if find_spec("anyio") else ()))


def slugs(workload: dict[str, Any]) -> set[str]:
    return {caution["slug"] for caution in workload["verdict"]["cautions"]}


@pytest.mark.parametrize("name", ["test_drain", "test_rows", "test_given"])
def test_calls_that_change_their_arguments_are_measured_as_meant(session: Session, name: str) -> None:
    """With new arguments each call takes its whole time, in every strategy that there was time for."""
    workload = session.one(name)
    assert workload["status"] == "probed", workload["reason"]
    assert not slugs(workload) & {"changes-arguments", "fresh-fixtures", "left-body"}
    serial_s = workload["strategies"]["serial"]["wall_s_per_call"]["value"]
    assert serial_s > 20e-6
    assert workload["verdict"]["bound"] in {"cpu", "inconclusive"}
    assert workload["strategies"]["processes"]["outcome"] in {"ok", "skipped"}


def test_awaited_calls_get_new_arguments(session: Session) -> None:
    """A coroutine function is awaited with new arguments each time, one call after the other and in tasks."""
    pytest.importorskip("anyio")
    workload = session.one("test_later[asyncio]")
    assert workload["status"] == "probed", workload["reason"]
    assert not slugs(workload) & {"changes-arguments", "fresh-fixtures"}
    assert workload["verdict"]["strategy"] in {"tasks", "inconclusive"}
    tasks = workload["strategies"]["tasks"]
    assert tasks["outcome"] == "ok" or is_late(tasks)


def test_waiting_with_new_arguments_gains_in_threads(session: Session) -> None:
    """Threads take calls with arguments of their own, and wait at the same time."""
    workload = session.one("test_wait")
    assert workload["verdict"]["strategy"] in {"threads", "inconclusive"}
    threads = workload["strategies"]["threads"]
    assert threads["outcome"] == "ok" or is_late(threads)


@pytest.mark.parametrize("name", ["test_count", "test_folder", "test_log", "test_method"])
def test_tests_that_fail_again_get_new_fixtures(session: Session, name: str) -> None:
    """A test that passes once, but not again with the same fixtures, is probed with new ones, and says why."""
    workload = session.one(name)
    assert workload["status"] == "probed", workload["reason"]
    assert "fresh-fixtures" in slugs(workload)
    (said,) = [one["message"] for one in workload["verdict"]["cautions"] if one["slug"] == "fresh-fixtures"]
    assert "Error" in said
    assert "Traceback" not in said


def test_call_that_is_another_one_after_the_body_has_no_verdict(session: Session) -> None:
    """A call that finds closed what the body opened is another call: the time told is that in the body."""
    workload = session.one("test_quick_after_body")
    assert workload["verdict"]["strategy"] == "inconclusive"
    assert "left-body" in slugs(workload)
    assert workload["strategies"]["serial"]["wall_s_per_call"]["value"] >= 0.003
    assert "gilprobe.fresh(func, make) makes each call in the body" in workload["verdict"]["reason"]


def test_given_call_that_fails_again_gets_no_new_fixtures_by_itself(session: Session) -> None:
    """New fixtures would leave the body before the call: the failure stands, with the remedy."""
    workload = session.one("test_given_by_itself")
    assert workload["status"] == "not_probed"
    assert "changed argument rows (a list); gilprobe.fresh(func, make)" in workload["reason"]


@pytest.mark.parametrize("name", ["test_log", "test_alone"])
def test_fixtures_of_which_one_can_be_in_use(session: Session, name: str) -> None:
    """Threads are skipped with the fixtures' names, the rest is measured."""
    workload = session.one(name)
    assert workload["status"] == "probed", workload["reason"]
    threads = workload["strategies"]["threads"]
    assert threads["outcome"] == "skipped"
    assert "only one can be in use" in threads["error"]


def test_what_new_fixtures_do_not_mend_keeps_its_reason(session: Session) -> None:
    """A test that fails with new fixtures, too, is not probed, for the reason of the first try."""
    workload = session.one("test_module_state")
    assert workload["status"] == "not_probed"
    assert "times in a row" in workload["reason"]


def test_failure_of_one_test_is_not_shown_with_that_of_another(session: Session) -> None:
    """Workers that are forked after a test failed again know nothing of it: failures have no foreign context."""
    texts = [str(session.one(name)) for name in ("test_folder", "test_log", "test_method", "test_module_state")]
    assert not [text for text in texts if "During handling" in text or "NotAgain" in text]


def test_new_arguments_that_are_the_same_object(session: Session) -> None:
    """If the function that makes arguments returns the same object each time, there is no verdict."""
    verdict = session.one("test_same_object")["verdict"]
    assert verdict["strategy"] == "inconclusive"
    assert "let make() return new objects each time" in verdict["reason"]


def test_call_awaited_in_a_loop_of_its_own_cannot_have_new_fixtures(session: Session) -> None:
    """Each run of the body has another event loop: it is not probed, and the reason says what to write instead."""
    workload = session.one("test_own_loop")
    assert workload["status"] == "not_probed"
    assert workload["reason"].endswith(
        "fresh=True: not for a plain test function that awaits the call in an event loop of its own, which ends with "
        "each run of it; await gilprobe.fresh(func, make) gives each call new arguments"
    )

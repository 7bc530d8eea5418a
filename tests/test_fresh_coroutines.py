"""Coroutine tests whose fixtures are made anew for each call: by the test's plugin, in the loop of the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sessions import Session, is_late, run, write

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = ("-W", "ignore", "--gilprobe-strategies=tasks,threads")
ASYNCIO = """
    import asyncio
    import pytest
    import pytest_asyncio

    USED = []


    @pytest.fixture
    def rows():
        return [3, 2, 1]


    @pytest.fixture
    async def state():
        await asyncio.sleep(0)
        found = {"loop": asyncio.get_running_loop(), "used": 0}
        yield found
        await asyncio.sleep(0)
        assert found["loop"] is asyncio.get_running_loop()
        assert found["used"] <= 1  # not each that was made had its call


    @pytest.mark.gilprobe(fresh=True)
    async def test_sync(tmp_path, rows):
        assert rows.pop() == 1
        (tmp_path / "x").mkdir()
        await asyncio.sleep(0.003)


    @pytest.mark.gilprobe(fresh=True)
    async def test_async(state, rows):
        assert (state["loop"], state["used"]) == (asyncio.get_running_loop(), 0)
        state["used"] += 1
        assert rows.pop() == 1
        await asyncio.sleep(0.003)


    @pytest_asyncio.fixture(loop_scope="module", scope="module")
    async def wide():
        yield asyncio.get_running_loop()


    @pytest_asyncio.fixture(loop_scope="module")
    async def narrow(wide):
        yield [asyncio.get_running_loop() is wide]


    @pytest.mark.asyncio(loop_scope="module")
    @pytest.mark.gilprobe(fresh=True)
    async def test_module(wide, narrow):
        assert narrow.pop()
        assert asyncio.get_running_loop() is wide
        await asyncio.sleep(0.003)


    class TestInClass:
        def setup_method(self):
            self.calls = 0

        @pytest.mark.gilprobe(fresh=True)
        async def test_method(self, state):
            assert self.calls == 0
            self.calls += 1
            state["used"] += 1
            await asyncio.sleep(0.003)

        @pytest.mark.gilprobe(fresh=True)
        async def test_given(self, gilprobe, state):
            assert self.calls == 0
            self.calls += 1

            async def use():
                assert (state["loop"], state["used"]) == (asyncio.get_running_loop(), 0)
                state["used"] += 1
                await asyncio.sleep(0.003)

            await gilprobe(use)


    @pytest.mark.gilprobe(fresh=True)
    async def test_given_plain(gilprobe, rows):
        await asyncio.sleep(0)

        def take():
            assert rows.pop() == 1
            sum(range(20_000))

        gilprobe(take)


    @pytest.mark.gilprobe(fresh=True)
    async def test_given_in_loop(gilprobe, rows):
        def take():
            assert rows.pop() == 1
            asyncio.get_running_loop()
            sum(range(20_000))

        gilprobe(take)


    class Client:
        def __init__(self, *, strict=False):
            self.strict = strict
            self.open = False

        async def __aenter__(self):
            self.open = True
            return self

        async def __aexit__(self, *_):
            self.open = False

        async def get(self, rows):
            assert rows.pop() == 1
            if self.open:
                await asyncio.sleep(0.003)
            elif self.strict:
                raise RuntimeError("the client is closed")


    @pytest.mark.gilprobe(fresh=True)
    async def test_quick_after_body(gilprobe, rows):
        async with Client() as client:
            await gilprobe(client.get, rows)


    @pytest.mark.gilprobe(fresh=True)
    async def test_fails_after_body(gilprobe, rows):
        async with Client(strict=True) as client:
            await gilprobe(client.get, rows)


    @pytest.mark.gilprobe
    async def test_given_by_itself(gilprobe, rows):
        async with Client() as client:
            await gilprobe(client.get, rows)


    LIVE = []


    @pytest.fixture
    async def poller():
        async def poll():
            LIVE.append(1)
            try:
                await asyncio.sleep(1000)
            finally:
                LIVE.pop()

        task = asyncio.create_task(poll())
        await asyncio.sleep(0)
        yield
        task.cancel()
        await asyncio.wait([task])


    @pytest.mark.gilprobe(fresh=True)
    async def test_poller(poller):
        assert 1 <= len(LIVE) <= 2  # with two tasks at once
        await asyncio.sleep(0.001)


    class TestPlainEventLoop:
        @pytest.fixture
        def event_loop(self):
            return [1]

        @pytest.mark.gilprobe(fresh=True)
        async def test_named_event_loop(self, event_loop):
            event_loop.pop()
            await asyncio.sleep(0.003)


    @pytest.mark.gilprobe
    async def test_by_itself(tmp_path, state):
        (tmp_path / "x").mkdir()
        state["used"] += 1
        await asyncio.sleep(0.003)


    @pytest.mark.gilprobe(fresh=True)
    async def test_alone(capsys, monkeypatch):
        monkeypatch.setenv("ALONE", "1")
        print("x")
        await asyncio.sleep(0.003)
        assert capsys.readouterr().out == "x\\n"


    @pytest.fixture
    async def port():
        assert not USED, "in use"
        USED.append("port")
        yield
        USED.clear()


    @pytest.mark.gilprobe(fresh=True)
    async def test_port(port):
        await asyncio.sleep(0.003)


    @pytest.mark.gilprobe
    async def test_module_state(tmp_path):
        USED.append("once")
        assert USED.count("once") == 1
"""
ANYIO = """
    import anyio
    import pytest

    pytestmark = pytest.mark.anyio


    @pytest.fixture
    async def state():
        await anyio.sleep(0)
        yield {"used": 0, "event": anyio.Event()}
        await anyio.sleep(0)


    @pytest.mark.gilprobe(fresh=True)
    async def test_async(state):
        state["event"].set()
        await state["event"].wait()
        assert state["used"] == 0
        state["used"] += 1
        await anyio.sleep(0.003)


    @pytest.mark.gilprobe
    async def test_by_itself(tmp_path):
        (tmp_path / "x").mkdir()
        await anyio.sleep(0.003)


    async def make():
        await anyio.sleep(0)
        return [anyio.Event()]


    async def use(events):
        events.pop().set()
        await anyio.sleep(0.003)


    @pytest.mark.gilprobe
    async def test_make(gilprobe):
        await gilprobe.fresh(use, make)


    LIVE = []


    @pytest.fixture
    async def poller():
        async def poll():
            LIVE.append(1)
            try:
                await anyio.sleep(1000)
            finally:
                LIVE.pop()

        async with anyio.create_task_group() as group:
            group.start_soon(poll)
            yield
            group.cancel_scope.cancel()


    @pytest.mark.gilprobe(fresh=True)
    async def test_poller(poller):
        assert len(LIVE) <= 2  # with two tasks at once
        await anyio.sleep(0.001)


    @pytest.mark.gilprobe(fresh=True)
    async def test_given(gilprobe, state):
        lock = anyio.Lock()

        async def use():
            async with lock:
                assert state["used"] == 0
                state["used"] += 1
                await anyio.sleep(0.003)

        await gilprobe(use)
"""
TRIO = """
    import pytest
    import trio

    pytestmark = pytest.mark.trio


    @pytest.fixture
    async def made_in_run():
        await trio.sleep(0)
        yield


    @pytest.mark.gilprobe
    async def test_by_itself(tmp_path):
        (tmp_path / "x").mkdir()
        await trio.sleep(0.003)


    @pytest.mark.gilprobe(fresh=True)
    async def test_async(made_in_run):
        await trio.sleep(0.003)


    @pytest.fixture
    async def rows():
        return [1]


    @pytest.mark.gilprobe
    async def test_async_by_itself(rows):
        rows.pop()
        await trio.sleep(0.003)
"""
DRIVER = """
    import pytest


    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(pyfuncitem):
        running = pyfuncitem.obj(tmp_path=pyfuncitem.funcargs["tmp_path"])
        try:
            while True:
                running.send(None)
        except StopIteration:
            return True
"""
DRIVEN = """
    import pytest


    @pytest.mark.gilprobe(fresh=True)
    async def test_own_driver(tmp_path):
        (tmp_path / "x").mkdir()
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Probe every kind of test of pytest-asyncio in one session."""
    pytest.importorskip("pytest_asyncio")
    folder = tmp_path_factory.mktemp("fresh-asyncio")
    write(folder, ASYNCIO, ini="asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    done = run(folder, *FLAGS, "-p", "pytest_asyncio.plugin")
    assert done.exit_status == pytest.ExitCode.OK, done.output
    return done


def probed(seen: Session, name: str) -> dict[str, Any]:
    """Return what a test's probe found."""
    found = seen.one(name)
    assert found["status"] == "probed", found["reason"]
    return found


def outcome(seen: Session, name: str, strategy: str) -> str:
    """Return how a strategy ended; one without time on a busy machine would have ended well."""
    found = probed(seen, name)["strategies"][strategy]
    return "ok" if is_late(found) else str(found["outcome"])


def slugs(seen: Session, name: str) -> set[str]:
    """Return the slugs of a workload's cautions."""
    return {caution["slug"] for caution in probed(seen, name)["verdict"]["cautions"]}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name",
    ["::test_sync", "::test_async", "::test_module", "::test_method", "::test_given", "::test_named_event_loop"],
)
def test_each_call_has_fixtures_of_its_own(seen: Session, name: str) -> None:
    """Serial calls and tasks find new values, of sync and of async fixtures, made in the loop that awaits the call."""
    assert outcome(seen, name, "tasks") == "ok", seen.one(name)
    assert not slugs(seen, name) & {"fresh-fixtures", "changes-arguments", "left-body", "unsafe-in-tasks"}
    assert probed(seen, name)["callee"]["awaited_by"] == "asyncio"


def test_threads_have_loops_and_sync_fixtures_of_their_own(seen: Session) -> None:
    """Sync fixtures are made anew for calls in threads, too; async ones belong to another loop."""
    assert outcome(seen, "::test_sync", "threads") == "ok", seen.one("::test_sync")
    for name, said in (
        ("::test_async", "its async fixtures (state)"),
        ("::test_given", "the test's body is run again for each of its calls in the test's own event loop"),
    ):
        assert outcome(seen, name, "threads") == "skipped"
        assert said in probed(seen, name)["strategies"]["threads"]["error"]


def test_plain_call_given_in_a_coroutine_test(seen: Session) -> None:
    """A plain function that a coroutine test gives to the fixture is called with new fixtures."""
    found = probed(seen, "::test_given_plain")
    assert "tasks" not in found["strategies"]
    assert outcome(seen, "::test_given_plain", "threads") == "ok"
    assert "left-body" not in slugs(seen, "::test_given_plain")


def test_plain_call_is_made_in_the_loop(seen: Session) -> None:
    """Serial calls of a plain function find the running loop of the test that gave it; threads have none."""
    assert probed(seen, "::test_given_in_loop")["strategies"]["serial"]["outcome"] == "ok"
    assert outcome(seen, "::test_given_in_loop", "threads") in {"ok", "failed"}


def test_call_that_is_another_one_after_the_body_has_no_verdict(seen: Session) -> None:
    """A call that finds its client closed, since the body was left, is quick: the time told is that in the body."""
    found = probed(seen, "::test_quick_after_body")
    assert found["verdict"]["strategy"] == "inconclusive"
    assert "left-body" in slugs(seen, "::test_quick_after_body")
    assert found["strategies"]["serial"]["wall_s_per_call"]["value"] >= 0.003
    for said in ("in the test's body", "await gilprobe.fresh(func, make) makes each call in the body"):
        assert said in found["verdict"]["reason"]


def test_call_that_fails_after_the_body_says_that_it_was_left(seen: Session) -> None:
    """The reason names the body and the remedy beside the failure."""
    found = seen.one("::test_fails_after_body")
    assert found["status"] == "not_probed"
    for said in ("the client is closed", "the test's body is left", "gilprobe.fresh(func, make)"):
        assert said in found["reason"]


def test_given_call_that_fails_again_gets_no_new_fixtures_by_itself(seen: Session) -> None:
    """New fixtures would leave the body before the call: the failure stands, with the remedy."""
    found = seen.one("::test_given_by_itself")
    assert found["status"] == "not_probed"
    for said in ("when called", "changed argument rows (a list); await gilprobe.fresh(func, make)"):
        assert said in found["reason"]


def test_fixtures_with_tasks_of_their_own_exist_for_one_call_at_a_time(seen: Session) -> None:
    """A call is measured beside as many background tasks as calls are made at once, not as a batch has calls."""
    assert outcome(seen, "::test_poller", "tasks") == "ok", seen.one("::test_poller")


def test_coroutine_tests_that_fail_again_get_new_fixtures(seen: Session) -> None:
    """A coroutine test that passes once only with the same fixtures is probed with new ones, and says so."""
    assert outcome(seen, "::test_by_itself", "tasks") == "ok"
    assert "fresh-fixtures" in slugs(seen, "::test_by_itself")


@pytest.mark.parametrize(
    ("name", "said"), [("::test_alone", "it uses capsys, monkeypatch, of which only one"), ("::test_port", "in use")]
)
def test_fixtures_of_which_one_can_be_in_use(seen: Session, name: str, said: str) -> None:
    """Serial calls are measured, tasks and threads are skipped with the reason, and the loop's blocks are known."""
    for strategy in ("tasks", "threads"):
        assert outcome(seen, name, strategy) == "skipped"
        assert said in probed(seen, name)["strategies"][strategy]["error"]
    assert probed(seen, name)["event_loop"]["longest_block_s"] > 0


def test_what_new_fixtures_do_not_mend_keeps_its_reason(seen: Session) -> None:
    """A coroutine test that fails with new fixtures, too, is not probed, for the reason of the first try."""
    found = seen.one("::test_module_state")
    assert found["status"] == "not_probed"
    assert "when called" in found["reason"]


@pytest.mark.thorough
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio(tmp_path: Path, backend: str) -> None:
    """The fixtures of anyio's plugin are made in its loop, which stays the same from one batch to the next."""
    pytest.importorskip("anyio")
    pytest.importorskip(backend)
    backends = f"\n    @pytest.fixture\n    def anyio_backend():\n        return '{backend}'\n"
    write(tmp_path, ANYIO + backends)
    done = run(tmp_path, *FLAGS, "-p", "anyio.pytest_plugin", budget_s=0.5)
    assert done.exit_status == pytest.ExitCode.OK, done.output
    for name in ("::test_async", "::test_by_itself", "::test_make", "::test_given", "::test_poller"):
        assert outcome(done, name, "tasks") == "ok", done.one(name)
        assert probed(done, name)["callee"]["awaited_by"] == backend
    assert "fresh-fixtures" in slugs(done, "::test_by_itself")


@pytest.mark.thorough
def test_pytest_trio(tmp_path: Path) -> None:
    """Sync fixtures are made anew; async ones, which exist in one run of trio only, are refused with that reason."""
    pytest.importorskip("pytest_trio")
    write(tmp_path, TRIO)
    done = run(tmp_path, *FLAGS, "-p", "pytest_trio.plugin", budget_s=0.5)
    assert done.exit_status == pytest.ExitCode.OK, done.output
    assert outcome(done, "::test_by_itself", "tasks") == "ok"
    assert "fresh-fixtures" in slugs(done, "::test_by_itself")
    refused = done.one("::test_async")
    assert refused["status"] == "not_probed"
    assert "fixtures (made_in_run) pytest-trio makes inside of each run" in refused["reason"]
    failed = done.one("::test_async_by_itself")["reason"]
    assert "when called" in failed
    for said in ("fixtures (rows) pytest-trio makes inside", "await gilprobe.fresh(func, make)"):
        assert said in failed
    assert "@pytest.mark.gilprobe(fresh=True)" not in failed


def test_unknown_loop(tmp_path: Path) -> None:
    """A coroutine that a plugin runs without asyncio or trio cannot have new fixtures: the reason says so."""
    write(tmp_path, DRIVER, name="conftest.py")
    write(tmp_path, DRIVEN)
    done = run(tmp_path, *FLAGS, budget_s=0.5)
    found = done.one("::test_own_driver")
    assert found["status"] == "not_probed"
    assert found["reason"].endswith(
        "fresh=True: not for a coroutine test that runs in an event loop other than asyncio's or trio's"
    )

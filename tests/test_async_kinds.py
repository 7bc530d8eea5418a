"""Coroutine tests of every plugin, loop and loop scope are tried in tasks of that loop, or the report says why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sessions

from pytest_gilprobe.model import report_json
from pytest_gilprobe.report import snippets
from pytest_gilprobe.strategies.registry import BUILT_IN

if TYPE_CHECKING:
    from pathlib import Path

LATE = ("too long for max_time", "no serial batch", "time was up", "did not fit into")
"""In the reason why a test was not probed, if a busy machine left no time for it."""
FLAGS = ("-W", "ignore", "-p", "no:anyio", "--gilprobe-strategies=tasks")
ASYNCIO = """
    import asyncio
    import pytest
    import pytest_asyncio
    import trio

    pytestmark = pytest.mark.gilprobe

    async def nap():
        await asyncio.sleep(0.005)

    @pytest_asyncio.fixture
    async def of_function():
        yield asyncio.get_running_loop()

    @pytest_asyncio.fixture(loop_scope="module", scope="module")
    async def of_module():
        yield asyncio.get_running_loop()

    @pytest_asyncio.fixture(loop_scope="session", scope="session")
    async def of_session():
        yield asyncio.get_running_loop()

    async def test_auto():
        await nap()

    async def test_function(of_function):
        assert of_function is asyncio.get_running_loop()
        await nap()

    @pytest.mark.asyncio(loop_scope="module")
    async def test_module(of_module):
        assert of_module is asyncio.get_running_loop()
        await nap()

    @pytest.mark.asyncio(loop_scope="package")
    async def test_package():
        await nap()

    @pytest.mark.asyncio(loop_scope="session")
    @pytest.mark.parametrize("delay", [0.004, 0.006])
    async def test_session(of_session, delay):
        assert of_session is asyncio.get_running_loop()
        await asyncio.sleep(delay)

    @pytest.mark.asyncio(loop_scope="class")
    class TestClass:
        @pytest_asyncio.fixture(loop_scope="class", scope="class")
        async def of_class(self):
            yield asyncio.get_running_loop()

        async def test_method(self, of_class):
            assert of_class is asyncio.get_running_loop()
            await nap()

        @staticmethod
        async def test_static():
            await nap()

    class TestGiven:
        async def test_given(self, gilprobe, of_function):
            await gilprobe(nap)

    def test_group(gilprobe):
        async def main():
            async with asyncio.TaskGroup():
                await gilprobe(nap)
        asyncio.run(main())

    def test_nursery(gilprobe):
        async def main():
            async with trio.open_nursery():
                await gilprobe(trio.sleep, 0.005)
        trio.run(main)
"""
DRIVEN = """
    import asyncio
    import pytest

    pytestmark = pytest.mark.gilprobe

    @pytest.mark.in_thread
    async def test_in_thread():
        await asyncio.sleep(0.005)

    @pytest.mark.own_driver
    async def test_own_driver():
        sum(range(10_000))
"""
DRIVERS = """
    import asyncio
    import threading
    import pytest

    def pytest_configure(config):
        for name in ("in_thread", "own_driver"):
            config.addinivalue_line("markers", name + ": how a coroutine is run")

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(pyfuncitem):
        if pyfuncitem.get_closest_marker("in_thread"):
            thread = threading.Thread(target=lambda: asyncio.run(pyfuncitem.obj()))
            thread.start()
            thread.join()
            return True
        if pyfuncitem.get_closest_marker("own_driver"):
            with pytest.raises(StopIteration):
                pyfuncitem.obj().send(None)
            return True
"""
TRIO = """
    import time
    import pytest
    import trio

    pytestmark = pytest.mark.gilprobe

    async def fetch():
        await trio.sleep(0.01)

    async def bad():
        await trio.sleep(0.002)
        time.sleep(0.008)

    def test_fetch(gilprobe):
        async def main():
            await gilprobe(fetch)
        trio.run(main)

    def test_bad(gilprobe):
        async def main():
            await gilprobe(bad)
        trio.run(main)

    @pytest.mark.anyio
    @pytest.mark.parametrize("anyio_backend", ["trio"])
    async def test_anyio(anyio_backend):
        await trio.sleep(0.01)
"""
IN_TASKS = (
    "::test_auto",
    "::test_function",
    "::test_module",
    "::test_package",
    "::test_session[0.004]",
    "::test_session[0.006]",
    "::test_method",
    "::test_static",
    "::test_given",
    "::test_group",
    "::test_nursery",
)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> sessions.Session:
    """Run one session with all of these tests."""
    for plugin in ("pytest_asyncio", "trio"):
        pytest.importorskip(plugin)
    folder = tmp_path_factory.mktemp("kinds")
    sessions.write(folder, ASYNCIO, ini="asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    done = sessions.run(folder, *FLAGS, budget_s=0.5, alone=False)
    assert done.exit_status == pytest.ExitCode.OK, done.output
    return done


def probed(seen: sessions.Session, name: str) -> dict[str, Any]:
    """Return what a test's probe found; skip if a busy machine left no time for it."""
    found = seen.one(name)
    if found["status"] == "not_probed" and any(word in (found["reason"] or "") for word in LATE):
        pytest.skip(f"too busy a machine: {found['reason']}")
    assert found["status"] == "probed", found
    return found


def tasks(seen: sessions.Session, name: str) -> str:
    """Return how a test's tasks ended; those without time on a busy machine would have ended well."""
    result = probed(seen, name)["strategies"]["tasks"]
    return "ok" if sessions.is_late(result) else str(result["outcome"])


@pytest.mark.thorough
@pytest.mark.parametrize("name", IN_TASKS)
def test_is_tried_in_tasks(seen: sessions.Session, name: str) -> None:
    """Calls are made in the loop that the test, its class, module or session has, with the fixtures of that loop."""
    assert tasks(seen, name) == "ok", seen.one(name)


@pytest.mark.thorough
def test_library_of_the_loop_is_known(seen: sessions.Session) -> None:
    """The report knows in whose loop the calls were awaited, of a test itself and of a function that it gives."""
    found = {name: probed(seen, name)["callee"]["awaited_by"] for name in ("::test_auto", "::test_group")}
    assert set(found.values()) == {"asyncio"}
    assert probed(seen, "::test_nursery")["callee"]["awaited_by"] == "trio"


@pytest.mark.thorough
def test_trio_gets_advice_for_trio(tmp_path: Path) -> None:
    """What the report says of calls that trio awaited, and the code to paste, names trio's functions."""
    pytest.importorskip("trio")
    sessions.write(tmp_path, TRIO)
    done = sessions.run(tmp_path, "-p", "anyio", "--gilprobe-strategies=tasks,threads", budget_s=1)
    assert done.exit_status == pytest.ExitCode.OK, done.output
    report = report_json.read(tmp_path / "gilprobe-reports" / "gilprobe.json")
    for name in ("::test_fetch", "::test_anyio[trio]"):
        assert tasks(done, name) == "ok"
        assert probed(done, name)["callee"]["awaited_by"] == "trio"
    assert done.outcomes("::test_fetch", "threads")[1] == "ok", done.one("::test_fetch")
    for workload in report.workloads:
        advice = snippets.code(workload, BUILT_IN)
        assert "asyncio" not in advice.text
        assert "trio.run(" in advice.text or not advice.is_code
    if probed(done, "::test_bad")["event_loop"]["blocked_fraction"] is not None:
        assert "trio.to_thread.run_sync" in str(done.one("::test_bad")["verdict"])
    assert "asyncio" not in str(done.one("::test_bad")["verdict"])


@pytest.mark.thorough
def test_trio_is_no_guest_of_its_own_run(seen: sessions.Session) -> None:
    """A run of trio's own is watched like a loop of asyncio, and its longest block is timed."""
    loop = probed(seen, "::test_nursery")["event_loop"]
    assert "guest" not in (loop["why_unknown"] or "")
    assert loop["longest_block_s"] > 0


def test_unknown_drivers(tmp_path: Path) -> None:
    """A loop of another thread is used, though not seen from outside; a coroutine that has none has no tasks."""
    sessions.write(tmp_path, DRIVERS, name="conftest.py")
    sessions.write(tmp_path, DRIVEN)
    done = sessions.run(tmp_path, "--gilprobe-strategies=tasks")
    assert done.exit_status == pytest.ExitCode.OK, done.output
    assert tasks(done, "::test_in_thread") == "ok"
    loop = probed(done, "::test_in_thread")["event_loop"]
    assert (loop["blocked_fraction"], loop["blockers"]) == (None, None)
    assert "another thread" in loop["why_unknown"]
    assert tasks(done, "::test_own_driver") == "skipped"
    assert "neither asyncio's nor trio's" in done.one("::test_own_driver")["strategies"]["tasks"]["error"]


def test_uvloop(tmp_path: Path) -> None:
    """Tasks run in uvloop; what blocks it is seen from outside, but single blocks are not timed: the gate is open."""
    pytest.importorskip("uvloop")
    source = """
        import asyncio
        import time
        import pytest
        import uvloop

        @pytest.mark.gilprobe(max_loop_block=0.001)
        def test_blocks(gilprobe):
            async def blocks():
                assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
                time.sleep(0.005)
            async def main():
                await gilprobe(blocks)
            uvloop.run(main())
    """
    sessions.write(tmp_path, source)
    done = sessions.run(tmp_path, "--gilprobe-strategies=tasks")
    assert done.exit_status == pytest.ExitCode.OK, done.output
    loop = probed(done, "::test_blocks")["event_loop"]
    assert tasks(done, "::test_blocks") == "ok"
    assert loop["longest_block_s"] is None
    assert loop["why_unknown"]
    assert "expectation-unchecked" in {one["slug"] for one in probed(done, "::test_blocks")["verdict"]["cautions"]}
    if loop["blockers"] is not None:
        assert loop["blockers"][0]["code"] == "time.sleep(0.005)"


def test_pytest_trio(tmp_path: Path) -> None:
    """A test of pytest-trio runs in tasks of its trio, beside its async fixtures."""
    pytest.importorskip("pytest_trio")
    source = """
        import pytest
        import trio

        @pytest.fixture
        async def nursery_of_fixture():
            async with trio.open_nursery() as nursery:
                yield nursery

        @pytest.mark.trio
        @pytest.mark.gilprobe
        async def test_trio(nursery_of_fixture):
            await trio.sleep(0.005)

        @pytest.mark.trio
        @pytest.mark.gilprobe
        async def test_given(gilprobe):
            async with trio.open_nursery():
                await gilprobe(trio.sleep, 0.005)
    """
    sessions.write(tmp_path, source)
    done = sessions.run(tmp_path, *FLAGS, "-p", "no:asyncio", alone=False)
    assert done.exit_status == pytest.ExitCode.OK, done.output
    assert [tasks(done, name) for name in ("::test_trio", "::test_given")] == ["ok", "ok"]
    assert {probed(done, name)["callee"]["awaited_by"] for name in ("::test_trio", "::test_given")} == {"trio"}


@pytest.mark.thorough
def test_anyio_on_trio(tmp_path: Path) -> None:
    """A test of anyio's plugin runs in tasks of its trio, in a class, with parameters and an async fixture."""
    pytest.importorskip("anyio")
    source = """
        import anyio
        import pytest

        pytestmark = [pytest.mark.anyio, pytest.mark.gilprobe]

        @pytest.fixture
        def anyio_backend():
            return "trio"

        class TestOf:
            @pytest.fixture
            async def made(self):
                yield 1

            @pytest.mark.parametrize("delay", [0.005])
            async def test_sleeps(self, made, delay):
                assert made
                await anyio.sleep(delay)
    """
    sessions.write(tmp_path, source)
    done = sessions.run(tmp_path, "-W", "ignore", "-p", "no:asyncio", "--gilprobe-strategies=tasks", alone=False)
    assert done.exit_status == pytest.ExitCode.OK, done.output
    assert tasks(done, "::TestOf::test_sleeps[0.005]") == "ok"
    assert probed(done, "::TestOf::test_sleeps[0.005]")["callee"]["awaited_by"] == "trio"

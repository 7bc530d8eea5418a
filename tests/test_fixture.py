"""`pytest_gilprobe.workers.fixture`: one call of a test is the workload, in pytest's process and in workers."""

from __future__ import annotations

import asyncio
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest
import sessions

from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.words import INCONCLUSIVE, Outcome, Status
from pytest_gilprobe.observe import interpreter
from pytest_gilprobe.workers.fixture import FixtureError, Gilprobe, Served

if TYPE_CHECKING:
    from pytest_gilprobe.workers.naming import Given


class Client:
    """An object whose calls are awaited."""

    async def __call__(self, number: int) -> int:
        await asyncio.sleep(0)
        return number


async def fetch(number: int) -> int:
    await asyncio.sleep(0)
    return number


def plain(number: int) -> Any:
    return fetch(number)


@wraps(fetch)
def wrapped(*args: Any) -> Any:
    return fetch(*args)


def not_served(_: Given) -> NoReturn:
    pytest.fail("served as a plain call")


AWAITED: dict[str, Any] = {
    "a coroutine function": fetch,
    "an object": Client(),
    "a partial of a coroutine function": partial(fetch),
    "a partial of an object": partial(partial(Client())),
    "a plain function that returns a coroutine": plain,
    "a wrapper": wrapped,
}


def probe(pytester: pytest.Pytester, *flags: str) -> tuple[pytest.RunResult, Report]:
    """Run a session and read its report."""
    result = pytester.runpytest_subprocess(*sessions.quick(), "--gilprobe-report", *flags, timeout=120)
    return result, report_json.read(pytester.path / "reports" / "gilprobe.json")


def test_call_loads_nothing_of_the_plugin(pytester: pytest.Pytester) -> None:
    """What a call needs is loaded while the fixture is set up, so the test's own time is that of its own code."""
    pytester.makepyfile(
        """
        import sys

        def test_it(gilprobe):
            before = set(sys.modules)
            gilprobe(len, "")
            assert not [name for name in set(sys.modules) - before if name.startswith("pytest_gilprobe")]
        """
    )
    pytester.runpytest_subprocess(*sessions.quick(), "--gilprobe-disable", timeout=120).assert_outcomes(passed=1)


class TestCall:
    """The fixture's value."""

    def test_returns_the_result(self) -> None:
        """It calls the function with its arguments and returns what that returns."""
        made = Gilprobe("a::b")
        assert made(divmod, 7, 2) == (3, 1)
        assert made.used
        assert made.call_s is not None

    def test_names_of_keywords_are_free(self) -> None:
        """No keyword of the function is taken by the fixture."""
        assert Gilprobe("a::b")(dict, func=1, self=2) == {"func": 1, "self": 2}

    def test_second_use(self) -> None:
        """A second use in one test is an error that names the test and says so."""
        made = Gilprobe("a::b")
        made(len, "")
        with pytest.raises(FixtureError, match="used a second time, allowed: one call"):
            made(len, "")

    def test_error_passes_through(self) -> None:
        """What the function raises is the test's own business."""
        with pytest.raises(ZeroDivisionError):
            Gilprobe("a::b")(divmod, 1, 0)

    @pytest.mark.parametrize("wrong", [3, None, "text"])
    def test_no_callable(self, wrong: Any) -> None:
        """A result in place of the function is refused."""
        with pytest.raises(FixtureError, match="pass the function, not its result"):
            Gilprobe("a::b")(wrong)

    def test_coroutine_function(self) -> None:
        """Without an event loop a coroutine would only be made, not run, so it is refused with what to do."""

        async def fetch() -> None:
            """Never run."""

        with pytest.raises(FixtureError, match="outside of an event loop: await"):
            Gilprobe("a::b")(fetch)  # type: ignore[unused-coroutine]  # that is the mistake

    def test_serves_in_a_worker(self) -> None:
        """In a worker the call is handed to whoever serves, and the body is left past every ``except Exception``."""
        seen: list[Given] = []

        def serve(given: Given) -> NoReturn:
            seen.append(given)
            raise Served

        with pytest.raises(Served):
            Gilprobe("a::b", serve)(divmod, 7, 2)
        assert (seen[0].func, seen[0].args) == (divmod, (7, 2))
        assert not issubclass(Served, Exception)

    @pytest.mark.parametrize("kind", sorted(AWAITED))
    def test_what_is_awaited(self, kind: str) -> None:
        """What makes a coroutine is awaited here, and handed in a worker to whoever serves awaited calls."""
        seen: list[Given] = []

        async def serve(given: Given) -> NoReturn:
            await asyncio.sleep(0)
            seen.append(given)
            raise Served

        async def main() -> None:
            here, worker = Gilprobe("a::b"), Gilprobe("a::b", not_served, serve, was_awaited=True)
            made: Any = here(AWAITED[kind], 3)
            assert (here.awaited, here.why_not is None) == (True, False), "not before it is awaited"
            assert await made == 3
            assert (here.awaited, here.why_not) == (True, None)
            assert here.call_s is not None
            with pytest.raises(Served):
                await cast("Any", worker(AWAITED[kind], 3))

        asyncio.run(main())
        assert (seen[0].func, seen[0].args) == (AWAITED[kind], (3,))

    def test_plain_call_in_a_loop(self) -> None:
        """A plain function stays one where an event loop runs, here and in a worker."""

        async def main() -> None:
            assert Gilprobe("a::b")(len, "abc") == 3
            with pytest.raises(pytest.fail.Exception, match="served as a plain call"):
                Gilprobe("a::b", not_served)(len, "abc")

        asyncio.run(main())

    def test_object_that_is_awaited_needs_a_loop(self) -> None:
        """An object with ``async def __call__`` is refused without an event loop, as a coroutine function is."""
        with pytest.raises(FixtureError, match="outside of an event loop: await"):
            Gilprobe("a::b")(Client(), 3)  # type: ignore[unused-coroutine]  # that is the mistake


@pytest.mark.usefixtures("alone")
class TestSessions:
    """Real sessions with real workers."""

    def test_only_the_call_is_the_workload(self, pytester: pytest.Pytester) -> None:
        """Without a marker it is a probe too; what stands around the call is not measured, nor run again after it."""
        pytester.makepyfile(
            """
            import os, pathlib, time

            def wait(seconds):
                time.sleep(seconds)
                return seconds

            def test_it(gilprobe):
                time.sleep(0.1)
                assert gilprobe(wait, 0.01) == 0.01
                with open("bodies.txt", "a") as bodies:
                    bodies.write("x")
            """
        )
        result, report = probe(pytester, "--gilprobe-max-time=5")
        result.assert_outcomes(passed=1)
        (found,) = report.workloads
        assert found.status is Status.PROBED
        assert found.verdict.strategy in {"threads", INCONCLUSIVE}
        assert found.serial is not None
        assert found.serial.call_s.value < 0.1
        assert found.callee is not None
        assert (found.callee.name, found.callee.parameters) == ("wait", ("seconds",))
        assert found.transfer is not None
        assert found.strategies["processes"].transfer_s_per_call == found.transfer.pipe_s
        assert (pytester.path / "bodies.txt").read_text() == "x"

    def test_nothing_needs_to_be_picklable(self, pytester: pytest.Pytester) -> None:
        """Arguments that cannot be pickled are probed in threads; processes are out, by object and path."""
        pytester.makepyfile(
            """
            import threading, time

            class Client:
                def __init__(self):
                    self.lock = threading.Lock()

            def use(clients):
                time.sleep(0.01)

            def test_it(gilprobe):
                gilprobe(use, {"main": Client()})
            """
        )
        _, report = probe(pytester)
        (found,) = report.workloads
        assert found.strategies["threads"].outcome is Outcome.OK
        processes = found.strategies["processes"]
        assert processes.outcome is Outcome.SKIPPED
        assert "its argument clients['main'].lock is a _thread.lock, which cannot be pickled" in (processes.error or "")

    @pytest.mark.thorough
    def test_result_of_a_long_call_is_moved_too(self, pytester: pytest.Pytester) -> None:
        """A result that cannot be pickled makes processes impossible, however few calls there is time for."""
        pytester.makepyfile(
            """
            import threading, time

            def connect():
                time.sleep(0.4)
                return threading.Lock()

            def test_it(gilprobe):
                gilprobe(connect)
            """
        )
        _, report = probe(pytester, "--gilprobe-max-time=3")
        processes = report.workloads[0].strategies["processes"]
        assert processes.outcome is Outcome.SKIPPED
        assert "its result is a _thread.lock, which cannot be pickled" in (processes.error or "")

    @pytest.mark.thorough
    def test_set_up_by_another_fixture(self, pytester: pytest.Pytester) -> None:
        """Fixtures of the test are at hand, those known to be unsafe in threads too: only the call runs in threads."""
        pytester.makepyfile(
            """
            import time

            def test_it(gilprobe, tmp_path, monkeypatch):
                monkeypatch.setenv("HOME", str(tmp_path))
                gilprobe(time.sleep, 0.01)
            """
        )
        _, report = probe(pytester)
        assert report.workloads[0].strategies["threads"].outcome is Outcome.OK

    def test_marker_applies(self, pytester: pytest.Pytester) -> None:
        """With the marker its keywords apply."""
        pytester.makepyfile(
            """
            import time, pytest

            @pytest.mark.gilprobe(strategies=("threads",), expect_bound="cpu")
            def test_it(gilprobe):
                gilprobe(time.sleep, 0.02)
            """
        )
        result, report = probe(pytester)
        result.assert_outcomes(failed=1)
        assert report.workloads[0].strategies["processes"].outcome is Outcome.SKIPPED

    def test_never_called(self, pytester: pytest.Pytester) -> None:
        """A test that asks for the fixture and does not call it passes, and is not probed, with the reason."""
        pytester.makepyfile("def test_it(gilprobe):\n    pass")
        result, report = probe(pytester)
        result.assert_outcomes(passed=1)
        assert report.workloads[0].status is Status.NOT_PROBED
        assert "did not call it" in (report.workloads[0].reason or "")

    def test_calls_that_cannot_be_repeated(self, pytester: pytest.Pytester) -> None:
        """They pass and are not probed, each with its reason; an expectation that was not checked is a caution."""
        pytester.makepyfile(
            """
            import pytest

            def numbers(n):
                yield from range(n)

            async def fetch():
                pass

            @pytest.mark.gilprobe(expect="threads")
            def test_argument(gilprobe):
                assert gilprobe(sum, numbers(3)) == 3

            def test_result(gilprobe):
                assert list(gilprobe(numbers, 3)) == [0, 1, 2]

            def test_raises(gilprobe):
                with pytest.raises(ZeroDivisionError):
                    gilprobe(divmod, 1, 0)

            def test_wrong_use(gilprobe):
                gilprobe(fetch)
            """
        )
        result, report = probe(pytester)
        result.assert_outcomes(passed=3, failed=1)
        by_name = {one.nodeid.rpartition("::")[2]: one for one in report.workloads}
        assert {one.status for one in by_name.values()} == {Status.NOT_PROBED}
        assert "its argument 1 is a generator" in (by_name["test_argument"].reason or "")
        assert "its call just makes a generator" in (by_name["test_result"].reason or "")
        assert "its call raised ZeroDivisionError" in (by_name["test_raises"].reason or "")
        assert "failed in its call" in (by_name["test_wrong_use"].reason or "")
        assert [caution.slug for caution in by_name["test_argument"].verdict.cautions] == ["expectation-unchecked"]
        result.stdout.no_fnmatch_line("*in __call__*")
        strict, _ = probe(pytester, "--gilprobe-fail-on=inconclusive")
        strict.assert_outcomes(passed=2, failed=2)

    @pytest.mark.thorough
    @pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's clear_refs")
    @pytest.mark.skipif(
        interpreter.free_threaded_build(), reason="the allocator of free-threaded builds keeps what is freed"
    )
    def test_memory_is_the_workloads_own(self, pytester: pytest.Pytester) -> None:
        """What an earlier test's data took is given back, and not reported of a later test's workers."""
        pytester.makepyfile(
            """
            def test_large(gilprobe):
                data = b"x" * (48 * 1024 * 1024)
                assert gilprobe(len, data)

            def test_small(gilprobe):
                assert gilprobe(sum, range(1000))
            """
        )
        _, report = probe(pytester, "--gilprobe-max-time=10")
        large, small = (one.strategies["processes"].rss_bytes_per_worker for one in report.workloads)
        assert large is not None
        assert small is not None
        assert small < large - 40 * 1024 * 1024

    def test_disabled(self, pytester: pytest.Pytester) -> None:
        """With ``--gilprobe-disable`` it just calls."""
        pytester.makepyfile("def test_it(gilprobe):\n    assert gilprobe(len, 'abc') == 3")
        result = pytester.runpytest_subprocess(*sessions.quick(), "--gilprobe-disable", timeout=120)
        result.assert_outcomes(passed=1)
        result.stdout.no_fnmatch_line("*workload*")

"""Replace a test's call phase in a worker process: make batches of calls, as pytest's own process asks for them.

A batch is calls that are timed together. This works for a function, a method, a coroutine, a `unittest.TestCase`, and a
call made through the `gilprobe` fixture.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import unittest
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_gilprobe.observe import clocks
from pytest_gilprobe.workers import fixture
from pytest_gilprobe.workers.child import fixture_sets, home_loop, loops, subtests, workload
from pytest_gilprobe.workers.child.coroutine_test import CoroutineTest, Left, Serve, UnknownLoopError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pytest_gilprobe.workers.child.calls import Call
    from pytest_gilprobe.workers.naming import Given


@dataclass(slots=True)
class _Rerun:
    """The body of a test that is run again up to the `gilprobe` fixture.

    Attributes:
        inside: whether the call that the body passes to the fixture is made there.
        given: that call; ``None`` before.
        call_s: how many seconds the fixture took for it there; ``None`` before.
    """

    inside: bool
    given: Given | None = None
    call_s: float | None = None


class Caller:
    """Plugin of a worker process: makes batches of calls (timed together) of a test, instead of calling the test once.

    It is registered last, so its hooks run before other plugins'. Two attributes are set before a test begins:
    ``fresh`` is whether its fixtures are made anew for each call, ``awaited`` is whether the test, when pytest ran it,
    awaited the call that it passes to the `gilprobe` fixture. ``refused`` is why the fixtures of the last test could
    not be made anew; ``None`` if they could, or need not be.
    """

    def __init__(self, serve: Serve) -> None:
        """Remember ``serve``, which takes a test's workload and answers questions of pytest's own process about it."""
        self._serve = serve
        self._function: Any = None
        self._coroutine: CoroutineTest | None = None
        self._serving = False
        self._rerun: _Rerun | None = None
        self._left: Left | None = None
        self.fresh = False
        """Whether the test's fixtures are made anew for each call; set before the test begins."""
        self.awaited = False
        """Whether the test, when pytest ran it, awaited the call that it passes to the `gilprobe` fixture."""
        self.refused: str | None = None
        """Why the fixtures of the last test could not be made anew; ``None`` if they could, or need not be."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Make batches of calls of the test until the parent (pytest's own process) closes it; then return ``True``.

        A call in a batch may run this hook again. It then returns ``None`` at once, so that pytest or another plugin
        makes the call. Raises `FixtureError` if the test requests the `gilprobe` fixture, but does not call it.
        """
        if self._serving:
            return None
        self._serving = True
        try:
            if fixture.asks_for(pyfuncitem):
                self._run_to_fixture(pyfuncitem)
                if self._left is not None and self._coroutine is not None:
                    self._serve_with_new_fixtures(self._coroutine, self._left)
            elif self._coroutine is not None and self.fresh:
                self._serve_with_new_fixtures(self._coroutine)
            elif self._coroutine is None or not self._served_inside(pyfuncitem, self._coroutine):
                self._serve(self._workload(pyfuncitem))
        finally:
            self._serving = False
        return True

    def _run_to_fixture(self, item: pytest.Function) -> None:
        """Run a test's body until it calls the `gilprobe` fixture, which serves batches."""
        try:
            item.ihook.pytest_pyfunc_call(pyfuncitem=item)
        except fixture.Served:
            pass
        except BaseExceptionGroup as group:  # the test ran a loop of its own, and awaited the call in a task group
            if group.subgroup(fixture.Served) is None:
                raise
        else:
            if self._coroutine is None or not self._coroutine.served:
                msg = "the test asks for the gilprobe fixture but did not call it"
                raise fixture.FixtureError(msg)
        gc.collect()  # the exception that left the body refers to its frame, and so to its data, in a cycle

    @staticmethod
    def _served_inside(item: pytest.Function, coroutine: CoroutineTest) -> bool:
        """Have the test's plugin run the coroutine that serves; return whether it ran in a known event loop."""
        item.ihook.pytest_pyfunc_call(pyfuncitem=item)
        return coroutine.served

    def _serve_with_new_fixtures(self, coroutine: CoroutineTest, left: Left | None = None) -> None:
        try:
            coroutine.serve_with_new_fixtures(left)
        except UnknownLoopError as error:
            self.refused = str(error)
            pytest.fail(self.refused, pytrace=False)

    def serve_given(self, item: pytest.Function, given: Given) -> NoReturn:
        """Make batches of ``given``, a call that a test passes to the `gilprobe` fixture; then raise `Served`.

        `Served` leaves the test's body; it is raised when the parent (pytest's own process) closes the test. If the
        body is run only to get a call with new fixtures, no batch is made here: `Served` is raised at once, or after
        one call if the time of a call inside the body is wanted.
        """
        if self._rerun is not None:
            with _noted(self._rerun, given) as inside:
                if inside:
                    given.call()
            raise fixture.Served
        self._leave_if_fresh(item, given, awaited=False)
        work = workload.of_fixture(item, given)
        if self.fresh and given.make is None:
            sets = fixture_sets.FixtureSets(item, lambda: self._given_anew(item))
            work = replace(work, call=sets, inside=lambda: sets.with_new(lambda: self._timed_inside(item)))
        self._serve(work)
        raise fixture.Served

    def _leave_if_fresh(self, item: pytest.Function, given: Given, *, awaited: bool) -> None:
        """Leave the test's body with what it gave, if it is served later: outside of the test's event loop."""
        if self._coroutine is not None and self.fresh and given.make is None:
            self._left = Left(
                given=given,
                awaited=awaited,
                anew=lambda: self._given_anew(item),
                inside=lambda: self._timed_inside(item),
            )
            raise fixture.Served

    def _given_anew(self, item: pytest.Function) -> Call:
        """Run a test's body until it calls the `gilprobe` fixture; return the call that is passed to it."""
        given = self._run_again(item, inside=False).given
        assert given is not None  # noqa: S101 - else the body has raised
        return workload.call_of(given)

    def _timed_inside(self, item: pytest.Function) -> float:
        """Run a test's body until the call that it passes to the `gilprobe` fixture is made; return its seconds."""
        call_s = self._run_again(item, inside=True).call_s
        assert call_s is not None  # noqa: S101 - else the body has raised
        return call_s

    def _run_again(self, item: pytest.Function, *, inside: bool) -> _Rerun:
        rerun = self._rerun = _Rerun(inside=inside)
        try:
            self._run_to_fixture(item)
        finally:
            self._rerun = None
        return rerun

    async def serve_awaited(self, item: pytest.Function, given: Given) -> NoReturn:
        """Make batches of ``given``, a call that a test passes to the `gilprobe` fixture and awaits; raise `Served`.

        The calls are awaited in the test's event loop. `Served` leaves the test's body; it is raised when the parent
        (pytest's own process) closes the test. If the body is run only to get a call with new fixtures, no batch is
        made here: `Served` is raised at once, or after one call if the time of a call inside the body is wanted.
        """
        if self._rerun is not None:
            with _noted(self._rerun, given) as inside:
                if inside:
                    await given.call()
            raise fixture.Served
        self._leave_if_fresh(item, given, awaited=True)
        if self.fresh and given.make is None:
            self._refuse_fresh(item, in_own_loop=True)
        home = home_loop.of_this_task()
        assert home is not None  # noqa: S101 - the fixture has looked
        await home.serve(lambda: self._serve(workload.awaited_by_fixture(item, given, home)))
        raise fixture.Served

    def _workload(self, item: pytest.Function) -> workload.Workload:
        hooks = item.ihook
        if self.fresh:
            self._refuse_fresh(item)
            return workload.Workload(item=item, call=fixture_sets.FixtureSets(item, lambda: workload.plain(item).call))
        if inspect.iscoroutinefunction(self._function):
            return workload.coroutine(item, self._function, lambda: hooks.pytest_pyfunc_call(pyfuncitem=item))
        if loops.is_drawn_coroutine(item):
            return workload.Workload(item=item, call=lambda: hooks.pytest_pyfunc_call(pyfuncitem=item))
        return workload.plain(item)

    def _refuse_fresh(self, item: pytest.Function, *, in_own_loop: bool = False) -> None:
        self.refused = fixture_sets.why_not_fresh(item, in_own_loop=in_own_loop)
        if self.refused is not None:
            pytest.fail(self.refused, pytrace=False)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """While a coroutine test or a `unittest.TestCase` method runs, replace it by one that makes batches of calls.

        A coroutine is replaced before its plugin takes it. Methods of a `unittest.TestCase` are called by ``unittest``,
        not through `pytest_pyfunc_call`. Any other test function stays: there, `pytest_pyfunc_call` makes the batches
        in its place.
        """
        function: Any = getattr(item, "obj", None)
        self._function, self._coroutine, self._left = function, None, None
        replacement: Any = None
        if isinstance(item, pytest.Function):
            is_case = isinstance(item.instance, unittest.TestCase)
            if inspect.iscoroutinefunction(function):
                if self.fresh:
                    self._refuse_fresh(item)
                self._coroutine = CoroutineTest(item, function, self._serve)
                replacement = self._coroutine.replacement(is_case=is_case)
            elif is_case:
                replacement = self._of_testcase(item, function)
        if replacement is None:
            yield
            return
        item.obj = replacement  # type: ignore[attr-defined]  # a `pytest.Function`
        in_case = isinstance(getattr(item, "instance", None), unittest.TestCase)
        if in_case:  # pytest would, but pytest-django runs the test case itself
            setattr(item.instance, item.name, replacement)  # type: ignore[attr-defined]
        try:
            yield
        finally:
            item.obj = function  # type: ignore[attr-defined]
            if in_case:
                vars(item.instance).pop(item.name, None)  # type: ignore[attr-defined]

    def _of_testcase(self, item: pytest.Function, method: Callable[[], Any]) -> Callable[[], None]:
        def served() -> None:
            item.obj = method
            if self.fresh:
                self._refuse_fresh(item)
            with subtests.plain_subtests(item):
                self._serve(workload.Workload(item=item, call=method))

        return served


@contextlib.contextmanager
def _noted(rerun: _Rerun, given: Given) -> Iterator[bool]:
    """Note the call that a body passes to the fixture; time the ``with`` block, which makes it if the value is true."""
    rerun.given = given
    started_ns = clocks.perf_counter_ns()
    yield rerun.inside
    rerun.call_s = (clocks.perf_counter_ns() - started_ns) / 1e9

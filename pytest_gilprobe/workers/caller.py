"""Where a worker takes the place of a test's call.

Of a function, a method, a coroutine, or the call given to the fixture.
"""

from __future__ import annotations

import gc
import inspect
import unittest
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_gilprobe import fixture
from pytest_gilprobe.workers import loops, workload

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_gilprobe.workers.naming import Given

Serve = Callable[[workload.Workload], None]
"""Answers the parent's questions about one workload until the parent says `Close`."""


class Caller:
    """Takes the place of a test's call; registered last, so that it comes before other plugins' ways to call."""

    def __init__(self, serve: Serve) -> None:
        """Have workloads served by ``serve``."""
        self._serve = serve
        self._function: Any = None
        self._serving = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Answer batches instead of calling once; while one calls through the hooks, leave the call to the others."""
        if self._serving:
            return None
        self._serving = True
        try:
            if fixture.asks_for(pyfuncitem):
                self._run_to_fixture(pyfuncitem)
            else:
                self._serve(self._workload(pyfuncitem))
        finally:
            self._serving = False
        return True

    @staticmethod
    def _run_to_fixture(item: pytest.Function) -> None:
        """Run a test's body up to its use of the `gilprobe` fixture, which serves the batches."""
        try:
            item.ihook.pytest_pyfunc_call(pyfuncitem=item)
        except fixture.Served:
            pass
        else:
            msg = "the test asks for the gilprobe fixture but did not call it"
            raise fixture.FixtureError(msg)
        gc.collect()  # what left the body holds its frame, and so its data, in a cycle

    def serve_given(self, item: pytest.Function, given: Given) -> NoReturn:
        """Answer batches of the call that the fixture was given, then leave the test's body."""
        self._serve(workload.of_fixture(item, given))
        raise fixture.Served

    def _workload(self, item: pytest.Function) -> workload.Workload:
        hooks = item.ihook
        if inspect.iscoroutinefunction(self._function):
            return workload.coroutine(item, self._function, lambda: hooks.pytest_pyfunc_call(pyfuncitem=item))
        if loops.is_drawn_coroutine(item):
            return workload.Workload(item=item, call=lambda: hooks.pytest_pyfunc_call(pyfuncitem=item))
        return workload.plain(item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Note the function before a plugin replaces it; reach test methods that pytest does not call itself.

        Those of `unittest.TestCase` are called by ``unittest``, not through `pytest_pyfunc_call`.
        """
        method: Any = getattr(item, "obj", None)
        self._function = method
        if not (isinstance(item, pytest.Function) and isinstance(item.instance, unittest.TestCase)):
            yield
            return

        def served() -> None:
            item.obj = method
            with workload.of_testcase(item, method) as work:
                self._serve(work)

        item.obj = served
        setattr(item.instance, item.name, served)  # pytest would, but pytest-django runs the test case itself
        try:
            yield
        finally:
            item.obj = method
            vars(item.instance).pop(item.name, None)

"""From a test that is set up to what a batch repeats: one call, in the main thread or in a lane of its own.

What threads share follows what the user's own threads would share: fixture values, the test's instance, module and
class state. Three things differ: ``tmp_path`` is a folder of each thread's own, a coroutine runs on an event loop of
each thread's own, and a test that itself asks for a fixture known to be unsafe in threads is not run in threads at all.
"""

from __future__ import annotations

import contextvars
import inspect
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model import Callee
from pytest_gilprobe.workers import loops, naming

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import pytest

    from pytest_gilprobe.workers.batch import Call
    from pytest_gilprobe.workers.naming import Given

UNSAFE_IN_THREADS = frozenset(
    {
        "benchmark",
        "capfd",
        "capfdbinary",
        "caplog",
        "capsys",
        "capsysbinary",
        "capteesys",
        "mocker",
        "monkeypatch",
        "pytester",
        "recwarn",
        "request",
        "testdir",
    }
)
"""Fixtures that change or read state of the whole process, or pytest's own, without a lock."""

ONE_CALL_ONLY = {
    "benchmark": "pytest-benchmark's fixture `benchmark` can be used once only, and repeats the code itself"
}
"""Fixtures that make a test impossible to repeat, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """An open test, as it can be repeated.

    ``call`` makes one call in the main thread, the way pytest and its plugins would. ``coroutine`` is the function
    behind it where that is a coroutine function, as it was before a plugin put a wrapper around it. ``given`` is what
    the test handed to the `gilprobe` fixture: then that is the call, and threads share its arguments.
    """

    item: pytest.Function
    call: Call
    coroutine: Callable[..., Any] | None = None
    given: Given | None = None

    def lane(self, number: int) -> AbstractContextManager[Call]:
        """Return what prepares the call for a thread, ``number`` from 0."""
        if self.given is not None:
            return nullcontext(self.call)
        passed = _for_lane(arguments(self.item), number)
        if self.coroutine is None:
            return nullcontext(_bind(self.item.obj, passed))
        return loops.opening(self.item, partial(self.coroutine, **passed))


def argument_names(item: pytest.Function) -> tuple[str, ...]:
    """Return the fixtures that pytest passes to the test function itself.

    Private access: ``_fixtureinfo``, as in pytest's own ``pytest_pyfunc_call``; a signature does not tell (defaults,
    ``mock.patch``), and no public name does.
    """
    return tuple(item._fixtureinfo.argnames)  # noqa: SLF001 - see above


def arguments(item: pytest.Function) -> dict[str, Any]:
    """Return the values that the test function is called with.

    They are its fixtures' values, but for ``subtests``: pytest's would swallow a failure and write a report of each
    call.
    """
    passed = {name: item.funcargs[name] for name in argument_names(item)}
    if "subtests" in passed:
        passed["subtests"] = PlainSubtests()
    return passed


class PlainSubtests:
    """Stands in for the fixture ``subtests`` in what is timed: a subtest that fails makes its call fail."""

    def test(self, msg: str | None = None, **kwargs: object) -> AbstractContextManager[None]:  # noqa: ARG002 - the fixture's signature
        """Run a subtest."""
        return nullcontext()


def of_fixture(item: pytest.Function, given: Given) -> Workload:
    """Describe the call that a test made through the `gilprobe` fixture."""
    bare = not given.args and not given.kwargs
    return Workload(
        item=item, call=given.func if bare else partial(given.func, *given.args, **given.kwargs), given=given
    )


def callee(workload: Workload) -> Callee | None:
    """Name the function that a workload calls; None for what has no name to import, or is not called by it alone.

    A test method wants its instance, a coroutine function a loop to run in.
    """
    if workload.given is not None:
        return naming.callee(workload.given)
    if workload.coroutine is not None or workload.item.cls is not None:
        return None
    function = inspect.unwrap(workload.item.obj)
    name = getattr(function, "__qualname__", None)
    if name is None:
        return None
    return Callee(
        module=workload.item.obj.__module__,
        name=name,
        parameters=argument_names(workload.item),
        importable="<locals>" not in name,
    )


def plain(item: pytest.Function) -> Workload:
    """Describe a test function or method that is called and returns."""
    return Workload(item=item, call=_bind(item.obj, arguments(item)))


def coroutine(item: pytest.Function, function: Callable[..., Any], through_hooks: Call) -> Workload:
    """Describe a coroutine function that a plugin runs.

    The plugin has either put a plain function in its place (pytest-asyncio), or runs it in its own
    ``pytest_pyfunc_call`` (anyio): then ``through_hooks`` makes a call.
    """
    replaced = not inspect.iscoroutinefunction(item.obj)
    call = _bind(item.obj, arguments(item)) if replaced else through_hooks
    return Workload(item=item, call=call, coroutine=function)


@contextmanager
def of_testcase(item: pytest.Function, method: Callable[[], Any]) -> Iterator[Workload]:
    """Describe a test method of a `unittest.TestCase` that is set up.

    Private access: ``_asyncioRunner`` is the loop that the set-up of an `unittest.IsolatedAsyncioTestCase` ran on;
    without ``_outcome`` a ``subTest`` raises what it catches otherwise, and writes no report. Neither has a public
    name. The context is a copy: the test case has entered its own, and a task cannot enter it again.
    """
    case: Any = item.instance
    outcome, case._outcome = case._outcome, None  # noqa: SLF001 - see above
    try:
        if inspect.iscoroutinefunction(method):
            runner, context = case._asyncioRunner, contextvars.copy_context()  # noqa: SLF001 - see above
            yield Workload(item=item, call=lambda: runner.run(method(), context=context), coroutine=method)
        else:
            yield Workload(item=item, call=method)
    finally:
        case._outcome = outcome  # noqa: SLF001 - see above


def _bind(function: Callable[..., Any], passed: dict[str, Any]) -> Call:
    return partial(function, **passed) if passed else function


def _for_lane(passed: dict[str, Any], number: int) -> dict[str, Any]:
    if isinstance(folder := passed.get("tmp_path"), Path):
        own = folder / f"gilprobe-thread-{number}"
        own.mkdir(exist_ok=True)
        return passed | {"tmp_path": own}
    return passed


def unsafe_in_threads(workload: Workload) -> str | None:
    """Say why this test must not be run in threads, or None if nothing is known against it."""
    if workload.given is not None:
        return None
    found = sorted(UNSAFE_IN_THREADS.intersection(argument_names(workload.item)))
    if found:
        return f"it uses {', '.join(found)}, which must not be used by several threads at once"
    return loops.bound_to_one_loop(workload.item, is_coroutine=workload.coroutine is not None)


def cannot_repeat(item: pytest.Item) -> str | None:
    """Say why a test that passed cannot be called again, or None if nothing is known against it."""
    names = getattr(item, "fixturenames", ())
    return next((why for name, why in ONE_CALL_ONLY.items() if name in names), None)

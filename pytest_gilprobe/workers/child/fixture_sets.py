"""Make the fixtures of a test anew for each of its calls.

A set of fixtures is what one call of a test uses: all of its function-scoped fixtures, and for a test in a class its
instance. Several sets exist at the same time: the sets for all calls of a batch (calls timed together) are made before
the batch begins. Each set is torn down after the batch, as pytest would do after the test.
"""

from __future__ import annotations

import asyncio
import unittest
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from pytest_gilprobe.workers.child import loops
from pytest_gilprobe.workers.child.calls import FreshCall

if TYPE_CHECKING:
    from pytest_gilprobe.workers.child.calls import Call

R = TypeVar("R")
ONE_AT_A_TIME = frozenset(
    {
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
        "testdir",
    }
)
"""Names of fixtures that change or read state of the whole process, so that only one value of each can be in use at a
time."""
EVENT_LOOP = "event_loop"
"""Name of the fixture for the event loop in pytest-asyncio before 1.0. A user's own fixture of this name may be
something else."""
OF_THE_LOOP = frozenset({"_asyncio_loop_factory", "_function_scoped_runner", "anyio_backend", EVENT_LOOP})
"""Names of fixtures that stand for the event loop of a coroutine test. They are not made anew for each call: all calls,
and all fixtures made for them, share one loop."""
INSTEAD = "await gilprobe.fresh(func, make) gives each call new arguments"
"""End of an error message: what the user should write if the fixtures of a coroutine test cannot be made anew."""


@dataclass(slots=True)
class _FixtureState:
    """What pytest keeps of one set of fixtures: each definition's value and finalizers, and the test's own."""

    definitions: list[tuple[Any, Any, list[Any]]]
    of_item: dict[str, Any]


class FixtureSets(FreshCall):
    """Calls a test, or the call that it passes to the `gilprobe` fixture, with new function-scoped fixtures each time.

    Private access, since pytest has no public way to have several values of one fixture: to the value and finalizers of
    each `FixtureDef`; to the request, values, instance and stash of the item; to the finalizers in the session's
    `SetupState`.
    """

    def __init__(self, item: pytest.Function, bound: Callable[[], Call]) -> None:
        """Tear down the function-scoped fixtures of a test that is set up, so that each call can get new ones.

        ``bound`` returns a function that makes the test's call with the fixtures that are set up at that moment. Raises
        what the tear-down raises.
        """
        super().__init__()
        if names := one_at_a_time(item):
            self.alone = f"it uses {', '.join(names)}, of which only one can be in use at a time"
        self._item: Any = item
        self._bound = bound
        self._definitions = _made_for_each_call(self._item)
        self._wider = [one for one in _definitions(self._item) if one not in self._definitions]
        self._finalizers: list[Callable[[], object]] = item.session._setupstate.stack[item][0]  # noqa: SLF001 - see above
        own = [one for one in self._finalizers[1:] if _definition_of(one) not in self._wider]  # the first is the item's
        self._finalizers[:] = [one for one in self._finalizers if one not in own]
        self._made: list[tuple[_FixtureState, list[Callable[[], object]]]] = [(self._state(), own)]
        self._original = _FixtureState(
            definitions=[(one, None, []) for one in self._definitions], of_item=self._state().of_item
        )
        self.tear_down()

    def new(self) -> Call:
        """Set the test's function-scoped fixtures up once more; return a function that makes the call with them.

        Raises what a fixture raises.
        """
        return self.with_new(self._bound)

    def with_new(self, use: Callable[[], R]) -> R:
        """Set the test's function-scoped fixtures up once more, run ``use()`` with them, and return its result.

        They stay set up until `tear_down`. Raises what a fixture or ``use`` raises.
        """
        marker = len(self._finalizers)
        wider = [(one, len(one._finalizers)) for one in self._wider]  # noqa: SLF001 - see above
        self._restore(_FixtureState(definitions=[(one, None, []) for one in self._definitions], of_item={}))
        try:
            self._item._initrequest()  # noqa: SLF001 - see above
            self._item._request._fillfixtures()  # noqa: SLF001 - see above
            if "caplog" in self._item.funcargs:
                self._item.funcargs["caplog"].clear()  # pytest keeps one record of logs for a whole call phase
            return use()
        finally:
            own = self._finalizers[marker:]
            del self._finalizers[marker:]
            for one, number in wider:
                del one._finalizers[number:]  # noqa: SLF001 - see above
            self._made.append((self._state(), own))
            self._restore(self._original)

    def tear_down(self) -> None:
        """Tear down all fixtures that were made for calls, the latest first.

        An exception does not stop that; the first one is raised at the end.
        """
        errors: list[BaseException] = []
        self._ready.clear()
        stash = self._item.stash._storage  # noqa: SLF001 - see above
        kept = dict(stash)  # tear-downs, such as that of `tmp_path`, take out what they find there
        while self._made:
            state, finalizers = self._made.pop()
            self._restore(state)
            while finalizers:
                try:
                    finalizers.pop()()
                except BaseException as error:  # noqa: BLE001 - whatever the user's fixtures raise
                    errors.append(error)
            stash.update(kept)
        self._restore(self._original)
        if errors:
            raise errors[0]

    def _state(self) -> _FixtureState:
        kept = ("funcargs", "_request", "_instance", "_obj")
        return _FixtureState(
            definitions=[(one, one.cached_result, list(one._finalizers)) for one in self._definitions],  # noqa: SLF001 - see above
            of_item={name: vars(self._item)[name] for name in kept if name in vars(self._item)},
        )

    def _restore(self, state: _FixtureState) -> None:
        for definition, value, finalizers in state.definitions:
            definition.cached_result = value
            definition._finalizers[:] = finalizers  # noqa: SLF001 - see above
        own = vars(self._item)
        if self._item.cls is not None:  # pytest makes a new instance where there is none
            own.pop("_instance", None)
            own.pop("_obj", None)
        own.update(state.of_item)


def _definitions(item: Any) -> list[Any]:
    """List the definitions of the fixtures that a test uses, also of those that it got by ``request``.

    Private access: there is no public name for them.
    """
    named = [one for some in item._fixtureinfo.name2fixturedefs.values() for one in some]  # noqa: SLF001 - see above
    asked_for = item._request._fixture_defs.values()  # noqa: SLF001 - see above
    return list({id(one): one for one in (*named, *asked_for) if hasattr(one, "_finalizers")}.values())


def _made_for_each_call(item: Any) -> list[Any]:
    """List the definitions of a test's function-scoped fixtures, but for its event loop and what that needs."""
    everything = _definitions(item)
    kept = set(OF_THE_LOOP) if loops.is_coroutine_test(item) else set()
    kept -= {one.argname for one in everything if one.argname == EVENT_LOOP and not _is_loop(one)}
    while more := {name for one in everything if one.argname in kept for name in one.argnames} - kept:
        kept |= more
    return [one for one in everything if one.scope == "function" and one.argname not in kept]


def _is_loop(definition: Any) -> bool:
    """Return whether the value of a fixture that is set up is an event loop of asyncio."""
    return isinstance((definition.cached_result or (None,))[0], asyncio.AbstractEventLoop)


def _definition_of(finalizer: Any) -> Any:
    """Return the definition of the fixture that a finalizer of pytest's tears down; ``None`` for any other one."""
    return getattr(getattr(finalizer, "func", None), "__self__", None)


def has_fixtures(item: pytest.Function) -> bool:
    """Return whether a test uses function-scoped fixtures, which pytest would make anew for another run of it."""
    return bool(_made_for_each_call(item))


def may_be_fresh(item: pytest.Item) -> tuple[bool, str | None]:
    """Return whether each call of a test could have function-scoped fixtures of its own, and the reason if not.

    If the test has no such fixtures, the result is ``False`` and ``None``.
    """
    if not (isinstance(item, pytest.Function) and has_fixtures(item)):
        return False, None
    why = why_not_fresh(item)
    return why is None, why


def why_not_fresh(item: pytest.Function, *, in_own_loop: bool = False) -> str | None:
    """Return why function-scoped fixtures of a test cannot be made anew for each timed call; ``None`` if they can.

    ``in_own_loop`` is whether the test is a plain function that runs an event loop of its own, and awaits the probed
    call in this loop.
    """
    if isinstance(item.instance, unittest.TestCase):
        return "fresh=True: not for a unittest.TestCase, whose setUp pytest does not run"
    why: str | None = None
    if loops.is_drawn_coroutine(item):
        why = "a coroutine test that Hypothesis calls, since one call is many runs with the same fixtures"
    elif in_own_loop:
        why = "a plain test function that awaits the call in an event loop of its own, which ends with each run of it"
    elif named := _made_in_a_run(item):
        why = f"a coroutine test whose fixtures ({', '.join(named)}) pytest-trio makes inside of each run of its loop"
    return None if why is None else f"fresh=True: not for {why}; {INSTEAD}"


def _made_in_a_run(item: pytest.Function) -> list[str]:
    """Return the names of the fixtures that exist only while pytest-trio runs the test, in alphabetical order."""
    return sorted(name for name, value in item.funcargs.items() if type(value).__name__ == "TrioFixture")


def one_at_a_time(item: pytest.Function) -> list[str]:
    """Return the sorted names of the test's fixtures that can have only one value at a time, such as ``capsys``."""
    return sorted(ONE_AT_A_TIME.intersection(item.fixturenames))

"""Find out whether calls change their arguments, and whether that makes later calls faster or slower than the first."""

from __future__ import annotations

import copy
import functools
import inspect
import unittest
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model.call_readings import ArgumentsReading
from pytest_gilprobe.observe import clocks
from pytest_gilprobe.workers import given_arguments
from pytest_gilprobe.workers.arguments import Snapshot, modules_imported
from pytest_gilprobe.workers.child import workload
from pytest_gilprobe.workers.child.calls import FreshCall
from pytest_gilprobe.workers.given_arguments import replaced
from pytest_gilprobe.workers.naming import without_partials

if TYPE_CHECKING:
    from pytest_gilprobe.workers.child.calls import Call
    from pytest_gilprobe.workers.child.workload import Workload

LOT = 5
"""Number of calls of each of two kinds in a lot: the calls that are timed before a check of whether more are needed.
The two kinds are calls with copies of the arguments as they were before the first call, and calls with copies of the
arguments as earlier calls have changed them."""
LOTS = 4
"""Largest number of lots of calls. A lot is `LOT` calls with unchanged arguments, and as many with changed arguments. A
further lot is made only if it is not yet clear whether both kinds take equally long."""
TRIALS_S = 0.5
"""Time limit, in seconds, for the comparison of calls with unchanged arguments and calls with changed arguments. If the
next calls would probably exceed the limit, they are not made."""
ALIKE = 1.25
"""Factor below which calls with unchanged arguments and calls with changed arguments count as equally long: the
shortest call of the slower kind, divided by the shortest call of the faster kind. Only the shortest calls are compared,
because disturbances make calls longer, never shorter."""
CLEARLY = 3.0
"""Factor from which it is beyond doubt that calls with unchanged arguments and calls with changed arguments take
different times: the shortest call of the slower kind, divided by the longest call of the faster kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments of the call that is measured, and a way to make the call with other ones.

    ``named`` maps names to the arguments. ``call_with(values)`` takes a mapping of the same names to other values, and
    returns a function without parameters that makes the call with these values.
    """

    named: Mapping[str, Any]
    call_with: Callable[[Mapping[str, Any]], Call]


class ArgumentWatch:
    """Compares the arguments of a test's call with what they were before its first call.

    Create it before the first call, and call `compare` after some calls. ``failed`` is whether a call with copies of
    the arguments failed, perhaps half-way.
    """

    def __init__(self, work: Workload) -> None:
        """Record what the arguments of the call of ``work`` are now."""
        self._call = work.call
        self._arguments = arguments_of(work)
        self._before = Snapshot.of(self._arguments.named if self._arguments is not None else {})
        self._modules = modules_imported()
        self.failed = False
        """Whether a call with copies of the arguments failed, perhaps half-way."""

    def compare(self) -> ArgumentsReading:
        """Return which arguments differ now from what they were when this object was created.

        If any differs, calls are timed in turn with copies of the arguments as they were then, and with copies of the
        arguments as they are now. In the result, ``fresh_s`` has the seconds of each call with the old arguments, and
        ``used_s`` the seconds of each call with the present ones.
        If none differs, but some are iterators, which earlier calls may have used up, one further call is made:
        ``used_s`` has its seconds.
        """
        imported = modules_imported() > self._modules
        changed = self._before.changed()
        names = self._arguments.named if self._arguments is not None else {}
        fresh_s: tuple[float, ...] = ()
        used_s: tuple[float, ...] = ()
        if changed:
            try:
                fresh_s, used_s = self._trials()
            except BaseException:  # noqa: BLE001 - a copy may not do in the original's place; pytest.fail is no Exception
                self.failed = True
        elif self._before.iterators:
            used_s = (_timed(self._call),)
        return ArgumentsReading(
            changed=tuple(described(name, names[name]) for name in changed),
            unknown={described(name, names[name]): why for name, why in self._before.unknown.items()},
            iterators=tuple(described(name, names[name]) for name in self._before.iterators),
            fresh_s=fresh_s,
            used_s=used_s,
            imported=imported,
        )

    def _trials(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Time calls with copies of the arguments as they were, and in turn with copies of them as they are.

        Both are copies, so that neither has what pickling leaves out (caches, connections) nor another order in memory.
        Only what has grown beyond the limits is not copied again.
        """
        assert self._arguments is not None  # noqa: S101 - something changed
        started_ns, call_with, before = clocks.perf_counter_ns(), self._arguments.call_with, self._before
        now = Snapshot.of(self._arguments.named)
        grown = bool(set(now.unknown) - set(before.unknown))

        def used() -> Call:
            return self._call if grown else call_with(now.copied())

        def fresh() -> Call:
            return call_with(before.copied())

        fresh_s, used_s = [_timed(fresh())], [_timed(used())]
        wanted = min(LOT - 1, int(TRIALS_S / max(fresh_s[0] + used_s[0], 1e-9)))
        for _ in range(LOTS):
            made = before.copies_at_once  # then all copies first: the calls are warm
            lot: list[tuple[Any, Any]] = [(fresh(), used()) if made else (fresh, used) for _ in range(wanted)]
            for at, (anew, again) in enumerate(lot):
                for times, call in [(fresh_s, anew), (used_s, again)][:: 1 - at % 2 * 2]:  # each is the first in turn
                    times.append(_timed(call if made else call()))
            left_s = TRIALS_S - (clocks.perf_counter_ns() - started_ns) / 1e9
            wanted = min(LOT, int(left_s / max(fresh_s[-1] + used_s[-1], 1e-9)))
            if wanted < LOT or _settled(fresh_s, used_s):
                break
        return tuple(fresh_s), tuple(used_s)


def _settled(some_s: list[float], others_s: list[float]) -> bool:
    """Return whether these calls are alike, or differ beyond doubt, so that more of them would tell nothing new."""
    faster, slower = sorted((some_s, others_s), key=min)
    return min(slower) < min(faster) * ALIKE or min(slower) >= max(faster) * CLEARLY


def _timed(call: Call) -> float:
    if isinstance(call, FreshCall):
        (call,) = call.taken(1)
    started_ns = clocks.perf_counter_ns()
    call()
    return (clocks.perf_counter_ns() - started_ns) / 1e9


def described(name: str, value: object) -> str:
    """Return ``name`` with the type of ``value``: ``argument rows (a list)`` for a list named ``argument rows``."""
    kind = type(value).__qualname__
    article = "an" if kind[0].lower() in "aeiou" else "a"
    return f"{name} ({article} {kind})"


# Arguments by name


def arguments_of(work: Workload) -> Arguments | None:
    """Return the arguments of the call of ``work``; ``None`` if the call cannot be made with other arguments.

    If the test passes a call to the `gilprobe` fixture, they are the arguments of that call, the object whose method is
    called, and the variables that a nested function takes from the function around it. If the test is a method of a
    `unittest.TestCase`, they are the attributes of the test case. For any other test, they are the values of its
    fixtures and the instance of its class.
    """
    if work.given is not None:
        given = without_partials(work.given)

        def given_with(values: Mapping[str, Any]) -> Call:
            return _in_home_loop(work, replaced(given, values).call)

        return Arguments(named=given_arguments.named(given), call_with=given_with)
    item = work.item
    if work.fresh is not None:
        return None  # its fixtures are made anew for each call
    if isinstance(item.instance, unittest.TestCase):
        return _of_test_case(work, item.instance)
    if work.coroutine is not None and work.home is None:
        return None  # its plugin calls it, with values of its own choice
    values_of = work.awaited.keywords if isinstance(work.awaited, functools.partial) else workload.arguments(item)
    passed = {f"fixture {name}": value for name, value in values_of.items()}
    function: Any = work.coroutine or item.obj
    own = {"self": item.instance} if item.instance is not None and inspect.ismethod(function) else {}

    def call_with(values: Mapping[str, Any]) -> Call:
        called = function.__func__.__get__(values["self"]) if own else function
        fixtures = {name.removeprefix("fixture "): value for name, value in values.items() if name != "self"}
        return _in_home_loop(work, lambda: called(**fixtures))

    return Arguments(named={**passed, **own}, call_with=call_with)


def _of_test_case(work: Workload, case: unittest.TestCase) -> Arguments | None:
    """Return the attributes that a test case has beyond those of `unittest`, which its ``setUp`` mostly makes."""
    method: Any = work.coroutine or work.call
    if not inspect.ismethod(method):
        return None
    usual = vars(unittest.IsolatedAsyncioTestCase())
    runner = {name: None for name in vars(case) if name == "_asyncioRunner"}  # a copy that ends would close it
    named = {f"attribute {name}": value for name, value in vars(case).items() if name not in {*usual, work.item.name}}

    def call_with(values: Mapping[str, Any]) -> Call:
        other = copy.copy(case)
        vars(other).update(runner | {name.removeprefix("attribute "): value for name, value in values.items()})
        return _in_home_loop(work, method.__func__.__get__(other))

    return Arguments(named=named, call_with=call_with)


def _in_home_loop(work: Workload, call: Callable[[], Any]) -> Call:
    home = work.home
    return call if home is None else lambda: home.run(call)

"""End forked worker processes that inherited a fixture's open files, before pytest tears that fixture down."""

from __future__ import annotations

from contextlib import suppress
from itertools import product
from typing import TYPE_CHECKING

import pytest

from pytest_gilprobe.observe import clocks
from pytest_gilprobe.observe.descriptors import open_files
from pytest_gilprobe.workers.parent.late_workers import end_forked_since

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from _pytest.nodes import Node

    from pytest_gilprobe.observe.descriptors import OpenFile
    from pytest_gilprobe.workers.parent.group import WorkerGroup


class FixturesBeside:
    """Plugin that ends forked workers that inherited a fixture's open files, before pytest tears that fixture down."""

    def __init__(
        self, groups: Callable[[], Iterable[WorkerGroup]], undone: Callable[[], AbstractContextManager[object]]
    ) -> None:
        """Keep ``groups``, which returns the groups of worker processes in which this plugin ends workers.

        ``undone`` returns a context manager that undoes what tests have patched, while this plugin ends workers.
        """
        self._groups = groups
        self._undone = undone
        self._before: dict[Node, tuple[int, frozenset[OpenFile]]] = {}
        """For each node (test, class, module ... session) with fixtures: when the first one was set up, and what was
        open before."""
        self._parameters: dict[str, object] = {}
        """The parameter of each fixture of a class, module, package or session that is set up; ``None`` without one."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """End workers that inherited fixtures' open files if pytest is about to tear down a fixture of ``item``.

        pytest does so if the fixture is set up with another parameter than ``item`` needs.
        """
        given: Mapping[str, object] = getattr(getattr(item, "callspec", None), "params", {})
        names = self._parameters.keys() & getattr(item, "fixturenames", ())
        if any(not _same(self._parameters[name], given.get(name)) for name in names):
            self._end([self._before[node] for node in item.listchain() if node in self._before])

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> None:
        """Note the fixture's parameter, and the open files if no fixture of the same test, class ... was set up yet.

        Files that a worker inherits beyond these count as opened by fixtures.
        """
        if request.node not in self._before:
            self._before[request.node] = clocks.perf_counter_ns(), open_files()
        if fixturedef.scope != "function":
            self._parameters[fixturedef.argname] = getattr(request, "param", None)

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[object]) -> None:
        """Forget the parameter of a fixture that was torn down."""
        self._parameters.pop(fixturedef.argname, None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """End workers that inherited open files of the fixtures that pytest is about to tear down."""
        stays = set(nextitem.listchain()) if nextitem is not None else set()
        ending = [node for node in item.listchain() if node in self._before and node not in stays]
        self._end([self._before.pop(node) for node in ending])

    def _end(self, moments: Sequence[tuple[int, frozenset[OpenFile]]]) -> None:
        groups = [group for group in self._groups() if group.everyone]
        if not (moments and groups):
            return
        with self._undone(), suppress(Exception):  # else pytest's own set-up or tear-down would not be run
            for (since_ns, before), group in product(moments, groups):
                end_forked_since(group, since_ns, before)


def _same(one: object, other: object) -> bool:
    """Tell whether pytest takes two parameters of a fixture for the same."""
    try:
        return bool(one == other)
    except (ValueError, RuntimeError):  # arrays and the like
        return one is other

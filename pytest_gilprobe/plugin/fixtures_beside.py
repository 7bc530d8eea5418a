"""Note which fixtures are set up in pytest's own process, so that no worker forked beside one outlives it."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from pytest_gilprobe.observe import clocks
from pytest_gilprobe.observe.descriptors import open_files
from pytest_gilprobe.workers.parent.late_workers import end_forked_since

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _pytest.nodes import Node

    from pytest_gilprobe.observe.descriptors import OpenFile
    from pytest_gilprobe.workers.parent.group import WorkerGroup


class FixturesBeside:
    """Plugin that ends workers before a fixture is torn down beside which they were forked."""

    def __init__(self, groups: Callable[[], Iterable[WorkerGroup]]) -> None:
        """Prepare to end workers of the groups that ``groups()`` returns."""
        self._groups = groups
        self._before: dict[Node, tuple[int, frozenset[OpenFile]]] = {}
        """For each node (test, class, module ... session) with fixtures: when the first one was set up, and what was
        open before."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, request: pytest.FixtureRequest) -> None:
        """Note what is open before the first fixture of a test, class, module, package or session is set up."""
        if request.node not in self._before:
            self._before[request.node] = clocks.perf_counter_ns(), open_files()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """End workers that were forked since fixtures were set up which are torn down now."""
        stays = set(nextitem.listchain()) if nextitem is not None else set()
        ending = [node for node in item.listchain() if node in self._before and node not in stays]
        moments = [self._before.pop(node) for node in ending]
        for (since_ns, before), group in product(moments, self._groups()):
            end_forked_since(group, since_ns, before)

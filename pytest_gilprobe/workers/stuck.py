"""Fixtures that hung in a worker's set-up: each costs its time-out once a session, not in every test that asks for it.

Which one it was is told by the worker's stacks. What leaves no stacks, or hangs outside any fixture, is tried again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixture:
    """A fixture: its name, the node below which it is known by it, and the name of its function."""

    name: str
    place: str
    function: str


class Stuck:
    """The fixtures of each test by its node id, and which of them hung: in one process, or in several at once only."""

    def __init__(self, fixtures: Mapping[str, frozenset[Fixture]] | None = None) -> None:
        """Begin with none that hung."""
        self._fixtures = fixtures or {}
        self._alone: dict[Fixture, str] = {}
        self._together: dict[Fixture, str] = {}

    def note(self, nodeid: str, stacks: str, *, together: bool) -> None:
        """Learn from the stacks of a worker that hung in a test's set-up; ``together``: while others did not."""
        functions = set(re.findall(r"^  File \".*\", line \d+ in (\w+)$", stacks, re.MULTILINE))
        known = self._together if together else self._alone
        for fixture in self._fixtures.get(nodeid, ()):
            if fixture.function in functions:
                known.setdefault(fixture, nodeid)

    def alone(self, nodeid: str) -> str | None:
        """Say which fixture of a test is known to hang in any worker; None if none is."""
        return self._known(nodeid, self._alone)

    def together(self, nodeid: str) -> str | None:
        """Say which fixture of a test is known to hang in several workers at once; None if none is."""
        return self._known(nodeid, self._together)

    def _known(self, nodeid: str, known: Mapping[Fixture, str]) -> str | None:
        found = sorted((one.name, known[one]) for one in self._fixtures.get(nodeid, ()) if one in known)
        return f"its fixture {found[0][0]} hung there in the set-up of {found[0][1]}" if found else None


def fixtures_of(items: Iterable[pytest.Item]) -> dict[str, frozenset[Fixture]]:
    """List each test's fixtures.

    Private access: ``_fixtureinfo`` tells which of several fixtures of one name a test gets; no public name does.
    """
    return {item.nodeid: _of_one(getattr(item, "_fixtureinfo", None)) for item in items}


def _of_one(info: Any) -> frozenset[Fixture]:
    known = getattr(info, "name2fixturedefs", {})
    return frozenset(
        Fixture(name=name, place=found[-1].baseid, function=getattr(found[-1].func, "__name__", ""))
        for name, found in known.items()
        if found
    )

"""Remember fixtures that hung while a worker process set a test up, so that no later test waits for them again.

The stacks of the worker's threads show which fixture hung. A hang without stacks, or outside of any fixture, is not
remembered.
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
    """A fixture that tests request by ``name``.

    ``place`` is a node id: the tests below it get this fixture rather than another one of that name. ``function`` is
    the name of the fixture's function.
    """

    name: str
    place: str
    function: str


class HungFixtures:
    """A record of the fixtures that hung: some hang even in a single worker, others only in several at once."""

    def __init__(self, fixtures: Mapping[str, frozenset[Fixture]] | None = None) -> None:
        """Keep the fixtures of each test by its node id; with ``None``, no hung fixture is ever remembered."""
        self._fixtures = fixtures or {}
        self._alone: dict[Fixture, str] = {}
        self._together: dict[Fixture, str] = {}

    def note(self, nodeid: str, stacks: str, *, together: bool) -> None:
        """Remember those fixtures of the test ``nodeid`` in whose functions a worker process hung.

        ``stacks`` is the text of the stacks of the worker's threads. ``together`` is true if the fixtures hung only
        while several workers set the test up at the same time, and false if they hang even in a single worker.
        """
        functions = set(re.findall(r"^  File \".*\", line \d+ in (\w+)$", stacks, re.MULTILINE))
        known = self._together if together else self._alone
        for fixture in self._fixtures.get(nodeid, ()):
            if fixture.function in functions:
                known.setdefault(fixture, nodeid)

    def alone(self, nodeid: str) -> str | None:
        """Describe a fixture of the test ``nodeid`` that hung even in a single worker; ``None`` if none did."""
        return self._known(nodeid, self._alone)

    def together(self, nodeid: str) -> str | None:
        """Describe a fixture of the test ``nodeid`` that hung only in several workers at once; ``None`` if none did."""
        return self._known(nodeid, self._together)

    def _known(self, nodeid: str, known: Mapping[Fixture, str]) -> str | None:
        found = sorted((one.name, known[one]) for one in self._fixtures.get(nodeid, ()) if one in known)
        return f"its fixture {found[0][0]} hung there in the set-up of {found[0][1]}" if found else None


def fixtures_of(items: Iterable[pytest.Item]) -> dict[str, frozenset[Fixture]]:
    """Return the fixtures that each test uses, by the test's node id.

    Private access: only ``_fixtureinfo`` says which of several fixtures with the same name a test gets.
    """
    return {item.nodeid: _of_one(getattr(item, "_fixtureinfo", None)) for item in items}


def _of_one(info: Any) -> frozenset[Fixture]:
    known = getattr(info, "name2fixturedefs", {})
    return frozenset(
        Fixture(name=name, place=found[-1].baseid, function=getattr(found[-1].func, "__name__", ""))
        for name, found in known.items()
        if found
    )

"""Hold all strategies by name: the built-in ones, and those from the hook ``pytest_gilprobe_strategies``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.words import EXECUTOR, INCONCLUSIVE, SERIAL, STRATEGY_NAME, CallKind
from pytest_gilprobe.strategies import executor
from pytest_gilprobe.strategies.contract import Strategy
from pytest_gilprobe.strategies.interpreters import Interpreters
from pytest_gilprobe.strategies.processes import Processes
from pytest_gilprobe.strategies.serial import Serial
from pytest_gilprobe.strategies.tasks import Tasks
from pytest_gilprobe.strategies.threads import Threads

RESERVED: Final = frozenset({INCONCLUSIVE, "scanned", "error"})
"""Words that a report uses as an answer in place of a strategy's name, so that no strategy may have them as its
name."""


class StrategyError(GilprobeError):
    """Raised if strategies from the hook ``pytest_gilprobe_strategies`` are invalid.

    That is: one is not a `Strategy`, has a bad or a duplicate name, or none is called ``serial``.
    """


class Strategies:
    """A collection of strategies (ways to run calls) by name: first ``serial``, then the others, the cheapest first.

    The cheapest is the one that costs least beside the calls, by `Strategy.rank`. ``kind`` says which calls
    `default_names` are for: plain or awaited ones. ``all_names`` are the names that a user may write in
    ``strategies=``: they include strategies that cannot make calls of this ``kind``.
    """

    def __init__(
        self, members: Iterable[Strategy], kind: CallKind = CallKind.PLAIN, all_names: tuple[str, ...] = ()
    ) -> None:
        """Validate the strategies ``members`` and sort the parallel ones by rank, then by name.

        ``kind`` says which calls `default_names` are for: plain or awaited ones. ``all_names`` are the names that a
        user may write in ``strategies=``; empty stands for the names of ``members``. Raises `StrategyError` if a member
        is not a `Strategy`, if a name is not allowed or used twice, or if ``serial`` is missing.
        """
        self.kind = kind
        found: dict[str, Strategy] = {}
        for one in members:
            _check(one, found)
            found[one.name] = one
        if SERIAL not in found:
            msg = f"found the strategies {', '.join(found) or 'none'}, needed: {SERIAL!r} among them"
            raise StrategyError(msg)
        self._members = dict(sorted(found.items(), key=lambda pair: (pair[0] != SERIAL, pair[1].rank, pair[0])))
        self.all_names = all_names or tuple(self._members)

    def __iter__(self) -> Iterator[Strategy]:
        """Yield every strategy: ``serial`` first, then the cheapest first."""
        return iter(self._members.values())

    def __contains__(self, name: object) -> bool:
        """Return whether a strategy has this name."""
        return name in self._members

    def __getitem__(self, name: str) -> Strategy:
        """Return the strategy with this name; raises `KeyError` if no strategy has it."""
        return self._members[name]

    def get(self, name: str) -> Strategy | None:
        """Return the strategy called ``name``; ``None`` if there is none, as when its plugin is not installed.

        An unknown ``executor:NAME``, as in a report, gives a strategy that cannot start the executor.
        """
        found = self._members.get(name)
        if found is None and name.startswith(EXECUTOR) and STRATEGY_NAME.fullmatch(name) is not None:
            return executor.ViaExecutor(name.removeprefix(EXECUTOR), executor.UNKNOWN_FACTORY)
        return found

    def with_executors(self, texts: Iterable[str]) -> Strategies:
        """Return these strategies together with executors that the user named, each text as ``NAME=MODULE:FACTORY``.

        ``FACTORY`` is the function that makes the executor. Raises `GilprobeError` for any other text, and
        `StrategyError` for a name that is used twice.
        """
        return Strategies((*self, *map(executor.from_text, texts)), self.kind)

    @property
    def serial(self) -> Strategy:
        """The strategy of serial calls, the base of every speed-up."""
        return self._members[SERIAL]

    @property
    def parallel(self) -> tuple[Strategy, ...]:
        """Every strategy except ``serial``, the cheapest first."""
        return tuple(one for name, one in self._members.items() if name != SERIAL)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all strategies: ``serial`` first, then the cheapest first."""
        return tuple(self._members)

    def existing_for(self, kind: CallKind) -> Strategies:
        """Return the strategies that can make calls of ``kind``: plain or awaited ones."""
        return Strategies((one for one in self if one.exists_for(kind)), kind, self.all_names)

    @property
    def default_names(self) -> frozenset[str]:
        """The names of the strategies that are tried if ``strategies=`` is not given, ``serial`` included."""
        return frozenset(one.name for one in self if one.default_for(self.kind))


def _check(one: object, found: dict[str, Strategy]) -> None:
    if not isinstance(one, Strategy):
        msg = f"pytest_gilprobe_strategies returned {one!r}, allowed: instances of pytest_gilprobe.Strategy"
        raise StrategyError(msg)
    name = getattr(one, "name", None)
    if not isinstance(name, str) or STRATEGY_NAME.fullmatch(name) is None:
        msg = f"{type(one).__name__}.name: found {name!r}, allowed: {STRATEGY_NAME.pattern}"
        raise StrategyError(msg)
    if name in RESERVED:
        msg = f"{type(one).__name__}.name: found {name!r}, which a report uses for another answer"
        raise StrategyError(msg)
    if name in found:
        msg = f"two strategies are called {name!r}: {type(found[name]).__name__} and {type(one).__name__}"
        raise StrategyError(msg)


BUILT_IN: Final = Strategies((Serial(), Tasks(), Threads(), Processes(), Interpreters()))
"""The strategies that come with this package: serial calls, tasks, threads, processes and subinterpreters."""

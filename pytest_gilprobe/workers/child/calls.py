"""The calls that a batch (calls timed together) makes: the same call each time, or one with new arguments each time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from itertools import repeat
from typing import TypeVar, cast

Call = Callable[[], object]
C = TypeVar("C", bound=Callable[[], object])


class FreshCall(ABC):
    """A call that has new arguments each time.

    `prepare` makes arguments in advance, outside of what is timed. If none are left when the object is called, they are
    made within the call. Several threads may use one object. ``alone`` is why only one set of arguments can exist at a
    time; ``None`` if several can.
    """

    def __init__(self) -> None:
        """Begin with no arguments made in advance."""
        self._ready: deque[Call] = deque()
        self.alone: str | None = None
        """Why only one set of arguments can exist at a time; ``None`` if several can."""

    @abstractmethod
    def new(self) -> Call:
        """Create new arguments, and return a function without parameters that makes the call with them.

        Raises what creating the arguments raises.
        """

    def prepare(self, calls: int) -> None:
        """Make arguments in advance until there are some for at least ``calls`` calls; exceptions propagate."""
        while len(self._ready) < calls:
            self._ready.append(self.new())

    def taken(self, calls: int) -> list[Call]:
        """Return ``calls`` calls, each with its own arguments: first those made in advance, then newly made ones.

        No call is returned twice, not even to different threads. Raises whatever making arguments raises.
        """
        found: list[Call] = []
        while len(found) < calls:
            try:
                found.append(self._ready.popleft())
            except IndexError:
                found.append(self.new())
        return found

    def tear_down(self) -> None:
        """Release all arguments made so far, and what they hold, such as fixtures; exceptions propagate.

        This is called after each batch (calls timed together).
        """
        self._ready.clear()

    def __call__(self) -> object:
        """Make one call."""
        (call,) = self.taken(1)
        return call()


def in_advance(call: C, calls: int) -> Iterable[C]:
    """Return ``calls`` calls to make: ``call`` itself each time; for a `FreshCall`, calls with arguments made now."""
    return cast("list[C]", call.taken(calls)) if isinstance(call, FreshCall) else repeat(call, calls)

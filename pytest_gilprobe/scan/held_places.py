"""Add up in which functions the tests of a scanned suite hold the GIL: the project's, and those of installed packages.

Each sample has a stack: the functions being executed, each called by the next one. A sample counts for the innermost
function of the project in its stack. It also counts for the innermost function of an installed package, unless this
function is a caller of the project's function. So each sample counts for at most one function of the project and one of
a package.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.scans import HoldingFunction
from pytest_gilprobe.stats.gil_samples import MIN_SAMPLES, wilson
from pytest_gilprobe.stats.holders import LEAST_SHARE, own_at, place_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_gilprobe.model.stacks import Stack
    from pytest_gilprobe.stats.holders import Place

MOST_PLACES: Final = 100
"""Maximum number of places (lines of code or expressions) that are kept for one test's call: those at which the largest
numbers of samples found the GIL held."""
MOST_FUNCTIONS: Final = 20
"""Maximum number of the project's functions that a report lists, and also of installed packages' functions. Those that
hold the GIL for the largest shares of time are listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPlace:
    """A place in the code at which one test's call held the GIL: a line of a function, or an expression in that line.

    Attributes:
        function: the function's qualified name.
        file: the path of the function's file, without the leading folder of packages, Python or the working directory.
        package: the installed package that the function belongs to; ``None`` for a function of the project.
        line: the number of the line; ``None`` if it is unknown.
        code: the source text of the expression or line; ``None`` if it is unknown.
        samples: how many samples of the call found the GIL held at this place.
    """

    function: str
    file: str
    package: str | None
    line: int | None
    code: str | None
    samples: int


def count(stacks: Iterable[Stack]) -> tuple[HeldPlace, ...]:
    """Count how often each place in the code held the GIL; return the places, the most frequent one first.

    ``stacks`` has one stack (the functions being executed, each called by the next one) for each sample of a test's
    call that found the GIL held. A stack counts for the innermost place in the project's code, and for the innermost
    place in an installed package, unless this place calls the project's code. At most `MOST_PLACES` are returned.
    """
    found = Counter(place for stack in stacks for place in _places(stack))
    return tuple(
        HeldPlace(
            package=package,
            function=place.function,
            file=place.file,
            line=place.line,
            code=place.code,
            samples=samples,
        )
        for (package, place), samples in found.most_common(MOST_PLACES)
    )


def _places(stack: Stack) -> Iterator[tuple[str | None, Place]]:
    """Yield the place of a stack in the project, and the one in a package that the project called."""
    own = own_at(stack) if any(frame.own for frame in stack) else None
    if own is not None:
        yield None, place_at(stack, own)
    for at, frame in enumerate(stack[:own]):
        if frame.package is not None:
            yield frame.package, place_at(stack, at)
            break


@dataclass(slots=True)
class _Function:
    calls: int = 0
    weight: int = 0
    lines: Counter[tuple[int | None, str | None]] = field(default_factory=Counter)


class HeldPlaces:
    """Add up how often each function holds the GIL, over the test calls of a suite.

    The memory grows with the amount of code that holds the GIL, not with the number of tests.
    """

    def __init__(self) -> None:
        self._functions: dict[tuple[str | None, str, str], _Function] = {}
        self._weight = self._squares = 0

    def add(self, places: Sequence[HeldPlace], samples: int, weight: int) -> None:
        """Add the ``places`` in the code at which one test's call held the GIL.

        ``samples`` is the number of samples in which these places were counted. ``weight`` is the factor by which the
        pauses between samples were longer than usual, so that each sample stands for more time: above 1 for a long
        call, else 1.
        """
        self._weight += samples * weight
        self._squares += samples * weight * weight
        seen = set()
        for place in places:
            key = (place.package, place.file, place.function)
            found = self._functions.setdefault(key, _Function())
            found.calls += key not in seen
            found.weight += place.samples * weight
            found.lines[place.line, place.code] += place.samples * weight
            seen.add(key)

    def functions(self) -> tuple[HoldingFunction, ...] | None:
        """Return the functions that hold the GIL longest, first those of the project, then those of installed packages.

        Both parts are sorted by share of time, the largest first, and have at most `MOST_FUNCTIONS` functions each.
        Functions with under 0.5 % of the time are left out. Returns ``None`` if there are too few samples.
        """
        if not self._squares or self._weight**2 / self._squares < MIN_SAMPLES:
            return None
        ordered = sorted(self._functions.items(), key=lambda item: (-item[1].weight, item[0][1:]))
        told = [(key, found) for key, found in ordered if found.weight >= LEAST_SHARE * self._weight]
        of_project = [self._told(key, found) for key, found in told if key[0] is None]
        of_packages = [self._told(key, found) for key, found in told if key[0] is not None]
        return (*of_project[:MOST_FUNCTIONS], *of_packages[:MOST_FUNCTIONS])

    def _told(self, key: tuple[str | None, str, str], found: _Function) -> HoldingFunction:
        package, file, function = key
        ((line, code), weight), *_ = found.lines.most_common(1)
        share = found.weight / self._weight
        low, high = wilson(share, self._weight**2 / self._squares)
        return HoldingFunction(
            share=Estimate(value=share, low=min(low, share), high=max(high, share)),
            function=function,
            file=file,
            package=package,
            calls=found.calls,
            line=line,
            code=code,
            line_share=weight / self._weight,
        )

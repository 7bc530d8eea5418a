"""`pytest_gilprobe.workers.child.room`: a call costs the same at every depth of the stack."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from types import FunctionType

import pytest

from pytest_gilprobe.observe import machine
from pytest_gilprobe.workers.child import batch, stretch
from pytest_gilprobe.workers.child.room import with_room
from pytest_gilprobe.workers.stretch_messages import Stretch

CALLS = 1000


def small() -> None:
    """Do nothing."""


LARGE = FunctionType(small.__code__.replace(co_stacksize=400), globals())
"""A function whose frame is so large that at some depth no chunk of frames has room for it."""


def at_depth(depth: int, function: Callable[[], object]) -> None:
    """Call a function with so many frames below its own."""
    if depth == 0:
        function()
    else:
        at_depth(depth - 1, function)


def most_faults(function: Callable[[], object]) -> int:
    """Return the most pages that had to be mapped during one call of a function, over many depths."""
    found = []
    for depth in range(0, 240, 2):
        before = machine.page_faults()
        at_depth(depth, function)
        after = machine.page_faults()
        if before is None or after is None:
            pytest.skip("this system does not count page faults")
        found.append(after - before)
    return max(found)


def test_calls_of_a_batch_map_no_memory_for_their_frames() -> None:
    """At no depth does each call of a batch map memory: that would be at least as many pages as calls."""
    assert most_faults(lambda: batch.run_calls(repeat(LARGE, CALLS))) < CALLS / 2


def test_calls_of_a_stretch_map_no_memory_for_their_frames() -> None:
    """Nor does each call of a stretch."""
    question = Stretch(strategy="serial", lanes=1, calls_per_mark=CALLS, begin_ns=0, until_ns=0)
    assert most_faults(lambda: stretch._marks(LARGE, question)) < CALLS / 2


def test_a_function_with_room_is_the_same_function() -> None:
    """It has the same name, arguments and result."""

    def function(one: int, two: int = 2, *, three: int = 3) -> tuple[int, int, int]:
        """Return them."""
        return one, two, three

    made = with_room(function)
    assert (made(1), made(1, 5, three=6)) == ((1, 2, 3), (1, 5, 6))
    assert (made.__name__, made.__doc__) == (function.__name__, function.__doc__)

"""`pytest_gilprobe.observe.own_gils` and `.stats.own_gils`: looks at several GILs of a process, and their shares."""

from __future__ import annotations

import ctypes
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import evidence as made
import pytest

from pytest_gilprobe.model.own_gils import GilLooks, GilsHeld
from pytest_gilprobe.observe.own_gils import OwnGils
from pytest_gilprobe.stats import own_gils

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import BatchReading


def looked(lanes: int, masks: list[int], *, wall_s: float = 0.1) -> BatchReading:
    """Make a batch of lanes with a GIL each, and looks at these GILs spread evenly over it."""
    batch = made.processes(wall_s, workers=lanes)
    start, end = batch.lanes[0].start_ns, batch.lanes[0].end_ns
    at_ns = tuple(start + (end - start) * (2 * at + 1) // (2 * len(masks)) for at in range(len(masks)))
    return replace(batch, own_gils=GilLooks(at_ns=at_ns, held=tuple(masks)))


def test_shares_of_each_and_of_all() -> None:
    """Bits tell which GIL was held; shares are of a lane's own time."""
    assert own_gils.held([looked(2, [0b11, 0b01, 0b10, 0b11] * 10)]) == GilsHeld(shares=(0.75, 0.75), at_once=0.5)
    assert own_gils.held([looked(2, [0b01, 0b10] * 20)]) == GilsHeld(shares=(0.5, 0.5), at_once=0.0)


def test_looks_before_and_after_the_calls_do_not_count() -> None:
    """A GIL that is free while nobody calls says nothing."""
    batch = looked(2, [0b11] * 40)
    assert batch.own_gils is not None
    first, last = batch.lanes[0].start_ns - 1, batch.lanes[0].end_ns + 1
    more = GilLooks(at_ns=(first, *batch.own_gils.at_ns, last), held=(0, *batch.own_gils.held, 0))
    assert own_gils.held([replace(batch, own_gils=more)]) == GilsHeld(shares=(1.0, 1.0), at_once=1.0)


def test_few_looks_say_nothing() -> None:
    """Neither do batches at which nobody looked."""
    assert own_gils.held([looked(2, [0b11] * (own_gils.FEWEST_LOOKS - 1))]) is None
    assert own_gils.held([made.processes()]) is None
    assert own_gils.held([looked(2, [0b11] * 20), looked(2, [0b11] * 20), made.processes()]) is not None


def test_columns_have_one_length() -> None:
    """A look is a moment and a number."""
    with pytest.raises(ValueError, match="found 1 and 2"):
        GilLooks(at_ns=(1,), held=(1, 2))


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs /proc/self/mem")  # noqa: PTH110
def test_words_of_a_process_are_read() -> None:
    """Each look has a bit for every word that is 1; 0 and -1 are a GIL that is free, or not there yet."""
    words = (ctypes.c_int * 3)(1, 0, 1)
    size = ctypes.sizeof(ctypes.c_int)
    ours, theirs = os.pipe()
    wait = threading.Timer(0.2, os.write, (theirs, b"x"))
    wait.start()
    with OwnGils(os.getpid(), [ctypes.addressof(words) + at * size for at in range(3)], mean_s=0.002) as watch:
        assert not watch.sample_until(ours, 0.02)
        assert watch.sample_until(ours, 30)
    wait.join()
    os.close(ours)
    os.close(theirs)
    found = watch.looks()
    assert found is not None
    assert set(found.held) == {0b101}
    assert list(found.at_ns) == sorted(found.at_ns)


def test_a_process_that_is_gone_is_only_waited_for() -> None:
    """Nothing is raised, and nothing is told."""
    ours, theirs = os.pipe()
    os.write(theirs, b"x")
    with OwnGils(2**22 + 1, [0], mean_s=0.001) as watch:
        assert watch.sample_until(ours, 1)
    os.close(ours)
    os.close(theirs)
    assert watch.looks() is None

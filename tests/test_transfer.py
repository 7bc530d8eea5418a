"""`pytest_gilprobe.workers.child.transfer` and `shared_memory`: what moving data costs, and what cannot be moved."""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.workers.child import shared_memory, transfer
from pytest_gilprobe.workers.naming import Given
from pytest_gilprobe.workers.protocol import TransferMeasured


def twice(number: int) -> int:
    return number * 2


class Session:
    """Holds a lock two levels down."""

    def __init__(self) -> None:
        self.pools = [{"lock": threading.Lock()}]

    def fetch(self) -> int:
        return len(self.pools)


class Slotted:
    """Holds a lock in a slot."""

    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.lock = threading.Lock()


class Callable:
    """Can be called, and holds a lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __call__(self) -> int:
        return 1


class ReadsBadly:
    """Can be pickled, but not read again."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


def iter_nothing() -> Any:
    return (letter for letter in "")


def measure(func: Any, *args: Any, **kwargs: Any) -> TransferMeasured:
    return transfer.measure(Given(func=func, args=args, kwargs=kwargs), func(*args, **kwargs))


class TestRefusals:
    """What cannot be passed to another process."""

    @pytest.mark.parametrize(
        ("func", "args", "said"),
        [
            (str, (Session(),), "its argument argument_1.pools[0]['lock'] is a _thread.lock, which cannot be pickled"),
            (twice, (Slotted(),), "its argument number.lock is a _thread.lock"),
            (twice, ([lambda: None],), "its argument number[0] is a lambda"),
            (Session().fetch, (), "its argument self.pools[0]['lock'] is a _thread.lock"),
            (Session, (), "its result.pools[0]['lock'] is a _thread.lock"),
            (lambda: (one for one in ""), (), "its result is a generator"),
            (partial(cast("Any", twice), Slotted()), (), "its argument number.lock is a _thread.lock"),
            (partial(partial(pow, 2), threading.Lock()), (), "its argument exp is a _thread.lock"),
            (Callable(), (), "its argument self.lock is a _thread.lock"),
            (twice, (ReadsBadly(),), "its argument number can be pickled but not read again (ValueError"),
        ],
    )
    def test_named_with_the_path(self, func: Any, args: tuple[Any, ...], said: str) -> None:
        """The object that cannot be pickled is named, with the path that leads to it."""
        result = None if func in (str, twice) or isinstance(func, partial) else func(*args)
        answer = transfer.measure(Given(func=func, args=args, kwargs={}), result)
        assert answer.transfer is None
        assert answer.refused is not None
        assert answer.refused.startswith(f"cannot be passed to a process: {said}")

    def test_cycle_ends(self) -> None:
        """An object that contains itself is searched for a bounded number of levels."""
        loop: dict[str, Any] = {"lock": None}
        loop["self"], loop["lock"] = loop, threading.Lock()
        path, _ = transfer.unpicklable_part({"loop": loop})
        assert path.startswith("loop[")

    def test_builtin_function_moves_alone(self) -> None:
        """A built-in function's module is not an argument."""
        assert measure(len, b"abc").refused is None


class TestTransfer:
    """What moving costs."""

    def test_sizes(self) -> None:
        """Arguments and result are counted as pickled."""
        transfer = measure(bytes, 100_000).transfer
        assert transfer is not None
        assert transfer.argument_bytes < 200
        assert 100_000 < transfer.result_bytes < 100_200

    def test_parts_are_less_than_the_whole(self) -> None:
        """Either end's part is positive and no more than the whole way; the result's share needs a call."""
        transfer = measure(bytes, 10_000_000).transfer
        assert transfer is not None
        assert 0 < transfer.parent_s <= transfer.pipe_s
        assert 0 < transfer.worker_s <= transfer.pipe_s

    def test_what_is_inside_a_partial_moves(self) -> None:
        """What is inside a partial must be passed to an executor, as if it were an argument."""
        bare, inside = measure(len, bytes(50_000)).transfer, measure(partial(len, bytes(50_000))).transfer
        assert bare is not None
        assert inside is not None
        assert inside.argument_bytes == bare.argument_bytes

    def test_data_that_takes_long_is_moved_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of data that takes long, the first measurement counts."""
        monkeypatch.setattr(transfer, "ENOUGH_S", 0.0)
        dumps = Once(1)
        assert transfer.through_pipe(dumps).whole_s > 0
        assert dumps.left == 0

    def test_no_thread_left(self) -> None:
        """The sender's thread is gone afterwards."""
        measure(twice, 1)
        assert not [thread for thread in threading.enumerate() if thread.name == "gilprobe-sender"]


class TestSharing:
    """NumPy arrays in shared memory."""

    @given(st.integers(0, 4))
    def test_found_three_levels_down(self, depth: int) -> None:
        """Arrays are found in tuples, lists and dictionaries down to the third level."""
        thing: Any = np.zeros(4)
        for level in range(depth):
            thing = [thing] if level % 2 else {"a": thing}
        assert len(shared_memory.arrays(thing)) == (depth < 3)

    def test_objects_cannot_be_shared(self) -> None:
        """An array of Python objects is none that could be shared."""
        assert shared_memory.arrays((np.array([object()]),)) == ()

    def test_only_where_they_dominate(self) -> None:
        """A small array, or one beside much else, is not worth shared memory."""
        large = np.zeros(shared_memory.LEAST_BYTES)
        assert shared_memory.dominate((large,), large.nbytes)
        assert not shared_memory.dominate((large,), large.nbytes * 2)
        assert not shared_memory.dominate((np.zeros(8),), 64)

    @pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs memfd_create (Linux)")
    def test_measured(self) -> None:
        """A call with a large array has both figures; filling and mapping cost each side something."""
        transfer = measure(np.sum, np.zeros(200_000)).transfer
        assert transfer is not None
        assert transfer.shared_parent_s
        assert transfer.shared_worker_s

    def test_not_measured_without_arrays(self) -> None:
        """Other data has none."""
        transfer = measure(len, b"a" * 1_000_000).transfer
        assert transfer is not None
        assert transfer.shared_parent_s is None


class Once:
    """Can be pickled as often as it says."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __reduce__(self) -> tuple[Any, ...]:
        self.left -= 1
        if self.left < 0:
            msg = "worn out"
            raise OSError(msg)
        return int, ("1",)


@pytest.mark.parametrize("times", [0, 1, 2, 5])
def test_pickling_that_fails_later_is_an_error(times: int) -> None:
    """An object that can be pickled no more in some round ends the measurement with its error, and nobody waits."""
    with pytest.raises(OSError, match="worn out"):
        transfer.through_pipe(Once(times))


def test_whole_is_the_sum_of_its_parts() -> None:
    """From one end to the other: pickled, moved, read again, each of which takes time."""
    found = transfer.through_pipe(bytes(1024))
    assert min(found.dump_s, found.move_s, found.load_s) > 0
    assert found.whole_s == found.dump_s + found.move_s + found.load_s

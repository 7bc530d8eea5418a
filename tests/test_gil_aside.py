"""`pytest_gilprobe.gil.aside`: read where a thread runs, and run elsewhere."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.gil import aside as room
from pytest_gilprobe.gil.aside import Aside, read_stat


def _stat(name: bytes, state: bytes, core: int) -> bytes:
    """Write a line as Linux does: 35 fields lie between state and core."""
    return b"17 (" + name + b") " + state + b" 7" * 35 + b" %d 0 0\n" % core


@given(name=st.binary(max_size=64), state=st.sampled_from([b"R", b"S", b"D"]), core=st.integers(0, 4095))
def test_reads_state_and_core_after_any_name(name: bytes, state: bytes, core: int) -> None:
    """A name with parentheses, spaces or digits in it shifts nothing."""
    assert read_stat(_stat(name, state, core)) == (state == b"R", core)


@pytest.mark.parametrize("text", [b"", b"17 (x) R", b"17 (x) R 7 7"])
def test_text_cut_short_tells_nothing(text: bytes) -> None:
    """Half a line is no state."""
    assert read_stat(text) == (None, None)


class Cores:
    """A system with these cores, that may refuse to move anyone."""

    def __init__(self, *allowed: int, refuses: bool = False) -> None:
        self.allowed: set[int] = set(allowed)
        self.moves: list[set[int]] = []
        self.refuses = refuses

    def put_in_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _thread: set(self.allowed), raising=False)
        monkeypatch.setattr(os, "sched_setaffinity", self._set, raising=False)

    def _set(self, thread: int, cores: set[int]) -> None:
        assert thread == 0, "only the calling thread may be moved"
        if self.refuses:
            raise PermissionError
        self.moves.append(set(cores))
        self.allowed = set(cores)


def test_leaves_the_core_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It moves only when it might share the core, says whether it might, and ends where it began."""
    cores = Cores(0, 1, 2)
    cores.put_in_place(monkeypatch)
    aside = Aside()
    assert aside.leave(1) is True
    assert aside.leave(1) is False
    assert aside.leave(2) is True
    aside.come_back()
    aside.come_back()
    assert cores.moves == [{0, 2}, {0, 1}, {0, 1, 2}]


@pytest.mark.parametrize("cores", [Cores(0), Cores(0, 1, refuses=True)], ids=["one core", "refused"])
def test_says_that_it_had_to_stay(monkeypatch: pytest.MonkeyPatch, cores: Cores) -> None:
    """Where it cannot leave, every look shares the core, and there is nothing to undo."""
    cores.put_in_place(monkeypatch)
    aside = Aside()
    assert [aside.leave(0), aside.leave(0)] == [True, True]
    aside.come_back()
    assert cores.moves == []


def test_an_unknown_core_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a core that is not told, nor a system without affinity, is taken for another core."""
    Cores(0, 1).put_in_place(monkeypatch)
    assert Aside().leave(None) is None
    monkeypatch.delattr(os, "sched_getaffinity")
    assert Aside().leave(0) is None
    assert room._affinity() == frozenset()

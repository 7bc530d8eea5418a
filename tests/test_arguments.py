"""`pytest_gilprobe.workers.arguments` and `given_arguments`: copies of a call's arguments, and what a call changed."""

from __future__ import annotations

import functools
import io
import socket
import threading
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from pytest_gilprobe.workers import arguments, given_arguments
from pytest_gilprobe.workers.arguments import Snapshot
from pytest_gilprobe.workers.naming import Given


class Store:
    """An object as users write them: a lock, a callback, and what the lock guards."""

    def __init__(self) -> None:
        self.lock, self.wake = threading.RLock(), threading.Condition()
        self.key = lambda value: -value
        self.values = [3, 1, 2]

    def drain(self) -> None:
        with self.lock:
            self.values.clear()

    def __call__(self) -> list[int]:
        return sorted(self.values, key=self.key)


class Guarded:
    """An object that gives something back when it goes."""

    def __del__(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ([3, 1, 2], list.sort),
        ({1, 2}, lambda value: value.add(3)),
        ({"a": {"b": []}}, lambda value: value["a"]["b"].append(1)),
        (deque([1, 2, 3]), deque.rotate),
        (bytearray(b"ab"), bytearray.clear),
        (iter([1, 2]), next),
        (Store(), Store.drain),
        (io.StringIO("a\nb\n"), io.StringIO.readline),
        (Path(__file__).open(encoding="utf-8"), lambda value: value.readline()),  # noqa: SIM115 - closed below
        (Path(__file__).open(encoding="utf-8"), next),  # noqa: SIM115 - closed below
    ],
    ids=lambda value: type(value).__name__,
)
def test_change_is_seen_and_undone_in_the_copy(value: Any, change: Any) -> None:
    """An argument that a call changed differs from its former state, which its copy has."""
    before = Snapshot.of({"it": value, "beside": 1})
    assert before.changed() == ()
    change(value)
    assert before.changed() == ("it",)
    copy = before.copied()["it"]
    assert Snapshot.of({"it": copy}).unknown == {}
    change(copy)
    assert copy is value or not isinstance(value, list) or copy == value
    if isinstance(value, io.TextIOWrapper):
        value.close()


def test_copy_has_locks_and_functions_that_work() -> None:
    """A copy has a lock of its own, not taken, and shares functions, even those without a name."""
    store = Store()
    with store.lock:
        copy = Snapshot.of({"store": store}).copied()["store"]
        assert copy is not store
        assert copy.key is store.key
        thread = threading.Thread(target=copy.drain)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
    assert (copy.values, store.values) == ([], [3, 1, 2])


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: socket.socket(), "socket"),  # noqa: PLW0108 - made in the test
        (lambda: (number for number in range(3)), "generator"),
        (Guarded, "__del__"),
        (lambda: [Guarded()], "__del__"),
    ],
)
def test_what_cannot_be_copied_is_unknown(make: Any, why: str) -> None:
    """An argument that cannot be copied is never said to have changed; the reason is kept, and it stands for itself."""
    value = make()
    before = Snapshot.of({"it": value, "other": [1]})
    assert why in before.unknown["it"]
    assert before.changed() == ()
    assert before.copied()["it"] is value
    if isinstance(value, socket.socket):
        value.close()


def test_iterators_that_cannot_be_copied_are_named() -> None:
    """They may be used up; other objects that cannot be copied may not."""
    before = Snapshot.of({"rows": (number for number in range(3)), "lock": Guarded()})
    assert before.iterators == ("rows",)


def test_large_arguments_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes more bytes, or more time, than the limits is not known to change; one that grows beyond them did."""
    monkeypatch.setattr(arguments, "MOST_BYTES", 1000)
    small, large = [1], [b"x" * 100] * 5 + [b"y" * 2000]
    before = Snapshot.of({"small": small, "large": large})
    assert "MiB" in before.unknown["large"]
    assert list(before.iterators) == []  # it is as long as it was
    large.pop()
    assert list(before.iterators) == ["large"]
    small.extend(range(5000))
    assert before.changed() == ("small",)
    assert tuple(Snapshot.of({"large": [b"x" * 2000], "next": [1]}).unknown) == ("large",)
    monkeypatch.setattr(arguments, "MOST_S", -1.0)
    assert "0" not in Snapshot.of({"small": [1]}).unknown.get("small", "0")


# A call with others in the place of its arguments


def total(first: list[int], *more: int, scale: int = 1) -> int:
    return (sum(first) + sum(more)) * scale


def nested(values: list[int]) -> Any:
    return lambda: sum(values)


@pytest.mark.parametrize(
    ("given", "names", "before"),
    [
        (Given(func=total, args=([1, 2], 3), kwargs={"scale": 2}), ["first", "2", "scale"], 12),
        (Given(func=sorted, args=([2, 1],), kwargs={}), ["iterable"], [1, 2]),
        (Given(func=[3, 1].pop, args=(), kwargs={}), ["its object"], 1),
        (Given(func=Store(), args=(), kwargs={}), ["its object"], [3, 2, 1]),
        (Given(func=nested([1, 2]), args=(), kwargs={}), ["variable values"], 3),
        (Given(func=dict.fromkeys, args=("ab",), kwargs={}), ["iterable"], {"a": None, "b": None}),
        (Given(func=functools.lru_cache(total), args=((1, 2),), kwargs={}), ["first"], 3),
    ],
)
def test_call_with_copies_gives_what_the_call_gave(given: Given, names: list[str], before: object) -> None:
    """Whatever is called, the call with copies of its arguments does the same."""
    named = given_arguments.named(given)
    assert [name.removeprefix("argument ") for name in named] == names
    assert given_arguments.replaced(given, Snapshot.of(named).copied()).call() == before


def test_copies_are_independent_of_the_call() -> None:
    """A call with copies changes the copies, not the arguments."""
    values = [3, 1, 2]
    given = Given(func=values.sort, args=(), kwargs={})
    given_arguments.replaced(given, Snapshot.of(given_arguments.named(given)).copied()).call()
    assert values == [3, 1, 2]


class Doubled:
    """A data descriptor that returns a default for the class, and doubles what is set."""

    def __get__(self, thing: object, kind: type) -> object:
        return 0 if thing is None else vars(thing)["number"]

    def __set__(self, thing: object, value: int) -> None:
        vars(thing)["number"] = 2 * value


class Described:
    number = Doubled()


class Slotted:
    __slots__ = ("__dict__", "first")

    def __init__(self) -> None:
        self.first, self.second = 1, [2]


def test_copies_have_their_attributes_as_they_were() -> None:
    """Whether they lie in a ``__dict__``, in slots, or behind a descriptor that changes what is set."""
    described = Described()
    vars(described)["number"] = 2
    copied = Snapshot.of({"a": described, "b": Slotted()}).copied()
    assert vars(copied["a"]) == {"number": 2}
    assert (copied["b"].first, copied["b"].second) == (1, [2])

"""Suspects: what the source of a call writes to or locks outside of it, through methods and called functions."""

from __future__ import annotations

import functools
import importlib.util
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from pytest_gilprobe.model.holders import CodePlace, HeldStack
from pytest_gilprobe.observe.source_code import short_file
from pytest_gilprobe.workers.child.suspects import MOST_SUSPECTS, suspects

SOURCE = """
    import functools
    import threading
    import time

    COUNTS, ROWS, LOCK, TABLE = {}, [], threading.Lock(), {"a": 1}
    TOTAL = 0
    NAMES = ("a", "b")

    class Settings:
        seen = []
        level = 1

    class Orders:
        cache = {}
        __slots__ = ("number",)

        def counted(self, key):
            self.number = 1
            self.cache[key] = self.number
            return self.helper(key)

        @staticmethod
        def helper(key):
            ROWS.append(key)

    class Own:
        def __init__(self):
            self.rows = []
        def __call__(self):
            self.rows.append(1)
            with LOCK:
                pass

    def reads(key):
        return TABLE[key], NAMES, time.sleep(0)

    def writes(key):
        COUNTS[key] = 1

    def rebinds():
        global TOTAL
        TOTAL += 1

    OWN = threading.local()

    def each_its_own():
        OWN.rows.append(1)
        OWN.link = None

    def local(COUNTS):
        COUNTS["a"] = 1
        rows = []
        rows.append(1)

    def through():
        reads("a")
        for _ in range(3):
            writes("a")

    def of_class():
        Settings.seen.append(1)
        Settings.level = 2

    @functools.lru_cache
    def cached(key):
        return key

    def uses_cache():
        return cached(1)

    def recursive():
        with LOCK:
            return recursive

    def endless():
        ROWS.sort()
        return endless()

    def nested(keys):
        def one(ROWS):
            ROWS.append(1)
        return [COUNTS.clear() for COUNTS in keys], (lambda ROWS: ROWS.sort())(keys), one

    class Store:
        rows = []
        def put(self, key):
            COUNTS[key] = 1
        def get(self, key):
            self.update(key)
        def update(self, key):
            return key

    STORE = Store()

    def puts():
        STORE.put("a")

    def updates():
        STORE.update("a")

    def given(store, key):
        store.put(key)

    def holds():
        COUNTS["a"] = 1
        with LOCK:
            total = 0
            for _ in range(3):
                total += 1
        ROWS.append(total)

    def outer():
        def inner():
            ROWS.append(1)
        return inner

    def many():
        COUNTS.clear()
        ROWS.clear()
        with LOCK:
            TABLE.update(COUNTS)
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's own."""
    file = tmp_path / "shop.py"
    file.write_text(textwrap.dedent(SOURCE), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("shop", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "shop", module)
    return module


def stack(shop: ModuleType, share: float, *frames: tuple[str, str]) -> HeldStack:
    """Make a stack that held the GIL for a share of the time: functions of the shop, each in the line with a text."""
    file = Path(shop.__file__ or "")
    lines = file.read_text(encoding="utf-8").splitlines()
    places = [
        CodePlace(
            function=function,
            file=short_file(str(file)),
            line=next(at for at, line in enumerate(lines, 1) if text in line and at > code_line(shop, function)),
        )
        for function, text in frames
    ]
    return HeldStack(share=share, frames=tuple(places))


def code_line(shop: ModuleType, function: str) -> int:
    """Return the line in which a function of the shop begins; of a nested one, that of the outer one."""
    found: object = shop
    for part in function.partition(".<locals>")[0].split("."):
        found = getattr(found, part)
    return int(found.__code__.co_firstlineno)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("called", "named"),
    [
        ("reads", []),
        ("local", []),
        ("nested", []),
        ("each_its_own", []),
        ("writes", ["COUNTS (a dict)"]),
        ("through", ["COUNTS (a dict)"]),
        ("rebinds", ["TOTAL (an int)"]),
        ("of_class", ["Settings.seen (a list)"]),
        ("uses_cache", ["cached (a cache)"]),
        ("recursive", ["LOCK (a lock)"]),
        ("endless", ["ROWS (a list)"]),
        ("puts", ["COUNTS (a dict)"]),
        ("updates", []),
    ],
)
def test_what_a_function_writes_to(shop: ModuleType, called: str, named: list[str]) -> None:
    """Globals that are written, rebound or locked are named; what is only read, or the call's own, is not."""
    assert [one.name for one in suspects(getattr(shop, called))] == named


def test_methods_and_callables(shop: ModuleType) -> None:
    """A method's class has what all instances share; an attribute of the instance is its own."""
    names = [one.name for one in suspects(shop.Orders().counted)]
    assert names == ["Orders.cache (a dict)", "ROWS (a list)"]
    assert [one.name for one in suspects(shop.Own())] == ["LOCK (a lock)"]
    assert [one.name for one in suspects(functools.partial(shop.writes, "a"))] == ["COUNTS (a dict)"]


def test_the_line_is_that_of_the_write(shop: ModuleType) -> None:
    """The file and line are those of the statement."""
    (found,) = suspects(shop.writes)
    lines = Path(shop.__file__ or "").read_text(encoding="utf-8").splitlines()
    assert "COUNTS[key] = 1" in lines[found.line - 1]
    assert found.file.endswith("shop.py")


def test_few_are_named(shop: ModuleType) -> None:
    """At most a handful of objects are named."""
    assert len(suspects(shop.many)) == MOST_SUSPECTS


def test_objects_that_cannot_be_asked(shop: ModuleType) -> None:
    """A proxy whose attributes raise is not asked for them."""

    class Proxy:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(name)

    shop.__dict__["cached"] = Proxy()
    assert suspects(shop.uses_cache) == ()


@pytest.mark.parametrize("called", [len, sorted, textwrap.dedent, functools.partial(int, "1"), lambda: 1])
def test_functions_of_others(called: object) -> None:
    """Built-ins and functions of Python's own, and a lambda without globals, have no suspects."""
    assert suspects(called) == ()  # type: ignore[arg-type]


def test_methods_of_arguments(shop: ModuleType) -> None:
    """The method that is called of an argument is looked at; without the argument it is not known."""
    assert [one.name for one in suspects(shop.given, {"store": shop.STORE, "key": 1})] == ["COUNTS (a dict)"]
    assert suspects(shop.given) == ()


def test_those_that_hold_longest_come_first(shop: ModuleType) -> None:
    """A statement's share is that of the time in its lines, of a ``with`` in all that it encloses."""
    held = (
        stack(shop, 0.6, ("holds", "total += 1")),
        stack(shop, 0.25, ("holds", "ROWS.append(total)")),
        stack(shop, 0.1, ("holds", "for _ in range")),
        stack(shop, 0.05, ("reads", "return TABLE")),
    )
    found = [(one.name, one.held_share) for one in suspects(shop.holds, held=held)]
    assert found == [("LOCK (a lock)", 0.7), ("ROWS (a list)", 0.25), ("COUNTS (a dict)", 0.0)]
    assert {one.held_share for one in suspects(shop.holds)} == {None}


@pytest.mark.parametrize(
    ("function", "text", "named"),
    [
        ("writes", "COUNTS[key]", ["COUNTS (a dict)"]),
        ("Orders.counted", "self.cache[key]", ["Orders.cache (a dict)", "ROWS (a list)"]),
        ("outer.<locals>.inner", "ROWS.append", ["ROWS (a list)"]),
        ("local", "rows.append", []),
    ],
)
def test_functions_that_hold_the_gil(shop: ModuleType, function: str, text: str, named: list[str]) -> None:
    """Functions that were seen to hold the GIL are looked at though no name in the call's source leads to them."""
    assert [one.name for one in suspects(shop.reads, held=(stack(shop, 1.0, (function, text)),))] == named


def test_stacks_of_code_that_is_gone(shop: ModuleType) -> None:
    """Functions and files that no module has, and code that was made at run time, are passed over."""
    file = short_file(shop.__file__ or "")
    frames = [("removed", file), ("Orders.removed.more", file), ("<module>", file), ("work", "gone.py"), ("f", None)]
    held = HeldStack(share=1.0, frames=tuple(CodePlace(function=name, file=at, line=1) for name, at in frames))
    assert suspects(shop.reads, held=(held,)) == ()

"""Suspects: what the source of a call writes to or locks outside of it, through methods and called functions."""

from __future__ import annotations

import functools
import importlib.util
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

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

    def many():
        COUNTS.clear()
        ROWS.clear()
        with LOCK:
            TABLE.update(COUNTS)
"""


@pytest.fixture
def shop(tmp_path: Path) -> ModuleType:
    """A module of the user's own."""
    file = tmp_path / "shop.py"
    file.write_text(textwrap.dedent(SOURCE), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("shop", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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

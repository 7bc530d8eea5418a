"""Calls of every kind of callable, by name, for tests of the code that makes them again."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import math
import os.path
import re
from collections.abc import Callable
from typing import Any

from pytest_gilprobe.workers import naming
from pytest_gilprobe.workers.naming import Given

with contextlib.suppress(ImportError):  # NumPy does not load in a subinterpreter
    import numpy as np


def plain(number: int) -> int:
    return number * 2


def nothing() -> str:
    return "done"


def optional(first: int, second: int = 20, third: int = 3) -> tuple[int, int, int]:
    return first, second, third


def many(first: int, /, *rest: int, scale: int = 1, **named: int) -> int:
    return (first + sum(rest) + sum(named.values())) * scale


def clashing(pool: int, call: int, *, loop: int, results: int) -> tuple[int, ...]:
    return pool, call, loop, results


def doubled(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array * 2


async def fetch(url: str, *, timeout: float = 1.0) -> str:  # noqa: ASYNC109 - a name that clients have
    await asyncio.sleep(0)
    return f"{url} {timeout}"


async def now() -> str:
    await asyncio.sleep(0)
    return "now"


class Base:
    def inherited(self, number: int) -> str:
        return f"{self!r} {number}"


class Shop(Base):
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Shop({self.name!r})"

    def __call__(self, number: int) -> str:
        return self.name * number

    def sell(self, number: int, *, shop: str = "") -> str:
        return self.name * number + shop

    def _price(self) -> str:
        return self.name

    @classmethod
    def opened(cls, name: str) -> Shop:
        return cls(name)

    @staticmethod
    def price(number: int) -> int:
        return number

    async def fetch(self, url: str) -> str:
        await asyncio.sleep(0)
        return f"{self.name} {url}"

    @classmethod
    async def fetched(cls, url: str) -> str:
        await asyncio.sleep(0)
        return f"{cls.__name__} {url}"

    @staticmethod
    async def ask(url: str) -> str:
        await asyncio.sleep(0)
        return url


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@wrapped
def decorated(number: int) -> int:
    return number * 3


SHOP = Shop("a")
PLAIN = {
    "a function": Given(func=plain, args=(3,)),
    "a function by keyword": Given(func=plain, kwargs={"number": 3}),
    "a function without arguments": Given(func=nothing),
    "a default left out": Given(func=optional, args=(1,), kwargs={"third": 5}),
    "any number of arguments": Given(func=many, args=(1, 2, 3), kwargs={"scale": 2, "x": 1}),
    "names that the code uses": Given(func=clashing, args=(1, 2), kwargs={"loop": 3, "results": 4}),
    "a decorated function": Given(func=decorated, args=(2,)),
    "a method": Given(func=Shop.sell, args=(SHOP, 2)),
    "a bound method": Given(func=SHOP.sell, args=(2,)),
    "a bound method whose parameter is called as its class": Given(func=SHOP.sell, args=(2,), kwargs={"shop": "b"}),
    "a bound method without arguments": Given(func=SHOP._price),
    "an inherited method": Given(func=SHOP.inherited, args=(2,)),
    "a class method": Given(func=Shop.opened, args=("b",)),
    "a static method": Given(func=Shop.price, args=(7,)),
    "a static method of an object": Given(func=SHOP.price, args=(7,)),
    "a class": Given(func=Shop, args=("c",)),
    "an object that can be called": Given(func=SHOP, args=(2,)),
    "a partial": Given(func=functools.partial(many, 1, scale=3), args=(2,)),
    "a partial of a partial": Given(func=functools.partial(functools.partial(many, 1), 2, x=5), kwargs={"y": 1}),
    "a partial of a bound method": Given(func=functools.partial(SHOP.sell, 2)),
    "a built-in": Given(func=len, args=([1, 2],)),
    "a built-in without a signature": Given(func=max, args=(1, 2)),
    "a built-in with a keyword": Given(func=sorted, args=([2, 3, 1],), kwargs={"reverse": True}),
    "a built-in class": Given(func=int, args=("12",)),
    "a built-in class method": Given(func=int.from_bytes, args=(b"\0\1", "big")),
    "a built-in method": Given(func=str.split, args=("a b",)),
    "a bound built-in method": Given(func=[3, 1].count, args=(1,)),
    "a method of a compiled pattern": Given(func=re.compile("a").findall, args=("cab",)),
    "a function in C": Given(func=math.sqrt, args=(4.0,)),
    "a function that another module gives out": Given(func=os.path.basename, args=("a/b",)),
    "a function of the standard library": Given(func=json.loads, args=("[1]",)),
}
"""Calls of plain functions."""
WITH_NUMPY: dict[str, Given] = {}
if "np" in globals():
    WITH_NUMPY["a NumPy function"] = Given(func=np.add, args=(1, 2))
    WITH_NUMPY["large data"] = Given(func=doubled, args=(np.arange(500_000),))
PLAIN |= WITH_NUMPY
AWAITED = {
    "a coroutine function": Given(func=fetch, args=("a",), kwargs={"timeout": 2.0}),
    "a coroutine function without arguments": Given(func=now),
    "a bound coroutine method": Given(func=SHOP.fetch, args=("a",)),
    "a coroutine class method": Given(func=Shop.fetched, args=("a",)),
    "a static coroutine method": Given(func=SHOP.ask, args=("a",)),
    "a partial of a coroutine function": Given(func=functools.partial(fetch, "a"), kwargs={"timeout": 3.0}),
}
"""Calls of coroutine functions."""


def values(given: Given) -> list[Any]:
    """Return what one call is given: the object of a method, positional arguments, then those by keyword, in order."""
    flat = naming.without_partials(given)
    owner = naming.given_first(flat.func)
    own = [] if owner is None or isinstance(owner, type) else [owner]
    first = [*own, *flat.args]
    return [*first, *(flat.kwargs[name.rstrip("=")] for name in naming.callee(given).parameters[len(first) :])]


def lists(kind: str, calls: int) -> tuple[list[Any], ...]:
    """Return a list for each argument of a kind of call, with that argument for so many calls."""
    return tuple([value] * calls for value in values({**PLAIN, **AWAITED}[kind]))


def result(kind: str) -> str:
    """Return how the result of one call is written."""
    given = {**PLAIN, **AWAITED}[kind]
    return repr(asyncio.run(given.call()) if kind in AWAITED else given.call())

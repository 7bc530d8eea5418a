"""`pytest_gilprobe.workers.naming`: how another module would write a call."""

from __future__ import annotations

import datetime as dt
import functools
import importlib
import json
import re
from typing import Any

import numpy as np
import pytest

from pytest_gilprobe.model.results import Callee
from pytest_gilprobe.workers import naming
from pytest_gilprobe.workers.naming import Given


def twice(number: int) -> int:
    return number * 2


def many(first: int, *rest: int, scale: int = 1, **named: int) -> int:
    return (first + sum(rest) + sum(named.values())) * scale


def optional(first: int, second: int = 2, third: int = 3) -> int:
    return first + second + third


class Shop:
    """Can be called in every way that a class allows."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shop) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __call__(self, number: int) -> str:
        return self.name * number

    def sell(self, number: int) -> str:
        return self.name * number

    @classmethod
    def opened(cls, name: str) -> Shop:
        return cls(name)

    @staticmethod
    def price(number: int) -> int:
        return number


@pytest.mark.parametrize("function", [dt.datetime.strptime, int.from_bytes, dict.fromkeys, bytes.fromhex, json.loads])
def test_what_every_process_finds_by_its_name_needs_no_moving(function: Any) -> None:
    """A class's own built-in methods are found like any function."""
    assert naming.callee(Given(func=function, kwargs={})).importable


def test_what_must_be_given_first() -> None:
    """The object of a bound method, or one that is called itself, travels with the call; a function does not."""
    shop = Shop("a")
    assert naming.given_first(shop.sell) is shop
    assert naming.given_first(shop) is shop
    assert naming.given_first(twice) is None
    assert naming.given_first(len) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Given(func=twice, args=(1,), kwargs={}), Callee(module=__name__, name="twice", parameters=("number",))),
        (
            Given(func=many, args=(1, 2, 3), kwargs={"scale": 2, "x": 1}),
            Callee(module=__name__, name="many", parameters=("first", "rest_1", "rest_2", "scale=", "x=")),
        ),
        (
            Given(func=optional, args=(1,), kwargs={"third": 3}),
            Callee(module=__name__, name="optional", parameters=("first", "third=")),
        ),
        (Given(func=len, args=("a",), kwargs={}), Callee(module="builtins", name="len", parameters=("obj",))),
        (
            Given(func=max, args=(1, 2), kwargs={}),
            Callee(module="builtins", name="max", parameters=("argument_1", "argument_2")),
        ),
        (
            Given(func=functools.partial(many, 1, scale=3), args=(2,), kwargs={}),
            Callee(module=__name__, name="many", parameters=("first", "rest_1", "scale=")),
        ),
        (
            Given(func=Shop("x").sell, args=(1,), kwargs={}),
            Callee(module=__name__, name="Shop.sell", parameters=("shop", "number")),
        ),
        (
            Given(func=Shop("x"), args=(1,), kwargs={}),
            Callee(module=__name__, name="Shop.__call__", parameters=("shop", "number")),
        ),
        (Given(func=Shop, args=("x",), kwargs={}), Callee(module=__name__, name="Shop", parameters=("name",))),
        (
            Given(func=Shop.opened, args=("x",), kwargs={}),
            Callee(module=__name__, name="Shop.opened", parameters=("name",)),
        ),
        (
            Given(func=Shop.price, args=(1,), kwargs={}),
            Callee(module=__name__, name="Shop.price", parameters=("number",)),
        ),
        (
            Given(func=[3, 1].count, args=(1,), kwargs={}),
            Callee(module="builtins", name="list.count", parameters=("list", "value")),
        ),
        (
            Given(func=re.compile("a").search, args=("cab",), kwargs={}),
            Callee(module="re", name="Pattern.search", parameters=("pattern", "string")),
        ),
    ],
)
def test_name(given: Given, expected: Callee) -> None:
    """Module, name and what each call is given, in order; a name with ``=`` can only be given by name."""
    assert naming.callee(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        Given(func=Shop("x").sell, args=(2,), kwargs={}),
        Given(func=Shop("x"), args=(2,), kwargs={}),
        Given(func=Shop.opened, args=("x",), kwargs={}),
        Given(func=functools.partial(many, 1, scale=3), args=(2,), kwargs={}),
        Given(func=[3, 1].count, args=(1,), kwargs={}),
        Given(func=re.compile("a").findall, args=("cab",), kwargs={}),
    ],
)
def test_name_and_parameters_make_the_same_call(given: Given) -> None:
    """What is named, called with a value for each parameter in order, is the call that was given."""
    named = naming.callee(given)
    func: Any = functools.reduce(getattr, named.name.split("."), importlib.import_module(named.module))
    flat = naming.without_partials(given)
    owner = getattr(flat.func, "__self__", flat.func if isinstance(flat.func, Shop) else None)
    values = [*([owner] if owner is not None and not isinstance(owner, type) else []), *flat.args]
    names = {one.rstrip("="): value for one, value in flat.kwargs.items()}
    assert func(*values, **names) == given.call()
    assert len(named.parameters) == len(values) + len(names)


def test_made_inside_another() -> None:
    """A function made inside another one has the name that it will have at the top level."""

    def inner() -> None:
        """Never called."""

    found = naming.callee(Given(func=inner, args=(), kwargs={}))
    assert (found.name, found.importable) == ("inner", False)


def test_hidden_behind_another() -> None:
    """A function whose name leads to another one is not found by it."""
    found = naming.callee(Given(func=functools.wraps(twice)(lambda number: number), args=(1,), kwargs={}))
    assert (found.name, found.importable) == ("twice", False)


def test_lambda() -> None:
    """A lambda is one, and no other process finds it."""
    found = naming.callee(Given(func=lambda: None, args=(), kwargs={}))
    assert (found.name, found.importable) == ("lambda", False)


def test_object_found_by_its_name() -> None:
    """An object that can be called and is found by its name, such as a NumPy function, is named as such."""
    found = naming.callee(Given(func=np.add, args=(1, 2), kwargs={}))
    assert (found.module, found.name, found.importable, len(found.parameters)) == ("numpy", "add", True, 2)

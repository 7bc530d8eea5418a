"""`pytest_gilprobe.workers.repeatable`: calls that only the first one is like."""

from __future__ import annotations

import asyncio
import io
import itertools
from typing import Any

import pytest

from pytest_gilprobe.workers import repeatable


def letters() -> Any:
    yield from "abc"


async def nothing() -> None:
    """Do nothing."""


async def numbers() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (letters(), "generator"),
        (map(str, "abc"), "map"),
        (zip("abc", "abc", strict=True), "zip"),
        (iter([1, 2]), "list_iterator"),
        (itertools.chain("a", "b"), "chain"),
        (reversed([1, 2]), "list_reverseiterator"),
    ],
)
def test_used_up(value: object, kind: str) -> None:
    """An iterator that ends is used up by the first call; it is named with its kind and what to give instead."""
    said = repeatable.used_up((1, value), {})
    assert said is not None
    assert said.startswith(f"its argument 2 is a {kind}, which the first call uses up")
    assert (repeatable.used_up((), {"rows": value}) or "").startswith("its argument 'rows' is a")


@pytest.mark.parametrize(
    "value", [[1], "abc", {}, range(3), itertools.count(), itertools.cycle("ab"), io.StringIO("a")]
)
def test_not_used_up(value: object) -> None:
    """What can be read again, never ends, or may be rewound is not."""
    assert repeatable.used_up((value,), {"more": value}) is None


def test_unfinished() -> None:
    """A result that is work yet to be done is named with what to do; any other is not."""
    made = nothing()
    assert "a coroutine, and runs none of it: wrap it in asyncio.run" in (repeatable.unfinished(made) or "")
    made.close()

    async def in_loop() -> str | None:
        made = nothing()
        made.close()
        return repeatable.unfinished(made)

    assert "await it in a coroutine function (async def), and probe that" in (asyncio.run(in_loop()) or "")
    assert "a generator, and runs none of it" in (repeatable.unfinished(letters()) or "")
    assert "an asynchronous generator" in (repeatable.unfinished(numbers()) or "")
    assert repeatable.unfinished([1]) is None

"""What a hung worker's GIL did, in words."""

from __future__ import annotations

import os

import pytest

from pytest_gilprobe.workers.parent import hung_gil

PLACE = "sleep(600) at a.py:3"


def _readings(*words: tuple[int, int, int], waiting: tuple[set[int], ...] = ()) -> list[hung_gil._Reading]:
    found = waiting or ({5},) * len(words)
    return [
        hung_gil._Reading(words=one, place=PLACE if one[1] == 1 else None, waiting=frozenset(wait))
        for one, wait in zip(words, found, strict=True)
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([(7, 0, 1), (7, 0, 1)], "no thread held the GIL"),
        ([(7, 1, 1), (8, 1, 2)], "its threads took turns with the GIL"),
        ([(7, 1, 1), (7, 0, 1)], "one thread held the GIL for part of the time"),
        ([(7, 1, 1)] * 2, f"one thread held the GIL all the time, in {PLACE}, and 1 other thread waited for it"),
    ],
)
def test_what_the_gil_did_is_said_by_what_all_readings_have_in_common(
    words: list[tuple[int, int, int]], expected: str
) -> None:
    """Only a thread that held it in every reading is the one that held it."""
    assert hung_gil.in_words(_readings(*words)) == expected


def test_only_threads_that_waited_all_the_time_count() -> None:
    """A thread that waited for a moment is none that hung for the GIL; what is not known is not said."""
    held = ((7, 1, 1), (7, 1, 1))
    assert hung_gil.in_words(_readings(*held, waiting=({5, 6, 9}, {5, 6}))).endswith("2 other threads waited for it")
    assert "waited" not in hung_gil.in_words(_readings(*held, waiting=({5}, {6})))


def test_a_process_that_cannot_be_read_is_not_described() -> None:
    """An unknown address, a process that has ended, and memory that is not mapped, give no words and no error."""
    assert hung_gil.describe(os.getpid(), None, None) == ""
    assert hung_gil.describe(2**22 + 1, 4096, None) == ""
    assert hung_gil.describe(os.getpid(), 4096, None) == ""

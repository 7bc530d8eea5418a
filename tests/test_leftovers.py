"""What a test's calls leave behind in a worker is found."""

from __future__ import annotations

import pytest

from pytest_gilprobe import host
from pytest_gilprobe.workers import leftovers

GIB = 2**30


@pytest.mark.parametrize(
    ("kept", "left", "said"),
    [
        (3 * GIB, 2 * GIB, "kept 3.0 GiB of memory and 2.0 GiB are left"),
        (2 * GIB, 3 * GIB, None),
        (GIB // 4, 0, None),
        (3 * GIB, None, None),
    ],
    ids=["more than is left", "less than is left", "too little to blame", "nothing is known"],
)
def test_calls_that_eat_the_memory(
    kept: int, left: int | None, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that have kept more memory than is left are stopped before the machine runs out of it."""
    used = iter([GIB, GIB + kept])
    monkeypatch.setattr(leftovers, "_memory", lambda: next(used))
    monkeypatch.setattr(host, "memory_left_bytes", lambda: left)
    found = leftovers.Company.now().disturbs()
    assert found is None if said is None else said in str(found)

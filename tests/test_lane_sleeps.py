"""`pytest_gilprobe.observe.lane_sleeps`: what the lanes of another process sleep in."""

from __future__ import annotations

import pytest

from pytest_gilprobe.model.words import Sleep
from pytest_gilprobe.observe import sleeps
from pytest_gilprobe.observe.lane_sleeps import LaneSleeps

GIL_ADDRESS = 0x7000
STATES = {"1": b"running", "2": b"running", "3": b"202 0x7010 0x189", "4": b"202 0x9000 0x189", "5": b"0 0x3 0x7f00"}


class Watched(LaneSleeps):
    """Looks at threads that are made up: 1 is there before the lanes begin."""

    def _threads(self) -> list[str]:
        return list(STATES) if hasattr(self, "found") else ["1"]

    def _state(self, thread: str) -> bytes:
        return STATES[thread]


@pytest.mark.parametrize(
    ("address", "locks"), [(GIL_ADDRESS, {Sleep.GIL: 1, Sleep.OTHER_LOCK: 1}), (None, {Sleep.LOCK: 2})]
)
def test_gil_is_told_from_other_locks(
    monkeypatch: pytest.MonkeyPatch, address: int | None, locks: dict[Sleep, int]
) -> None:
    """A lane that waits for the GIL counts apart from one that waits for another lock, if the address is known."""
    monkeypatch.setattr(sleeps, "_WITHIN_LOCKS", True)
    monkeypatch.setattr(sleeps.parse, "__defaults__", (sleeps._NUMBERS["x86_64"],))
    watch = Watched(1, 0, 1, gil_address=address)
    watch._look()
    assert watch.found == {Sleep.AWAKE: 1, Sleep.CALL: 1} | locks


def test_lanes_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that were there before, as those of interpreters, are looked at if they are named, and no others."""
    monkeypatch.setattr(sleeps.parse, "__defaults__", (sleeps._NUMBERS["x86_64"],))
    watch = Watched(1, 0, 1, threads=(1, 5))
    watch._look()
    assert watch.found == {Sleep.AWAKE: 1, Sleep.CALL: 1}

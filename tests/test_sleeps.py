"""`pytest_gilprobe.observe.sleeps`: what a thread sleeps in."""

from __future__ import annotations

import pytest

from pytest_gilprobe.model.words import Sleep
from pytest_gilprobe.observe import sleeps

X86 = sleeps._NUMBERS["x86_64"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"running\n", Sleep.AWAKE),
        (b"232 0x7 0x7f00 0x2 0x5 0x0 0x0 0x7ffd 0x7f01\n", Sleep.EVENTS),
        (b"281 0x7 0x7f00", Sleep.EVENTS),
        (b"441 0x7 0x7f00", Sleep.EVENTS),
        (b"202 0x7f00 0x189 0x0", Sleep.LOCK),
        (b"230 0x1 0x0", Sleep.CALL),
        (b"7 0x7ffd 0x1 0x64", Sleep.CALL),
        (b"-1 0x7ffd 0x7f01\n", Sleep.CALL),
        (b"", None),
        (b"\n", None),
        (b"what 0x1", None),
    ],
)
def test_line(line: bytes, found: Sleep | None) -> None:
    """Only waiting for events counts as such; a line that cannot be read is unknown, never a guess."""
    assert sleeps.parse(line, X86) is found


@pytest.mark.parametrize(
    ("argument", "found"),
    [
        (b"0x7000", Sleep.GIL),
        (b"0x70ff", Sleep.GIL),
        (b"0x6fff", Sleep.OTHER_LOCK),
        (b"0x7100", Sleep.OTHER_LOCK),
        (b"", Sleep.LOCK),
    ],
)
def test_lock(monkeypatch: pytest.MonkeyPatch, argument: bytes, found: Sleep) -> None:
    """A lock within the GIL's state is the GIL's, where threads sleep at the address of what they wait for."""
    monkeypatch.setattr(sleeps, "_WITHIN_LOCKS", True)
    assert sleeps.parse(b"202 " + argument, X86, gil_address=0x7000) is found
    assert sleeps.parse(b"202 " + argument, X86) is Sleep.LOCK
    monkeypatch.setattr(sleeps, "_WITHIN_LOCKS", False)  # musl
    assert sleeps.parse(b"202 " + argument, X86, gil_address=0x7000) is Sleep.LOCK


@pytest.mark.parametrize(("line", "found"), [(b"232 0x7 0x7f00", Sleep.EVENTS), (b"232 0x8 0x7f00", Sleep.CALL)])
def test_events_of_others(line: bytes, found: Sleep) -> None:
    """A wait for events is the loop's if it is by the loop's descriptor; else it blocks the loop."""
    assert sleeps.parse(line, X86, events_fd=7) is found
    assert sleeps.parse(line, X86) is Sleep.EVENTS


def test_unknown_architecture() -> None:
    """Where the numbers of system calls are not known, nothing is told of a thread, not even that it is awake."""
    assert sleeps.parse(b"running\n", None) is None
    assert sleeps.parse(b"232 0x7", None) is None


def test_same_number_elsewhere() -> None:
    """The number of ``epoll_pwait`` on one architecture is another call's on the other."""
    assert sleeps.parse(b"22 0x7", sleeps._NUMBERS["aarch64"]) is Sleep.EVENTS
    assert sleeps.parse(b"22 0x7", X86) is Sleep.CALL

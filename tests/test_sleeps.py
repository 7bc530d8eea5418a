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


def test_unknown_architecture() -> None:
    """Where the numbers of system calls are not known, nothing is told of a thread, not even that it is awake."""
    assert sleeps.parse(b"running\n", None) is None
    assert sleeps.parse(b"232 0x7", None) is None


def test_same_number_elsewhere() -> None:
    """The number of ``epoll_pwait`` on one architecture is another call's on the other."""
    assert sleeps.parse(b"22 0x7", sleeps._NUMBERS["aarch64"]) is Sleep.EVENTS
    assert sleeps.parse(b"22 0x7", X86) is Sleep.CALL

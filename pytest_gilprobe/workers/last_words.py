"""How a worker ended, in the user's words: exit status, signal, and stacks without this package's frames."""

from __future__ import annotations

import os
import signal

from pytest_gilprobe.workers.ownership import CHANNEL_LOST

_OURS = os.path.dirname(__file__)  # noqa: PTH120 - a part of the lines that faulthandler writes
"""A part of the lines that faulthandler writes."""


def users_frames(stacks: str) -> str:
    """Cut the stacks that faulthandler wrote, innermost frame first, where they reach this package.

    Below is only pytest.
    """
    kept: list[str] = []
    in_stack = cutting = False
    for line in stacks.splitlines():
        if not line.startswith("  "):
            in_stack, cutting = line.endswith("(most recent call first):"), False
        cutting = cutting or (in_stack and _OURS in line)
        if not cutting:
            kept.append(line)
    return "\n".join(kept)


def exit_text(code: int) -> str:
    """Say how a process ended, with the signal's name."""
    if code == CHANNEL_LOST:
        return "its connection to pytest was closed, by code that closes file descriptors that are not its own"
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"

"""Describe how a worker process ended: exit status or signal, and stacks without pytest's and this package's frames."""

from __future__ import annotations

import os
import signal
from itertools import pairwise
from typing import TYPE_CHECKING

from pytest_gilprobe.workers.child.process import CHANNEL_LOST

if TYPE_CHECKING:
    from types import TracebackType

_OURS = os.path.dirname(__file__)  # noqa: PTH120 - to be found in the lines that faulthandler writes


def users_frames(stacks: str) -> str:
    """Return faulthandler's ``stacks`` without the frames of this package and of its callers.

    The innermost frame of a stack comes first, so each stack is cut off at the first frame of this package. If two
    threads crash at once, faulthandler mixes their lines; every line that names this package is then left out, too.
    """
    kept: list[str] = []
    in_stack = cutting = False
    for line in stacks.splitlines():
        if not line.startswith("  "):
            in_stack, cutting = line.endswith("(most recent call first):"), False
        cutting = cutting or (in_stack and _OURS in line)
        if not (cutting or _OURS in line):
            kept.append(line)
    return "\n".join(kept)


def users_part(trace: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that begins with the user's code, without pytest's frames before it.

    It begins after the last frame of pytest, or of this package, that calls other code. Without such a frame, the whole
    traceback is returned; ``None`` if ``trace`` is ``None``.
    """
    steps: list[TracebackType] = []
    while trace is not None:
        steps.append(trace)
        trace = trace.tb_next
    whole = steps[0] if steps else None
    entered = (after for before, after in pairwise(steps) if _is_pytests(before) and not _is_pytests(after))
    return max(entered, key=steps.index, default=whole)


def _is_pytests(step: TracebackType) -> bool:
    package, _, _ = str(step.tb_frame.f_globals.get("__name__", "")).partition(".")
    return package in {"_pytest", "pluggy", "pytest_gilprobe"}


def exit_text(code: int) -> str:
    """Say how a process ended, such as ``exit status 1`` or ``killed by SIGSEGV``.

    ``code`` is the ``exitcode`` of a `multiprocessing.Process`: an exit status, or the negative number of a signal.
    """
    if code == CHANNEL_LOST:
        return "its connection to pytest was closed, by code that closes file descriptors that are not its own"
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"

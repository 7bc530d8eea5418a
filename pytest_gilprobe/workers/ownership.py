"""A worker's process: cut off from the user's terminal and tracers, bound to its parent's life, ended at once."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

STACK_SIGNAL = signal.SIGRTMAX - 3 if hasattr(signal, "SIGRTMAX") else None
"""Sent by the parent to have every thread's stack written to the log, GIL held or not."""
FIRST_TO_GO = "1000"
"""The greatest value of ``oom_score_adj``. *Source:* the kernel's ``filesystems/proc.rst``, 3.1."""

COVER_WORKERS = "GILPROBE_COVER_WORKERS"
"""Set in the environment by this project's own tests of coverage: lets coverage measure in workers."""
CHANNEL_LOST = 76
"""Exit status of a worker that cannot answer any more: its workload closed the pipe."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def end(status: int) -> NoReturn:
    """End this process at once: no clean-up of libraries, nothing written.

    Not by ``os._exit`` where that was replaced: coverage's ``patch = _exit`` would write its data first.
    """
    posix = sys.modules.get("posix") if COVER_WORKERS not in os.environ else None
    true_exit = getattr(posix, "_exit", os._exit)
    true_exit(status)
    raise SystemExit(status)


def die_with_parent(lifeline: Connection) -> None:
    """Have the kernel end this process when its parent ends, whatever it is busy with.

    Two ways, since each has a gap: the death signal is of the parent *process*, which under forkserver is the fork
    server; the pipe's ``SIGIO`` (its default action ends the process) fires when the last writer is gone, so not while
    another process holds that end. Where neither exists (not Linux) a worker still ends at its next look at the pipe.

    Source: ``prctl(2)``, ``fcntl(2)`` F_SETOWN and O_ASYNC.
    """
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415 - absent where libffi is
    import fcntl  # noqa: PLC0415 - not every platform has it

    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fd = lifeline.fileno()
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    parent = os.getppid()
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(_PR_SET_CHILD_SUBREAPER, 1)  # what a workload leaves stays a descendant, to be found and ended
    if os.getppid() != parent or lifeline.poll(0):
        end(1)


def leave_the_terminal(log: int) -> None:
    """Put this process in a process group of its own, with nothing to read and its words in the log.

    Not in a session of its own: Linux may give each session the same part of the CPUs (``sched_autogroup``), and on a
    busy machine four processes would then win four parts where four threads win one.

    A forked worker also leaves behind whatever traced or profiled the parent: it would be timed.
    """
    if hasattr(os, "setpgid"):
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
    for stopping in ("SIGTTIN", "SIGTTOU"):  # to use the terminal from the background must fail, not stop the worker
        if hasattr(signal, stopping):
            signal.signal(getattr(signal, stopping), signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - they live as long as the process
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    stop_tracers()


def write_stacks_when_asked(log: int) -> None:
    """Have every thread's stack written to the log when the parent sends its signal, from the start-up on."""
    if STACK_SIGNAL is not None:
        faulthandler.register(STACK_SIGNAL, file=log, all_threads=True, chain=False)


def be_first_to_go() -> None:
    """Where a workload eats the machine's memory, have the kernel end this process rather than pytest."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO, encoding="ascii")


def stop_tracers() -> None:
    """Leave behind what traced or profiled the parent."""
    if COVER_WORKERS in os.environ:
        return
    sys.settrace(None)
    sys.setprofile(None)
    threading.settrace(None)
    threading.setprofile(None)
    monitoring: Any = getattr(sys, "monitoring", None)
    for tool in range(6) if monitoring is not None else ():
        if monitoring.get_tool(tool) is not None:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)

"""Set a worker process up: without the user's terminal and tracers, and so that it ends when pytest's process ends."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_gilprobe import INSIDE_WORKER
from pytest_gilprobe.observe import interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from pytest_gilprobe.workers.worker_spec import WorkerSpec

STACK_SIGNAL = signal.SIGRTMAX - 3 if hasattr(signal, "SIGRTMAX") else None
"""Signal by which pytest's own process makes a worker process write the stacks of all its threads to its log, even
while native code holds the GIL.

``None`` if the system does not have real-time signals.
"""
OOM_SCORE = "1000"
"""The highest ``oom_score_adj``, for worker processes: if memory runs out, the kernel kills them first. *Source:* the
kernel's ``filesystems/proc.rst``, 3.1."""
COVER_WORKERS = "GILPROBE_COVER_WORKERS"
"""Environment variable that this project's own tests set so that coverage measures in worker processes, too."""
CHANNEL_LOST = 76
"""Exit status of a worker process if the test's code has closed the pipe for answers to pytest's own process."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def end(status: int) -> NoReturn:
    """End this process immediately with the exit status ``status``, without any clean-up.

    If something has replaced ``os._exit``, the original is called: the replacement by coverage (``patch = _exit``)
    would first write data. Only if the environment variable `COVER_WORKERS` is set, the replacement is called.
    """
    posix = sys.modules.get("posix") if COVER_WORKERS not in os.environ else None
    true_exit = getattr(posix, "_exit", os._exit)
    true_exit(status)
    raise SystemExit(status)


@contextlib.contextmanager
def worker_process(lifeline: Connection, parents_ends: tuple[Any, ...], spec: WorkerSpec) -> Iterator[int]:
    """Make this new process a worker for a ``with`` block; the value is the file descriptor of the worker's log.

    ``lifeline`` is a pipe that only the parent (pytest's own process) can write to, and never does: the pipe closes
    when the parent ends. ``parents_ends`` are the parent's own ends of pipes, inherited by a fork, which this process
    must not keep open. ``spec`` has the folder of the log and the working directory.
    """
    os.environ[INSIDE_WORKER] = str(os.getpid())  # before anything else: a worker must never start workers
    for connection in parents_ends:
        connection.close()
    with open(Path(spec.folder, "log.txt"), "ab", buffering=0) as log:  # noqa: PTH123 - unbuffered
        set_up(lifeline, log.fileno())
        os.chdir(spec.working_dir)
        yield log.fileno()


def set_up(lifeline: Connection, log: int) -> None:
    """Detach this new process from the terminal and from tracers, and have it end when pytest's process ends.

    ``lifeline`` is a pipe that closes when pytest's process ends. ``log`` is the file descriptor of the log, which gets
    the output, and the stacks of threads when a signal asks for them.
    """
    die_with_parent(lifeline)
    _detach_from_terminal(log)
    _stop_tracers()
    if STACK_SIGNAL is not None:
        import faulthandler  # noqa: PLC0415 - does not load in subinterpreters

        faulthandler.register(STACK_SIGNAL, file=log, all_threads=True, chain=False)
    with contextlib.suppress(OSError):  # if memory runs out, the kernel kills this process rather than pytest
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE, encoding="ascii")


def die_with_parent(lifeline: Connection) -> None:
    """Have the kernel end this worker when pytest's process ends, whatever the worker is doing. Linux only.

    Two signals are used, since neither is enough alone. The death signal (``prctl``) is sent when the parent *process*
    ends, but under ``forkserver`` the parent is the fork server. ``SIGIO``, which ends the process by default, is sent
    when no process can write to ``lifeline`` (a pipe from pytest's process) any more, but not while another process has
    inherited the writing end. On other systems this function does nothing, and a worker ends when it next reads from
    pytest's process.

    *Source:* ``prctl(2)``; F_SETOWN and O_ASYNC in ``fcntl(2)``.
    """
    if sys.platform != "linux":
        return
    import fcntl  # noqa: PLC0415 - not every platform has it

    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fd = lifeline.fileno()
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    parent = os.getppid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # what a workload leaves stays a descendant, to be found and ended
    if os.getppid() != parent or lifeline.poll(0):
        end(1)


def executor_process() -> None:
    """Set up a process that an executor in a worker has started: it ends with the worker and ignores Ctrl-C.

    `concurrent.futures` calls this as the initializer of the process, in its main thread. On Linux, if the worker is
    the parent process, the kernel sends a death signal when the worker ends. Otherwise a thread waits for the worker's
    end: under ``forkserver`` the parent is the fork server, and other systems do not have this signal.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = multiprocessing.parent_process()
    if worker is None:
        return
    if sys.platform == "linux" and os.getppid() == worker.pid:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == worker.pid:
            return
    threading.Thread(target=_end_after, args=(worker,), name="gilprobe-parent", daemon=True).start()


def _end_after(worker: BaseProcess) -> None:
    worker.join()
    end(1)


def _prctl(option: int, value: int) -> None:
    """Set an option of this process, if the system lets it; without `ctypes` or the call, nothing happens."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import ctypes  # noqa: PLC0415 - absent where libffi is

        ctypes.CDLL(None).prctl(option, value)


def log_only_faults(log: int) -> None:
    """From now on, drop all output of this process but the stacks of a crash, which go to the file descriptor ``log``.

    Output is dropped because the user's code may print without end. The earlier content of the log is erased.
    """
    import faulthandler  # noqa: PLC0415 - does not load in subinterpreters

    nowhere = os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    sys.stderr.flush()
    os.ftruncate(log, 0)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    faulthandler.enable(file=log, all_threads=True)


def _detach_from_terminal(log: int) -> None:
    """Put this process into a process group of its own, with nothing to read and its output in the log.

    The group is in the same terminal session: Linux may give each session the same part of the CPUs
    (``sched_autogroup``), and on a busy machine four processes would then win four parts where four threads win one.
    """
    if hasattr(os, "setpgid"):
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
    for name in ("SIGTTIN", "SIGTTOU"):  # to use the terminal from the background must fail, not stop the worker
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - they live as long as the process
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115


def _stop_tracers() -> None:
    """Stop what traces or profiles this process, inherited from the parent by a fork: it would be timed."""
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


def freeze() -> None:
    """Exclude all objects that exist now from garbage collections.

    They are mostly pytest's own objects, which each full collection during a call would scan. On a free-threaded build,
    a thread is started before: CPython 3.13 then makes classes, functions and modules immortal, so that threads need
    not take turns to count references to them.
    """
    gc.collect()
    if interpreter.free_threaded_build():
        with contextlib.suppress(RuntimeError):  # the system refuses threads: then there are none to hinder each other
            first = threading.Thread(target=int, name="gilprobe-first")
            first.start()
            first.join()
    gc.freeze()

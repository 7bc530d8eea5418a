"""The subinterpreters that a worker process hosts: each starts when first needed, and lives as long as the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.workers.child import batch
from pytest_gilprobe.workers.child.hosted_interpreter import HostedInterpreter, RefusedError
from pytest_gilprobe.workers.protocol import Failed, Ready, Unable

if TYPE_CHECKING:
    import threading

    from pytest_gilprobe.workers.protocol import Answer
    from pytest_gilprobe.workers.worker_spec import WorkerSpec


class HostedInterpreters:
    """The subinterpreters that this worker process hosts.

    Attributes:
        started: the subinterpreters that have started or are starting, the oldest first.
        living: the subinterpreters whose pytest sessions are ready, whether or not a test is set up in them.
    """

    def __init__(self, spec: WorkerSpec, log: int) -> None:
        """Prepare to start subinterpreters whose pytest sessions ``spec`` describes.

        ``log`` is the file descriptor of this process's log.
        """
        self._spec = spec
        self._log = log
        self._no_more: Failed | None = None
        self._left: list[threading.Thread] = []
        self.started: list[HostedInterpreter] = []
        self.living: list[HostedInterpreter] = []

    @property
    def taking_memory(self) -> int:
        """The number of subinterpreters that take memory: those in use, and those that failed to start but still exist.

        The thread of a pytest session that fails lives on until the process ends, with all that the session has
        imported.
        """
        return len(self.living) + sum(thread.is_alive() for thread in self._left)

    def at_least(self, count: int) -> list[HostedInterpreter] | Failed | Unable:
        """Return the first ``count`` subinterpreters; start those that are missing, all at the same time.

        Return `Failed` if one does not start. The others stay, but no more are started from then on, since each try
        would leave a part of a session behind. Return `Unable` if the system refuses a thread, a file or memory.
        """
        missing = range(len(self.living) + 1, count + 1)
        if missing and self._no_more is not None:
            return self._no_more
        bad: Answer | None = None
        new: list[HostedInterpreter] = []
        for number in missing:
            try:
                new.append(HostedInterpreter(number, self._spec, self._log))
            except RefusedError as error:
                return Unable(error=str(error))
            except Exception as error:  # noqa: BLE001 - of any type; those that do start are waited for
                bad = Failed(error=batch.describe(error))
                break
            self.started.append(new[-1])
        for one in new:
            answer = one.receive()
            if isinstance(answer, Ready):
                self.living.append(one)
                one.number = len(self.living)
            else:
                self._left.append(one.thread)
                bad = bad or answer
        self.started[:] = self.living
        if bad is not None:
            self._no_more = bad if isinstance(bad, Failed) else Failed(error=f"unexpected answer {bad!r}")
            return self._no_more
        return self.living[:count]

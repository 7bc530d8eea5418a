"""Ask an idle worker process to sample the GIL of pytest's own process, which makes the call to be probed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pytest_gilprobe.observe.frame_search import locate_frames
from pytest_gilprobe.observe.gil_address import locate
from pytest_gilprobe.observe.tracing_permit import permit
from pytest_gilprobe.workers.parent.worker import Lost
from pytest_gilprobe.workers.parent_watch_messages import EndWatch, ParentWatched, WatchParent

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import GilSamples
    from pytest_gilprobe.workers.parent.group import WorkerGroup


class OwnWatch:
    """Asks a worker process to sample the GIL of this process, which is pytest's own."""

    def __init__(self, group: WorkerGroup, *, holders: bool) -> None:
        """Prepare to ask a worker of ``group``; with ``holders``, samples also show the code that holds the GIL."""
        self._group = group
        self._holders = holders
        self._question: WatchParent | None = None
        self._is_known = False

    def begin(self) -> None:
        """Ask a worker to sample this process's GIL until `samples` is called or that worker gets another question.

        Does nothing if this process's GIL cannot be found, or if there is no worker.
        """
        if not self._is_known:
            self._is_known, self._question = True, self._located()
        if self._question is None:
            return
        worker = self._group.tell(self._question)
        if worker is not None:
            permit(worker.process.pid)

    def _located(self) -> WatchParent | None:
        address = locate().address
        if address is None:
            return None
        frames = locate_frames().layout if self._holders else None
        return WatchParent(pid=os.getpid(), gil_address=address, frames=frames)

    def samples(self) -> GilSamples | None:
        """Return the samples of this process's GIL that were taken since `begin`; ``None`` if there are none."""
        found = self._group.ready(1) if self._question is not None else None
        if found is None or isinstance(found, Lost):
            return None
        answer = self._group.ask(found[0], EndWatch())
        return answer.samples if isinstance(answer, ParentWatched) else None

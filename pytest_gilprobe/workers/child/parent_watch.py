"""In an idle worker process, sample the GIL of pytest's own process while that process makes the call to be probed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.observe.gil_sampler import GilSampler, SamplingError
from pytest_gilprobe.workers.parent_watch_messages import EndWatch, ParentWatched, WatchParent

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from pytest_gilprobe.model.readings import GilSamples
    from pytest_gilprobe.workers.protocol import Answer, Question

HEAD_S = 0.1
"""Seconds from the request to sample the GIL of pytest's own process until sampling begins. If the test's call ends
sooner, it is not sampled: it is short enough to be repeated and timed."""
MEAN_S = 0.005
"""Mean seconds between two samples of the GIL of pytest's own process. To take 200 samples a second costs about 1 % of
a core other than the test's."""
LONGEST_S = 24 * 3600.0


class ParentWatch:
    """Samples the GIL of pytest's own process when that process asks for it, until its next question arrives."""

    def __init__(self, channel: Connection, say: Callable[[Answer], None]) -> None:
        """Prepare to sample: pytest's own process sends questions on ``channel``, and ``say`` sends it an answer."""
        self._channel = channel
        self._say = say
        self._seen: GilSamples | None = None

    def takes(self, question: Question) -> bool:
        """Do what a `WatchParent` or `EndWatch` asks for and return ``True``; return ``False`` for any other question.

        For `WatchParent`, sample the GIL of pytest's own process until the next question arrives. For `EndWatch`, send
        these samples as the answer, or ``None`` if there are none.
        """
        if isinstance(question, WatchParent):
            self._seen = self._samples(question)
        elif isinstance(question, EndWatch):
            self._say(ParentWatched(samples=self._seen))
            self._seen = None
        else:
            return False
        return True

    def _samples(self, asked: WatchParent) -> GilSamples | None:
        if self._channel.poll(HEAD_S):
            return None
        try:
            with GilSampler(asked.pid, asked.gil_address, mean_interval_s=MEAN_S, frames=asked.frames) as sampler:
                sampler.sample_until(self._channel.fileno(), LONGEST_S)
                return sampler.samples()
        except SamplingError:
            return None

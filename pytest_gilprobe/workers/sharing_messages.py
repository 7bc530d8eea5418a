"""The question that asks a worker process what threads share, and its answer; see `workers.protocol`."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.sharing import SharingReading


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSharing:
    """Time the open test's call in ``lanes`` threads that share its objects, and in threads with copies of their own.

    A batch has at most ``calls`` calls for each thread. No round is begun that would not end within ``most_s`` seconds.
    """

    lanes: int
    calls: int
    most_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingSwept:
    """The answer to `SweepSharing`: ``reading`` has the timings."""

    reading: SharingReading

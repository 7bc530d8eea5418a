"""The record of a way to make calls in its own worker processes: start-up, cost of moving data, extension modules."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.extension_imports import ExtensionImport
from pytest_gilprobe.model.results import Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class ApartReading:
    """Start-up times, cost of moving data and extension modules of one strategy that has its own worker processes.

    A strategy is a way to make calls. A lane is a thread that makes calls in a worker process, such as the thread of a
    subinterpreter.

    Attributes:
        start_up_s: seconds from asking for a worker process until all its lanes were ready for their first test;
            ``None`` if they never were.
        lane_start_up_s: seconds to start one more lane in a worker process that already runs; ``None`` if unknown.
        transfer: the cost of moving a call's data to a lane and back; ``None`` if not measured.
        extensions: extension modules (native code) that the workload needs, each with whether it loads in a lane. If
            the workload could be set up in the lanes, only modules that do not load are listed.
    """

    start_up_s: float | None = None
    lane_start_up_s: float | None = None
    transfer: Transfer | None = None
    extensions: tuple[ExtensionImport, ...] = ()

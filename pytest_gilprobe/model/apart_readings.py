"""The record of what is known of a strategy that has worker processes of its own."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.extension_imports import ExtensionImport
from pytest_gilprobe.model.results import Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class ApartReading:
    """What is known, beside timed calls, of a strategy whose calls run in worker processes that only it uses.

    A lane is a thread that makes calls in such a process, such as the thread of a subinterpreter.

    Attributes:
        start_up_s: seconds until all lanes were ready for their first test; ``None`` if they never were.
        lane_start_up_s: seconds to start one lane in a worker that already runs; ``None`` if unknown.
        transfer: the cost of moving a call's data to a lane and back; ``None`` if not measured.
        extensions: extension modules of the workload, each with whether it loads in a lane. If the strategy works, only
            those that do not load are listed.
    """

    start_up_s: float | None = None
    lane_start_up_s: float | None = None
    transfer: Transfer | None = None
    extensions: tuple[ExtensionImport, ...] = ()

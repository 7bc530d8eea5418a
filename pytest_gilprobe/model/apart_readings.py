"""The record of what is known of a strategy that has worker processes of its own."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.extension_imports import ExtensionImport
from pytest_gilprobe.model.results import Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class ApartReading:
    """What is known of a strategy whose calls run in worker processes of its own, apart from its batches.

    ``start_up_s`` is how many seconds it took until the lanes (threads that make calls) in these processes were ready
    for their first test; ``None`` if they were never ready. ``lane_start_up_s`` is how many seconds it took to start
    one lane alone, in the worker that was there; ``None`` if unknown. ``transfer`` is what moving a call's data to a
    lane and back costs; ``None`` if that was not measured. ``extensions`` are extension modules of the workload and
    whether they load there: if the strategy works, only those that do not load.
    """

    start_up_s: float | None = None
    lane_start_up_s: float | None = None
    transfer: Transfer | None = None
    extensions: tuple[ExtensionImport, ...] = ()

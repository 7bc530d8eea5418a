"""The record of what is known of a strategy that has worker processes of its own."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gilprobe.model.extension_imports import ExtensionImport
from pytest_gilprobe.model.results import Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class ApartReading:
    """What a strategy's own worker showed, beside its batches.

    ``start_up_s`` is how many seconds it took until its lanes were ready for their first test; ``None`` if they never
    were. ``lane_start_up_s`` is how many it took to start one lane alone, in the worker that was there.
    ``transfer`` is what moving a call's data to its lanes and back costs; ``None`` if that was not measured.
    ``extensions`` are the extension modules of the workload, as far as is known how they fared there.
    """

    start_up_s: float | None = None
    lane_start_up_s: float | None = None
    transfer: Transfer | None = None
    extensions: tuple[ExtensionImport, ...] = ()

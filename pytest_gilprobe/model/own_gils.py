"""The records of the GILs in a process whose subinterpreters have a GIL each: samples, and shares of time held."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GilLooks:
    """Samples of the GILs of several lanes (threads of one process), each of which has a GIL of its own.

    ``at_ns`` are the random moments of the samples, by `time.perf_counter_ns`, in order. ``held`` has a bit mask for
    each moment: bit N is set if the GIL of lane N (from 0) was held.
    """

    at_ns: tuple[int, ...]
    held: tuple[int, ...]

    def __post_init__(self) -> None:
        """Raise `ValueError` for columns of different lengths."""
        if len(self.at_ns) != len(self.held):
            msg = f"each look has a moment and a number, found {len(self.at_ns)} and {len(self.held)}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class GilsHeld:
    """How long the GILs of several lanes (threads) were held, if each lane has a GIL of its own.

    ``shares`` has, for each lane, the share of its time for which its GIL was held, from 0 to 1. ``at_once`` is the
    share of the time for which all GILs were held at the same moment, from 0 to 1, while all lanes made calls. If the
    lanes had to share one GIL, only one lane could hold it at a time.
    """

    shares: tuple[float, ...]
    at_once: float

"""The records of several GILs of one process, that of each subinterpreter: looks at them, and what follows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GilLooks:
    """Looks at the GILs of the lanes of one batch, at random moments.

    ``at_ns`` are the moments by `time.perf_counter_ns`, in order; ``held`` has for each the sum of 2 ** lane over the
    lanes whose GIL was held.
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
    """How long the GILs of lanes were held, each lane having one of its own.

    ``shares`` has for each lane the share of its time for which its GIL was held, 0 to 1. ``at_once`` is the share of
    the time in which all lanes ran for which all their GILs were held: one GIL for all could not be above 0.
    """

    shares: tuple[float, ...]
    at_once: float

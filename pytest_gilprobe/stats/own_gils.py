"""Estimate from samples how long each GIL was held in a process whose subinterpreters have a GIL each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.model.own_gils import GilsHeld

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.readings import BatchReading

FEWEST_LOOKS = 30
"""Fewest samples from which it is reported how long the GILs of subinterpreters were held. Each subinterpreter needs
this number of samples while it made calls, and this number must be taken while all of them made calls. The standard
error of a share is then 0.09 at most."""


def held(batches: Sequence[BatchReading]) -> GilsHeld | None:
    """Estimate for which share of the time the GIL of each subinterpreter was held, and all GILs at once.

    The time is that in ``batches`` (calls timed together) in which the subinterpreter made calls or, for all GILs, in
    which all subinterpreters did. The result is ``None`` if no GIL was sampled, or if fewer than 30 (`FEWEST_LOOKS`)
    samples were taken in one of these times.
    """
    looked = [batch for batch in batches if batch.own_gils is not None]
    if not looked:
        return None
    lanes = max(len(batch.lanes) for batch in looked)
    seen, found, together, all_held = [0] * lanes, [0] * lanes, 0, 0
    for batch in looked:
        assert batch.own_gils is not None  # noqa: S101 - chosen above
        for at_ns, mask in zip(batch.own_gils.at_ns, batch.own_gils.held, strict=True):
            runs = [lane.start_ns <= at_ns <= lane.end_ns for lane in batch.lanes]
            for lane, running in enumerate(runs):
                seen[lane] += running
                found[lane] += running and bool(mask >> lane & 1)
            together += all(runs)
            all_held += all(runs) and mask == (1 << len(runs)) - 1
    if min(*seen, together) < FEWEST_LOOKS:
        return None
    shares = tuple(part / whole for part, whole in zip(found, seen, strict=True))
    return GilsHeld(shares=shares, at_once=all_held / together)

"""Say what would settle an open (inconclusive) verdict: more time, more workers, or a quieter machine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_gilprobe.model.thresholds import CLOSE, WORTH_IT
from pytest_gilprobe.stats import pools, speedups
from pytest_gilprobe.stats.rounds import span_s
from pytest_gilprobe.verdict.rule import at_corners

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_gilprobe.model.readings import Evidence
    from pytest_gilprobe.verdict.rule import Interval

NARROWER = tuple(step / 20 for step in range(19, 3, -1))
"""Factors by which the intervals of speed-ups are shrunk, the largest first, to see how narrow they must be to settle a
verdict. To shrink them to a fifth, the smallest factor, takes 25 times as many calls."""
MOST_S = 120.0
"""Longest probe, in seconds, that is proposed to settle an open (inconclusive) verdict."""
BESIDE_ROUNDS = 1.5
"""A probe takes about this many times as long as the calls it times: it also starts workers, warms up and more."""
ROUNDS = 5
"""A proposed ``max_time`` (seconds of a probe) is enough for at least this many rounds (one batch of calls of every
strategy): a verdict may need 5 to be believed (`trust.ROUNDS_WHEN_SURPRISING`)."""
BUSY = 0.1
"""A quieter machine is proposed if calls queued for a CPU for at least this share of their time, or may have done so
unseen, in threads or processes of their own."""


def remedy(evidence: Evidence) -> str:
    """Return, as a clause, what would settle an open (inconclusive) verdict.

    That is a quieter machine, more time or more workers. If none of these would settle it, the clause says so.
    """
    if evidence.measurement.no_time_for and evidence.measurement.out_of_time is not None:
        return evidence.measurement.out_of_time
    quieter = "a quieter machine" if _is_disturbed(evidence) else ""
    enough_s, enough_workers = seconds_needed(evidence), workers_needed(evidence)
    if enough_s is not None or enough_workers is not None:
        more = f"max_time={enough_s}" if enough_s is not None else f"--gilprobe-workers={enough_workers}"
        return f"{quieter}, or {more}, is likely to settle it" if quieter else f"{more} is likely to settle it"
    if quieter:
        return f"{quieter} may settle it, more time alone hardly"
    if MOST_S < _settled_after_s(evidence) < math.inf:
        return f"the intervals are so wide that a probe would take more than {MOST_S:g} s to settle it"
    if any(part.pool_rounds for part in evidence.results.values()) and _decided_by(evidence, NARROWER[-1], math.inf):
        return "more time hardly settles it, as a probe times a pool no more often"
    near = f"{WORTH_IT:g}x, or {(CLOSE - 1) * 100:.0f} % apart"
    return f"the values lie near a limit of the rule ({near}), so more time hardly settles it: either will do"


def more_time(evidence: Evidence) -> str:
    """Return, as a clause, what would settle a verdict that rests on too few or on disturbed measurements.

    The clause names a quieter machine. It also names a ``max_time`` (seconds of a probe) that is enough for at least 5
    (`ROUNDS`) rounds (one batch of calls of every strategy), unless that is more than 120 s (`MOST_S`). If a strategy
    was not tried for lack of time, the clause only says so.
    """
    seen = evidence.measurement
    if seen.no_time_for and seen.out_of_time is not None:
        return seen.out_of_time
    if seen.allowed_s is None:
        return "a longer max_time or a quieter machine may settle it"
    done = max(len(seen.rounds), 1)
    enough_s = max(seconds_needed(evidence) or 0, math.ceil(seen.allowed_s * max(ROUNDS, done + 1) / done))
    longer = f"max_time={enough_s} or " if enough_s <= MOST_S else ""
    return f"{longer}a quieter machine may settle it"


def workers_needed(evidence: Evidence) -> int | None:
    """Return the number of CPUs if a probe with that many workers is likely to settle the verdict; else ``None``.

    The result is ``None``, too, if the probe had at least as many workers already, or only one. Speed-ups are assumed
    to grow with the number of workers as the parallel part of the calls allows. *Source:* Amdahl's law (1967).
    """
    workers, cpus = evidence.measurement.workers, evidence.machine.cpus
    if cpus <= workers or workers == 1:
        return None
    grown = {}
    for name, ends in narrowed(evidence, 1.0).items():
        alone = [(workers / max(end, 1e-9) - 1) / (workers - 1) for end in ends]
        low, high = (1 / (share + (1 - share) / cpus) for share in alone)
        grown[name] = (low, high)
    return cpus if grown and len(at_corners(grown)) == 1 else None


def seconds_needed(evidence: Evidence) -> int | None:
    """Return about how many seconds a probe takes until its intervals are narrow enough to decide.

    The speed-ups are assumed to stay as they are, while their intervals shrink as more calls are timed. The result is
    ``None`` if it would be more than `MOST_S` (120), or if no calls were timed.
    """
    needed_s = _settled_after_s(evidence)
    return int(needed_s) if needed_s <= MOST_S and evidence.measurement.rounds else None


def _settled_after_s(evidence: Evidence) -> float:
    """Return the seconds of a probe whose intervals decide, if values stay; infinite if values are at a limit.

    The interval of a mean of n rounds is proportional to 1 / sqrt(n). Those that were measured in executors shrink only
    as far as the most rounds there allow.
    """
    seen = evidence.measurement
    rounds = [*seen.rounds, *seen.bursts, *(one.as_round() for one in seen.controls)]
    spent_s = sum(span_s(batch, less_queue=False) for one in rounds for batch in one.batches.values())
    spent_s += sum(series.wall_ns for one in seen.pool_rounds for series in (one.alone, *one.pooled.values())) / 1e9
    for part in NARROWER:
        if _decided_by(evidence, part, pools.MOST_ROUNDS):
            least_s = max(math.ceil(spent_s * BESIDE_ROUNDS), math.floor(seen.allowed_s or 0.0)) + 1
            return max(math.ceil(spent_s / part**2 * BESIDE_ROUNDS), least_s)
    return math.inf


def _decided_by(evidence: Evidence, part: float, most_rounds: float) -> bool:
    return len(at_corners(narrowed(evidence, part, most_rounds))) == 1


def narrowed(evidence: Evidence, part: float, most_rounds: float = math.inf) -> Mapping[str, Interval]:
    """Return the intervals of the speed-ups in executors, each shrunk around its value, by the strategy's name.

    ``part`` is the new width as a share of the old one. An interval that was measured in executors shrinks only as far
    as it would in ``most_rounds`` rounds there.
    """
    most, found = float(evidence.measurement.workers), {}
    for strategy in evidence.strategies:
        pool, made = evidence.results[strategy.name].pool_speedup, evidence.results[strategy.name].pool_rounds
        if pool is not None:
            left = min(1.0, max(part, math.sqrt(made / most_rounds)))
            ends = (pool.value - (pool.value - pool.low) * left, pool.value + (pool.high - pool.value) * left)
            found[strategy.name] = (min(ends[0], most), min(ends[1], most))
    return found


def _is_disturbed(evidence: Evidence) -> bool:
    queued = any((part.run_queue_share or 0.0) >= BUSY for part in evidence.results.values())
    return queued or speedups.may_queue_unseen(evidence.measurement)

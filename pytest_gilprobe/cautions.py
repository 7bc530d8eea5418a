"""What the reader of a verdict should know before acting on it: every caution, with its slug and its rule."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from pytest_gilprobe.model import Bound, Caution, Gil, Outcome
from pytest_gilprobe.reporters import numbers
from pytest_gilprobe.stats.estimates import kendall_tau, quotient
from pytest_gilprobe.stats.rounds import children_width, lane_s_per_call, may_queue_unseen
from pytest_gilprobe.stats.speedups import scaling_now
from pytest_gilprobe.thresholds import NATIVE_BUSY, THROTTLED, gil_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gilprobe.model import Evidence

BLOCKS_HOLDING = 0.25
"""Held share minus CPU utilization over which a call is said to block while it holds the GIL."""
STALLS_S = 0.02
"""A hold without a break that is longer than this is worth telling: four switch intervals."""
WANTED = 0.1
"""Share of their time for which threads must wait for the GIL before a long hold counts: a release that nobody wanted
leaves no trace."""
CONVOY = 0.85
"""Threads slower than this share of serial speed hinder each other."""
BUSY = 0.10
"""Run-queue share from which other programs disturb."""
COLD = 3.0
"""A first call that takes this many times as long as later ones is worth telling."""
COLD_S = 0.001
"""What a first call must take more than later ones to be worth telling: under a millisecond nobody minds."""
UNEVEN_ROUNDS = 6
"""So many rounds tell a trend from noise: two to compare at each end, two between."""
DRIFT = 1.25
"""Later calls that take this many times as long as early ones may show state that grows."""
STEADY = 0.8
"""Kendall's tau, of round and time per call, from which a rise is a trend: 6 rounds in random order reach it with a
probability of 0.8 %, 10 rounds of 0.02 %."""
UNEVEN = 1.5
"""Middle rounds that differ by more than this show calls that are not alike."""
SCALES = 0.7
"""Share of what the GIL and the machine allow that threads should reach. Two threads that each hold the GIL for half of
their time, at random, reach 0.8 of what it allows: they meet there by chance (a closed queue of two customers)."""
SCALES_FREELY = 0.87
"""Share of the machine's own scaling that threads without a GIL should reach: what counts as equal (1 / 1.15)."""


def of(evidence: Evidence, bound: Bound, gil: Gil) -> tuple[Caution, ...]:
    """List the cautions that apply, the gravest first."""
    found = []
    for slug, rule in _RULES.items():
        message = rule(evidence, bound, gil)
        if message is not None:
            found.append(Caution(slug=slug, message=message))
    return tuple(found)


def _unsafe(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001 - one signature for all rules
    bad = {Outcome.FAILED, Outcome.HUNG, Outcome.CRASHED}
    if evidence.threads.outcome in bad:
        return f"in threads it {evidence.threads.outcome}: do not run it in threads before that is mended"
    return None


def _processes_fail(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001
    if evidence.processes.outcome in {Outcome.FAILED, Outcome.HUNG, Outcome.CRASHED}:
        return f"in processes it {evidence.processes.outcome}: several at once may not share what it uses"
    return None


def _blocks(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001
    fraction, used = evidence.serial.gil_held_fraction, evidence.serial.cpu_utilization.value
    if fraction is None or fraction.low - used < BLOCKS_HOLDING:
        return None
    return (
        f"it blocks while holding the GIL: held for {numbers.percent(fraction.value)} of the time, computing for "
        f"{numbers.percent(used)}; "
        "an extension that waits without releasing the GIL stops every other thread"
    )


def _stalls(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001
    hold = evidence.serial.longest_hold_s
    shares = evidence.threads.shares
    wanted = shares is not None and (shares.gil_wait or 0.0) >= WANTED
    if hold is None or hold < STALLS_S or not wanted:
        return None
    return f"native code holds the GIL without a break: it stalls every other thread for up to {numbers.seconds(hold)}"


def _flipped(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001
    seen = {
        reading.gil_enabled
        for one in evidence.measurement.rounds
        for sample in (one.serial, one.threads, one.processes)
        if sample is not None
        for reading in sample.readings
    }
    culprits = evidence.measurement.gil_switched_on_by
    if culprits and True in seen:
        return (
            f"the GIL was switched on to load {', '.join(culprits)}, which does not declare itself safe without; "
            "PYTHON_GIL=0 keeps it off"
        )
    if not evidence.measurement.gil_on_at_start and True in seen:
        return "the GIL was switched on while this ran: something that it imported does not declare itself safe without"
    return None


def _native(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001
    share = evidence.serial.native_cpu_share
    if share is None or share <= NATIVE_BUSY:
        return None
    return f"already parallel inside: its own threads use {numbers.percent(share)} of another core during serial calls"


def _children(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001
    share = children_width(evidence.measurement.rounds)
    if share <= NATIVE_BUSY:
        return None
    return (
        f"its child processes compute: they use {numbers.percent(share)} of a core during serial calls, which "
        "the bound does not count; no more calls at a time than there are cores can gain"
    )


def _convoy(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001
    speedup = evidence.threads.speedup
    if speedup is None or speedup.high >= CONVOY:
        return None
    return f"threads are slower than serial calls ({numbers.speedup(speedup)}): they get in each other's way"


def _not_the_gil(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:
    threads, ceiling = evidence.threads.speedup, evidence.threads.ceiling
    if threads is None or bound is Bound.INCONCLUSIVE or gil is Gil.ABSENT:
        return None
    allowed = min(float(evidence.measurement.workers), ceiling or float(evidence.measurement.workers))
    native = (evidence.serial.native_cpu_share or 0.0) > NATIVE_BUSY
    scaling = scaling_now(evidence.measurement, evidence.machine)
    machine_can = bound is Bound.IO or scaling is None or scaling.value >= allowed * SCALES
    if gil in {Gil.RELEASED, Gil.PARTIAL} and threads.high < allowed * SCALES and machine_can and not native:
        cause = "handing the GIL back and forth" if gil is Gil.PARTIAL else "a lock, the allocator or memory"
        return (
            f"the GIL's share would allow {numbers.about(allowed)} in threads, they gave "
            f"{numbers.about(threads.value)}: "
            f"{cause} is likely to hold them back"
        )
    return None


def _contended(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:
    threads, scaling = evidence.threads.speedup, scaling_now(evidence.measurement, evidence.machine)
    if gil is not Gil.ABSENT or threads is None or scaling is None or bound is Bound.IO:
        return None
    if threads.low <= 0 or quotient(threads, scaling).high >= SCALES_FREELY:
        return None
    if (evidence.serial.native_cpu_share or 0.0) > NATIVE_BUSY:
        return None
    return (
        f"there is no GIL, yet threads do not scale ({numbers.speedup(threads)}, this machine gives "
        f"{numbers.about(scaling.value)}): "
        "shared object contention?"
    )


def _workers(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001
    cpus, workers = evidence.machine.cpus, evidence.measurement.workers
    if bound is Bound.IO or workers <= cpus:
        return None
    return f"{workers} workers share {numbers.count(cpus, 'usable CPU')}: computing cannot gain more than {cpus}x here"


def _busy(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001
    share = evidence.serial.run_queue_share
    if share is None or share < BUSY:
        if may_queue_unseen([one.serial for one in evidence.measurement.rounds]):
            return (
                "other programs kept the CPUs busy: how long the threads that compute for a call had to queue for them "
                "cannot be told"
            )
        return None
    return (
        f"other programs kept the CPUs busy: serial calls queued for {numbers.percent(share)} of their time, which is "
        "taken out"
    )


def _throttled(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001
    share = evidence.measurement.throttled_share
    if share is None or share < THROTTLED:
        return None
    return (
        f"this machine's CPU quota held the probe back for {numbers.percent(share)} of its time: speed-ups read too low"
    )


def _traced(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001
    found = evidence.measurement.tracers
    if not found:
        return None
    return f"its Python code was not timed as it is: {', '.join(found)} is active in the worker"


def _cold(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001
    first, later = evidence.serial.first_call_s, evidence.serial.wall_s_per_call.value
    if first is None or first < later * COLD or first - later < COLD_S:
        return None
    return (
        f"the first call took {numbers.seconds(first)}, later ones {numbers.seconds(later)}: each new process pays "
        "that once"
    )


def _uneven(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001
    serial = [lane_s_per_call(one.serial) for one in evidence.measurement.rounds]
    if len(serial) < UNEVEN_ROUNDS:
        return None
    third = len(serial) // 3
    early, late = median(serial[:third]), median(serial[-third:])
    if late > early * DRIFT and kendall_tau(serial) >= STEADY:
        return (
            f"calls took longer from round to round ({numbers.seconds(early)}, later {numbers.seconds(late)}): "
            "something that they keep grows, or the machine slowed down"
        )
    low, high = sorted(serial)[third], sorted(serial)[-third - 1]
    if high > low * UNEVEN:
        return (
            f"calls differ: a batch's mean call took {numbers.seconds(low)} to {numbers.seconds(high)}; "
            "probe the fast and the slow case apart"
        )
    return None


def _part_open(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001
    fraction, used = evidence.serial.gil_held_fraction, evidence.serial.cpu_utilization
    words = gil_words(fraction, used.low, used.high) if fraction is not None and gil is not Gil.ABSENT else ()
    if fraction is None or len(words) < 2:  # noqa: PLR2004 - one word is no question
        return None
    return (
        f"the GIL's part may be {' or '.join(words)}: it was held for {numbers.percent(fraction.low)} to "
        f"{numbers.percent(fraction.high)} of the time, computing for {numbers.percent(used.low)} to "
        f"{numbers.percent(used.high)}, which does not decide"
    )


def _unwatched(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001
    why = evidence.measurement.gil_unwatched
    if why is None or gil is Gil.ABSENT or evidence.serial.gil_held_fraction is not None:
        return None
    return f"how long the GIL was held could not be measured: {why}"


def _left_changed(evidence: Evidence, bound: Bound, gil: Gil) -> str | None:  # noqa: ARG001
    changed = evidence.measurement.left_changed
    if not changed:
        return None
    return f"its calls leave {', '.join(changed)} changed: later tests of the same session run with that"


_RULES: dict[str, Callable[[Evidence, Bound, Gil], str | None]] = {
    "unsafe-in-threads": _unsafe,
    "fails-in-processes": _processes_fail,
    "blocks-holding-gil": _blocks,
    "stalls-threads": _stalls,
    "gil-switched-on": _flipped,
    "already-parallel": _native,
    "children-compute": _children,
    "threads-slower": _convoy,
    "not-the-gil": _not_the_gil,
    "contended-without-gil": _contended,
    "more-workers-than-cpus": _workers,
    "busy-machine": _busy,
    "throttled": _throttled,
    "traced": _traced,
    "leaves-changed": _left_changed,
    "slow-first-call": _cold,
    "uneven-calls": _uneven,
    "gil-unwatched": _unwatched,
    "gil-part-open": _part_open,
}

"""Cautions (warnings) if calls that run side by side in one process gain less than the GIL and the machine allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.words import Bound, Gil
from pytest_gilprobe.stats import time_shares
from pytest_gilprobe.stats.estimates import quotient
from pytest_gilprobe.stats.speedups import scaling_now

if TYPE_CHECKING:
    from pytest_gilprobe.model.estimate import Estimate
    from pytest_gilprobe.model.readings import Evidence
    from pytest_gilprobe.model.results import StrategyResult
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.verdict.case import Case

CONVOY = 0.85
"""A caution says that the lanes (threads) of a strategy hinder each other if their speed-up is certainly below this:
they are then slower than serial calls."""
SCALES = 0.7
"""A caution is given if lanes (threads) of one process certainly reach less than this share of the speed-up that the
GIL and the machine allow. Even two threads that each hold the GIL for half of their time, at random, reach a share of
only 0.8 (queueing theory: a closed queue of two customers)."""
OTHER_WAIT = 0.15
"""If a lane (thread) spends at least this share of its time in waits that are not for the GIL and that a call alone
does not have, a caution names a lock as the likely cause of a low speed-up."""
FAULTS_MATTER = 0.15
"""Page faults are reported if they take at least this share of a call's time."""
SCALES_FREELY = 0.87
"""Without a GIL, lanes (threads) of one process scale freely if they reach this share of the speed-up that a plain
Python loop has in processes on this machine. If they certainly reach less, a caution is given. The share is 1 / 1.15,
since speed-ups within a factor of 1.15 count as equal."""


def _convoy(case: Case) -> Iterator[str]:
    for strategy, part in case.sharing():
        if part.speedup is not None and part.speedup.high < CONVOY:
            gave = numbers.speedup(part.speedup)
            yield f"{strategy.name} are slower than serial calls ({gave}): they hinder each other"


def _not_the_gil(case: Case) -> Iterator[str]:
    for strategy, part, allowed in _falling_short(case):
        gave = numbers.about(part.speedup.value) if part.speedup is not None else "less"
        yield (
            f"the GIL's share would allow {numbers.about(allowed)} in {strategy.name}, they gave {gave}: "
            f"{_cause(case, part)} is likely to hold them back"
        )


def _falling_short(case: Case) -> Iterator[tuple[Strategy, StrategyResult, float]]:
    """Yield what shares a process and gains far less than the GIL and the machine allow, with the speed-up allowed."""
    if case.bound is Bound.INCONCLUSIVE or case.gil not in {Gil.RELEASED, Gil.PARTIAL} or case.parallel_inside:
        return
    workers, scaling = float(case.evidence.measurement.workers), _scaling(case)
    for strategy, part in case.sharing():
        ceiling = strategy.ceiling(case.evidence.gil, case.evidence.event_loop)
        allowed = workers if ceiling is None else min(workers, ceiling.value)
        machine_can = case.bound is Bound.IO or scaling is None or scaling.value >= allowed * SCALES
        if part.speedup is not None and part.speedup.high < allowed * SCALES and machine_can:
            yield strategy, part, allowed


def _cause(case: Case, part: StrategyResult) -> str:
    """Name what may hold lanes back that the GIL does not: what they wait for decides, as far as that is known."""
    if (waits := longer_wait(part, case.serial)) is not None:
        limit = ", or a limit of what it waits for," if case.bound is not Bound.CPU else ""
        return f"a lock{limit} for which a call waits {numbers.percent(waits)} of its time"
    if case.gil is Gil.PARTIAL:
        return "handing the GIL back and forth"
    if case.bound is Bound.IO:
        return "a lock, or a limit of what it waits for,"
    if fault_share(case.evidence) >= FAULTS_MATTER:
        return "having the system map memory, one thread at a time,"
    return "a lock, the allocator or memory"


def longer_wait(part: StrategyResult, serial: StrategyResult) -> float | None:
    """Return the share of a thread's time in waits that are not for the GIL and that serial calls do not have.

    Such waits are for a lock, or for something outside, such as a server that takes few connections. The result is from
    0 to 1. It is ``None`` if the share is unknown, below `OTHER_WAIT` (0.15), or below the share of waits for the GIL.
    ``part`` is the result of a strategy whose lanes (threads) share a process, ``serial`` that of serial calls.
    """
    waits = time_shares.other_wait(part.shares, serial.shares)
    if part.shares is None or waits is None or waits < max(OTHER_WAIT, part.shares.gil_wait or 0.0):
        return None
    return waits


def _limit_outside(case: Case) -> Iterator[str]:
    if case.bound is Bound.CPU or case.advised is None or case.advised.one_process:
        return
    for strategy, _, _ in _falling_short(case):
        yield (
            f"{strategy.name} take turns at something of which each process has its own: if it stands for a limit that "
            f"all share (a rate, a server's connections), {case.advised.name} gain nothing"
        )
        return


def fault_share(evidence: Evidence) -> float:
    """Estimate the share of a serial call's time that goes into minor page faults; 0.0 if that is unknown.

    The estimate is the number of faults in a call times the time of one fault on this machine without contention.
    """
    faults, each_s = evidence.serial.page_faults_per_call, evidence.machine.page_fault_s
    return min(1.0, faults * each_s / evidence.serial.call_s.value) if faults and each_s else 0.0


def _page_faults(case: Case) -> Iterator[str]:
    share, faults = fault_share(case.evidence), case.serial.page_faults_per_call
    if share < FAULTS_MATTER or faults is None:
        return
    queueing = "".join(f", and {strategy.name} queue for that" for strategy, _, _ in _falling_short(case))
    yield (
        f"each call has the system map about {numbers.count(round(faults), 'page')} of memory anew, which takes "
        f"{numbers.percent(share)} of its time{queueing}: reuse buffers, or let "
        "the allocator keep freed memory (glibc: MALLOC_TRIM_THRESHOLD_ and MALLOC_MMAP_THRESHOLD_)"
    )


def _contended(case: Case) -> Iterator[str]:
    scaling = _scaling(case)
    if case.gil is not Gil.ABSENT or scaling is None or case.bound is Bound.IO or case.parallel_inside:
        return
    for strategy, part in case.sharing():
        if part.speedup is not None and part.speedup.low > 0 and quotient(part.speedup, scaling).high < SCALES_FREELY:
            yield (
                f"there is no GIL, yet {strategy.name} do not scale ({numbers.speedup(part.speedup)}, this machine "
                f"gives {numbers.about(scaling.value)}): shared object contention?"
            )


def _scaling(case: Case) -> Estimate | None:
    return scaling_now(case.evidence.measurement, case.evidence.machine)


RULES: dict[str, Callable[[Case], Iterator[str]]] = {
    "threads-slower": _convoy,
    "not-the-gil": _not_the_gil,
    "limit-per-process": _limit_outside,
    "page-faults": _page_faults,
    "contended-without-gil": _contended,
}
"""The rules for cautions on lanes (threads) of one process, each by the slug of its caution. A rule takes the facts on
a workload and yields a message for each caution that applies."""

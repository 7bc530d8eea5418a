"""Gates (checks that fail a test) on the GIL: for which share of time and how long it is held, whether it is on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.words import FailOn, GilMethod
from pytest_gilprobe.verdict import margins
from pytest_gilprobe.verdict.gating import Failure
from pytest_gilprobe.verdict.places import MOSTLY, place

if TYPE_CHECKING:
    from pytest_gilprobe.model.holders import Holder
    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.model.settings import Expectation

WANTED: Final = 0.1
"""A gate (a check that fails a test) uses the longest hold of the GIL only if threads waited for the GIL for at least
this share (0 to 1) of their time. With less waiting, the hold's true length is unknown: Python code releases the GIL
only if another thread asks for it, and a release that no thread waits for leaves no trace."""
SWITCHED_ON: Final = "gil-switched-on"
"""Slug of the caution that an import switched the GIL on, in a build of Python that runs without it."""


def failures(expectation: Expectation, result: WorkloadResult, fail_on: frozenset[FailOn]) -> Iterator[Failure]:
    """Yield a failure for each limit on the GIL that the measurements certainly exceed.

    ``expectation`` has the limits from the marker, ``result`` the measurements. If ``fail_on``, what the session
    forbids, contains ``gil-switched-on``, a GIL that an import switched on is a failure, too.
    """
    held, most = result.gil.held_fraction, expectation.max_gil_held
    if most is not None and held is not None and margins.widened_share(held)[0] > most:
        largest = result.gil.holders[0] if result.gil.holders else None
        yield Failure(
            expected=f"max_gil_held={most:g}",
            found=f"held for {numbers.percent(held.value)} of the time{_in(largest)}",
            evidence=f"serial calls held the GIL for {numbers.percent(held.low)} to {numbers.percent(held.high)} of "
            f"their time{_shares(result)}",
            remedy="let that code release the GIL again, do less of it, or raise max_gil_held",
        )
    hold_s, longest_s = _hold_s(result), expectation.max_gil_hold_s
    if longest_s is not None and hold_s is not None and hold_s > longest_s:
        yield Failure(
            expected=f"max_gil_hold={longest_s:g}",
            found=f"a hold of {numbers.seconds(hold_s)}{_in(result.gil.longest_holder)}",
            evidence=f"in threads that wait for the GIL, one of them held it for {numbers.seconds(hold_s)} without a "
            "break (the median of the longest holds of all rounds)",
            remedy="let that code release the GIL between its steps, or raise max_gil_hold",
        )
    if FailOn.GIL_SWITCHED_ON in fail_on:
        for caution in result.verdict.cautions:
            if caution.slug == SWITCHED_ON:
                yield Failure(
                    expected="the GIL off",
                    found="the GIL switched on",
                    evidence=caution.message,
                    remedy="use a build of that module for free-threaded Python; --gilprobe-fail-on asked for this "
                    "failure",
                )


def unchecked(expectation: Expectation, result: WorkloadResult) -> Iterator[str]:
    """Yield, for each undecided limit that the marker sets on the GIL, the reason why it is undecided.

    Call this only if there are no `failures`. The limit on the share of time for which the GIL is held is undecided if
    the share is unknown, or above the limit but not for certain. The limit on the longest hold is undecided if no hold
    was seen while threads waited for the GIL.
    """
    held, most = result.gil.held_fraction, expectation.max_gil_held
    if most is not None and held is None:
        yield "how long the GIL was held is not known"
    elif most is not None and held is not None and held.value > most:
        yield f"the GIL was held for {numbers.percent(held.value)} of the time, but less cannot be excluded"
    if expectation.max_gil_hold_s is not None and _hold_s(result) is None:
        unsampled = "the GIL was not sampled in threads, or they waited for a CPU, as on a busy machine"
        why = unsampled if result.gil.longest_hold_s is None else "no threads waited for it"
        yield f"how long one thread holds the GIL without a break was not seen: {why}"


def limits(expectation: Expectation) -> list[str]:
    """List the marker's limits on the GIL as they are written in the marker, such as ``max_gil_held=0.5``."""
    found = {"max_gil_held": expectation.max_gil_held, "max_gil_hold": expectation.max_gil_hold_s}
    return [f"{keyword}={limit:g}" for keyword, limit in found.items() if limit is not None]


def is_open(expectation: Expectation, result: WorkloadResult) -> bool:
    """Return whether more rounds (one batch of calls of every strategy) may show if a GIL limit is exceeded.

    This is so if the GIL-held share of the time was measured above the marker's limit. It is also so if the longest
    hold has a limit but is unknown, although the GIL was sampled from another process, and threads waited for the GIL
    for at least the share `WANTED` (0.1) of their time.
    """
    held, most = result.gil.held_fraction, expectation.max_gil_held
    waited = result.gil.method is GilMethod.MEMORY and _waits(result) >= WANTED
    unseen = waited and result.gil.longest_hold_s is None
    return (most is not None and held is not None and held.value > most) or (
        expectation.max_gil_hold_s is not None and unseen
    )


def _hold_s(result: WorkloadResult) -> float | None:
    """Return the longest hold, if threads waited for the GIL for long enough to have it released by Python code.

    Without such threads there is only an upper limit: a hold of 0 s is known where no two samples were in one hold.
    """
    hold_s = result.gil.longest_hold_s
    return hold_s if hold_s is not None and _waits(result) >= WANTED else None


def _waits(result: WorkloadResult) -> float:
    """Return the largest share of their time for which lanes of a strategy waited for the GIL."""
    waits = [part.shares.gil_wait or 0.0 for part in result.parallel.values() if part.shares is not None]
    return max(waits, default=0.0)


def _in(holder: Holder | None) -> str:
    if holder is None:
        return ""
    return f", {'most of it' if holder.share.low > MOSTLY else 'more than elsewhere'} in {place(holder)}"


def _shares(result: WorkloadResult) -> str:
    parts = [f"{numbers.percent(one.share.value)} of it in {place(one)}" for one in (result.gil.holders or ())[:3]]
    return f": {', '.join(parts)}" if parts else ""

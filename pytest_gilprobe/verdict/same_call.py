"""Decide whether the timed calls do the same work as the test's own call: each call may change its arguments.

A call that empties a list, sorts it in place or normalises a configuration leaves nothing to do for later calls with
the same objects. If arguments have changed, calls with copies of the first call's arguments are timed beside calls with
the changed ones: only a difference between these is evidence, since a slow first call alone may import or connect.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.error_text import summary
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.loop_time import EventLoop
from pytest_gilprobe.model.results import Caution, GilResult
from pytest_gilprobe.model.words import SERIAL

if TYPE_CHECKING:
    from pytest_gilprobe.model.call_readings import ArgumentsReading
    from pytest_gilprobe.model.readings import Evidence, Measurement

CHANGES = "changes-arguments"
"""Slug of the caution that calls change their arguments, so that later calls are not like the first."""
FRESH = "fresh-fixtures"
"""Slug of the caution that each call got fixtures of its own, since calls with the same ones fail."""
LEFT_BODY = "left-body"
"""Slug of the caution that calls take clearly more or less time after the end of the test's body than inside it."""
KEEPS_PACE = "shared-arguments"
"""Slug of the caution that calls change their arguments, but take as long as calls with unchanged copies."""
MAY_USE_UP = "may-use-up"
"""Slug of the caution that the first call may have used up what later calls need, and that this was not checked."""
APART = 1.5
"""Factor by which calls with copied arguments and calls with changed arguments must differ in time to count as
different: each call of the slower kind takes at least this many times as long as each of the faster kind, except for a
few that may have been disturbed."""
ENOUGH = 3
"""If at least this many calls with copied arguments, and as many with changed arguments, were timed, the two kinds
count as different if their times differ by the factor `APART` (1.5). With fewer calls, the factor is `FAR_APART`
(3)."""
FAR_APART = 3.0
"""Calls with copied arguments and calls with changed arguments count as different if one kind takes at least this many
times as long as the other. This factor is used if fewer than 3 (`ENOUGH`) calls of a kind were timed."""
ONE_DISTURBED_FROM = 5
"""Calls with copied arguments are compared with calls with changed arguments; either kind may be the faster one. If at
least this many calls of the faster kind were timed, the longest of them is ignored: a busy machine may have stopped
it."""
HALF_DISTURBED_FROM = 15
"""Calls with copied arguments are compared with calls with changed arguments; either kind may be the faster one. If at
least this many calls of the faster kind were timed, the longer half of them is ignored."""
LEAST_S = 2e-6
"""Calls with changed arguments count as other work than calls with copies of the original arguments only if they take
at least this many seconds more or less. Any call may take 1 to 2 µs longer if it runs right after something else."""
BODY_S = 10e-6
"""Calls in a test's body and calls after the end of the body count as different work only if their times differ by at
least this many seconds, and by the factor `FAR_APART` (3)."""
USED_UP = 10.0
"""A first call counts as having used something up only if, in the probe and in the test's own run, it took at least
this many times as long as later calls."""
USED_UP_S = 0.001
"""A first call counts as having used up an argument, such as an iterator, only if it took at least this many seconds
longer than later calls."""
STATE_S = 0.005
"""A first call counts as having used up something other than an argument only if it took at least this many seconds
longer than later calls: short first calls often load or compile a little."""
COLD = 3.0
"""A caution tells of a slow first call if it took at least this many times as long as later calls, and `COLD_S`
longer."""
COLD_S = 0.001
"""A caution tells of a slow first call only if it took at least this many seconds longer than later calls."""
NOT_COMPARED = "not compared: "
"""The first words of the reason why no strategy was tried, if the timed calls do other work than the test's own
call."""
REMEDY = "gilprobe.fresh(func, make) gives each call new arguments"
REMEDY_FOR_FIXTURES = "@pytest.mark.gilprobe(fresh=True) makes its fixtures anew for each call"
REMEDY_FOR_AWAITED = f"await {REMEDY}"
REMEDY_FOR_CASES = "let the test method itself make what setUp makes"
REMEDY_FOR_FRESH = "let make() return new objects each time"
REMEDY_FOR_BODY = "gilprobe.fresh(func, make) makes each call in the body: let make() return what it needs anew"
OF_FIXTURE = "fixture "
"""Prefix of an argument's name if the argument is the value of a fixture: ``fixture orders``."""
OF_CASE = "attribute "
"""Prefix of an argument's name if the argument is an attribute of a `unittest.TestCase`: ``attribute orders``."""


def differs(seen: Measurement) -> bool:
    """Return whether the timed calls do clearly more or less work than the test's own call, judged by their times.

    The result is ``True`` in three cases, else ``False``:

    * Calls with changed arguments take clearly more or less time than calls with copies of the original ones.
    * Calls after the test's body was left take clearly more or less time than calls inside it.
    * Neither of these was compared, and calls may have used up an argument, such as an iterator: both the first call of
      the probe and the call that pytest made took far longer than later ones, and neither imported modules.
    """
    found = seen.arguments
    if found is None or not found.used_s:
        return False
    if not found.fresh_s:
        return _used_up(seen, found)
    factor = APART if min(len(found.fresh_s), len(found.used_s)) >= ENOUGH else FAR_APART
    factor, least_s = (FAR_APART, BODY_S) if seen.after_body else (factor, LEAST_S)
    return any(
        min(slow) >= _undisturbed(fast) * factor and min(slow) - _undisturbed(fast) >= least_s
        for slow, fast in ((found.fresh_s, found.used_s), (found.used_s, found.fresh_s))
    )


def not_compared(seen: Measurement) -> str:
    """Say why no strategy is tried: the timed calls do other work than the test's own call."""
    why = "its calls have other work after the test's body" if seen.after_body else "its calls change their arguments"
    return f"{NOT_COMPARED}{why}"


def _undisturbed(times: tuple[float, ...]) -> float:
    """Return the longest of these times that is taken to be the call's own."""
    ordered = sorted(times)
    if len(times) >= HALF_DISTURBED_FROM:
        return ordered[(len(ordered) - 1) // 2]
    return ordered[-2 if len(times) >= ONE_DISTURBED_FROM else -1]


def _used_up(seen: Measurement, found: ArgumentsReading) -> bool:
    """Return whether calls seem to have used up an iterator, or to have shortened a large container."""
    return bool(found.iterators) and _far_shorter(seen, max(found.used_s), USED_UP_S)


def _far_shorter(seen: Measurement, later_s: float, least_s: float) -> bool:
    """Return whether later calls are far shorter than the first one here and in the test's run; imports explain it."""
    if seen.arguments is None or seen.arguments.imported or seen.first_call_s is None or seen.normal_call_s is None:
        return False
    first_s = min(seen.first_call_s, seen.normal_call_s)
    return first_s >= later_s * USED_UP and first_s - later_s >= least_s


def why_no_verdict(seen: Measurement) -> str:
    """Say why there is no verdict: the timed calls take clearly more or less time than the test's own call."""
    found = seen.arguments
    later = numbers.seconds(min(found.used_s)) if found is not None and found.used_s else "another time"
    if found is None or not found.fresh_s:
        what = ", ".join(found.iterators) if found is not None else "an argument"
        first = numbers.seconds(seen.first_call_s)
        return f"no verdict: the first call, which took {first}, seems to use up {what}; later calls take {later}"
    fresh = numbers.seconds(median(found.fresh_s))
    if seen.after_body:
        return (
            f"no verdict: a call takes {fresh} in the test's body, but {later} after that was left, "
            "as fresh=True leaves it before each call"
        )
    return (
        f"no verdict: a call takes {fresh}, but changes {_listed(found)}, and takes {later} when it is made again "
        "with that"
    )


def remedy(seen: Measurement) -> str:
    """Return advice on how each call can get arguments as they were before the first call."""
    found = seen.arguments
    if seen.after_body:
        return f"await {REMEDY_FOR_BODY}" if seen.awaited else REMEDY_FOR_BODY
    if seen.fresh:
        return REMEDY_FOR_FRESH
    suspected = () if found is None else found.changed or found.iterators
    if any(name.startswith(OF_CASE) for name in suspected):
        return REMEDY_FOR_CASES
    if suspected and all(name.startswith(OF_FIXTURE) for name in suspected):
        return seen.not_fresh or REMEDY_FOR_FIXTURES
    return REMEDY_FOR_AWAITED if seen.awaited else REMEDY


def why_not_again(seen: Measurement, *, lost: bool = False) -> str:
    """Return the end of an error message: why a repeated call may have failed, and the remedy.

    Two causes are possible: the first call changed its arguments, or the test's body was left before the repeated call.
    ``lost`` is whether the worker process hung or died in the repeated call. The text is empty if no cause is known.
    """
    found = seen.arguments
    if seen.after_body:
        left = "With fresh=True the test's body is left before each call, and what its with and finally close is closed"
        return f"\n({left}; {remedy(seen)}.)"
    if found is not None and found.changed:
        return f"\n(The first call changed {_listed(found)}; {remedy(seen)}.)"
    again = seen.first_call_s is not None and not lost
    return f"\n({seen.not_fresh}.)" if again and seen.not_fresh is not None else ""


def cautions(evidence: Evidence) -> tuple[Caution, ...]:
    """Return the caution on what calls do to their arguments; empty if there is nothing to say.

    It says one of these: timed calls take clearly more or less time than the test's own call; calls change their
    arguments, but keep their pace; the first call may have used something up; fixtures were made anew for each call,
    since calls with the same ones fail.
    """
    found = evidence.measurement.arguments
    if (because := evidence.measurement.fresh_because) is not None:
        said = f"called again with the same fixtures, it fails ({summary(because)}): each call got fixtures of its own"
        return (Caution(slug=FRESH, message=said),)
    if found is None:
        return ()
    if differs(evidence.measurement):
        return (_other_work(evidence.measurement),)
    if (open_ := _may_use_up(evidence)) is not None:
        return (Caution(slug=MAY_USE_UP, message=f"{open_}; {remedy(evidence.measurement)}"),)
    together = any(one.one_process and evidence.results[one.name].speedup is not None for one in evidence.strategies)
    if found.changed and found.fresh_s and together:
        said = (
            f"its calls change {_listed(found)}, which threads share; the verdict holds, since a call with a new copy "
        )
        return (Caution(slug=KEEPS_PACE, message=f"{said}takes about as long"),)
    return ()


def _other_work(seen: Measurement) -> Caution:
    """Return the caution on calls that are not the call that was meant."""
    if seen.after_body:
        return Caution(slug=LEFT_BODY, message=f"after the test's body its calls have other work; {remedy(seen)}")
    return Caution(slug=CHANGES, message=f"its first call leaves later ones other work; {remedy(seen)}")


def _may_use_up(evidence: Evidence) -> str | None:
    """Say why it is open whether later calls have the first one's work; ``None`` if nothing speaks against it."""
    seen, later_s = evidence.measurement, evidence.serial.call_s.value
    found, first_s = seen.arguments, seen.first_call_s
    if found is None or first_s is None or seen.fresh:
        return None
    took = f"the first call took {numbers.seconds(first_s)}, later ones {numbers.seconds(later_s)}"
    own_s = first_s if seen.normal_call_s is None else seen.normal_call_s
    if found.changed and not found.fresh_s and all(_are_apart(one, later_s) for one in (first_s, own_s)):
        return f"{took}: it changed {_listed(found)}, and a call with a new copy of that failed"
    if not _far_shorter(seen, later_s, STATE_S):
        return None
    not_compared = "".join(f" {name}, which could not be compared ({why})," for name, why in found.unknown.items())
    return (
        f"{took}: a cache or a connection, which each new process pays once, or it used up"
        f"{not_compared or ' what later calls do not find again'}"
    ).rstrip(",")


def _are_apart(one_s: float, other_s: float) -> bool:
    return max(one_s, other_s) >= min(one_s, other_s) * APART and abs(one_s - other_s) >= USED_UP_S


def as_measured(evidence: Evidence) -> Evidence:
    """Return the evidence, corrected if the timed calls do other work than the test's own call.

    In that case, the time of a serial call becomes that of calls with new copies of the arguments, or else that of the
    first call. How calls use the CPU, the GIL and the event loop becomes unknown. Otherwise ``evidence`` is returned as
    it is.
    """
    found = evidence.measurement.arguments
    if found is None or not differs(evidence.measurement):
        return evidence
    times = found.fresh_s or tuple(filter(None, (evidence.measurement.first_call_s,)))
    call_s = Estimate(value=median(times), low=min(times), high=max(times))
    unknown = replace(evidence.serial.utilization, low=0.0, high=1.0)
    serial = replace(evidence.serial, wall_s_per_call=call_s, cpu_utilization=unknown)
    loop = None if evidence.event_loop is None else EventLoop(why_unknown="later calls have other work than the first")
    return replace(evidence, results={**evidence.results, SERIAL: serial}, gil=GilResult(), event_loop=loop)


def slow_first(evidence: Evidence) -> Iterator[str]:
    """Yield a sentence if the first call was much slower than later calls, though all seem to do the same work."""
    first_s, later_s = evidence.serial.first_call_s, evidence.serial.call_s.value
    if first_s is None or differs(evidence.measurement) or _may_use_up(evidence) is not None:
        return
    if first_s >= later_s * COLD and first_s - later_s >= COLD_S:
        yield (
            f"the first call took {numbers.seconds(first_s)}, later ones {numbers.seconds(later_s)}: each new process "
            f"pays that once{_not_compared(evidence.measurement)}"
        )


def _not_compared(seen: Measurement) -> str:
    """Say that a slow first call may have changed an argument that could not be compared; empty if all were."""
    found = seen.arguments
    if found is None or not found.unknown:
        return ""
    name, why = next(iter(found.unknown.items()))
    return f", unless that call changed {name}, which could not be compared ({why})"


def _listed(found: ArgumentsReading) -> str:
    *others, last = found.changed
    return f"{', '.join(others)} and {last}" if others else last

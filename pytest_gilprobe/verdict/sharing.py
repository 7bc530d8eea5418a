"""Judge what threads share: say which shared objects cost speed, which may do so, and what is not known.

The control is plain Python that shares nothing. Calls that compute cannot gain more than it does, so it shows whether
threads with copies of all their objects are still held up. It says nothing about calls that wait: these can gain more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.safe_text import safe_line
from pytest_gilprobe.model.sharing import ALL
from pytest_gilprobe.stats.sharing import COSTS, estimated

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import Evidence
    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.model.sharing import Sharing

MOST_NAMED = 2
"""Largest number of shared objects that a sentence of the verdict's advice names; the workload's result has all."""
NEAR = 0.85
"""The speed-up of lanes (threads) with copies of all their objects is divided by that of the control (plain Python that
shares nothing). If the ratio is certainly this share or more, nothing that lanes share costs much. If it is certainly
less, something still holds the lanes up. Unless it is certainly less, the control is ignored if its speed-up is below
this share of the lanes' speed-up, or if the low end of its interval is below this share of its speed-up."""
COMPUTES = 0.8
"""Calls are compared with the control (plain Python that shares nothing) only if serial calls certainly use at least
this share of a CPU. Calls that wait for longer may gain more than the control, since their waits overlap."""


def with_sharing(result: WorkloadResult, evidence: Evidence) -> WorkloadResult:
    """Return a copy of ``result`` that also says which objects shared by lanes (threads) cost speed, or may do so.

    The findings are in its attribute ``sharing``, and are added to the verdict's reason and advice. If ``evidence`` has
    no data on sharing, ``result`` itself is returned.
    """
    reading = evidence.measurement.sharing
    if reading is None:
        return result
    found = estimated(reading)
    nouns = [one.lane_nouns for one in evidence.strategies if one.one_process and not one.one_thread and one.scales]
    told = found if _measures(found, evidence) else replace(found, best=None, of_best=None)
    clause = _clause(told, float(result.workers), *(nouns[0] if nouns else ("lane", "lanes")))
    if clause is None:
        return replace(result, sharing=found)
    verdict = result.verdict
    advice = "; ".join(filter(None, (verdict.advice, clause)))
    return replace(result, sharing=found, verdict=replace(verdict, reason=f"{verdict.reason}; {clause}", advice=advice))


def _measures(found: Sharing, evidence: Evidence) -> bool:
    """Return whether the control shows what calls can gain: they compute, it is known well, and they gain no more.

    Where other programs take a CPU now and then, they take it from the control, too. It gains less then, so that calls
    which fall short of it all the same do so for certain.
    """
    if found.best is None or found.of_best is None or evidence.serial.utilization.low < COMPUTES:
        return False
    known = found.best.low >= NEAR * found.best.value and found.of_best.value * NEAR <= 1
    return known or _falls_short(found)


def _clause(found: Sharing, most: float, lane: str, lanes: str) -> str | None:
    """Return the sentence about what costs speed, or may; ``None`` if nothing is known to."""
    named = [one for name in found.costly[:MOST_NAMED] for one in found.copies if one.name == name]
    if named and found.speedup is not None:
        one, *_ = named
        own = (
            "copies of all its objects" if one.name == ALL else f"a copy of {' or '.join(each.name for each in named)}"
        )
        gain = f"{lanes} gain {numbers.about(min(one.speedup.value, most))}"
        said = f"with {own} for each {lane}, {gain} instead of {numbers.about(min(found.speedup.value, most))}"
        best = _best(found, most)
        if best is not None and _reaches(found):
            best += f": nothing else that {lanes} share costs much"
        elif best is not None and _falls_short(found):
            best += f"; what still holds {lanes} up is {_elsewhere(found, lanes)}"
        return "; ".join(filter(None, (said, best)))
    if _reaches(found) and all(each.gain.high < COSTS for each in found.copies):  # nothing is left to suspect
        return f"{_best(found, most)}: nothing that {lanes} share costs much"
    if _falls_short(found):
        best = f"{_best(found, most)}; what holds {lanes} up is {_elsewhere(found, lanes)}"
        return "; ".join(filter(None, (best, _unknown(found))))
    return "; ".join(filter(None, (_suspicion(found, lanes), _unknown(found)))) or None


def _reaches(found: Sharing) -> bool:
    return found.of_best is not None and found.of_best.low >= NEAR


def _falls_short(found: Sharing) -> bool:
    return found.of_best is not None and found.of_best.high < NEAR


def _best(found: Sharing, most: float) -> str | None:
    """Return the clause about the control; ``None`` if there was none."""
    if found.best is None:
        return None
    gains = f"plain Python that shares nothing gains {numbers.about(min(found.best.value, most))} here"
    return f"{gains}, the most that this build and machine give"


def _elsewhere(found: Sharing, lanes: str) -> str:
    """Say where lanes meet each of which has all that can be copied: suspects, else what no measurement tells apart."""
    if found.suspects:
        return f"shared elsewhere; {_suspicion(found, lanes)}"
    others = "objects that cannot be copied, " if found.not_copied else ""
    return f"shared elsewhere: {others}objects or classes of modules, the allocator, or memory"


def _suspicion(found: Sharing, lanes: str) -> str | None:
    """Return the sentence about objects of modules and classes that all lanes write to; none of them was tried."""
    if not found.suspects:
        return None
    named = [f"{one.name} at {safe_line(one.file)}:{one.line}" for one in found.suspects[:MOST_NAMED]]
    said = f"the code writes to or locks {' and '.join(named)} in all {lanes}, which may hold them up"
    return f"{said}: see whether they need to share it"


def _unknown(found: Sharing) -> str | None:
    """Return the sentence about objects of which no copy could be tried; ``None`` if there are none."""
    if not found.not_copied:
        return None
    names, reasons = list(map(safe_line, found.not_copied)), dict.fromkeys(map(safe_line, found.not_copied.values()))
    more = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    named, why = " and ".join([*names[:MOST_NAMED], *more]), ", ".join([*reasons][:MOST_NAMED])
    return f"{named} cannot be copied ({why}), so what sharing costs there is not known"

"""Judge what threads share: the sentence that names an object whose sharing costs speed, suspects, or the unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.safe_text import safe_line
from pytest_gilprobe.model.sharing import ALL
from pytest_gilprobe.stats.sharing import estimated

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import Evidence
    from pytest_gilprobe.model.results import WorkloadResult
    from pytest_gilprobe.model.sharing import Sharing

MOST_NAMED = 2
"""Most objects that the sentence names; the report has all."""


def with_sharing(result: WorkloadResult, evidence: Evidence) -> WorkloadResult:
    """Return the result with what lanes (threads) share; the verdict's advice then names what costs speed for certain.

    ``result`` is returned as it is if sharing was not tried.
    """
    reading = evidence.measurement.sharing
    if reading is None:
        return result
    found = estimated(reading)
    nouns = [one.lane_nouns for one in evidence.strategies if one.one_process and not one.one_thread and one.scales]
    clause = _clause(found, float(result.workers), *(nouns[0] if nouns else ("lane", "lanes")))
    if clause is None:
        return replace(result, sharing=found)
    verdict = result.verdict
    advice = "; ".join(filter(None, (verdict.advice, clause)))
    return replace(result, sharing=found, verdict=replace(verdict, reason=f"{verdict.reason}; {clause}", advice=advice))


def _clause(found: Sharing, most: float, lane: str, lanes: str) -> str | None:
    """Return the sentence about what costs speed, or may; ``None`` if nothing is known to."""
    named = [one for name in found.costly[:MOST_NAMED] for one in found.copies if one.name == name]
    if not named or found.speedup is None:
        return "; ".join(filter(None, (_suspicion(found, lanes), _unknown(found)))) or None
    best = named[0]
    own = "copies of all its objects" if best.name == ALL else f"a copy of {' or '.join(one.name for one in named)}"
    return (
        f"with {own} for each {lane}, {lanes} gain {numbers.about(min(best.speedup.value, most))} "
        f"instead of {numbers.about(min(found.speedup.value, most))}"
    )


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

"""Choose what the short report (the one without ``-v``) says of a workload: its figures, the reason, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gilprobe.model import gains, numbers
from pytest_gilprobe.model.error_text import summary
from pytest_gilprobe.model.safe_text import ERROR_LIMIT, safe_line
from pytest_gilprobe.model.words import BROKEN, INCONCLUSIVE, NOT_ASKED, SERIAL, Bound, Gil, Outcome, Status
from pytest_gilprobe.report.views import BriefView
from pytest_gilprobe.verdict.same_call import CHANGES, LEFT_BODY, NOT_COMPARED

if TYPE_CHECKING:
    from pytest_gilprobe.model.results import StrategyResult, Verdict, WorkloadResult
    from pytest_gilprobe.report.views import Note, WorkloadView

LEAST_PROBABLE = 0.01
"""An inconclusive verdict names a strategy as a possible answer if its probability, from 0 to 1, is at least this."""
FEW = 5
"""Largest number of workloads with which the short report still says where in the code each of them holds the GIL.
That takes three to five more lines for each workload, and the report should fit on a screen."""
_BOUNDS = {Bound.IO: "I/O-bound", Bound.CPU: "CPU-bound", Bound.MIXED: "half waiting"}
_SAID_ALREADY = frozenset(
    {
        "already-parallel",
        "blocks-holding-gil",
        "blocks-the-loop",
        "busy-machine",
        CHANGES,
        "children-compute",
        "contended-without-gil",
        "fresh-fixtures",
        "gil-part-open",
        LEFT_BODY,
        "not-the-gil",
        "shared-arguments",
        "slow-first-call",
        "stalls-threads",
        "threads-slower",
    }
)
"""Slugs of cautions that the short report leaves out: the reason says them already, or they change nothing to do."""


def brief_view(result: WorkloadResult) -> BriefView:
    """Return the texts of the short report on one workload.

    Of a workload that was not measured, only the reason for that is given.
    """
    verdict, measured = result.verdict, result.status is Status.PROBED and result.serial is not None
    if is_one_run(result):
        return _of_one_run(result)
    if not measured:
        return BriefView(why=_first(result.reason or verdict.reason))
    why = _first(verdict.why or verdict.reason)
    _, odds = candidates(verdict)
    return BriefView(
        call=_call(result),
        measured=", ".join(filter(None, (_call(result), _BOUNDS.get(verdict.bound)))),
        others=_others(result),
        why=f"{why}; odds {odds}" if odds else why,
        advice=_first(verdict.advice),
    )


def is_one_run(result: WorkloadResult) -> bool:
    """Return whether a workload was measured in a single run only, because its call takes too long to be repeated."""
    return (
        result.status is Status.NOT_PROBED
        and result.verdict.bound is not Bound.INCONCLUSIVE
        and bool(result.verdict.advice)
    )


def is_brief(note: Note) -> bool:
    """Return whether the short report shows ``note``.

    It shows notes on strategies that failed, hung or crashed, and cautions (warnings) that change what to do. It also
    shows notes on skipped strategies, with one exception: if all were skipped because later calls do other work than
    the first call, the reason of the verdict says so already. For notes of all other kinds the result is false.
    """
    if note.kind == "skipped":
        return not any(NOT_COMPARED in line for line in note.lines)
    return note.kind in BROKEN or (note.kind == "caution" and note.slug not in _SAID_ALREADY)


def says_where(workload: WorkloadView, workloads: int) -> bool:
    """Return whether the short report says where a workload holds the GIL.

    It says so if these places in the code are known and the calls hold the GIL for most or part of the time. There are
    two exceptions: the report has more than `FEW` (5) workloads (``workloads`` is their number), or a caution says that
    later calls do other work than the first call.
    """
    other_calls = any(note.slug in {CHANGES, LEFT_BODY} for note in workload.notes)
    in_the_way = workload.gil in {Gil.HELD, Gil.PARTIAL} and bool(workload.where.holders)
    return in_the_way and workloads <= FEW and not other_calls


def candidates(verdict: Verdict) -> tuple[str, str]:
    """Return two texts: the strategies between which an inconclusive verdict cannot decide, and their probabilities.

    The first text names the strategies, the likeliest first, such as ``threads or processes``. The second gives their
    probabilities of being the best one in percent, such as ``60 : 40``. Strategies below `LEAST_PROBABLE` (1 %) are
    left out. Both texts are empty if the verdict is not inconclusive, or if fewer than two strategies remain.
    """
    if verdict.strategy != INCONCLUSIVE:
        return "", ""
    left = [(name, share) for name, share in verdict.candidates.items() if LEAST_PROBABLE <= share <= 1]
    left.sort(key=lambda pair: -pair[1])
    if len(left) <= 1:
        return "", ""
    names = [safe_line(name) for name, _ in left]
    odds = " : ".join(f"{share * 100:.0f}" for _, share in left)
    return f"{', '.join(names[:-1])} or {names[-1]}", odds


def _of_one_run(result: WorkloadResult) -> BriefView:
    verdict, serial, held = result.verdict, result.strategies.get(SERIAL), result.gil.held_fraction
    call = numbers.seconds(serial.wall_s_per_call.value) if serial and serial.wall_s_per_call else ""
    share = "" if held is None or verdict.gil is Gil.ABSENT else f"GIL held {numbers.percent(held.value)}"
    figures = ", ".join(filter(None, (call, _BOUNDS.get(verdict.bound), share)))
    return BriefView(call=call, measured=figures, why=_first(verdict.why), advice=_first(verdict.advice))


def _call(result: WorkloadResult) -> str:
    call_s = None if result.serial is None else result.serial.wall_s_per_call
    return "" if call_s is None else numbers.seconds(call_s.value)


def _others(result: WorkloadResult) -> str:
    """Say what each strategy that is not the answer gives in a pool; empty if open, since the reason says it."""
    verdict = result.verdict
    if verdict.strategy == INCONCLUSIVE and verdict.why:
        return ""
    told = {
        safe_line(name): said
        for name, part in result.parallel.items()
        if name != verdict.strategy and (said := _gives(part, result.workers))
    }
    return ", ".join(f"{name} {said}" for name, said in told.items())


def _gives(part: StrategyResult, workers: int) -> str:
    if part.impossible and part.error == NOT_ASKED:
        return ""
    gain = gains.in_pool(part, workers)
    if part.outcome is Outcome.OK and gain is not None:
        return numbers.about(gain.value)
    return numbers.NOT_AVAILABLE if part.outcome is Outcome.OK else str(part.outcome)


def _first(text: str) -> str:
    return safe_line(summary(text), limit=ERROR_LIMIT)

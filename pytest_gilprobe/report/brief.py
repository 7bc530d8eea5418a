"""Give the short report's texts on a workload: its figures, the reason for the answer, and what to do."""

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
"""Least probability, from 0 to 1, at which a strategy is named as a possible answer of an inconclusive verdict."""
FEW = 5
"""The short report says where each workload holds the GIL only if it has at most this many workloads: with three to
five more lines for each, it still fits on a screen."""
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
"""Slugs of cautions on a single workload that the reason says already, or that change nothing in what to do."""


def brief_view(result: WorkloadResult) -> BriefView:
    """Return what the short report says of a workload, whether it was measured or not."""
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
    """Return whether all that is known of a workload is one run, since its call is too long to be repeated."""
    return (
        result.status is Status.NOT_PROBED
        and result.verdict.bound is not Bound.INCONCLUSIVE
        and bool(result.verdict.advice)
    )


def is_brief(note: Note) -> bool:
    """Return whether the short report shows ``note``.

    It shows notes on strategies that failed, hung or crashed, and cautions that change what to do. It shows that a
    strategy was skipped, unless no strategy was tried because later calls do other work than the first: the verdict's
    reason says that. For the note on where the GIL is held, see `says_where`.
    """
    if note.kind == "skipped":
        return not any(NOT_COMPARED in line for line in note.lines)
    return note.kind in BROKEN or (note.kind == "caution" and note.slug not in _SAID_ALREADY)


def says_where(workload: WorkloadView, workloads: int) -> bool:
    """Return whether the short report says where a workload holds the GIL.

    It does if places in the code are known and the calls hold the GIL for all or part of their time. It does not if the
    report has more than `FEW` ``workloads``, or if a caution says that later calls do other work than the first.
    """
    other_calls = any(note.slug in {CHANGES, LEFT_BODY} for note in workload.notes)
    in_the_way = workload.gil in {Gil.HELD, Gil.PARTIAL} and bool(workload.where.holders)
    return in_the_way and workloads <= FEW and not other_calls


def candidates(verdict: Verdict) -> tuple[str, str]:
    """Return the strategies between which an inconclusive verdict is undecided, and their odds.

    The first text names the strategies, the likeliest first, such as ``threads or processes``. The second has their
    probabilities in percent, such as ``60 : 40``. Both texts are empty if the verdict is not inconclusive, or if fewer
    than two strategies have a probability of `LEAST_PROBABLE` or more.
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
    """Say what a pool of each strategy that is not the answer gives; of an open verdict the reason says it."""
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

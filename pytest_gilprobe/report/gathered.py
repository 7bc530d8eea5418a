"""Gather the cautions (warnings) that concern several workloads of a report, to say each once, at the top."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from pytest_gilprobe.model import numbers
from pytest_gilprobe.report.views import Note, ReportView, WorkloadView

LEAST = 3
"""A caution (a warning on a workload) moves to the top of the report if at least this many workloads have it."""
MOST_NAMES = 5
"""Largest number of workloads that a caution (warning) at the top of the report names; it only counts any others. No
workload is named if all have the caution, or if more than this number, and more than half of all, have it."""
_OF_THE_SYSTEM = frozenset({"gil-unwatched", "queueing-unseen"})
"""Slugs of cautions on what this system does not tell: one workload is enough to gather them, and if all workloads have
one, it names none of them."""
_IN_GENERAL = {
    "busy-machine": "other programs kept the CPUs busy: waiting for a CPU is taken out, and intervals are wider",
    "changes-arguments": "the first call leaves later ones other work, so there is no verdict",
    "expectation-unchecked": "what the marker expects could not be checked, so the test passes",
    "fresh-fixtures": "called again with the same fixtures, the test fails: each call got fixtures of its own",
    "gil-part-open": "whether the GIL is held, partly held or released is not decided",
    "left-body": "calls have other work after the test's body, which fresh=True leaves, so there is no verdict",
    "shared-arguments": "calls change their arguments, and take the same time nevertheless",
    "slow-first-call": "the first call took much longer than later ones: each new process pays that once",
    "throttled": "the CPU quota stopped the probe for a part of its time: speed-ups read too low",
    "uneven-calls": "calls do not all take the same time",
}
"""What a caution, by its slug, says of several workloads, without figures of one workload. For any other slug, the
message for the first workload is shown as an example."""


def gathered(view: ReportView) -> tuple[tuple[Note, ...], ReportView]:
    """Replace the cautions (warnings) that several workloads of a report share by notes for the top of the report.

    Return these notes, and the report without the cautions that they replace. A caution is replaced if at least `LEAST`
    (3) workloads have it. A caution on data that the operating system does not provide is always replaced.
    """
    concerned: dict[str, list[WorkloadView]] = defaultdict(list)
    messages: dict[str, Note] = {}
    for workload in view.workloads:
        for note in workload.notes:
            if note.kind == "caution" and note.slug and workload not in concerned[note.slug]:
                concerned[note.slug].append(workload)
                messages.setdefault(note.slug, note)
    several = {slug: found for slug, found in concerned.items() if len(found) >= LEAST or slug in _OF_THE_SYSTEM}
    notes = tuple(_note(messages[slug], found, view) for slug, found in several.items())
    kept = tuple(
        replace(workload, notes=tuple(note for note in workload.notes if note.slug not in several))
        for workload in view.workloads
    )
    return notes, replace(view, workloads=kept)


def _note(first: Note, found: list[WorkloadView], view: ReportView) -> Note:
    """Return the note on the workloads ``found`` of a report, named by their tests if they are not all."""
    total, said = len(view.workloads), " ".join(first.lines)
    if first.slug not in _OF_THE_SYSTEM:
        said = _IN_GENERAL.get(first.slug, f"for example, {said}")
    elif len(found) == len(view.probed):
        return replace(first, lines=(said,))
    if len(found) == total:
        return replace(first, lines=(f"{said} (all {numbers.count(total, 'workload')})",))
    if len(found) * 2 > total and len(found) > MOST_NAMES:
        return replace(first, lines=(f"{said} ({len(found)} of {numbers.count(total, 'workload')})",))
    names = [workload.nodeid.rpartition("::")[2] or workload.nodeid for workload in found]
    more = len(names) - MOST_NAMES
    listed = ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    return replace(first, lines=(f"{said} ({len(found)} of {numbers.count(total, 'workload')}: {listed})",))

"""Say where in the code the GIL is held: name the places that hold it for longest, and lay out an icicle.

An icicle is a drawing of call stacks in which each function lies below its caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.safe_text import safe_line
from pytest_gilprobe.model.words import Gil
from pytest_gilprobe.report.holder_views import HolderView, IcicleCell, WhereView
from pytest_gilprobe.report.views import Note
from pytest_gilprobe.verdict import places

if TYPE_CHECKING:
    from pytest_gilprobe.model.holders import CodePlace, HeldStack, Holder
    from pytest_gilprobe.model.results import WorkloadResult

MOST_IN_NOTES: Final = 3
MOST_IN_TABLES: Final = 10
LEAST_WIDTH: Final = 0.4
"""An icicle (a drawing of call stacks) leaves out functions that are narrower than this, in percent of its width."""


def where_view(result: WorkloadResult) -> WhereView:
    """Return the texts and the drawing of call stacks that show where in the code a workload holds the GIL.

    All fields of the result are empty if that is not known.
    """
    holders = result.gil.holders or ()
    return WhereView(
        holders=tuple(map(view, holders[:MOST_IN_TABLES])),
        icicle=tuple(icicle(result.gil.stacks or ())),
        follows=places.what_follows(result) or "" if holders else "",
    )


def note(result: WorkloadResult) -> Iterator[Note]:
    """Yield at most one note: up to three places in the code that hold the GIL for longest, the longest first.

    The note may also say what threads could gain if the first place ran without the GIL. If no place is known, the note
    says why. Nothing is yielded if no reason is known either, or if calls release the GIL or Python runs without it.
    """
    found = where_view(result)
    lines = [
        f"{one.share} in {one.code}{f' at {one.where}' if one.where else ''}" for one in found.holders[:MOST_IN_NOTES]
    ]
    if lines:
        lines += [found.follows] if found.follows else []
        yield Note(kind="holder", label="where the GIL is held", lines=tuple(lines))
    elif result.gil.holders_reason and result.verdict.gil not in {Gil.ABSENT, Gil.RELEASED}:
        why = f"not known: {safe_line(result.gil.holders_reason)}"
        yield Note(kind="holder", label="where the GIL is held", lines=(why,))


def view(holder: Holder) -> HolderView:
    """Turn one place in the code that holds the GIL into texts: its share of the held time, code, file and function."""
    calls = [part for part in (holder.library, None if holder.native is None else f"{holder.native}()") if part]
    return HolderView(
        share=numbers.percent(holder.share.value),
        interval=numbers.share_span(holder.share),
        code=places.what(holder),
        where=places.at(holder).removeprefix(" at "),
        function=safe_line(holder.function),
        calls=safe_line(", ".join(calls)),
    )


def icicle(stacks: Sequence[HeldStack]) -> Iterator[IcicleCell]:
    """Yield the cells of a drawing of call stacks in which each function lies below its caller.

    A cell is as wide as its function's share of the time for which the GIL is held, with all that the function calls.
    """
    yield from _below([(one.frames, one.share) for one in stacks], 0, 0.0)


def _below(stacks: Sequence[tuple[Sequence[CodePlace], float]], depth: int, start: float) -> Iterator[IcicleCell]:
    for (function, file), part in _by_function(stacks, depth).items():
        width = 100 * sum(share for _, share in part)
        if width >= LEAST_WIDTH:
            name = safe_line(function)
            yield IcicleCell(
                depth=depth,
                start=round(start, 2),
                width=round(min(width, 100 - start), 2),
                label=name,
                said=f"{name}, {safe_line(file or '')}: {numbers.percent(width / 100)}",
            )
            yield from _below(part, depth + 1, start)
        start += width


def _by_function(
    stacks: Sequence[tuple[Sequence[CodePlace], float]], depth: int
) -> Mapping[tuple[str, str | None], list[tuple[Sequence[CodePlace], float]]]:
    """Group stacks by their function at a depth; a stack that ends above it belongs to none."""
    found: dict[tuple[str, str | None], list[tuple[Sequence[CodePlace], float]]] = {}
    for frames, share in stacks:
        if depth < len(frames):
            found.setdefault((frames[depth].function, frames[depth].file), []).append((frames, share))
    return found

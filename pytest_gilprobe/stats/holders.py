"""Estimate where in the code the GIL is held: each expression's share of the held time, from samples of stacks.

A sample that finds the GIL held also reads the stack of the thread that holds it. The sample counts for the code that
the user's innermost frame executes: an expression, if it calls something by name or a function that it called is
running; else a whole source line, since the parts of a line alternate within nanoseconds. Samples are taken at random
moments; each counts for the time it stands for. In a batch (calls timed together) of one thread, a sample does not
count if the thread may have waited for a CPU then: on an idle machine it would not have.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.holders import CodePlace, HeldStack, Holder
from pytest_gilprobe.stats import queued_samples
from pytest_gilprobe.stats.estimates import CONFIDENCE
from pytest_gilprobe.stats.gil_samples import (
    MIN_SAMPLES,
    SampledWindow,
    effective_number,
    overdispersion,
    time_weights,
    wilson,
)
from pytest_gilprobe.stats.whole_stacks import WholeStacks

if TYPE_CHECKING:
    from pytest_gilprobe.model.readings import BatchReading
    from pytest_gilprobe.model.stacks import Frame, Stack

LEAST_CALL_S: Final = 2e-5
"""The code that holds the GIL is reported only if a call takes at least this many seconds."""
LEAST_SHARE: Final = 0.005
"""Least share of the GIL's held time from which a place in the code, or a stack, is reported: one sample in 200."""
MOST_HOLDERS: Final = 30
"""Largest number of places in the code reported as holding the GIL: others mostly have under 1 % of the held time."""
MOST_STACKS: Final = 60
"""Largest number of stacks that are reported as holding the GIL: the report's icicle chart has no room for more."""
MAX_UNREAD_SHARE: Final = 0.5
"""No holder of the GIL is named if more than this share of the stacks changed while being read, or were too deep."""
_EXPRESSIONS: Final = frozenset({"<genexpr>", "<listcomp>", "<setcomp>", "<dictcomp>"})
MOSTLY: Final = 0.5
"""A place in the code is reported with the native or library function that more than this share of its samples show."""


class Held(NamedTuple):
    """A sample that found the GIL held: the time ``weight_ns`` that it stands for, and the holder's ``stack``."""

    weight_ns: float
    stack: Stack


class Place(NamedTuple):
    """A function, its file and line; ``code`` is the expression or source line there. ``None`` means unknown."""

    function: str
    file: str
    line: int | None
    code: str | None


def held_samples(batches: Sequence[BatchReading]) -> list[list[Held]]:
    """Return, for each batch (calls timed together), the samples that found the GIL held and read its holder's stack.

    Samples at which a batch's only thread may have waited for a CPU are left out. A batch without samples has no list.
    """
    whole = WholeStacks(stack for batch in batches if batch.gil is not None for stack in batch.gil.stacks)
    return [found for batch in batches if (found := _held(batch, whole))]


def _held(batch: BatchReading, whole: WholeStacks) -> list[Held]:
    samples = batch.gil
    if samples is None or not samples.stack:
        return []
    start_ns, end_ns = min(lane.start_ns for lane in batch.lanes), max(lane.end_ns for lane in batch.lanes)
    window = SampledWindow(samples, start_ns, end_ns)
    inside = window.inside
    if not inside or window.duration_ns <= 0:
        return []
    stacks = tuple(map(whole.of, samples.stacks))
    weights = time_weights([samples.at_ns[at] for at in inside], start_ns, end_ns)
    lane, *others = batch.lanes
    queued = frozenset() if others else queued_samples.possible(window, lane.run_queue_ns)
    return [
        Held(weight_ns=weight * window.duration_ns, stack=stacks[samples.stack[at]])
        for at, weight in zip(inside, weights, strict=True)
        if samples.stack[at] >= 0 and stacks[samples.stack[at]] and at not in queued
    ]


def holders(batches: Sequence[BatchReading], call_s: float) -> tuple[Holder, ...] | None:
    """Return the places in the code that held the GIL, each with its share of the held time, the largest first.

    ``batches`` (series of calls timed together) are of serial calls: in parallel ones, a thread that holds the GIL and
    waits for a CPU would count too much. ``call_s`` is the wall seconds of a call. The result is ``None`` for calls
    shorter than 20 us, for fewer than 16 samples, or if most stacks could not be read.
    """
    shown = held_samples(batches)
    return None if _why_none(batches, shown, call_s) else _largest(by_place(shown))


def why_none(batches: Sequence[BatchReading], call_s: float) -> str | None:
    """Return why ``batches`` of calls of ``call_s`` seconds do not show what held the GIL; ``None`` if they do."""
    return _why_none(batches, held_samples(batches), call_s)


def _why_none(batches: Sequence[BatchReading], shown: Sequence[Sequence[Held]], call_s: float) -> str | None:
    sampled = [batch.gil for batch in batches if batch.gil is not None]
    found = [sample.weight_ns for batch in shown for sample in batch]
    torn = sum(samples.torn for samples in sampled)
    if call_s < LEAST_CALL_S:
        return f"calls are shorter than {numbers.seconds(LEAST_CALL_S)}"
    if not any(samples.stack for samples in sampled):
        return "no stacks were read"
    if torn > (len(found) + torn) * MAX_UNREAD_SHARE:
        return "most stacks changed while they were read, or were too deep"
    if not found or effective_number(found, [1.0] * len(found)) < MIN_SAMPLES:
        return f"fewer than {MIN_SAMPLES} samples found it held and read a stack"
    return None


def of_stacks(stacks: Sequence[Stack]) -> tuple[Holder, ...] | None:
    """Return the places in the code that ``stacks`` show, each with its share of all stacks, the largest first.

    The stacks were read at random moments. The result is ``None`` for fewer than 16 stacks (`MIN_SAMPLES`).
    """
    if len(stacks) < MIN_SAMPLES:
        return None
    return _largest(by_place([[Held(weight_ns=1.0, stack=stack) for stack in stacks]]))


def _largest(found: Sequence[Holder]) -> tuple[Holder, ...]:
    told = [one for one in found if one.share.value >= LEAST_SHARE]
    return tuple(sorted(told, key=lambda one: -one.share.value)[:MOST_HOLDERS])


class _Seen:
    """The samples of one batch, added up by their stacks, each of which is one object."""

    def __init__(self, samples: Sequence[Held]) -> None:
        self.stacks = {id(sample.stack): sample.stack for sample in samples}
        self.counts = Counter(id(sample.stack) for sample in samples)
        self.total_ns = sum(sample.weight_ns for sample in samples)
        self.number = effective_number([sample.weight_ns for sample in samples], [1.0] * len(samples))
        self.keys = {at: key(stack) for at, stack in self.stacks.items()}
        self.parts_ns: defaultdict[Place, float] = defaultdict(float)
        for sample in samples:
            self.parts_ns[self.keys[id(sample.stack)]] += sample.weight_ns


def by_place(batches: Sequence[Sequence[Held]]) -> list[Holder]:
    """Return each place in the code where samples of ``batches`` were taken, with its share of their time, unsorted."""
    seen = [_Seen(batch) for batch in batches if batch]
    calling = _calling_python(stack for one in seen for stack in one.stacks.values())
    natives: defaultdict[Place, Counter[str | None]] = defaultdict(Counter)
    libraries: defaultdict[Place, Counter[str | None]] = defaultdict(Counter)
    for one in seen:
        for at, stack in one.stacks.items():
            natives[one.keys[at]][_native(stack, calling)] += one.counts[at]
            libraries[one.keys[at]][_library(stack)] += one.counts[at]
    return [
        Holder(
            share=_share(key, seen),
            function=key.function,
            file=key.file,
            line=key.line,
            code=key.code,
            native=_most(natives[key]),
            library=_most(libraries[key]),
        )
        for key in natives
    ]


def _share(key: Place, batches: Sequence[_Seen]) -> Estimate:
    """Estimate the share of a place in the samples, with an interval that covers differences between batches."""
    total_ns = sum(batch.total_ns for batch in batches)
    value = min(1.0, sum(batch.parts_ns.get(key, 0.0) for batch in batches) / total_ns)
    number = effective_number([batch.total_ns / total_ns for batch in batches], [batch.number for batch in batches])
    each = [(batch.parts_ns.get(key, 0.0) / batch.total_ns, batch.number) for batch in batches]
    low, high = wilson(value, number / overdispersion(each, value))
    return Estimate(value=value, low=min(low, value), high=max(high, value), confidence=CONFIDENCE)


def most_frequent(samples: Sequence[Held]) -> Holder | None:
    """Return the place in the code with the largest share of the time of ``samples``; ``None`` without samples."""
    found = by_place([samples])
    return max(found, key=lambda one: one.share.value) if found else None


def stacks(batches: Sequence[BatchReading]) -> tuple[HeldStack, ...] | None:
    """Return the stacks of threads that held the GIL, each with its share of the held time, the largest first.

    Stacks that differ only within a line are merged. ``None`` if ``batches`` (calls timed together) have no stack.
    """
    weights: defaultdict[int, float] = defaultdict(float)
    different: dict[int, Stack] = {}
    for batch in held_samples(batches):
        for sample in batch:
            weights[id(sample.stack)] += sample.weight_ns
            different[id(sample.stack)] = sample.stack
    shares: defaultdict[tuple[CodePlace, ...], float] = defaultdict(float)
    for at, stack in different.items():
        shares[tuple(_place(frame) for frame in reversed(stack))] += weights[at]
    total_ns = sum(shares.values())
    if not total_ns:
        return None
    ordered = sorted(shares.items(), key=lambda pair: -pair[1])[:MOST_STACKS]
    told = [HeldStack(share=min(1.0, part / total_ns), frames=frames) for frames, part in ordered]
    return tuple(one for one in told if one.share >= LEAST_SHARE)


def _place(frame: Frame) -> CodePlace:
    return CodePlace(function=frame.function, file=frame.file, line=frame.line)


def _most(names: Counter[str | None]) -> str | None:
    (name, number), *_ = names.most_common(1)
    return name if number > names.total() * MOSTLY else None


def own_at(stack: Stack) -> int:
    """Return the position in a stack, 0 being the innermost frame, of the innermost frame in the user's own files.

    If there is none, the result is the position of the outermost frame. A comprehension or generator expression counts
    as part of the function around it, if that function called it.
    """
    at = next((at for at, frame in enumerate(stack) if frame.own), len(stack) - 1)
    while at + 1 < len(stack) and _is_inside(stack[at], stack[at + 1]):
        at += 1
    return at


def _is_inside(frame: Frame, caller: Frame) -> bool:
    outer, _, name = frame.function.rpartition(".<locals>.")
    return name in _EXPRESSIONS and (outer, frame.file) == (caller.function, caller.file)


def key(stack: Stack) -> Place:
    """Return the place in the code for which a stack counts: that of the innermost frame in the user's own files."""
    return place_at(stack, own_at(stack))


def place_at(stack: Stack, at: int) -> Place:
    """Return the place in the code that the frame at the position ``at`` of a stack executes; 0 is the innermost frame.

    The place is an expression, if that calls something by name or has called the next inner frame; else a source line.
    """
    frame = stack[at]
    code = frame.code if at > 0 or callee(frame.code) is not None else None
    return Place(frame.function, frame.file, frame.line, code or frame.statement)


def _library(stack: Stack) -> str | None:
    """Return the library function that the user's code called: the frame just inside the user's innermost one."""
    at = own_at(stack)
    called = stack[at - 1] if at > 0 else None
    return None if called is None or called.own or not stack[at].own else f"{called.file}: {called.function}"


def _native(stack: Stack, calling: frozenset[tuple[Place, str | None]]) -> str | None:
    """Return the name by which the innermost frame calls a function that is not written in Python, if it does."""
    leaf = stack[0]
    return None if _site(leaf) in calling else callee(leaf.code)


def _calling_python(stacks: Iterable[Stack]) -> frozenset[tuple[Place, str | None]]:
    """Return the places that were seen to call Python functions."""
    return frozenset(_site(frame) for stack in stacks for frame in stack[1:])


def _site(frame: Frame) -> tuple[Place, str | None]:
    return Place(frame.function, frame.file, frame.line, None), frame.code


@cache
def callee(code: str | None) -> str | None:
    """Return what the expression ``code`` calls, such as ``json.loads``; ``None`` if it is not a call by name."""
    if code is None:
        return None
    try:
        expression = ast.parse(code, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(expression, ast.Call):
        return None
    names: list[str] = []
    function: ast.expr = expression.func
    while isinstance(function, ast.Attribute):
        names.append(function.attr)
        function = function.value
    if isinstance(function, ast.Name):
        names.append(function.id)
    return ".".join(reversed(names)) or None

"""Hypothesis strategies that make any report, valid by the records' own rules and as odd as they allow."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from pytest_gilprobe.model.estimate import Estimate
from pytest_gilprobe.model.report import SCHEMA_VERSION, Report
from pytest_gilprobe.model.results import BadEnd, StrategyResult, Verdict, WorkloadResult
from pytest_gilprobe.model.words import SERIAL, STRATEGY_NAME, Outcome

TEXT = st.text(st.characters(), max_size=30) | st.sampled_from(
    [
        "",
        "\ud800",
        "\x1b[31m",
        "\u202e",
        "<script>alert(1)</script>",
        "a|b`c",
        "{{ 7*7 }}",
        "x" * 10_000,
        "\n\n",
        "漢字" * 60,
    ]
)
"""Any text that a name or an error might be, lone surrogates included."""

NAMES = st.sampled_from([SERIAL, "threads", "processes", "executor:elsewhere"]) | st.from_regex(
    STRATEGY_NAME, fullmatch=True
)
"""Any name of a strategy."""

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    """Make any estimate: three finite floats in order, and a confidence."""
    low, value, high = sorted(draw(st.tuples(FLOATS, FLOATS, FLOATS)))
    confidence = draw(st.floats(0, 1, exclude_min=True, exclude_max=True))
    return Estimate(value=value, low=low, high=high, confidence=confidence)


def of(hint: Any) -> st.SearchStrategy[Any]:
    """Make values of a field's type hint: a scalar, an enum, a record, a tuple of them, or any of these or ``None``."""
    scalars = {str: TEXT, bool: st.booleans(), int: st.integers(-(10**18), 10**18), float: FLOATS}
    if hint in scalars:
        return scalars[hint]
    if get_origin(hint) is tuple:
        return st.lists(of(get_args(hint)[0]), max_size=2).map(tuple)
    if get_origin(hint) is Mapping:
        return st.dictionaries(NAMES, of(get_args(hint)[1]), max_size=4)
    if get_origin(hint) in (types.UnionType, Union):
        return st.one_of([st.none() if part is type(None) else of(part) for part in get_args(hint)])
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    return records(hint)


@cache
def records(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Make records of a kind from its fields and type hints."""
    assert is_dataclass(kind)
    if kind is Estimate:
        return estimates()
    hints = get_type_hints(kind)
    members = {field.name: of(hints[field.name]) for field in fields(kind)}
    if kind is Report:
        members["schema_version"] = st.just(SCHEMA_VERSION)
    if kind in (Verdict, BadEnd):
        members["strategy"] = NAMES
    if kind is WorkloadResult:
        members["strategies"] = st.builds(lambda base, others: {**base, **others}, bases(), parallel())
    return st.builds(kind, **members)


def bases() -> st.SearchStrategy[dict[str, StrategyResult]]:
    """Make any result of serial calls, or none: what ended well has its times."""
    hints = get_type_hints(StrategyResult)
    members = {field.name: of(hints[field.name]) for field in fields(StrategyResult)}
    times = dict.fromkeys(("wall_s_per_call", "cpu_s_per_call", "cpu_utilization"), estimates())
    counts = dict.fromkeys(("calls", "rounds"), of(int))
    well = st.builds(StrategyResult, **{**members, **times, **counts, "outcome": st.just(Outcome.OK)})
    badly = records(StrategyResult).filter(lambda part: part.outcome is not Outcome.OK)
    return st.builds(lambda part: {SERIAL: part}, well | badly) | st.just({})


def parallel() -> st.SearchStrategy[dict[str, StrategyResult]]:
    """Make any results of other strategies."""
    return st.dictionaries(NAMES.filter(lambda name: name != SERIAL), records(StrategyResult), max_size=3)


def workloads() -> st.SearchStrategy[WorkloadResult]:
    """Make any workload."""
    return records(WorkloadResult)


def reports() -> st.SearchStrategy[Report]:
    """Make any report of up to two workloads."""
    return records(Report)

"""Files for viewers have every field that the viewers' documented formats require, each of the type that they require.

*Source:* ``src/lib/file-format-spec.ts`` of https://github.com/jlfwong/speedscope; ``src/types/profile.ts`` of
https://github.com/firefox-devtools/profiler, version 58 of the processed profile format.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest
from reports_fixture import STACKS, rich_report

from pytest_gilprobe.model.holders import CodePlace, HeldStack
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.report import firefox, stack_files

RECURSION: Final = CodePlace(function="down", file="shop/orders.py", line=3)
ODD: Final = (
    HeldStack(share=0.5, frames=(RECURSION,) * 99),
    HeldStack(share=0.000_001, frames=(RECURSION, CodePlace(function='"größe\u2028"</script>', file="<string>"))),
    HeldStack(share=0.2, frames=(CodePlace(function="", file=None, line=None),)),
)
"""A deep stack, one that hardly counts, names that have to be escaped, and a function without file or line."""


def _report(stacks: tuple[HeldStack, ...]) -> Report:
    """Return the fixed report, in which two workloads have these stacks."""
    report = rich_report()
    one, two, *others = (replace(one, gil=replace(one.gil, stacks=None)) for one in report.workloads)
    with_stacks = [replace(one, gil=replace(one.gil, stacks=stacks)) for one in (one, two)]
    return replace(report, workloads=(*with_stacks, *others))


both = pytest.mark.parametrize("stacks", [STACKS, ODD], ids=["plain", "odd"])


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: object) -> bool:
    return type(value) in {int, float} and value == value  # noqa: PLR0124 - not NaN


def _is_text(value: object) -> bool:
    return isinstance(value, str)


Fields = dict[str, Callable[[Any], bool]]


def _check(found: dict[str, Any], required: Fields, optional: frozenset[str] = frozenset()) -> None:
    """Require all of these fields, of these types, and no others but the optional ones."""
    assert required.keys() <= found.keys()
    assert found.keys() <= required.keys() | optional
    assert [name for name, is_right in required.items() if not is_right(found[name])] == []


# speedscope


UNITS: Final = {"none", "nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"}
SPEEDSCOPE_FILE: Final[Fields] = {
    "$schema": "https://www.speedscope.app/file-format-schema.json".__eq__,
    "shared": lambda shared: list(shared) == ["frames"],
    "profiles": lambda profiles: len(profiles) > 0,
    "name": _is_text,
    "exporter": _is_text,
    "activeProfileIndex": _is_count,
}
SPEEDSCOPE_PROFILE: Final[Fields] = {
    "type": "sampled".__eq__,
    "name": _is_text,
    "unit": UNITS.__contains__,
    "startValue": _is_number,
    "endValue": _is_number,
    "samples": lambda samples: all(_is_count(at) for sample in samples for at in sample),
    "weights": lambda weights: all(_is_number(weight) and weight >= 0 for weight in weights),
}


@both
def test_a_speedscope_file_has_all_required_fields(stacks: tuple[HeldStack, ...]) -> None:
    """File, frames and sampled profiles are those of the specification; indices and lengths agree."""
    content = json.loads(stack_files.speedscope(_report(stacks)))
    _check(content, SPEEDSCOPE_FILE)
    frames, profiles = content["shared"]["frames"], content["profiles"]
    assert content["activeProfileIndex"] < len(profiles) == 2
    for frame in frames:
        _check(frame, {"name": _is_text}, frozenset({"file", "line", "col"}))
        assert _is_text(frame.get("file", ""))
        assert _is_count(frame.get("line", 1))
    for profile in profiles:
        _check(profile, SPEEDSCOPE_PROFILE)
        assert len(profile["samples"]) == len(profile["weights"]) == len(stacks)
        assert max(at for sample in profile["samples"] for at in sample) < len(frames)
        assert profile["startValue"] <= profile["endValue"]


# the Firefox Profiler


def _column(is_right: Callable[[Any], bool], *others: object) -> Callable[[Any], bool]:
    """Return a check of a column: values that are right, or one of the others."""
    return lambda column: (
        isinstance(column, list)
        and all(
            any(one is other or (one == other and other is not None) for other in others) or is_right(one)
            for one in column
        )
    )


def _nothing(_: object) -> bool:
    return False


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


COUNTS: Final = _column(_is_count)
COUNTS_OR_NULL: Final = _column(_is_count, None)
FLAGS: Final = _column(_is_flag)
TABLES: Final[dict[str, Fields]] = {
    "stackTable": {"frame": COUNTS, "prefix": COUNTS_OR_NULL},
    "frameTable": {
        "address": _column(_is_count, -1),
        "inlineDepth": COUNTS,
        "category": COUNTS_OR_NULL,
        "subcategory": COUNTS_OR_NULL,
        "func": COUNTS,
        "nativeSymbol": COUNTS_OR_NULL,
        "innerWindowID": COUNTS_OR_NULL,
        "line": COUNTS_OR_NULL,
        "column": COUNTS_OR_NULL,
    },
    "funcTable": {
        "name": COUNTS,
        "isJS": FLAGS,
        "relevantForJS": FLAGS,
        "resource": _column(_is_count, -1),
        "source": COUNTS_OR_NULL,
        "lineNumber": COUNTS_OR_NULL,
        "columnNumber": COUNTS_OR_NULL,
    },
    "resourceTable": {"lib": COUNTS_OR_NULL, "name": COUNTS, "host": COUNTS_OR_NULL, "type": COUNTS},
    "nativeSymbols": {"libIndex": COUNTS, "address": COUNTS, "name": COUNTS, "functionSize": COUNTS_OR_NULL},
    "markers": {
        "data": _column(_nothing, None),
        "name": COUNTS,
        "startTime": _column(_is_number, None),
        "endTime": _column(_is_number, None),
        "phase": COUNTS,
        "category": COUNTS,
    },
    "samples": {"stack": COUNTS_OR_NULL, "time": _column(_is_number), "weight": _column(_is_number)},
}
THREAD: Final[Fields] = {
    "processType": _is_text,
    "processStartupTime": _is_number,
    "processShutdownTime": lambda value: value is None,
    "registerTime": _is_number,
    "unregisterTime": lambda value: value is None,
    "pausedRanges": [].__eq__,
    "name": _is_text,
    "isMainThread": _is_flag,
    "pid": _is_text,
    "tid": lambda value: _is_count(value) or _is_text(value),
} | dict.fromkeys(TABLES, lambda value: isinstance(value, dict))
META: Final[Fields] = {
    "interval": _is_number,
    "startTime": _is_number,
    "processType": _is_count,
    "product": _is_text,
    "stackwalk": {0, 1}.__contains__,
    "version": _is_count,
    "preprocessedProfileVersion": _is_count,
    "markerSchema": [].__eq__,
    "categories": lambda value: len(value) > 0,
}
OPTIONAL_META: Final = frozenset(
    {
        *(
            "importedFrom",
            "symbolicated",
            "symbolicationNotSupported",
            "usesOnlyOneStackType",
            "keepProfileThreadOrder",
        ),
        *("sourceCodeIsNotOnSearchfox", "initialVisibleThreads", "initialSelectedThreads"),
    }
)
COLORS: Final = {
    *("transparent", "purple", "green", "orange", "yellow", "lightblue", "blue", "brown", "magenta", "red"),
    *("lightred", "darkgrey", "grey"),
}


def _check_table(found: dict[str, Any], columns: Fields, optional: frozenset[str] = frozenset()) -> None:
    _check(found, columns | {"length": _is_count}, optional)
    assert {len(found[name]) for name in columns} == {found["length"]}


@both
def test_a_firefox_profile_has_all_required_fields(stacks: tuple[HeldStack, ...]) -> None:
    """Meta data, shared texts and sources, and of each thread every table with every column, are those of the types."""
    content = json.loads(firefox.draw(_report(stacks)))
    texts: Fields = {"stringArray": _column(_is_text), "sources": lambda value: isinstance(value, dict)}
    assert content.keys() == {"meta", "libs", "pages", "shared", "threads"}
    _check(content["meta"], META, OPTIONAL_META)
    _check(content["shared"], texts)
    _check_table(content["shared"]["sources"], {"uuid": _column(_is_text, None), "filename": COUNTS})
    assert len(content["threads"]) == 2
    for thread in content["threads"]:
        _check(thread, THREAD, frozenset({"processName"}))
        for name, columns in TABLES.items():
            _check_table(thread[name], columns, frozenset({"weightType"} if name == "samples" else {}))
        assert thread["samples"]["weightType"] in {"samples", "tracing-ms", "bytes"}
        assert thread["samples"]["time"] == sorted(thread["samples"]["time"])
    assert len({thread["tid"] for thread in content["threads"]}) == 2


@both
def test_a_firefox_profile_refers_only_to_what_it_has(stacks: tuple[HeldStack, ...]) -> None:
    """Threads shown, categories, texts and source files exist; a grey category is there for what has none."""
    content = json.loads(firefox.draw(_report(stacks)))
    meta, shared = content["meta"], content["shared"]
    for category in meta["categories"]:
        _check(category, {"name": _is_text, "color": COLORS.__contains__, "subcategories": ["Other"].__eq__})
    assert "grey" in {category["color"] for category in meta["categories"]}
    threads = range(len(content["threads"]))
    assert {*meta["initialVisibleThreads"], *meta["initialSelectedThreads"]} <= set(threads)
    assert set(shared["sources"]["filename"]) <= set(range(len(shared["stringArray"])))
    for thread in content["threads"]:
        frames = thread["frameTable"]
        for category, subcategory in zip(frames["category"], frames["subcategory"], strict=True):
            assert subcategory < len(meta["categories"][category]["subcategories"])

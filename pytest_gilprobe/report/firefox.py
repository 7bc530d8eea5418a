"""Write the call stacks of threads that held the GIL as a profile for the Firefox Profiler; Perfetto reads it, too.

*Source:* the processed profile format, version 58: ``docs-developer/CHANGELOG-formats.md`` and ``src/types/profile.ts``
of https://github.com/firefox-devtools/profiler. Its tables are lists of the same length, one for each column.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pytest_gilprobe.model.safe_text import safe_line
from pytest_gilprobe.report.stack_files import PARTS, with_stacks

if TYPE_CHECKING:
    from pytest_gilprobe.model.holders import CodePlace, HeldStack
    from pytest_gilprobe.model.report import Report

VERSION: Final = 58
"""Version of the Firefox Profiler's processed profile format that is written; newer profilers convert it on loading."""
_GECKO_VERSION: Final = 31
_CATEGORIES: Final = ("Python", "Other")
_PYTHON: Final = 0
_UNKNOWN_RESOURCE: Final = -1
_NO_ADDRESS: Final = -1


class _Table:
    """A table whose columns are lists, with rows that are the same thing entered once."""

    def __init__(self, *columns: str) -> None:
        self._columns: dict[str, list[Any]] = {name: [] for name in columns}
        self._numbers: dict[object, int] = {}

    def row(self, key: object, **values: object) -> int:
        """Return the number of the row with this key; add it if it is new. ``values`` has one for each column."""
        number = self._numbers.setdefault(key, len(self._numbers))
        if number == len(self._columns[next(iter(self._columns))]):
            for name, column in self._columns.items():
                column.append(values[name])
        return number

    def __len__(self) -> int:
        return len(self._numbers)

    def plain(self) -> dict[str, Any]:
        """Return the table as the format has it."""
        return self._columns | {"length": len(self)}


class _Shared:
    """The texts and source files that all threads of a profile share."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}
        self.sources = _Table("uuid", "filename")

    def text(self, said: str) -> int:
        return self.texts.setdefault(safe_line(said), len(self.texts))

    def source(self, file: str) -> int:
        return self.sources.row(file, uuid=None, filename=self.text(file))


def draw(report: Report) -> str:
    """Return a profile for the Firefox Profiler, as JSON, in which each workload of ``report`` is shown as a thread.

    The profile has the call stacks of threads that held the GIL. A stack's weight is its share of the time for which
    the workload holds the GIL, in ten-thousandths. Raises `GilprobeError` if the report has no such stacks.
    """
    shared = _Shared()
    threads = [
        _thread(safe_line(workload.nodeid), number, stacks, shared)
        for number, (workload, stacks) in enumerate(with_stacks(report), start=1)
    ]
    content = {
        "meta": {
            "interval": 1,
            "startTime": 0,
            "processType": 0,
            "product": "pytest-gilprobe: where the GIL is held",
            "importedFrom": f"pytest-gilprobe {report.tool_version}",
            "stackwalk": 0,
            "version": _GECKO_VERSION,
            "preprocessedProfileVersion": VERSION,
            "symbolicated": True,
            "symbolicationNotSupported": True,
            "usesOnlyOneStackType": True,
            "sourceCodeIsNotOnSearchfox": True,
            "keepProfileThreadOrder": True,
            "initialVisibleThreads": list(range(len(threads))),
            "initialSelectedThreads": [0],
            "markerSchema": [],
            "categories": [
                {"name": name, "color": color, "subcategories": ["Other"]}
                for name, color in zip(_CATEGORIES, ("blue", "grey"), strict=True)
            ],
        },
        "libs": [],
        "pages": [],
        "shared": {"stringArray": list(shared.texts), "sources": shared.sources.plain()},
        "threads": threads,
    }
    return json.dumps(content)


def _thread(name: str, number: int, stacks: Sequence[HeldStack], shared: _Shared) -> dict[str, Any]:
    """Return one workload's stacks as a thread, laid end to end as if they had run one after the other."""
    frames = _Table(
        "address", "inlineDepth", "category", "subcategory", "func", "nativeSymbol", "innerWindowID", "line", "column"
    )
    functions = _Table("name", "isJS", "relevantForJS", "resource", "source", "lineNumber", "columnNumber")
    tree = _Table("frame", "prefix")
    leaves = [_leaf(stack.frames, tree, frames, functions, shared) for stack in stacks]
    weights = [max(1, round(stack.share * PARTS)) for stack in stacks]
    starts = [sum(weights[:at]) for at in range(len(weights))]
    return {
        "name": name,
        "processName": name,
        "processType": "default",
        "processStartupTime": 0,
        "processShutdownTime": None,
        "registerTime": 0,
        "unregisterTime": None,
        "pausedRanges": [],
        "isMainThread": True,
        "pid": str(number),
        "tid": number,
        "samples": {
            "stack": leaves,
            "time": starts,
            "weight": weights,
            "weightType": "samples",
            "length": len(leaves),
        },
        "markers": _Table("data", "name", "startTime", "endTime", "phase", "category").plain(),
        "stackTable": tree.plain(),
        "frameTable": frames.plain(),
        "funcTable": functions.plain(),
        "resourceTable": _Table("lib", "name", "host", "type").plain(),
        "nativeSymbols": _Table("libIndex", "address", "name", "functionSize").plain(),
    }


def _leaf(places: Sequence[CodePlace], tree: _Table, frames: _Table, functions: _Table, shared: _Shared) -> int | None:
    """Enter a stack, the outermost function first, and return the number of its innermost node."""
    node: int | None = None
    for place in places:
        function = functions.row(
            (place.function, place.file),
            name=shared.text(place.function),
            isJS=False,
            relevantForJS=False,
            resource=_UNKNOWN_RESOURCE,
            source=None if place.file is None else shared.source(place.file),
            lineNumber=None,
            columnNumber=None,
        )
        frame = frames.row(
            place,
            address=_NO_ADDRESS,
            inlineDepth=0,
            category=_PYTHON,
            subcategory=0,
            func=function,
            nativeSymbol=None,
            innerWindowID=0,
            line=place.line,
            column=None,
        )
        node = tree.row((frame, node), frame=frame, prefix=node)
    return node

"""Write the call stacks of threads that held the GIL for viewers of flame graphs, in two file formats.

The formats are collapsed stacks and speedscope's.

*Source:* the input of ``flamegraph.pl`` (https://github.com/brendangregg/FlameGraph), one line for each stack with the
frames joined by ``;`` and a count; speedscope's ``file-format-schema.json`` (https://www.speedscope.app).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.safe_text import safe_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gilprobe.model.holders import CodePlace, HeldStack
    from pytest_gilprobe.model.report import Report
    from pytest_gilprobe.model.results import WorkloadResult

PARTS: Final = 10_000
"""The weight of all the time for which a workload holds the GIL, in formats that need whole numbers as weights. A
stack's weight is its share of that time in ten-thousandths."""
SCHEMA: Final = "https://www.speedscope.app/file-format-schema.json"


def collapsed(report: Report) -> str:
    """Return the call stacks of threads that held the GIL in the format of collapsed stacks.

    Each stack has one line: the test and the functions from the outermost to the innermost, joined by ``;``, then its
    share of the time for which the test holds the GIL, in ten-thousandths (at least 1). Raises `GilprobeError` if the
    report has no stacks.
    """
    return "".join(
        f"{';'.join([_name(workload.nodeid), *map(_label, stack.frames)])} {max(1, round(stack.share * PARTS))}\n"
        for workload, stacks in with_stacks(report)
        for stack in stacks
    )


def speedscope(report: Report) -> str:
    """Return the call stacks of threads that held the GIL in speedscope's file format, as JSON.

    The file has a profile for each workload. A stack's weight is its share of the time for which the workload holds the
    GIL, in percent.

    Raises `GilprobeError` if the report has no stacks.
    """
    numbers: dict[CodePlace, int] = {}
    profiles: list[dict[str, Any]] = []
    for workload, stacks in with_stacks(report):
        samples = [[numbers.setdefault(frame, len(numbers)) for frame in stack.frames] for stack in stacks]
        weights = [round(stack.share * 100, 4) for stack in stacks]
        profiles.append(
            {
                "type": "sampled",
                "name": safe_line(workload.nodeid),
                "unit": "none",
                "startValue": 0,
                "endValue": round(sum(weights), 4),
                "samples": samples,
                "weights": weights,
            }
        )
    content = {
        "$schema": SCHEMA,
        "name": "GIL held",
        "exporter": f"pytest-gilprobe {report.tool_version}",
        "activeProfileIndex": 0,
        "shared": {"frames": [_frame(place) for place in numbers]},
        "profiles": profiles,
    }
    return json.dumps(content, indent=1)


def with_stacks(report: Report) -> Iterator[tuple[WorkloadResult, tuple[HeldStack, ...]]]:
    """Yield each workload that has call stacks of threads that held the GIL, together with these stacks.

    Raises `GilprobeError` if no workload has such stacks; the message says why.
    """
    found = [(workload, workload.gil.stacks) for workload in report.workloads if workload.gil.stacks]
    if not found:
        msg = f"the report has no stacks that held the GIL: {_why_none(report)}"
        raise GilprobeError(msg)
    for workload, stacks in found:
        yield workload, stacks or ()


def _why_none(report: Report) -> str:
    if report.scan is not None:
        return "a scan keeps none; probe the tests, with @pytest.mark.gilprobe or --gilprobe-all"
    reasons = dict.fromkeys(one.gil.holders_reason for one in report.workloads if one.gil.holders_reason)
    return "; ".join(map(safe_line, reasons)) or "it was made with --gilprobe-holders=off, or nothing held it"


def _frame(place: CodePlace) -> dict[str, Any]:
    named = {"name": safe_line(place.function), "file": place.file and safe_line(place.file), "line": place.line}
    return {key: value for key, value in named.items() if value is not None}


def _label(place: CodePlace) -> str:
    line = "" if place.line is None else f":{place.line}"
    return _name(f"{place.function} ({place.file}{line})" if place.file else place.function)


def _name(text: str) -> str:
    """Return a frame's name without the character that separates frames."""
    return safe_line(text).replace(";", ",")

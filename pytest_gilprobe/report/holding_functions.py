"""Write lists of the functions that hold the GIL: those of the tested project, and those of installed packages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.safe_text import safe_line
from pytest_gilprobe.model.scans import HoldingFunction
from pytest_gilprobe.verdict.places import LONGEST_CODE

OF_PROJECT: Final = "where the project's functions hold the GIL, with all they call (% of held time)"
OF_PACKAGES: Final = "functions of installed packages that hold the GIL (% of held time)"


def lists(found: Sequence[HoldingFunction]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Sort functions that hold the GIL into two lists: the project's functions, and those of installed packages.

    Yield each list as its title and its lines, one for each function. A list without functions is left out.
    """
    for title, part in (
        (OF_PROJECT, [one for one in found if one.package is None]),
        (OF_PACKAGES, [one for one in found if one.package is not None]),
    ):
        if part:
            yield title, tuple(map(_line, part))


def _line(one: HoldingFunction) -> str:
    whole, share = numbers.percent(one.share.value), numbers.percent(one.line_share)
    said = f"{whole} in {safe_line(one.function)} ({safe_line(one.file)})"
    if one.line is None:
        return said
    code = f": {safe_line(one.code, limit=LONGEST_CODE)}" if one.code else ""
    part = f"line {one.line}{code}" if share == whole else f"{share} in line {one.line}{code}"
    return f"{said}, {part}"

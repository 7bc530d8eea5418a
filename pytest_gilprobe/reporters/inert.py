"""Text from outside made harmless and short: the one door through which names and errors enter a drawing."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

NAME_LIMIT = 240
"""Characters of a name that any drawing shows; the JSON report holds it in full."""
ERROR_LIMIT = 2000
"""Characters of an error that any drawing shows."""


def inert(text: str, *, limit: int = NAME_LIMIT) -> str:
    r"""Make text safe on one line: visible escapes for whatever a terminal or browser would act on.

    Control characters, ANSI sequences, line ends, right-to-left marks, unassigned characters and lone surrogates
    come out as ``\x1b``, ``\u202e`` and the like; letters of all scripts stay. Text beyond ``limit`` characters
    loses its middle. Markup is not escaped: that is the medium's business.
    """
    if len(text) > limit:
        text = elide(text, limit)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def inert_lines(text: str, *, limit: int = ERROR_LIMIT) -> tuple[str, ...]:
    """Make text of several lines safe: line ends are kept (as separate items), all else is as in `inert`."""
    if len(text) > limit:
        text = elide(text, limit, " ... ")
    return tuple(inert(line, limit=limit) for line in text.split("\n") if line.strip())


def elide(text: str, width: int, mark: str = "...") -> str:
    """Take out the middle of ``text`` so that it fits ``width`` columns; its end tells more, so it keeps more.

    Below 24 columns the beginning goes instead of the middle.
    """
    if display_width(text) <= width:
        return text
    room = width - len(mark)
    if room <= 0:
        return mark[: max(width, 0)]
    head = room // 3 if width >= 24 else 0  # noqa: PLR2004 see above
    tail = room - head
    while tail and head + len(mark) + display_width(text[len(text) - tail :]) > width:
        tail -= 1  # wide characters
    while head and display_width(text[:head]) + len(mark) + display_width(text[len(text) - tail :]) > width:
        head -= 1
    return f"{text[:head]}{mark}{text[len(text) - tail :]}"


def display_width(text: str) -> int:
    """Count terminal columns: wide East Asian characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def encodable(text: str, encoding: str) -> str:
    """Make text fit for an output encoding: a micro sign becomes ``u``, what else is missing a visible escape."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.replace("\N{MICRO SIGN}", "u")
        return text.encode(encoding, errors="backslashreplace").decode(encoding)
    except LookupError:
        return encodable(text, "ascii")
    return text


def short_name(nodeid: str, width: int) -> str:
    """Shorten a node id to ``width`` characters: first folders go, then the file, then the middle of the name."""
    if display_width(nodeid) <= width:
        return nodeid
    path, _, test = nodeid.partition("::")
    folders = path.split("/")
    for kept in range(1, len(folders)):
        candidate = f".../{'/'.join(folders[kept:])}::{test}"
        if display_width(candidate) <= width:
            return candidate
    innermost = f"...::{test}"
    return innermost if test and display_width(innermost) <= width else elide(nodeid, width)


def short_names(nodeids: Sequence[str], width: int) -> tuple[str, ...]:
    """Shorten node ids to ``width`` characters so that no two look the same.

    Where shortening makes two different ids equal, both end in ``#`` and their position (from 1).
    """
    names = [short_name(nodeid, width) for nodeid in nodeids]
    ambiguous = {name for name, count in Counter(names).items() if count > 1}
    return tuple(
        _numbered(nodeid, number, width) if name in ambiguous else name
        for number, (nodeid, name) in enumerate(zip(nodeids, names, strict=True), 1)
    )


def _numbered(nodeid: str, number: int, width: int) -> str:
    mark = f"#{number}"
    return elide(nodeid, max(width - len(mark), 0)) + mark


def stacked_names(nodeids: Sequence[str], width: int) -> tuple[tuple[str, str], ...]:
    """Shorten node ids to two lines of ``width`` characters, file above test, so that no two look the same."""
    names = [_stacked(nodeid, width) for nodeid in nodeids]
    ambiguous = {name for name, count in Counter(names).items() if count > 1}
    return tuple(
        (name[0], _numbered(name[1], number, width)) if name in ambiguous else name
        for number, name in enumerate(names, 1)
    )


def _stacked(nodeid: str, width: int) -> tuple[str, str]:
    path, separator, test = nodeid.partition("::")
    if not separator:
        return elide(path, width), ""
    if display_width(path) > width:
        folders = path.split("/")
        tails = (f".../{'/'.join(folders[kept:])}" for kept in range(1, len(folders)))
        path = next((tail for tail in tails if display_width(tail) <= width), elide(folders[-1], width))
    return path, elide(f"::{test}", width)

"""Make names and error texts from outside safe and short enough to show in a terminal, a page or an image."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import TypeVar

NAME_LIMIT = 240
"""Maximum number of characters of a name that is shown; the JSON report contains the full name."""
ERROR_LIMIT = 2000
"""Maximum number of characters of an error text that is shown."""
_Name = TypeVar("_Name", bound=Hashable)


def safe_line(text: str, *, limit: int = NAME_LIMIT) -> str:
    r"""Return text as one safe line: characters that a terminal or browser would act on become visible escapes.

    Control characters, ANSI sequences, line ends, right-to-left marks, unassigned characters and lone surrogates
    become escapes such as ``\x1b`` and ``\u202e``; letters of all scripts stay. Text of more than ``limit``
    characters loses its middle. HTML and Markdown are not escaped; the caller must do that.
    """
    if len(text) > limit:
        text = elide(text, limit)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def safe_lines(text: str, *, limit: int = ERROR_LIMIT) -> tuple[str, ...]:
    """Return those lines of ``text`` that are not blank, with visible escapes for what a terminal would act on.

    `safe_line` makes the escapes. If ``text`` has more than ``limit`` characters, it loses its middle first.
    """
    if len(text) > limit:
        text = elide(text, limit, " ... ")
    return tuple(safe_line(line, limit=limit) for line in text.split("\n") if line.strip())


def elide(text: str, width: int, mark: str = "...") -> str:
    """Shorten ``text`` to ``width`` terminal columns: ``mark`` replaces its middle; text that fits stays as it is.

    About a third of what is left is from the beginning, the rest from the end. In fewer than 24 columns, ``mark``
    replaces the beginning instead.
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
    """Return the number of terminal columns of a text: wide East Asian characters count 2, combining marks 0."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def encodable(text: str, encoding: str) -> str:
    """Return ``text`` in characters that ``encoding`` has: others become escapes, and a micro sign becomes ``u``.

    An unknown ``encoding`` counts as ASCII.
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.replace("\N{MICRO SIGN}", "u")
        return text.encode(encoding, errors="backslashreplace").decode(encoding)
    except LookupError:
        return encodable(text, "ascii")
    return text


def short_name(nodeid: str, width: int, end: str | None = None) -> str:
    """Shorten a node id to ``width`` columns by leaving out folders from the left, as few as possible.

    If the node id is too long without any folders, the result is ``end``, a short name of the test or, if ``end`` is
    ``None``, the last name in the node id, with its parameters. A result that is still too long loses its middle.
    """
    if display_width(nodeid) <= width:
        return nodeid
    path, between, test = nodeid.partition("::")
    folders = path.split("/")
    for kept in range(1, len(folders)):
        candidate = f".../{'/'.join(folders[kept:])}{between}{test}"
        if display_width(candidate) <= width:
            return candidate
    return elide(_ends(nodeid)[0] if end is None else end, width)


def short_names(nodeids: Sequence[str], width: int) -> tuple[str, ...]:
    """Shorten each node id to ``width`` columns, and keep the shortened names distinct.

    If two shortened names are equal, both get the suffix ``#`` and their position in ``nodeids``, counted from 1.
    """
    names = [short_name(nodeid, width, end) for nodeid, end in zip(nodeids, unique_ends(nodeids), strict=True)]
    return tuple(_numbered(nodeids[at], at, width) if again else name for at, name, again in _repeated(names))


def unique_ends(nodeids: Sequence[str]) -> list[str]:
    """Return, for each node id, its shortest end that no other node id in ``nodeids`` has.

    The shortest end is the name of the test; longer ones add the class, then the file, then one folder after another. A
    node id that occurs twice is returned whole.
    """
    parts = [_ends(nodeid) for nodeid in nodeids]
    often = Counter(end for ends in parts for end in set(ends))
    return [next((end for end in ends if often[end] == 1), ends[-1]) for ends in parts]


def _ends(nodeid: str) -> list[str]:
    path, between, inside = nodeid.partition("::")
    if not between:
        return [nodeid]
    head, bracket, parameters = inside.partition("[")
    steps = head.split("::")
    ends = ["::".join(steps[at:]) + bracket + parameters for at in range(len(steps) - 1, -1, -1)]
    folders = path.split("/")
    return ends + [f"{'/'.join(folders[at:])}::{inside}" for at in range(len(folders) - 1, -1, -1)]


def stacked_names(nodeids: Sequence[str], width: int) -> tuple[tuple[str, str], ...]:
    """Shorten each node id to two lines of ``width`` columns, its file and its test, and keep the results distinct.

    If two results are equal, the test of each gets the suffix ``#`` and its position in ``nodeids``, counted from 1.
    """
    names = [_stacked(nodeid, width) for nodeid in nodeids]
    return tuple((name[0], _numbered(name[1], at, width)) if again else name for at, name, again in _repeated(names))


def _repeated(names: Sequence[_Name]) -> Iterator[tuple[int, _Name, bool]]:
    """Give each name with its position, and whether it is there twice."""
    often = Counter(names)
    return ((at, name, often[name] > 1) for at, name in enumerate(names))


def _numbered(name: str, at: int, width: int) -> str:
    mark = f"#{at + 1}"
    return elide(name, max(width - len(mark), 0)) + mark


def _stacked(nodeid: str, width: int) -> tuple[str, str]:
    path, separator, test = nodeid.partition("::")
    if not separator:
        return elide(path, width), ""
    if display_width(path) > width:
        folders = path.split("/")
        tails = (f".../{'/'.join(folders[kept:])}" for kept in range(1, len(folders)))
        path = next((tail for tail in tails if display_width(tail) <= width), elide(folders[-1], width))
    return path, elide(f"::{test}", width)

"""Describe frames that were read from a process: whose code they execute, and the source text of that code."""

from __future__ import annotations

import linecache
import os
import re
import sysconfig
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from pytest_gilprobe.model.stacks import Frame
from pytest_gilprobe.observe.line_table import Position, position_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.stacks import Stack
    from pytest_gilprobe.observe.frame_reader import FrameReader
    from pytest_gilprobe.observe.remote_frames import RemoteFrame

_A_PYTHONS: Final = re.compile(r"/lib(64)?/python3\.\d+t?/")
"""In the path of a file of the standard library of any Python, which may not be the one that runs this."""
_LONGEST_CODE: Final = 200
_MOST_LINES: Final = 8
_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # noqa: PTH100, PTH120
_HARNESS: Final = tuple(
    f"{os.sep}{folder}{os.sep}{name}{os.sep}"
    for folder in ("site-packages", "dist-packages")
    for name in ("_pytest", "pytest", "pluggy", "pytest_asyncio", "pytest_gilprobe")
)
"""Packages that call a test; the frames of these are no part of what the test does."""
_CALLERS: Final = ("/pluggy/_callers.py", "/_pytest/python.py", "/_pytest/unittest.py")
"""The files of pytest whose frames lie just outside a test's own."""
_GENERATED: Final = f"{os.sep}gilprobe-run-"
"""In the path of a generated test, `pytest_gilprobe.probing.generated_test`."""
_INSTALLED: Final = tuple(f"{os.sep}{folder}{os.sep}" for folder in ("site-packages", "dist-packages"))


def is_plugins(file: str) -> bool:
    """Return whether the path ``file`` belongs to this package, ``pytest_gilprobe``.

    Stacks are read up to a frame of this package, which calls the measured code; further callers are left out.
    """
    return file.startswith(_PACKAGE)


@cache
def is_own(file: str) -> bool:
    """Return whether the code in ``file``, the path of a source file, is the user's own.

    The result is false for files of Python, of installed packages and of this package, ``pytest_gilprobe``. It is also
    false for code that was made at run time, whose file name begins with ``<``.
    """
    if file.startswith("<") or is_plugins(file) or any(folder in file for folder in _INSTALLED):
        return False
    return not file.startswith(_pythons_folders()) and _A_PYTHONS.search(file) is None


@cache
def package_of(file: str) -> str | None:
    """Return the installed package that the path ``file`` belongs to, such as ``pandas``; ``None`` if there is none."""
    for folder in _INSTALLED:
        if folder in file:
            return file.rpartition(folder)[2].partition(os.sep)[0].removesuffix(".py")
    return None


def is_tests_caller(file: str) -> bool:
    """Return whether stacks are read only up to the code in ``file``, since it calls tests or measured functions.

    This is so for all files of ``pytest_gilprobe``, and for the few files of pytest and pluggy that call tests.
    """
    return is_plugins(file) or file.endswith(_CALLERS)


def is_harness(file: str) -> bool:
    """Return whether ``file`` belongs to code around a test: this package, pytest, pluggy or pytest-asyncio.

    The result is also true for a test that this package generates. Frames of all these files are left out of the stacks
    that users see.
    """
    return is_plugins(file) or _GENERATED in file or any(part in file for part in _HARNESS)


@cache
def _pythons_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {os.path.realpath(paths[name]) for name in ("stdlib", "platstdlib")}
    return tuple(folder + os.sep for folder in (*folders, paths["stdlib"], paths["platstdlib"]))


@cache
def short_file(file: str) -> str:
    """Return the path ``file``, shortened for reports.

    The leading folder of installed packages, of Python's own library or of this process's working directory is removed.
    """
    for folder in _INSTALLED:
        if folder in file:
            return file.rpartition(folder)[2]
    for folder in (*_pythons_folders(), *_working_folder()):
        if file.startswith(folder):
            return file.removeprefix(folder)
    return file


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the files of a watched process lie, seen from this process.

    ``root`` is the path of the watched process's root folder, and ``folder`` is its working directory. Both are empty
    if this process has the same ones.
    """

    root: str = ""
    folder: str = ""

    def path(self, file: str) -> str:
        """Return the path by which this process opens ``file``, a path in a code object of the watched process."""
        return self.root + os.path.join(self.folder, file)  # noqa: PTH118 - a text to open

    def short(self, file: str) -> str:
        """Return the path ``file``, shortened for reports.

        The leading folder of installed packages, of Python's library or of the watched process's working directory is
        removed.
        """
        if self.folder and file.startswith(self.folder + os.sep):
            return short_file(file.removeprefix(self.folder + os.sep))
        return short_file(file)


HERE: Final = Place()
"""Where files lie for a process with the same file system and working directory as this one."""


def place_of(pid: int) -> Place:
    """Return where this process finds the files of process ``pid``, even if that process runs in a container.

    If the system does not tell, the result is `HERE`: this process's own file system and working directory.
    """
    try:
        return Place(root=f"/proc/{pid}/root", folder=os.readlink(f"/proc/{pid}/cwd"))  # noqa: PTH115
    except OSError:
        return HERE


def _working_folder() -> tuple[str, ...]:
    try:
        return (os.getcwd() + os.sep,)  # noqa: PTH109 - a text to compare
    except OSError:
        return ()


class Describer:
    """Describe frames that a reader has read from another process: function, file, line and source text of each.

    Each description is remembered.
    """

    def __init__(self, reader: FrameReader, place: Place = HERE) -> None:
        """Prepare to describe frames that ``reader`` has read from a process whose source files lie at ``place``."""
        self._reader = reader
        self._place = place
        self._described: dict[RemoteFrame, Frame | None] = {}

    def forget(self) -> None:
        """Forget all descriptions, and the source text that they were made of."""
        self._described.clear()
        linecache.clearcache()

    def stack(self, frames: Sequence[RemoteFrame]) -> Stack:
        """Return the descriptions of ``frames``, in the same order.

        Frames of code around a test (of pytest, pluggy, pytest-asyncio and this package) are left out.
        """
        return tuple(found for frame in frames if (found := self._frame(frame)) is not None)

    def _frame(self, frame: RemoteFrame) -> Frame | None:
        if frame not in self._described:
            self._described[frame] = self._describe(frame)
        return self._described[frame]

    def _describe(self, frame: RemoteFrame) -> Frame | None:
        code = self._reader.code(frame.code)
        if is_harness(code.file):
            return None
        at = position_at(code.lines, code.first_line, frame.instruction)
        lines = [] if code.file.startswith("<") or at.line is None else linecache.getlines(self._place.path(code.file))
        return Frame(
            function=code.function,
            file=self._place.short(code.file),
            line=at.line or None,  # a module's first instruction is in line 0
            code=source_text(lines, at),
            statement=_line(lines, at.line),
            own=is_own(code.file),
            is_async=not code.function.endswith(">") and _is_async(lines, code.first_line),
            package=package_of(code.file),
        )


def source_text(lines: Sequence[str], at: Position) -> str | None:
    """Return the source text at the position ``at``, joined into one line; ``None`` if it is unknown.

    ``lines`` are the lines of the source file. The text is unknown if ``at`` lacks its first or last line or column, or
    if these do not fit the file, as when the code was compiled from another version of the file. It also counts as
    unknown if it is empty, or longer than 9 lines or 200 characters.
    """
    if at.line is None or at.end_line is None or at.column is None or at.end_column is None:
        return None
    if not 1 <= at.line <= at.end_line <= len(lines) or at.end_line - at.line > _MOST_LINES:
        return None
    # Columns count bytes. The end is cut first: the start may be on the same line.
    parts = [line.encode("utf-8", "surrogatepass") for line in lines[at.line - 1 : at.end_line]]
    if _splits_a_word(parts[0], at.column) or _splits_a_word(parts[-1], at.end_column):
        return None  # the code was made from another text than this file's
    parts[-1] = parts[-1][: at.end_column]
    parts[0] = parts[0][at.column :]
    text = " ".join(part.decode("utf-8", "replace").strip() for part in parts).strip()
    return text if 0 < len(text) <= _LONGEST_CODE else None


def _splits_a_word(line: bytes, column: int) -> bool:
    """Return whether a column lies within a name or a number."""
    around = line[max(column - 1, 0) : column + 1].decode("latin-1")
    return column > 0 and len(around) == len("ab") and around.isascii() and around.replace("_", "a").isalnum()


def _is_async(lines: Sequence[str], first_line: int) -> bool:
    """Return whether the function that begins at a line, with its decorators, is written as ``async def``."""
    heads = (line.split() for line in lines[max(first_line - 1, 0) :][:_MOST_LINES])
    found = next((words for words in heads if words[:1] in (["def"], ["class"]) or words[:2] == ["async", "def"]), [])
    return found[:1] == ["async"]


def _line(lines: Sequence[str], number: int | None) -> str | None:
    if number is None or not 1 <= number <= len(lines):
        return None
    return lines[number - 1].strip()[:_LONGEST_CODE] or None

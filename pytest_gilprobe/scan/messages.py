"""Define the messages between pytest and its watcher process: at the start, when the tests are over, and at the end."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

from pytest_gilprobe.model import codec

Record = TypeVar("Record")


def to_text(record: object) -> str:
    """Return ``record``, an instance of a dataclass, as one line of JSON in ASCII, without a line break."""
    return json.dumps(codec.plain(record))


def from_text(kind: type[Record], text: str) -> Record:
    """Return the record that `to_text` wrote as ``text``; ``kind`` is its dataclass.

    Raises `ValueError` if ``text`` was cut off.
    """
    decode = codec.decoder(cast("Hashable", kind))
    return cast("Record", decode(json.loads(text)))


@dataclass(frozen=True, slots=True, kw_only=True)
class WatcherSettings:
    """Settings that pytest passes to its watcher process on the command line.

    Attributes:
        parent: process number of pytest.
        journal: path of the file through which pytest passes the clocks of test calls.
        notes: path of the file in which the watcher writes a line about each test call.
        drawing: path of the file in which the watcher writes the report as drawn for the terminal.
        mean_interval_s: mean pause between two samples of the GIL, in seconds.
        holders: whether to find out where in the code the GIL is held.
        silent: whether the watcher only takes notes and never draws a report, not even if pytest dies.
        report_folder: folder for the report's files; ``None`` writes none.
        site_packages: folders with the installed packages that are imported to draw the report.
        gil_enabled: whether pytest's GIL was enabled at the start, for the report of a pytest that died.
        switch_interval_s: pytest's switch interval at the start, in seconds.
    """

    parent: int
    journal: str
    notes: str
    drawing: str
    mean_interval_s: float
    holders: bool
    silent: bool
    report_folder: str | None
    site_packages: tuple[str, ...]
    gil_enabled: bool
    switch_interval_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnd:
    """Facts that only pytest knows when the tests are over, for the process that draws the report.

    Attributes:
        width: the number of columns of the terminal.
        encoding: the encoding of the terminal.
        tracers: what changed the speed of the tests' Python code, such as ``sys.settrace`` or ``gc.disable``.
        gil_enabled: whether the GIL is enabled.
        switch_interval_s: the interpreter's switch interval, in seconds.
        unwatched: why pytest's GIL could not be sampled; ``None`` if it could.
        pytest_reports: whether pytest's own process makes the report, because a plugin implements the hook
            ``pytest_gilprobe_report``, which gets the report.
    """

    width: int = 80
    encoding: str = "ascii"
    tracers: tuple[str, ...] = ()
    gil_enabled: bool
    switch_interval_s: float
    unwatched: str | None = None
    pytest_reports: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnText:
    """A piece of text with its ``style``: markup keywords of pytest's terminal writer, such as ``{"green": True}``."""

    text: str
    style: Mapping[str, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnReport:
    """A scan's report for the terminal, in ``pieces`` of text that follow one another.

    ``problems`` has one line for each place in which the report could not be written, such as the report folder.
    """

    pieces: tuple[DrawnText, ...]
    problems: tuple[str, ...] = ()

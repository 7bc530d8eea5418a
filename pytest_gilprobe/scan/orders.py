"""What pytest and the watcher beside it tell each other: at the start, when the tests are over, and at the end."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a watcher is told when it is started.

    ``mean_interval_s`` is the mean pause between two looks. Unless ``silent``, it tells of the whole scan at the end,
    into ``report_folder`` too where that is not None, and of a pytest that died likewise; else somebody else reads its
    notes. ``site_packages`` is where to find what drawing needs. Of a pytest that died nobody asks any more whether it
    had a GIL and at which interval it switched: both are told at the start, too.
    """

    parent: int
    journal: str
    notes: str
    told: str
    mean_interval_s: float
    silent: bool
    report_folder: str | None
    site_packages: tuple[str, ...]
    gil_enabled: bool
    switch_interval_s: float

    def to_text(self) -> str:
        """Write them for the command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `to_text` wrote."""
        read = json.loads(text)
        return cls(**{**read, "site_packages": tuple(read["site_packages"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """What pytest tells its watcher when the tests are over: what only pytest can know.

    ``width`` and ``encoding`` are those of the terminal; ``tracers`` traced the tests' Python code; ``refused`` says
    why the GIL was not to be watched.
    """

    width: int
    encoding: str
    tracers: tuple[str, ...]
    gil_enabled: bool
    switch_interval_s: float
    refused: str | None

    def to_text(self) -> str:
        """Write it as JSON in ASCII."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `to_text` wrote."""
        read = json.loads(text)
        return cls(**{**read, "tracers": tuple(read["tracers"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a scan tells: pieces of text with their styles, and why a report file could not be written."""

    segments: tuple[tuple[str, dict[str, bool]], ...]
    unwritten: str | None

    def to_text(self) -> str:
        """Write it as JSON in ASCII."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `to_text` wrote."""
        read = json.loads(text)
        return cls(segments=tuple((text, style) for text, style in read["segments"]), unwritten=read["unwritten"])

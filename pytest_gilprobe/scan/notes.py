"""The notes of all watchers of one scan: read line by line, never all at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_gilprobe.scan.reduce import Reduction, Scanned
from pytest_gilprobe.scan.tally import ScannedCall


class Notes:
    """A folder of notes."""

    def __init__(self, folder: Path) -> None:
        """Find what is there; reading comes later."""
        self._paths = sorted(folder.glob("*.notes"))
        self._lasts: list[dict[str, Any]] = []
        self._reasons: list[str] = []

    @property
    def found(self) -> bool:
        """Whether any watcher took notes."""
        return bool(self._paths)

    def reduce(self, *, gil_absent: bool) -> Scanned:
        """Read all notes and sum them up; ``gil_absent``: no GIL was there to be held."""
        reduction = Reduction()
        for call in self._calls():
            reduction.add(call)
        return reduction.result(
            gil_absent=gil_absent,
            unwatched=next((reason for reason in self._reasons), None),
            lost=sum(last["lost"] for last in self._lasts),
            died_in=next((last["inside"] or "between two tests" for last in self._lasts if last["died"]), None),
        )

    def _calls(self) -> Iterator[ScannedCall]:
        for path in self._paths:
            with path.open(encoding="ascii") as lines:
                for line in lines:
                    read = self._read(line)
                    if read is not None:
                        yield read

    def _read(self, line: str) -> ScannedCall | None:
        """Read a test's line; keep what other lines say. A line that its writer did not finish is left out."""
        if not line.endswith("\n"):
            return None
        if line.startswith('{"end"'):
            last = json.loads(line)["end"]
            self._lasts.append(last)
            if last["unwatched"] is not None:
                self._reasons.append(last["unwatched"])
            return None
        if line.startswith('{"unwatched"'):
            self._reasons.append(json.loads(line)["unwatched"])
            return None
        return ScannedCall.from_line(line)

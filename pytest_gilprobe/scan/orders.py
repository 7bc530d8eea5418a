"""What pytest tells the watcher beside it when it starts it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a watcher is told when it is started.

    ``mean_interval_s`` is the mean pause between two looks. Of a pytest that died it makes a report, into
    ``report_folder`` where that is not None, unless ``silent``: then somebody else reads its notes.
    """

    parent: int
    journal: str
    notes: str
    mean_interval_s: float
    silent: bool
    report_folder: str | None

    def to_text(self) -> str:
        """Write them for the command line."""
        return json.dumps(asdict(self))

"""Golden files: whole drawings as the assertion, rewritten on request."""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def check(name: str, drawn: str) -> None:
    """Compare a drawing with its golden file; with ``GILPROBE_REWRITE_GOLDEN=1`` in the environment, rewrite that."""
    path = GOLDEN / name
    if os.environ.get("GILPROBE_REWRITE_GOLDEN") == "1":
        path.write_bytes(drawn.encode())
    assert drawn == path.read_bytes().decode(), f"{name}: if the new drawing is right, GILPROBE_REWRITE_GOLDEN=1"

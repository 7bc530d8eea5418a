"""Would threads help here, would processes, or neither, and is it the GIL? Names a user may import."""

from __future__ import annotations

__version__ = "0.1.0"

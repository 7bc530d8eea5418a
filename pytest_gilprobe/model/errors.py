"""The base class of the errors that this package raises on purpose."""

from __future__ import annotations


class GilprobeError(Exception):
    """Base class of the errors that this package raises on purpose; ``str()`` of one is a message for the user."""

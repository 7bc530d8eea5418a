"""The controls: fixed work that shows how fast this machine is now, and how far it scales."""

from __future__ import annotations

import random
from collections.abc import Callable

LOOPS = 20_000
"""Iterations in one call of the control: about 0.5 to 1 ms on machines of the 2020s."""


BLOCK_BYTES = 1 << 15
"""Size of what one call of `compress` compresses, which takes about 0.5 ms: it fits into a core's own cache."""


def loop() -> int:
    """Compute with small integers in pure Python, without memory traffic and allocation, and return the result."""
    total = 0
    for number in range(LOOPS):
        total ^= number & 0xFF
    return total


def compressor() -> Callable[[], object]:
    """Return a function that compresses fixed data: threads run it side by side, since it lets go of the GIL.

    Raises `ImportError` if Python was built without zlib.
    """
    import zlib  # noqa: PLC0415 - only curves need it, and some builds lack it

    block = bytes(random.Random(1).choices(b"gilprobe ", k=BLOCK_BYTES))  # noqa: S311 - fixed data, no secret
    return lambda: zlib.compress(block, 1)

"""Fixed work, independent of any test, that shows how fast this machine is now, and how much threads gain on it."""

from __future__ import annotations

import random
from collections.abc import Callable

try:
    from zlib import compress as _compress  # bound before a test can replace it
    from zlib import crc32 as _crc32
except ImportError:  # some builds lack it
    _compress = _crc32 = None  # type: ignore[assignment]

LOOPS = 20_000
"""Number of iterations in one call of `loop`, which takes about 0.5 to 1 ms on machines of the 2020s."""
BLOCK_BYTES = 1 << 17
"""Number of bytes that are compressed in one call of the function that `compressor` returns, in about 1 to 3 ms. They
fit into a core's own cache. The GIL is needed only between two calls, for a hundredth of the time at most."""
_Random = random.Random
_BLOCK = bytes(1 << 15)
_FEW_BYTES = bytes(number & 0x0F for number in range(256))


def loop() -> int:
    """Compute with small integers in pure Python, without memory traffic and allocation, and return the result.

    Only the time that this takes matters: it shows the present speed of the machine.
    """
    total = 0
    for number in range(LOOPS):
        total ^= number & 0xFF
    return total


def compressor() -> Callable[[], object]:
    """Return a function that compresses fixed data: threads run it side by side, since it lets go of the GIL.

    Raises `ImportError` if Python was built without zlib.
    """
    if _compress is None:
        msg = "this Python was built without zlib"
        raise ImportError(msg)
    block = _Random(1).randbytes(BLOCK_BYTES).translate(_FEW_BYTES)
    return lambda: _compress(block, 1)


def without_gil() -> None:
    """Compute for some 10 µs without the GIL; without zlib, return at once."""
    if _crc32 is not None:
        _crc32(_BLOCK)

"""What NumPy arrays cost to pass on in shared memory: filling it on one side, mapping it on the other.

Measured on an anonymous memory file (``memfd_create(2)``), which is what `multiprocessing.shared_memory` is to the
kernel: pages of a file in memory. Unlike that it starts no resource tracker process beside what is being timed.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import Any

from pytest_gilprobe import host

LEAST_SHARE = 0.9
"""Arrays must be this share of the pickled bytes, or the rest would still have to be pickled."""
LEAST_BYTES = 64 * 1024
"""Under 64 KiB a pipe takes it in one go (``pipe(7)``, capacity), and nobody wants shared memory."""
PAGE = 4096
_WITHIN = 3


def arrays(thing: Any, depth: int = _WITHIN) -> tuple[Any, ...]:
    """Find the NumPy arrays in tuples, lists and dictionaries, three levels down; none unless NumPy is loaded."""
    numpy = sys.modules.get("numpy")
    if numpy is None or depth == 0:
        return ()
    if isinstance(thing, numpy.ndarray):
        return (thing,) if not thing.dtype.hasobject else ()
    inner = thing.values() if isinstance(thing, dict) else thing if isinstance(thing, list | tuple) else ()
    return tuple(array for one in inner for array in arrays(one, depth - 1))


def dominate(found: tuple[Any, ...], pickled_bytes: int) -> bool:
    """Tell whether arrays are nearly all of what a call moves, and worth the trouble."""
    size: int = sum(array.nbytes for array in found)
    return size >= LEAST_BYTES and size >= pickled_bytes * LEAST_SHARE


def measure(there: tuple[Any, ...], back: tuple[Any, ...]) -> tuple[float, float] | None:
    """Return the seconds per call that sharing costs the parent and a worker, ``None`` where it cannot be measured.

    Whoever makes an array fills the memory, the other side maps it and touches each page.
    """
    if not hasattr(os, "memfd_create"):
        return None
    fill_there, map_there = _share(there)
    fill_back, map_back = _share(back)
    return fill_there + map_back, map_there + fill_back


def _share(found: tuple[Any, ...]) -> tuple[float, float]:
    """Return the seconds to fill shared memory with arrays, and to map and touch it elsewhere."""
    fill = touch = 0.0
    for array in found:
        if array.nbytes:
            filled, touched = _share_one(array)
            fill, touch = fill + filled, touch + touched
    return fill, touch


def _share_one(array: Any) -> tuple[float, float]:
    numpy: Any = sys.modules["numpy"]
    started = host.perf_counter_ns()
    file = os.memfd_create("gilprobe")
    try:
        os.ftruncate(file, array.nbytes)
        with mmap.mmap(file, array.nbytes) as memory:
            numpy.copyto(numpy.ndarray(array.shape, array.dtype, memory), array)
        filled = host.perf_counter_ns()
        with mmap.mmap(file, array.nbytes) as memory:
            int(numpy.frombuffer(memory, numpy.uint8)[::PAGE].max())
        touched = host.perf_counter_ns()
    finally:
        os.close(file)
    return (filled - started) / 1e9, (touched - filled) / 1e9

"""Measure the cost of moving NumPy arrays in shared memory: to fill the memory on one side, and map it on the other.

An anonymous memory file (``memfd_create(2)``) is used. To the kernel it is the same as `multiprocessing.shared_memory`,
pages of a file in memory, but it does not start a resource tracker process, which would disturb the timing.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import Any

from pytest_gilprobe.observe import clocks

LEAST_SHARE = 0.9
"""Shared memory is tried only if NumPy arrays make up at least this share (0 to 1) of the pickled bytes of a call: the
rest must still be pickled."""
LEAST_BYTES = 64 * 1024
"""Shared memory is tried only if the NumPy arrays of a call have at least this many bytes in all. For less, a pipe is
enough: it holds 64 KiB (``pipe(7)``, capacity)."""
PAGE = 4096
_WITHIN = 3


def arrays(thing: Any, depth: int = _WITHIN) -> tuple[Any, ...]:
    """Return the NumPy arrays in ``thing``: itself, or those in nested tuples, lists and dicts.

    The search goes to ``depth`` levels, of which ``thing`` is the first. Arrays of Python objects are left out. The
    result is empty if NumPy is not loaded.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None or depth == 0:
        return ()
    if isinstance(thing, numpy.ndarray):
        return (thing,) if not thing.dtype.hasobject else ()
    inner = thing.values() if isinstance(thing, dict) else thing if isinstance(thing, list | tuple) else ()
    return tuple(array for one in inner for array in arrays(one, depth - 1))


def dominate(found: tuple[Any, ...], pickled_bytes: int) -> bool:
    """Return whether moving the arrays ``found`` in shared memory may be worth it.

    They must have at least `LEAST_BYTES` bytes, and make up nearly all of the ``pickled_bytes`` that a call moves.
    """
    size: int = sum(array.nbytes for array in found)
    return size >= LEAST_BYTES and size >= pickled_bytes * LEAST_SHARE


def measure(there: tuple[Any, ...], back: tuple[Any, ...]) -> tuple[float, float] | None:
    """Return the seconds per call that moving arrays in shared memory costs the parent, and what it costs a worker.

    ``there`` are the arrays in the arguments, which the parent (pytest's own process) makes, and ``back`` the arrays in
    the result, which the worker makes. The side that makes an array fills the memory; the other side maps the memory
    and touches each page. Return ``None`` on a system without ``memfd_create``.
    """
    if not hasattr(os, "memfd_create"):
        return None
    fill_there, map_there = _share(there)
    fill_back, map_back = _share(back)
    return fill_there + map_back, map_there + fill_back


def _share(found: tuple[Any, ...]) -> tuple[float, float]:
    """Return the seconds to fill shared memory with arrays, and to map and touch it on the other side."""
    times = [_share_one(array) for array in found if array.nbytes]
    return sum(fill for fill, _ in times), sum(touch for _, touch in times)


def _share_one(array: Any) -> tuple[float, float]:
    numpy: Any = sys.modules["numpy"]
    started = clocks.perf_counter_ns()
    file = os.memfd_create("gilprobe")
    try:
        os.ftruncate(file, array.nbytes)
        with mmap.mmap(file, array.nbytes) as memory:
            numpy.copyto(numpy.ndarray(array.shape, array.dtype, memory), array)
        filled = clocks.perf_counter_ns()
        with mmap.mmap(file, array.nbytes) as memory:
            int(numpy.frombuffer(memory, numpy.uint8)[::PAGE].max())
        touched = clocks.perf_counter_ns()
    finally:
        os.close(file)
    return (filled - started) / 1e9, (touched - filled) / 1e9

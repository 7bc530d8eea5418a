"""Give calls room for their frames, so that their time does not depend on how deep in the stack they are made.

CPython 3.11 and later keep the frames of Python functions in chunks of 16 KiB. A function that is called where a chunk
is full has the system map a new chunk, and unmap it when the function returns. Where that happens in a loop of a
workload, the workload takes several times as long: `yaml.safe_load` 9 ms or 64 ms. Whether it happens depends on the
depth of the stack, which differs by chance between a worker's main thread (below pytest), other threads, and a user's
program. *Source:* ``push_chunk`` in CPython's ``pystate.c``.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

SLOTS = (1 << 16) + 1024
"""Number of slots (8 bytes each) that `with_room` has a function's frame ask for. CPython keeps the frames of Python
functions in chunks of memory; for so large a frame it maps a chunk of its own, of 1 MiB (the next power of two). Nearly
half of that chunk is left for the frames of functions that are called, which have some 10 to 30 slots each."""


def with_room(function: Function) -> Function:
    """Return a function that does the same as ``function``, with room in memory for the frames of what it calls.

    So the time of those calls does not depend on how full the memory for frames was. The frames lie in a chunk of
    memory of their own. To map that chunk takes some 10 µs for each call of the returned function; its pages are
    touched only when used.
    """
    plain: Any = function
    code = plain.__code__.replace(co_stacksize=SLOTS)
    made: Any = FunctionType(code, plain.__globals__, plain.__name__, plain.__defaults__, plain.__closure__)
    made.__kwdefaults__ = plain.__kwdefaults__
    made.__doc__ = plain.__doc__
    return made  # type: ignore[no-any-return]

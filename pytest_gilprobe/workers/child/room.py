"""Give calls memory for their frames, so that their time does not depend on how deep in the stack they are made.

CPython 3.11 and later keep the frames of Python functions in chunks of 16 KiB. If a function is called when a chunk is
full, the system maps a new chunk, and unmaps it when the function returns. In a loop, this makes calls several times
slower. Whether it happens depends on the depth of the stack, which differs by chance between a worker's main thread
(below pytest), other threads, and a user's program. *Source:* ``push_chunk`` in CPython's ``pystate.c``.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

SLOTS = (1 << 16) + 1024
"""Size of the frame of a function made by `with_room`, in slots of 8 bytes. CPython keeps the frames of Python
functions in chunks of memory, and maps a chunk of 1 MiB for so large a frame. Nearly half of the chunk is left for the
frames of functions that are called, which have some 10 to 30 slots each."""


def with_room(function: Function) -> Function:
    """Return a copy of ``function`` that has memory ready for the frames of the Python functions that it calls.

    So the time of those calls does not depend on how full the memory for frames was. Each call of the copy maps a new
    chunk of memory (1 MiB), which takes some 10 µs.
    """
    plain: Any = function
    code = plain.__code__.replace(co_stacksize=SLOTS)
    made: Any = FunctionType(code, plain.__globals__, plain.__name__, plain.__defaults__, plain.__closure__)
    made.__kwdefaults__ = plain.__kwdefaults__
    made.__doc__ = plain.__doc__
    return made  # type: ignore[no-any-return]

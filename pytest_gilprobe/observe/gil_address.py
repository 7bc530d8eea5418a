"""Find the address of the main interpreter's GIL state in this process's memory.

The GIL state is CPython's internal record of the GIL. CPython keeps these adjacent words in ``_PyRuntime``, or in the
main interpreter embedded in it (``struct _gil_runtime_state``, ``Include/internal/pycore_gil.h``, 3.9 to 3.15)::

    unsigned long  interval        the switch interval, microseconds
    PyThreadState *last_holder     who holds the GIL, or held it last
    int            locked          1 held, 0 free, -1 not initialized yet
    unsigned long  switch_number   how often the GIL passed from one thread to another

No offset within ``_PyRuntime`` is built in: the search recognizes the words by their values, for these reasons:

* The switch interval can be set to any whole number of microseconds, and read back with `sys.getswitchinterval`.
* A thread that runs Python code holds the GIL. So a read that keeps the GIL (`ctypes` access, unlike `os.pread`) must
  find this thread as the holder and ``locked`` at 1, however many other threads exist.
* A word that equals the interval by chance does not change when the interval changes.
"""

from __future__ import annotations

import os
import struct
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

_SEARCHED_BYTES: Final = 1 << 20
"""How far from ``_PyRuntime`` to search: CPython 3.11 to 3.15 need at most 0.4 MiB."""

_UNUSUAL_US: Final = (4_909, 5_407)
"""Two primes within 10 % of the default interval of 5,000 us: rare in memory, and harmless while they are set."""

_HELD: Final = 1
_LONG_BYTES: Final = struct.calcsize("@L")
_WORD_BYTES: Final = struct.calcsize("@P")
HOLDER_OFFSET: Final = -_WORD_BYTES
"""Offset in bytes, from the GIL's ``locked`` int, to the pointer to the thread state that holds the GIL or held it
last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """The address of the GIL's ``locked`` int (1 if the GIL is held), or the ``reason`` why it was not found.

    One of the two is ``None``. ``thread_state`` is the address of the ``PyThreadState`` of the thread that searched; if
    ``address`` is ``None``, so is ``thread_state``. Both are virtual addresses, valid only in the searched process.
    """

    address: int | None
    reason: str | None
    thread_state: int | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` unless exactly one of the two fields is ``None``."""
        if (self.address is None) == (self.reason is None):
            msg = f"a location has an address or a reason, found {self.address!r} and {self.reason!r}"
            raise ValueError(msg)


def locate(*, of_this_interpreter: bool = False) -> Location:
    """Return the address of the GIL's ``locked`` int (1 if the GIL is held) in this process's main interpreter.

    If ``of_this_interpreter`` is true, return the address for the subinterpreter that calls this function, which has a
    GIL of its own: its GIL state lies in the interpreter's state instead of ``_PyRuntime``.

    Call this function in a thread of the interpreter whose GIL is meant, before anything is timed: it sets the switch
    interval for about a millisecond to values within 10 % of the default, and restores it exactly. On a free-threaded
    build, call this function again when the GIL has been switched on.

    Returns:
        The address, if exactly one place in memory behaves as the GIL must; else the reason why not. It never raises.
    """
    refusal = _refusal()
    if refusal is not None:
        return Location(address=None, reason=refusal)
    try:
        import ctypes  # noqa: PLC0415 - absent where libffi is, which is a reason, not an error
    except ImportError:
        return Location(address=None, reason="this Python has no ctypes")
    try:
        return _search(ctypes, of_this_interpreter=of_this_interpreter)
    except Exception as error:  # noqa: BLE001 - audit hooks may raise anything, and a probe goes on without
        return Location(address=None, reason=f"cannot search this process's memory: {error}")


def _refusal() -> str | None:
    """Return why the search cannot start; ``None`` if it can."""
    if sys.implementation.name != "cpython":
        return f"the GIL state is known for CPython only, this is {sys.implementation.name}"
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return "free-threaded build with the GIL disabled: there is no GIL"
    if not os.path.exists("/proc/self/mem"):  # noqa: PTH110 - pathlib is not imported in every worker
        return "this system has no /proc/self/mem"
    return None


def _search(ctypes: ModuleType, *, of_this_interpreter: bool) -> Location:
    """Set two unusual intervals in turn, and keep the places that show both, with this thread as the holder."""
    if of_this_interpreter:
        get_interpreter_state = ctypes.PyDLL(None).PyInterpreterState_Get
        get_interpreter_state.restype, get_interpreter_state.argtypes = ctypes.c_void_p, ()
        start: int = get_interpreter_state()
    else:
        start = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    get_thread_state = ctypes.PyDLL(None).PyThreadState_Get
    get_thread_state.restype, get_thread_state.argtypes = ctypes.c_void_p, ()
    this_thread: int = get_thread_state()

    def matches(interval_address: int, interval_us: int) -> bool:
        """Read without releasing the GIL; the address is mapped, since `os.pread` has read it before."""
        interval = ctypes.c_ulong.from_address(interval_address).value
        holder = ctypes.c_void_p.from_address(interval_address + _LONG_BYTES).value
        locked = ctypes.c_int.from_address(interval_address + _LONG_BYTES + _WORD_BYTES).value
        return (interval, holder, locked) == (interval_us, this_thread, _HELD)

    with _switch_interval() as set_interval_us:
        interval_us = set_interval_us(_UNUSUAL_US[0])
        memory = _read_own_memory(start, _SEARCHED_BYTES)
        places = [start + offset for offset in _offsets(memory, struct.pack("@L", interval_us))]
        places = [place for place in places if matches(place, interval_us)]
        interval_us = set_interval_us(_UNUSUAL_US[1])
        places = [place for place in places if matches(place, interval_us)]
    if len(places) == 1:
        return Location(address=places[0] + _LONG_BYTES + _WORD_BYTES, reason=None, thread_state=this_thread)
    found = f"{len(places)} places" if places else "no place"
    return Location(address=None, reason=f"{found} in {len(memory)} bytes of runtime state looked like the GIL's")


@contextmanager
def _switch_interval() -> Iterator[Callable[[int], int]]:
    """Yield a function that sets the switch interval and returns the one in effect, in microseconds; restore it after.

    CPython truncates seconds to whole microseconds (and 1e6 * 1e-6 * 29 is below 29): half of one is added, so that
    the interval restored is the original one.
    """
    original_us = round(sys.getswitchinterval() * 1e6)

    def set_interval_us(interval_us: int) -> int:
        sys.setswitchinterval((interval_us + 0.5) * 1e-6)
        return round(sys.getswitchinterval() * 1e6)

    try:
        yield set_interval_us
    finally:
        set_interval_us(original_us)


def _read_own_memory(address: int, size: int) -> bytes:
    """Read up to ``size`` bytes from ``address``, fewer where the mapping ends; raise `OSError` if none is mapped."""
    descriptor = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, size, address)
    finally:
        os.close(descriptor)


def _offsets(memory: bytes, word: bytes) -> Iterator[int]:
    """Yield each aligned offset of ``word`` in ``memory`` that leaves room for the GIL's words after it."""
    room = len(memory) - len(word) - _WORD_BYTES - struct.calcsize("@i")
    at = memory.find(word)
    while 0 <= at <= room:
        if at % _LONG_BYTES == 0:
            yield at
        at = memory.find(word, at + 1)

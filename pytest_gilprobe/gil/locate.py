"""Inside a process: where the main interpreter's GIL state lies in its own memory.

CPython keeps, in ``_PyRuntime`` or in the main interpreter that is embedded in it, these adjacent words
(``struct _gil_runtime_state``, ``Include/internal/pycore_gil.h``, 3.9 to 3.15)::

    unsigned long  interval        the switch interval, microseconds
    PyThreadState *last_holder     who holds the GIL, or held it last
    int            locked          1 held, 0 free, -1 not made yet
    unsigned long  switch_number   how often the GIL passed from one thread to another

No offset is written down here: the words are recognised by what they hold. What the search rests on:

* The interval is ours to choose, in whole microseconds, and `sys.getswitchinterval` tells which it is.
* A thread that runs Python code holds the GIL, so a look that keeps it (`ctypes` access, unlike `os.pread`) must
  find itself as the holder and ``locked`` at 1, however many other threads there are.
* A word that holds the interval by chance does not follow it when it is set to another value.
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
"""How far from ``_PyRuntime`` is searched. CPython 3.11 to 3.15: at most 0.4 MiB are needed."""

_UNUSUAL_US: Final = (4_909, 5_407)
"""Two primes within 10 % of the default interval of 5,000 us: rare in memory, and harmless while they are set."""

_HELD: Final = 1
_LONG_BYTES: Final = struct.calcsize("@L")
_WORD_BYTES: Final = struct.calcsize("@P")
HOLDER_OFFSET: Final = -_WORD_BYTES
"""From `Location.address` to the ``PyThreadState*`` of the holder, in bytes."""

SWITCHES_OFFSET: Final = _LONG_BYTES
"""From `Location.address` to the number of hand-overs, an ``unsigned long``: the int is padded to its alignment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where the GIL's ``locked`` int lies in this process, or why that is not known.

    ``address`` is a virtual address of the process that `locate` ran in, and of no other. Exactly one of the two
    is ``None``. The holder's word starts `HOLDER_OFFSET` bytes from the address, the count of hand-overs
    `SWITCHES_OFFSET` bytes from it.
    """

    address: int | None
    reason: str | None

    def __post_init__(self) -> None:
        """Refuse an address with a reason, and neither."""
        if (self.address is None) == (self.reason is None):
            msg = f"a location has an address or a reason, found {self.address!r} and {self.reason!r}"
            raise ValueError(msg)


def locate() -> Location:
    """Find the GIL state of this process's main interpreter.

    Call it from a thread of the main interpreter, before anything is timed: the switch interval is changed for
    about a millisecond (by less than 10 % from its default) and put back exactly. A free-threaded build that
    enables its GIL later must be asked again then.

    Returns:
        The address, if exactly one place behaves as the GIL state must; else the reason. Never raises.

    """
    refusal = _refusal()
    if refusal is not None:
        return Location(address=None, reason=refusal)
    try:
        import ctypes  # noqa: PLC0415 - absent where libffi is, which is a reason, not an error
    except ImportError:
        return Location(address=None, reason="this Python has no ctypes")
    try:
        return _search(ctypes)
    except Exception as error:  # noqa: BLE001 - audit hooks may raise anything, and a probe goes on without
        return Location(address=None, reason=f"cannot search this process's memory: {error}")


def _refusal() -> str | None:
    """Say why the search cannot even start, or ``None``."""
    if sys.implementation.name != "cpython":
        return f"the GIL state is known for CPython only, this is {sys.implementation.name}"
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return "free-threaded build with the GIL disabled: there is no GIL to watch"
    if not os.path.exists("/proc/self/mem"):  # noqa: PTH110 - pathlib is not imported in every worker
        return "this system has no /proc/self/mem"
    return None


def _search(ctypes: ModuleType) -> Location:
    """Set two unusual intervals in turn; keep the places that follow both, held by this thread."""
    start = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    get_thread_state = ctypes.PyDLL(None).PyThreadState_Get
    get_thread_state.restype, get_thread_state.argtypes = ctypes.c_void_p, ()
    me: int = get_thread_state()

    def follows(interval_address: int, interval_us: int) -> bool:
        """Look without releasing the GIL; the address was read by `os.pread` before, so it is mapped."""
        interval = ctypes.c_ulong.from_address(interval_address).value
        holder = ctypes.c_void_p.from_address(interval_address + _LONG_BYTES).value
        locked = ctypes.c_int.from_address(interval_address + _LONG_BYTES + _WORD_BYTES).value
        return (interval, holder, locked) == (interval_us, me, _HELD)

    with _switch_interval() as set_interval_us:
        interval_us = set_interval_us(_UNUSUAL_US[0])
        memory = _read_own_memory(start, _SEARCHED_BYTES)
        places = [start + offset for offset in _offsets(memory, struct.pack("@L", interval_us))]
        places = [place for place in places if follows(place, interval_us)]
        interval_us = set_interval_us(_UNUSUAL_US[1])
        places = [place for place in places if follows(place, interval_us)]
    if len(places) == 1:
        return Location(address=places[0] + _LONG_BYTES + _WORD_BYTES, reason=None)
    found = f"{len(places)} places" if places else "no place"
    return Location(address=None, reason=f"{found} in {len(memory)} bytes of runtime state looked like the GIL's")


@contextmanager
def _switch_interval() -> Iterator[Callable[[int], int]]:
    """Lend a function that sets the switch interval, in microseconds, and returns what CPython made of it.

    CPython truncates seconds to microseconds: half of one is added, so that the interval put back is the one found
    (1e6 * 1e-6 * 29 is below 29).
    """
    found_us = round(sys.getswitchinterval() * 1e6)

    def set_interval_us(interval_us: int) -> int:
        sys.setswitchinterval((interval_us + 0.5) * 1e-6)
        return round(sys.getswitchinterval() * 1e6)

    try:
        yield set_interval_us
    finally:
        set_interval_us(found_us)


def _read_own_memory(address: int, size: int) -> bytes:
    """Read up to ``size`` bytes from ``address``, fewer where the mapping ends; a bad address is an `OSError`."""
    descriptor = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, size, address)
    finally:
        os.close(descriptor)


def _offsets(memory: bytes, word: bytes) -> Iterator[int]:
    """Find each aligned place of ``word``, if the words after it still lie in ``memory``."""
    room = len(memory) - len(word) - _WORD_BYTES - struct.calcsize("@i")
    at = memory.find(word)
    while 0 <= at <= room:
        if at % _LONG_BYTES == 0:
            yield at
        at = memory.find(word, at + 1)

"""Copy the arguments of a call in the same process, and find out whether a call has changed them.

A copy is made by pickling, within limits of size and time. Functions, classes and modules are not copied, since every
thread of a process shares them anyway; a lock becomes a new, unlocked lock. Of an open file, the position is kept.
Anything else that cannot be pickled, such as a socket, can neither be copied nor compared.
"""

from __future__ import annotations

import copyreg
import inspect
import io
import pickle
import sys
import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any, Protocol

from pytest_gilprobe.observe import clocks

MOST_BYTES = 32 * 2**20
"""Largest size, in bytes, of the pickle of one argument; an argument with a larger pickle is not copied."""
MOST_S = 0.25
"""Longest time, in seconds, to pickle one argument; an argument that takes longer is not copied."""
_LOCKS: dict[type, Callable[[], object]] = {
    type(threading.Lock()): threading.Lock,
    type(threading.RLock()): threading.RLock,
}
_CONSTANT = (str, bytes, int, float, complex, bool, type(None), type, FunctionType, ModuleType, range)
"""Types of arguments that no call can change."""


def is_constant(value: object) -> bool:
    """Return whether ``value`` is of a type that no call can change, such as `str` or a function: it needs no copy."""
    return isinstance(value, _CONSTANT)


_CONTAINERS = (list, dict, set, bytearray, deque, array)
"""Types that only hold what is put into them: they neither connect nor cache by themselves."""


class NotCopiedError(Exception):
    """Raised if an argument cannot be copied; the text says why."""


class TooLargeError(NotCopiedError):
    """Raised if the pickle of an argument takes more than `MOST_BYTES` bytes or `MOST_S` seconds."""


class _Limit:
    """The bytes and the time that are left for pickling."""

    def __init__(self) -> None:
        self._bytes = MOST_BYTES
        self._until_ns = clocks.perf_counter_ns() + round(MOST_S * 1e9)

    def spend(self, number: int) -> None:
        self._bytes -= number
        if self._bytes < 0:
            msg = f"it takes more than {MOST_BYTES // 2**20} MiB"
            raise TooLargeError(msg)
        if clocks.perf_counter_ns() > self._until_ns:
            msg = f"to copy it takes more than {MOST_S:g} s"
            raise TooLargeError(msg)


class _Pieces:
    """A file that keeps what is written to it, within a limit."""

    def __init__(self, limit: _Limit) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []

    def write(self, piece: bytes | memoryview) -> int:
        self._limit.spend(len(piece))
        self._pieces.append(bytes(piece))
        return len(piece)

    def whole(self) -> bytes:
        return b"".join(self._pieces)


def _shared(number: int) -> object:
    """Stand for a shared object in a pickle; `_Unpickler` replaces it."""
    raise NotImplementedError(number)


class _Pickler(pickle.Pickler):
    """Pickles everything but the objects that it adds to ``shared``, by their `id`."""

    def __init__(self, file: _Pieces, shared: dict[int, Any]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._shared = shared

    def reducer_override(self, thing: Any) -> Any:
        if type(thing) in _LOCKS:
            return _LOCKS[type(thing)], ()
        if isinstance(thing, type | FunctionType | ModuleType):
            if thing is _shared or any(thing is lock for lock in _LOCKS.values()):
                return NotImplemented
            self._shared[id(thing)] = thing
            return _shared, (id(thing),)
        if hasattr(type(thing), "__del__") and not isinstance(thing, io.IOBase):
            msg = f"{type(thing).__qualname__} has a __del__, which a copy would run, too"
            raise NotCopiedError(msg)
        return _with_attributes_set(thing) if _is_plain(type(thing)) else NotImplemented


def _is_plain(kind: Any) -> bool:
    """Return whether instances of a class are pickled as any object is: by the class and their attributes."""
    own = all(getattr(kind, name) is getattr(object, name) for name in ("__reduce_ex__", "__reduce__", "__getstate__"))
    return own and not hasattr(kind, "__setstate__") and kind not in copyreg.dispatch_table


def _with_attributes_set(thing: Any) -> Any:
    """Reduce an instance such that its copy gets its attributes one by one, as an ``__init__`` sets them.

    `pickle` puts them into the copy's ``__dict__``, which CPython otherwise does not make. To write to an attribute in
    such a dict takes longer, and in threads of the free-threaded 3.13 hinders those that write to others.
    """
    reduced = thing.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    state = reduced[2] if isinstance(reduced, tuple) and len(reduced) == 5 else None  # noqa: PLR2004 - see `pickle`
    if type(state) is not dict or any(
        inspect.isdatadescriptor(inspect.getattr_static(type(thing), name, None)) for name in state
    ):
        return NotImplemented
    return (*reduced, _set_attributes)


def _set_attributes(thing: Any, state: Mapping[str, Any]) -> None:
    for name, value in state.items():
        object.__setattr__(thing, name, value)


class _Unpickler(pickle.Unpickler):
    """Reads what `_Pickler` wrote in this process."""

    def __init__(self, file: io.BytesIO, shared: Mapping[int, Any]) -> None:
        super().__init__(file)
        self._shared = shared

    def find_class(self, module: str, name: str) -> Any:
        return self._shared.__getitem__ if (module, name) == (__name__, "_shared") else super().find_class(module, name)


class _Kept(Protocol):
    """The former state of one argument."""

    single: bool

    def changed(self) -> bool:
        """Return whether the argument differs from its former state."""

    def copied(self) -> Any:
        """Return the argument as it was."""


class _Constant:
    """An argument that no call can change."""

    single = False

    def __init__(self, value: Any) -> None:
        self._value = value

    def changed(self) -> bool:
        return False

    def copied(self) -> Any:
        return self._value


class _Pickled:
    """An argument that can be pickled."""

    single = False

    def __init__(self, value: Any, limit: _Limit) -> None:
        self._value = value
        self._shared: dict[int, Any] = {}
        self._before = self._pickled(limit)

    def _pickled(self, limit: _Limit) -> bytes:
        pieces = _Pieces(limit)
        _Pickler(pieces, self._shared).dump(self._value)
        return pieces.whole()

    def changed(self) -> bool:
        """Return whether it pickles to other bytes now; an argument that has grown beyond the limits is changed."""
        try:
            return self._pickled(_Limit()) != self._before
        except Exception:  # noqa: BLE001 - it could be pickled before
            return True

    def copied(self) -> Any:
        return _Unpickler(io.BytesIO(self._before), self._shared).load()


class _Position:
    """An open file, whose state is the position in it."""

    single = True

    def __init__(self, file: io.IOBase) -> None:
        self._file = file
        self._before = file.tell()

    def changed(self) -> bool:
        try:
            return self._file.tell() != self._before
        except (OSError, ValueError):  # while a loop reads its lines, or after it was closed
            return True

    def copied(self) -> io.IOBase:
        self._file.seek(self._before)
        return self._file


@dataclass(slots=True)
class Snapshot:
    """The state of a call's arguments at one moment, to compare later states with it, or to copy it.

    ``unknown`` maps the name of each argument whose state cannot be kept to the reason why.
    """

    _kept: dict[str, _Kept] = field(default_factory=dict)
    _values: dict[str, Any] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    _lengths: dict[str, int | None] = field(default_factory=dict)

    @classmethod
    def of(cls, named: Mapping[str, Any]) -> Snapshot:
        """Return a snapshot of arguments as they are now; ``named`` maps their names to their values."""
        made = cls(_values=dict(named))
        for name, value in named.items():
            try:
                made._kept[name] = _kept(value, _Limit())
            except Exception as error:  # noqa: BLE001 - whatever the user's classes raise
                made.unknown[name] = _first_line(error)
                if isinstance(value, Iterator):
                    made._lengths[name] = None
                elif isinstance(error, TooLargeError) and type(value) in _CONTAINERS:
                    made._lengths[name] = len(value)
        return made

    def changed(self) -> tuple[str, ...]:
        """Return the names of the arguments that now differ from the snapshot; those in ``unknown`` are left out."""
        return tuple(name for name, kept in self._kept.items() if kept.changed())

    @property
    def iterators(self) -> tuple[str, ...]:
        """Names of uncopied arguments that calls may have used up: iterators, and large containers that have shrunk."""
        return tuple(
            name for name, length in self._lengths.items() if length is None or len(self._values[name]) < length
        )

    @property
    def own(self) -> tuple[str, ...]:
        """Names of the arguments of which `copied` makes a new object: those that can be changed and pickled."""
        return tuple(name for name, kept in self._kept.items() if isinstance(kept, _Pickled))

    @property
    def not_copied(self) -> dict[str, str]:
        """Names of arguments that calls may change but that `copied` returns uncopied, mapped to the reasons."""
        files = {name: "an open file" for name, kept in self._kept.items() if kept.single}
        return files | self.unknown

    @property
    def copies_at_once(self) -> bool:
        """Whether several copies can be in use at once: false with an open file, whose copy is the file itself."""
        return not any(kept.single for kept in self._kept.values())

    def copied(self) -> dict[str, Any]:
        """Return the arguments by name: copies in the state of the snapshot, or the originals where there is no copy.

        Raises whatever the user's classes raise while they are unpickled.
        """
        return {name: self._kept[name].copied() if name in self._kept else self._values[name] for name in self._values}


def _kept(value: Any, limit: _Limit) -> _Kept:
    if is_constant(value):
        return _Constant(value)
    if isinstance(value, io.IOBase) and not isinstance(value, io.BytesIO | io.StringIO) and value.seekable():
        return _Position(value)
    return _Pickled(value, limit)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__


def modules_imported() -> int:
    """Return how many modules this process has imported so far."""
    return len(sys.modules)

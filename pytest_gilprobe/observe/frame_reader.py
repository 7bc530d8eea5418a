"""Read the Python frames of a thread of another process, by reading that process's memory while it runs.

The process is not stopped, so what is read may be outdated or nonsense. So nothing that is read is believed: every
address may be wrong, each object's type is checked, and sizes, lengths and depths are bounded. A wrong read ends in
fewer frames, never in an exception.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable
from typing import Final

from pytest_gilprobe.observe.frame_layout import TAG_BITS, WORD, FrameLayout
from pytest_gilprobe.observe.remote_frames import CopiedFrame, KnownCode, RemoteCode, RemoteFrame

DEEPEST: Final = 1000
"""Largest depth, in frames, of a stack that is read: Python's default limit of recursion. A deeper stack is dropped,
because the user's function may lie beyond the frames read, and another function would be reported in its place."""

ATTEMPTS: Final = 12
"""Maximum number of attempts to read one stack. An attempt fails if frames change meanwhile: in code that
does little but call functions, half of the attempts fail."""

_BLOCK_BYTES: Final = 3072
"""How much of the stack is read with the innermost frame: the frames of callers lie before it."""
_FIRST_BYTES: Final = 256
"""How much of a text or of bytes is read first: all of most. Code that lives for some 50 us is read in that time."""
_LONGEST_TEXT: Final = 1000
_LONGEST_TABLE: Final = 1 << 17
_LONGEST_BYTECODE: Final = 1 << 20
_ADDRESSES: Final = range(1 << 12, 1 << 63)
_ENCODINGS: Final = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}
_GENERATORS: Final = 0x20 | 0x80 | 0x200
"""Flags of the code of generators, coroutines and asynchronous generators. *Source:* ``inspect.CO_GENERATOR`` ..."""
_SHIMS: Final = frozenset({"<shim>", "__init__"})
"""The files of frames that CPython (3.12, 3.13) puts between others, and that are no Python functions."""
_WORD: Final = struct.Struct("@P")


class FrameReader:
    """Read the stacks of another process's threads from its memory, and remember the code objects that were seen."""

    def __init__(self, memory: int, layout: FrameLayout, is_end: Callable[[str], bool]) -> None:
        """Read through ``memory``, a descriptor of ``/proc/PID/mem``; ``layout`` is where the process keeps its frames.

        ``is_end`` says whether the code of a file ends a stack: the callers of such code are not read.
        """
        self._memory = memory
        self._layout = layout
        self._is_end = is_end
        self._known: dict[int, KnownCode] = {}
        self._codes: list[RemoteCode] = []
        self._span = max(layout.frame_code, layout.frame_previous, layout.frame_instruction) + WORD
        fields = [layout.code_name, layout.code_file, layout.code_lines, layout.code_first_line, layout.type_of]
        fields.append(layout.code_flags)
        self._no_code = (layout.none, 0)
        self._links = (layout.frame_code, layout.frame_previous)
        self._identity = (min(fields), max(*fields, layout.code_version or 0) + WORD)

    def __len__(self) -> int:
        """Return how many code objects are remembered."""
        return len(self._codes)

    def forget(self) -> None:
        """Forget all code objects; the numbers of code objects in frames read before are no longer valid."""
        self._known.clear()
        self._codes.clear()

    def code(self, number: int) -> RemoteCode:
        """Return the code object that a frame refers to by ``number``, the frame's field ``code``."""
        return self._codes[number]

    def stack(self, thread_state: int, is_current: Callable[[], bool] | None = None) -> tuple[RemoteFrame, ...]:
        """Return a thread's frames, the innermost first; empty if there are none or too many, or if reading failed.

        ``thread_state`` is the address of the thread's ``PyThreadState``. The frames are copied first, within
        microseconds, and their code objects are looked up afterwards. In between, ``is_current`` is called: if it
        returns false, the thread has moved on, and the result is empty. ``None`` means that this is not checked.

        Code that calls and returns every few hundred nanoseconds changes its frames while they are copied, so that the
        way to the outermost frame is lost. The frames are then read again, at most `ATTEMPTS` times in all: a broken
        stack would name the wrong function, and to drop it at once would favor code that calls little.
        """
        for _ in range(ATTEMPTS):
            with contextlib.suppress(OSError, struct.error):
                address = self._current_frame(thread_state)
                copied = self.copied(address) if address else []
                if not copied or (is_current is not None and not is_current()):
                    return ()
                remembered, known = len(self._codes), dict[int, KnownCode]()
                found = self.named(copied, known)
                if found is None:
                    continue
                if len(self._codes) == remembered or (
                    self._current_frame(thread_state) == address and self._are_alive(copied, known)
                ):
                    return found
        return ()

    def _current_frame(self, thread_state: int) -> int:
        address = self._word(thread_state + self._layout.thread_frame)
        return address if self._layout.thread_hop is None else self._word(address + self._layout.thread_hop)

    def copied(self, address: int) -> list[CopiedFrame]:
        """Copy the frame at ``address`` and its callers, the innermost first; empty if there are more than `DEEPEST`.

        Raises `OSError` or `struct.error` if an address that was read, such as that of a caller's frame, is not mapped.
        """
        layout = self._layout
        found: list[CopiedFrame] = []
        start, block = 0, b""
        for _ in range(DEEPEST):
            if not 0 <= address - start <= len(block) - self._span:
                start, block = self._block(address)
            at = address - start
            code = _WORD.unpack_from(block, at + layout.frame_code)[0] & ~TAG_BITS
            instruction = _WORD.unpack_from(block, at + layout.frame_instruction)[0]
            previous = _WORD.unpack_from(block, at + layout.frame_previous)[0]
            found.append(CopiedFrame(address, code, instruction, previous))
            known = self._known.get(code)
            if not previous or (known is not None and self._ends(known)):
                return found
            address = previous
        return []

    def _ends(self, known: KnownCode) -> bool:
        return known.number is not None and self._codes[known.number].is_end

    def named(self, copied: list[CopiedFrame], seen: dict[int, KnownCode]) -> tuple[RemoteFrame, ...] | None:
        """Look up the code objects of ``copied`` frames; return the frames that belong to functions, in the same order.

        The result ends with the first frame whose code ends a stack (callers of such code are not wanted), if there is
        one. It is ``None`` if the frames changed while they were copied. What was found at the address of each code
        object is added to ``seen``, by that address.
        """
        found: list[RemoteFrame] = []
        last = None
        for frame in copied:
            if frame.code in self._no_code:
                last = None
                continue
            last = seen.get(frame.code) or self._code_at(frame.code)
            if last is None:
                return None
            seen[frame.code] = last
            if last.number is not None:
                offset = frame.instruction - frame.code - self._layout.code_bytecode
                found.append(RemoteFrame(last.number, offset if -WORD <= offset < _LONGEST_BYTECODE else -1))
                if self._ends(last):
                    return tuple(found)
        # no thread begins in a generator: one that has no caller was suspended meanwhile
        is_whole = bool(found) and not copied[-1].previous and not (last is not None and last.is_generator)
        return tuple(found) if is_whole else None

    def _are_alive(self, copied: list[CopiedFrame], known: dict[int, KnownCode]) -> bool:
        """Return whether frames are still those that a thread runs, and run the same code.

        A code object that was met for the first time may have been freed and its name replaced by a later one's while
        it was read. It was not if its frame is still there, and still runs it.
        """
        start, block = 0, b""
        for frame in copied:
            if not 0 <= frame.address - start <= len(block) - self._span:
                start, block = self._block(frame.address)
            words = [_WORD.unpack_from(block, frame.address - start + at)[0] for at in self._links]
            if (words[0] & ~TAG_BITS, words[1]) != (frame.code, frame.previous):
                return False
            one = known.get(frame.code)
            if one is not None and self._ends(one):
                break
        return all(self._code_at(code) is one for code, one in known.items())

    def _block(self, address: int) -> tuple[int, bytes]:
        """Read a frame together with what lies before it, if that is mapped; return where it begins, and the bytes."""
        start = max(_ADDRESSES.start, address - _BLOCK_BYTES)
        if address in _ADDRESSES:
            with contextlib.suppress(OSError):
                block = os.pread(self._memory, address - start + self._span, start)
                if len(block) == address - start + self._span:
                    return start, block
        return address, self._read(address, self._span)

    def _code_at(self, address: int) -> KnownCode | None:
        """Return what is known of the code object at an address; ``None`` if no code object is there.

        A code object may be freed and another one take its place: what is at the address is compared with what was read
        there before.
        """
        known = self._known.get(address)
        low, high = self._identity
        identity = self._read(address + low, high - low)
        if (
            known is None
            or known.identity != identity
            or any(self._read(at, len(content)) != content for at, content in known.proofs)
        ):
            self._known.pop(address, None)
            known = self._examined(address, identity)
            if known is None:
                return None
            self._known[address] = known
        return known

    def _examined(self, address: int, identity: bytes) -> KnownCode | None:
        read = self._read_code(address, identity)
        if read is None:
            return None
        low = self._identity[0]
        (flags,) = struct.unpack_from("@I", identity, self._layout.code_flags - low)
        is_generator = bool(flags & _GENERATORS)
        if read.file in _SHIMS:
            return KnownCode(identity, None, is_generator=False)
        self._codes.append(read)
        proofs: tuple[tuple[int, bytes], ...] = ()
        if read.file.startswith("<"):
            # Code made at run time may be followed by other code of the same size at the same addresses
            layout = self._layout
            name: int = _WORD.unpack_from(identity, layout.code_name - low)[0]
            lines: int = _WORD.unpack_from(identity, layout.code_lines - low)[0]
            size = layout.text_wide + min(len(read.function), _LONGEST_TEXT) * 4 - layout.text_state
            places = ((name + layout.text_state, size), (lines + layout.bytes_start, len(read.lines)))
            proofs = tuple((at, self._read_some(at, length)) for at, length in places)
            if self._read_code(address, identity) != read:
                return None  # the code was replaced while it was read
        return KnownCode(identity, len(self._codes) - 1, is_generator=is_generator, proofs=proofs)

    def _read_code(self, address: int, identity: bytes) -> RemoteCode | None:
        layout, low = self._layout, self._identity[0]

        def pointer(offset: int) -> int:
            found: int = _WORD.unpack_from(identity, offset - low)[0]
            return found

        if pointer(layout.type_of) != layout.code_type:
            return None
        try:
            function, file = self._text(pointer(layout.code_name)), self._text(pointer(layout.code_file))
            lines = self._bytes(pointer(layout.code_lines))
            if self._read(address + low, len(identity)) != identity:
                return None
        except (OSError, struct.error, UnicodeDecodeError):
            return None
        if function is None or file is None or lines is None:
            return None
        (first_line,) = struct.unpack_from("@i", identity, layout.code_first_line - low)
        return RemoteCode(function, file, first_line, lines, self._is_end(file))

    def _text(self, address: int) -> str | None:
        """Read a text of at most `_LONGEST_TEXT` characters, of a longer one its start; ``None`` if it is no text."""
        layout = self._layout
        raw = self._read_some(address, _FIRST_BYTES)
        if _WORD.unpack_from(raw, layout.type_of)[0] != layout.text_type:
            return None
        length = min(_WORD.unpack_from(raw, layout.text_length)[0], _LONGEST_TEXT)
        (state,) = struct.unpack_from("@I", raw, layout.text_state)
        kind = (state >> layout.text_kind_shift) & 7
        if kind not in _ENCODINGS:
            return None
        start = layout.text_ascii if state & layout.text_ascii_mask else layout.text_wide
        return self._rest(address, raw, start, length * kind).decode(_ENCODINGS[kind], "backslashreplace")

    def _bytes(self, address: int) -> bytes | None:
        layout = self._layout
        raw = self._read_some(address, _FIRST_BYTES)
        if _WORD.unpack_from(raw, layout.type_of)[0] != layout.bytes_type:
            return None
        length = _WORD.unpack_from(raw, layout.bytes_length)[0]
        return self._rest(address, raw, layout.bytes_start, length) if length <= _LONGEST_TABLE else None

    def _rest(self, address: int, raw: bytes, start: int, size: int) -> bytes:
        """Return a part of an object of which ``raw`` was read first."""
        return raw[start : start + size] if start + size <= len(raw) else self._read(address + start, size)

    def _read_some(self, address: int, size: int) -> bytes:
        """Read at most ``size`` bytes, fewer where the mapping ends; raise `OSError` if it holds no such address."""
        if address not in _ADDRESSES:
            msg = "no address of a process"
            raise OSError(msg)
        return os.pread(self._memory, size, address)

    def _word(self, address: int) -> int:
        found: int = _WORD.unpack(self._read(address, WORD))[0]
        return found

    def _read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes; raise `OSError` or `struct.error` if they are not mapped."""
        found = self._read_some(address, size)
        if len(found) != size:
            msg = "the mapping ends"
            raise OSError(msg)
        return found

"""Find where this Python keeps frames, code objects and texts in memory, for a process that reads them from outside.

No offset is built in, since builds of one CPython version differ (free-threaded or not). The search looks in this
process's own memory for values that it knows, and accepts an offset only if the value lies at no other place. An offset
in a frame or a thread state must be found in two calls at different depths.

In CPython 3.13 to 3.15, a thread state points to its innermost frame; in 3.11 and 3.12, to a record that points there.
"""

from __future__ import annotations

import os
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

WORD: Final = struct.calcsize("@P")
TAG_BITS: Final = 7
"""Mask of the three low bits of a pointer to an object, which CPython may use as a tag from 3.14 on."""

_FRAME_WORDS: Final = 12
_FRAME_OBJECT_WORDS: Final = 10
_THREAD_WORDS: Final = 64
_HOP_WORDS: Final = 4
_OBJECT_BYTES: Final = 96
_LOWEST_ADDRESS: Final = 1 << 16
_STACK_BYTES: Final = 1 << 14
_RARE_LINE: Final = 7_777_777
_RARE_LENGTH: Final = 7_919
_RARE_FLAGS: Final = (0x0510_0003, 0x0A10_0003)

_Candidates = dict[str, set[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLayout:
    """Where one process and its forks keep frames, code objects, texts (`str` objects) and bytes in memory.

    A field is an offset in bytes, unless its entry begins with "no offset". The entry "in a frame, its code object"
    means: this far from the start of a frame lies the address of its code object. A number lies there itself.

    Attributes:
        type_of: in any object, its type.
        code_type: no offset, but the address of the type of code objects.
        text_type: no offset, but the address of the type `str`.
        bytes_type: no offset, but the address of the type `bytes`.
        none: no offset, but the address of ``None``.
        thread_frame: in a thread state, the address of its innermost frame or, in some versions, of a linking record.
        thread_hop: in a linking record, the address of the innermost frame; ``None`` if there are no such records.
        frame_code: in a frame, its code object.
        frame_previous: in a frame, the address of its caller's frame.
        frame_instruction: in a frame, the address of the instruction that it executes.
        code_name: in a code object, its qualified name.
        code_file: in a code object, the name of its file.
        code_lines: in a code object, its line table.
        code_first_line: in a code object, the number of its first line.
        code_flags: in a code object, its flags.
        code_version: in a code object, a number that no other one has; ``None`` if the offset was not found.
        code_bytecode: in a code object, its first instruction.
        text_length: in a text, the number of its characters.
        text_state: in a text, a word of 32 bits that says how its characters are stored.
        text_kind_shift: no offset; ``(text_state >> text_kind_shift) & 7`` is the number of bytes per character.
        text_ascii_mask: no offset, but the mask of the bit of ``text_state`` that is set in an ASCII text.
        text_ascii: in an ASCII text, its first character.
        text_wide: in any other text, its first character.
        bytes_length: in a `bytes` object, its length.
        bytes_start: in a `bytes` object, its first byte.
    """

    type_of: int
    code_type: int
    text_type: int
    bytes_type: int
    none: int
    thread_frame: int
    thread_hop: int | None
    frame_code: int
    frame_previous: int
    frame_instruction: int
    code_name: int
    code_file: int
    code_lines: int
    code_first_line: int
    code_flags: int
    code_version: int | None
    code_bytecode: int
    text_length: int
    text_state: int
    text_kind_shift: int
    text_ascii_mask: int
    text_ascii: int
    text_wide: int
    bytes_length: int
    bytes_start: int


class LayoutError(Exception):
    """An offset within an object or a frame was not found, or several fit; ``str()`` of the error says which."""


def search() -> FrameLayout:
    """Return the offsets at which this process keeps its frames, code objects, texts and bytes, found in its memory.

    Raises:
        LayoutError: this Python keeps something elsewhere than expected.
        OSError: this process's memory cannot be read.
        ImportError: this Python has no `ctypes`.
    """
    import ctypes  # noqa: PLC0415 - absent where libffi is

    get_thread_state = ctypes.PyDLL(None).PyThreadState_Get
    get_thread_state.restype, get_thread_state.argtypes = ctypes.c_void_p, ()
    memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        shallow = _call_candidates(memory, get_thread_state)
        deep = _deeper(_call_candidates, memory, get_thread_state)
        found = {name: shallow[name] & deep[name] for name in shallow}
        hop: int | None = None
        if not found["thread_frame"]:
            place = _only("the frame of a thread", found["hops"])
            found["thread_frame"], hop = {place // (_HOP_WORDS * WORD) * WORD}, place % (_HOP_WORDS * WORD)
        return FrameLayout(
            thread_hop=hop,
            thread_frame=_only("the frame of a thread", found["thread_frame"]),
            frame_code=_only("the code of a frame", found["frame_code"]),
            frame_previous=_only("the caller of a frame", found["frame_previous"]),
            frame_instruction=_only("the instruction of a frame", found["frame_instruction"]),
            **_of_code(memory),
            **_of_texts(memory),
        )
    finally:
        os.close(memory)


def _deeper(call: Callable[..., _Candidates], *arguments: object) -> _Candidates:
    """Return what ``call`` returns; its frame lies elsewhere than if it were called directly."""
    return call(*arguments)


def _call_candidates(memory: int, get_thread_state: Callable[[], int]) -> _Candidates:
    """Return the candidates for all offsets of frames, seen from this call's own frame."""
    frame, code = sys._getframe(), sys._getframe().f_code  # noqa: SLF001 - the public way to a frame is this one
    caller: Any = frame.f_back
    found: _Candidates = {name: set() for name in ("frame_code", "frame_previous", "frame_instruction", "hops")}
    inner, of_object = _interpreter_frame(memory, id(frame), id(code), found)
    outer = _words(memory, id(caller) + of_object, 1)[0]
    lies = _words(memory, inner, _FRAME_WORDS)
    first = id(code) + _bytecode_offset(memory, code)
    found["frame_previous"] = {at * WORD for at, word in enumerate(lies) if word == outer}
    # `pread` is no Python function: while it reads, this frame is still the innermost one, at this instruction
    lies = struct.unpack(f"@{_FRAME_WORDS}P", os.pread(memory, _FRAME_WORDS * WORD, inner))
    last = first + len(code.co_code)
    found["frame_instruction"] = {at * WORD for at, word in enumerate(lies) if first - 2 <= word < last}
    state = get_thread_state()
    thread = struct.unpack(f"@{_THREAD_WORDS}P", os.pread(memory, _THREAD_WORDS * WORD, state))
    found["thread_frame"] = {at * WORD for at, word in enumerate(thread) if word == inner}
    for at, word in enumerate(thread):
        if word < _LOWEST_ADDRESS or word % WORD or 0 <= word - inner < _STACK_BYTES:
            continue  # what follows this frame on the stack is left over from calls that this frame made
        try:
            behind = struct.unpack(f"@{_HOP_WORDS}P", os.pread(memory, _HOP_WORDS * WORD, word))
        except (OSError, struct.error, OverflowError):
            continue
        found["hops"].update((at * _HOP_WORDS + hop) * WORD for hop, to in enumerate(behind) if to == inner)
    return found


def _interpreter_frame(memory: int, frame: int, code: int, found: _Candidates) -> tuple[int, int]:
    """Return the address of a frame object's interpreter frame and the offset of that address in the object."""
    for at, word in enumerate(_words(memory, frame, _FRAME_OBJECT_WORDS)):
        if word < _LOWEST_ADDRESS or word % WORD or word in {frame, code}:
            continue
        try:
            lies = _words(memory, word, _FRAME_WORDS)
        except (OSError, struct.error, OverflowError):
            continue
        places = {place * WORD for place, to in enumerate(lies) if to & ~TAG_BITS == code}
        if places:
            found["frame_code"] = places
            return word, at * WORD
    msg = "the interpreter frame of a frame object: no place"
    raise LayoutError(msg)


def _of_code(memory: int) -> dict[str, Any]:
    """Return the offsets in code objects, from copies of one with values that are rare in memory."""
    base = _of_code.__code__
    bytecode = _bytecode_offset(memory, base)
    rare = base.replace(
        co_firstlineno=_RARE_LINE, co_name="n", co_qualname="q\u00e4lified.rare", co_filename="/rare.py"
    )
    twins = [base.replace(co_firstlineno=_RARE_LINE) for _ in range(3)]
    flagged = zip(*(_numbers(memory, base.replace(co_flags=one), bytecode) for one in _RARE_FLAGS), strict=True)
    size = sys.getsizeof(rare) // WORD * WORD
    raw = os.pread(memory, size, id(rare))
    words = struct.unpack(f"@{size // WORD}P", raw)
    numbers = _numbers(memory, rare, bytecode)
    series = [_numbers(memory, twin, bytecode) for twin in twins]
    versions = {
        at * 4 for at, (one, two, three) in enumerate(zip(*series, strict=True)) if (two - one, three - two) == (1, 1)
    }

    def place(what: str, value: object) -> int:
        return _only(what, {at * WORD for at, word in enumerate(words) if word == id(value)})

    return {
        "type_of": place("the type of an object", type(rare)),
        "code_type": id(type(rare)),
        "none": id(None),
        "code_name": place("the name of a code object", rare.co_qualname),
        "code_file": place("the file of a code object", rare.co_filename),
        "code_lines": place("the line table of a code object", rare.co_linetable),
        "code_first_line": _only("the first line", {at * 4 for at, one in enumerate(numbers) if one == _RARE_LINE}),
        "code_flags": _only("the flags", {at * 4 for at, two in enumerate(flagged) if two == _RARE_FLAGS}),
        "code_version": versions.pop() if len(versions) == 1 else None,
        "code_bytecode": bytecode,
    }


def _numbers(memory: int, code: CodeType, end: int) -> tuple[int, ...]:
    """Return the 32-bit numbers of a code object, up to its bytecode."""
    return struct.unpack(f"@{end // 4}I", os.pread(memory, end // 4 * 4, id(code)))


def _bytecode_offset(memory: int, code: CodeType) -> int:
    """Return where the bytecode starts in a code object, from a copy that never ran, so that its caches are fresh."""
    fresh: Any = code.replace(co_name="fresh")
    start = os.pread(memory, sys.getsizeof(fresh), id(fresh)).find(fresh._co_code_adaptive)  # noqa: SLF001
    if start < 0:
        msg = "the bytecode of a code object: no place"
        raise LayoutError(msg)
    return start


def _of_texts(memory: int) -> dict[str, Any]:
    """Return the offsets in texts and bytes, from some that are rare and differ in the width of their characters."""
    ascii_text, *wide = ("".join([character, "x" * (_RARE_LENGTH - 1)]) for character in "a\u00e9\u0144\U0001f40d")
    raw = os.pread(memory, _OBJECT_BYTES, id(ascii_text))
    states = [struct.unpack("@16I", os.pread(memory, 64, id(text))) for text in (ascii_text, *wide)]
    places = {
        at * 4: found for at, of in enumerate(zip(*states, strict=True)) if (found := _kind_bits(*of)) is not None
    }
    state = _only("the state of a text", set(places))
    numbers = b"\x00rare bytes\xff" + b"y" * (_RARE_LENGTH - 12)
    of_bytes = os.pread(memory, _OBJECT_BYTES, id(numbers))
    return {
        "text_type": id(str),
        "bytes_type": id(bytes),
        "text_length": _place_of_length(raw),
        "text_state": state,
        "text_kind_shift": places[state][0],
        "text_ascii_mask": places[state][1],
        "text_ascii": _start("a text", raw, b"axxxxxxx"),
        "text_wide": _start("a text", os.pread(memory, _OBJECT_BYTES, id(wide[0])), b"\xe9xxxxxxx"),
        "bytes_length": _place_of_length(of_bytes),
        "bytes_start": _start("bytes", of_bytes, numbers[:12]),
    }


def _kind_bits(plain: int, one: int, two: int, four: int) -> tuple[int, int] | None:
    """Return where a word has the width of a text's characters (three bits), and the mask of the ASCII bit after them.

    The word's unused bits may have any value. ``None`` if the word does not tell these four texts apart.
    """
    for shift in range(24):
        if [(number >> shift) & 7 for number in (plain, one, two, four)] != [1, 1, 2, 4]:
            continue
        for mask in (1 << (shift + after) for after in (3, 4, 5)):
            if plain & mask and not (one | two | four) & mask:
                return shift, mask
    return None


def _place_of_length(raw: bytes) -> int:
    words = struct.unpack(f"@{len(raw) // WORD}P", raw[: len(raw) // WORD * WORD])
    return _only("the length of an object", {at * WORD for at, word in enumerate(words) if word == _RARE_LENGTH})


def _start(what: str, raw: bytes, content: bytes) -> int:
    start = raw.find(content)
    if start < 0:
        msg = f"the content of {what}: no place"
        raise LayoutError(msg)
    return start


def _only(what: str, places: set[int]) -> int:
    if len(places) != 1:
        msg = f"{what}: {len(places) or 'no'} place{'s' if len(places) > 1 else ''}"
        raise LayoutError(msg)
    return next(iter(places))


def _words(memory: int, address: int, count: int) -> tuple[int, ...]:
    return struct.unpack(f"@{count}P", os.pread(memory, count * WORD, address))

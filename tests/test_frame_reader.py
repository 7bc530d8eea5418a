"""`frame_reader`, on a memory that is a file: what it takes for a stack, and what it reads again."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pytest_gilprobe.observe.frame_layout import FrameLayout
from pytest_gilprobe.observe.frame_reader import ATTEMPTS, FrameReader
from pytest_gilprobe.observe.remote_frames import CopiedFrame, RemoteFrame

CODE_TYPE, TEXT_TYPE, BYTES_TYPE, NONE = 0x10_000, 0x10_100, 0x10_200, 0x10_300
THREAD, FRAMES, CODES, TEXTS = 0x2000, 0x20_000, 0x30_000, 0x40_000
SIZE = 0x50_000
GENERATOR = 0x20
OFFSETS = {
    "code_name": 16,
    "code_file": 24,
    "code_lines": 32,
    "code_first_line": 40,
    "code_flags": 44,
    "code_bytecode": 64,
    "text_length": 16,
    "text_state": 24,
    "text_kind_shift": 0,
    "text_ascii_mask": 8,
    "text_ascii": 32,
    "text_wide": 48,
    "bytes_length": 16,
    "bytes_start": 24,
    "frame_previous": 8,
    "frame_instruction": 16,
    "type_of": 8,
    "code_type": CODE_TYPE,
    "text_type": TEXT_TYPE,
    "bytes_type": BYTES_TYPE,
    "none": NONE,
}


class Memory:
    """A process's memory with one thread, whose frames can be set."""

    def __init__(self, path: Path) -> None:
        """Make a memory in which nothing lies yet."""
        path.write_bytes(bytes(SIZE))
        self.descriptor = os.open(path, os.O_RDWR)
        self._free = TEXTS

    def put(self, address: int, *words: int) -> None:
        """Write words at an address."""
        os.pwrite(self.descriptor, struct.pack(f"@{len(words)}P", *words), address)

    def object(self, kind: int, *words: int, content: bytes = b"") -> int:
        """Write an object, and return its address."""
        at, self._free = self._free, self._free + 256
        self.put(at, 1, kind, *words)
        os.pwrite(self.descriptor, content, at + 16 + 8 * len(words))
        return at

    def text(self, said: str) -> int:
        """Write an ASCII text."""
        return self.object(TEXT_TYPE, len(said), 1 | 8, content=said.encode("ascii"))

    def code(self, number: int, name: str, flags: int = 0) -> int:
        """Write a code object, and return its address."""
        at, lines = CODES + number * 256, self.object(BYTES_TYPE, 2, content=b"\xf8\x00")
        self.put(at, 1, CODE_TYPE, self.text(name), self.text("/own/a.py"), lines, number + 1 | flags << 32)
        return at

    def frames(self, *codes: int) -> None:
        """Let the thread execute these code objects, the innermost first."""
        for number, code in enumerate(codes):
            following = FRAMES + (number + 1) * 64 if number + 1 < len(codes) else 0
            self.put(FRAMES + number * 64, code, following, code + OFFSETS["code_bytecode"] + 2)
        self.put(THREAD, FRAMES)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    """Make a memory."""
    made = Memory(tmp_path / "memory")
    yield made
    os.close(made.descriptor)


def _reader(memory: Memory, kind: type[FrameReader] = FrameReader) -> FrameReader:
    offsets: dict[str, Any] = {field.name: 0 for field in fields(FrameLayout)}
    layout = FrameLayout(**offsets | {"thread_hop": None, "code_version": None} | OFFSETS)
    return kind(memory.descriptor, layout, lambda _: False)


def _names(reader: FrameReader, stack: tuple[RemoteFrame, ...]) -> list[str]:
    return [reader.code(frame.code).function for frame in stack]


def test_a_stack_is_read_from_the_innermost_frame_to_the_one_without_a_caller(memory: Memory) -> None:
    """Frames that are no function's, with None or nothing in place of a code object, are left out."""
    memory.frames(memory.code(0, "inner"), NONE, memory.code(1, "outer"), 0)
    reader = _reader(memory)
    found = reader.stack(THREAD)
    assert _names(reader, found) == ["inner", "outer"]
    assert [frame.instruction for frame in found] == [2, 2]


def test_a_generator_without_a_caller_is_no_whole_stack(memory: Memory) -> None:
    """It was suspended while the stack was read: its frames would be given to the wrong function."""
    memory.frames(memory.code(0, "inner"), memory.code(1, "generator", GENERATOR))
    assert _reader(memory).stack(THREAD) == ()


@pytest.mark.parametrize("garbage", [1 << 62, THREAD, TEXTS + 7, 8])
def test_a_stack_with_a_frame_that_has_no_code_object_is_none(memory: Memory, garbage: int) -> None:
    """Neither what lies within it nor what lies outside is taken for a stack."""
    memory.frames(memory.code(0, "inner"), garbage, memory.code(1, "outer"))
    assert _reader(memory).stack(THREAD) == ()


def test_a_stack_that_changes_while_it_is_read_is_read_again(memory: Memory) -> None:
    """Code that calls all the time is seen as often as code that does not."""
    inner, outer = memory.code(0, "inner"), memory.code(1, "outer")
    memory.frames(inner, outer)

    class Changing(FrameReader):
        """The frames are broken until the last attempt."""

        attempts = 0

        def copied(self, address: int) -> list[CopiedFrame]:
            self.attempts += 1
            memory.frames(inner, outer if self.attempts == ATTEMPTS else 1 << 62)
            return super().copied(address)

    reader = _reader(memory, Changing)
    assert _names(reader, reader.stack(THREAD)) == ["inner", "outer"]


def test_a_code_object_that_is_forgotten_is_read_anew(memory: Memory) -> None:
    """What takes its place has its own name."""
    memory.frames(memory.code(0, "first"))
    reader = _reader(memory)
    assert _names(reader, reader.stack(THREAD)) == ["first"]
    memory.frames(memory.code(0, "second"))
    assert _names(reader, reader.stack(THREAD)) == ["second"]
    reader.forget()
    assert len(reader) == 0
    assert _names(reader, reader.stack(THREAD)) == ["second"]


def test_a_thread_that_lost_the_gil_before_its_frames_were_copied_has_no_stack(memory: Memory) -> None:
    """What is asked afterwards would favour long holds: names take longer to read than frames."""
    memory.frames(memory.code(0, "inner"), memory.code(1, "outer"))
    reader, asked = _reader(memory), [False]
    assert reader.stack(THREAD, asked.pop) == ()
    assert len(reader) == 0, "no name was read"

    def once() -> bool:
        asked.append(True)
        return len(asked) == 1

    assert _names(reader, reader.stack(THREAD, once)) == ["inner", "outer"]
    assert asked == [True]


def test_a_stack_that_is_no_more_cut_where_it_was_is_read_again(memory: Memory) -> None:
    """The code at which stacks end was freed, and other code lies there now."""
    inner, end = memory.code(0, "inner"), memory.code(1, "end")
    memory.frames(inner, end, memory.code(2, "outer"))
    reader = _reader(memory)
    reader._is_end = lambda _: len(reader) == 1  # the second code object is the plugin's
    assert _names(reader, reader.stack(THREAD)) == ["inner", "end"]
    assert len(reader.copied(FRAMES)) == 2, "callers of an end are not copied"
    memory.code(1, "later")
    assert _names(reader, reader.stack(THREAD)) == ["inner", "later", "outer"]

"""`pytest_gilprobe.observe.line_table` and `source_code`: the positions that Python itself gives, and their text."""

from __future__ import annotations

import ast
import random
from pathlib import Path
from types import CodeType
from typing import cast

import pytest

from pytest_gilprobe.observe.frame_reader import FrameReader
from pytest_gilprobe.observe.line_table import UNKNOWN, Position, position_at
from pytest_gilprobe.observe.remote_frames import RemoteCode, RemoteFrame
from pytest_gilprobe.observe.source_code import Describer, is_harness, is_own, short_file, source_text

SOURCES = [random.__file__, __file__]


def _codes(code: CodeType) -> list[CodeType]:
    inner = [one for const in code.co_consts if isinstance(const, CodeType) for one in _codes(const)]
    return [code, *inner]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: Path(path).stem)
def test_gives_each_instruction_the_position_that_python_gives(path: str) -> None:
    """Every code object of a module is decoded like `co_positions` does it."""
    for code in _codes(compile(Path(path).read_text(encoding="utf-8"), path, "exec")):
        for at, (line, end_line, column, end_column) in enumerate(code.co_positions()):
            found = position_at(code.co_linetable, code.co_firstlineno, at * 2)
            assert found == Position(line, end_line, column, end_column)


def test_a_damaged_table_has_no_position() -> None:
    """Bytes at random, as a torn read gives them, raise nothing."""
    luck = random.Random(1)
    for _ in range(2000):
        position_at(luck.randbytes(luck.randrange(40)), 1, luck.randrange(200))
    assert position_at(b"", 1, 0) == UNKNOWN
    assert position_at(b"\xf0", 1, 0) == UNKNOWN


def test_columns_count_bytes_of_utf_8() -> None:
    """The text of an expression after a word that is not ASCII is cut where it begins."""
    line = "größe = größer(\u0144\U0001f40d)\n"
    start = len("größe = ".encode())
    assert source_text([line], Position(1, 1, start, len(line.strip().encode()))) == "größer(\u0144\U0001f40d)"


def test_an_expression_of_several_lines_is_told_in_one() -> None:
    """Line ends and indentation become one space."""
    lines = ["x = call(\n", "    1,\n", "    2)\n"]
    assert source_text(lines, Position(1, 3, 4, 6)) == "call( 1, 2)"


@pytest.mark.parametrize("at", [UNKNOWN, Position(9, 9, 0, 1), Position(1, 1, None, None), Position(0, 1, 0, 1)])
def test_a_position_outside_of_the_source_has_no_text(at: Position) -> None:
    """A file that changed, or is not there, gives nothing rather than another line."""
    assert source_text(["x = 1\n"], at) is None


@pytest.mark.parametrize("at", [Position(1, 1, 8, 14), Position(1, 1, 4, 7)])
def test_code_that_was_made_from_another_text_has_no_text(at: Position) -> None:
    """A library that generates code may name a file whose columns are others: half a word is no expression."""
    assert source_text(["x = roundtrip()\n"], at) is None


def test_whose_a_file_is() -> None:
    """A test file is the user's own; the standard library, an installed package, generated code and pytest are not."""
    assert is_own("/home/me/shop/orders.py")
    assert not is_own(ast.__file__)
    assert not is_own("/venv/lib/python3.12/site-packages/numpy/core.py")
    assert not is_own("<string>")
    assert is_harness("/venv/lib/python3.12/site-packages/_pytest/python.py")
    assert short_file("/venv/lib/python3.12/site-packages/numpy/core.py") == "numpy/core.py"
    assert short_file(ast.__file__) == "ast.py"
    assert short_file(str(Path.cwd() / "shop" / "orders.py")) == "shop/orders.py"


class Codes:
    """A reader that has read these code objects."""

    def __init__(self, *codes: RemoteCode) -> None:
        self._codes = codes

    def code(self, number: int) -> RemoteCode:
        return self._codes[number]


def test_frames_of_pytest_are_cut_off_at_both_ends() -> None:
    """Code that calls back into pytest, as `pytest.raises` does, is charged with it: the stack begins at the user's."""
    site = "/venv/lib/python3.12/site-packages/"
    files = [f"{site}_pytest/raises.py", "/home/me/orders.py", f"{site}pluggy/_callers.py", f"{site}_pytest/python.py"]
    read = [RemoteCode(f"at_{at}", file, 1, b"", is_end=False) for at, file in enumerate(files)]
    stack = Describer(cast("FrameReader", Codes(*read))).stack([RemoteFrame(at, 0) for at in range(len(read))])
    assert [frame.function for frame in stack] == ["at_1"]


def test_coroutine_functions_are_told_by_their_source(tmp_path: Path) -> None:
    """A function is one of coroutines if it is written so behind its decorators; an expression in one is not."""
    source = "@one(\n    1)\nasync def first(): pass\ndef second(): return sum(i for i in n)\nasync def third(): pass\n"
    file = tmp_path / "app.py"
    file.write_text(source, "utf-8")
    found = _codes(compile(source, str(file), "exec"))
    read = [
        RemoteCode(one.co_qualname, one.co_filename, one.co_firstlineno, one.co_linetable, is_end=False)
        for one in found
    ]
    stack = Describer(cast("FrameReader", Codes(*read))).stack([RemoteFrame(at, 0) for at in range(len(read))])
    assert {"<module>", "second", "second.<locals>.<genexpr>"} < {frame.function for frame in stack}
    assert [frame.function for frame in stack if frame.is_async] == ["first", "third"]

"""A process that makes itself hard to read: threads, freed code, forks, new programs, and death while it is read."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from test_frames import needs_gil

from pytest_gilprobe.model.stacks import Frame

ROOT = Path(__file__).resolve().parent.parent
LIVES = 3


@pytest.fixture(scope="module")
def hostile() -> ModuleType:
    """Load ``benchmarks/hostile.py``."""
    spec = importlib.util.spec_from_file_location("hostile", ROOT / "benchmarks" / "hostile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_gil
@pytest.mark.slow
def test_no_name_is_wrong_however_the_process_behaves(hostile: ModuleType, tmp_path: Path) -> None:
    """Watching ends by itself when the process does, and every stack that was read has names that belong together."""
    seen: Counter[str] = hostile.measured(sys.executable, LIVES, tmp_path)
    assert seen["stacks"] > 0
    assert [said for said in seen if said.startswith("wrong")] == []


@pytest.mark.parametrize(
    ("function", "file", "line"),
    [("made_7", "<made 7>", 9), ("<module>", "<made 7>", None), ("live", "hostile_child.py", 20)],
)
def test_a_name_of_the_program_is_right(hostile: ModuleType, function: str, file: str, line: int | None) -> None:
    """Function, file and line are of one number, or the program's own."""
    assert hostile.wrong(Frame(function=function, file=file, line=line, own=True)) is None


@pytest.mark.parametrize(
    ("function", "file", "line"),
    [
        ("made_7", "<made 8>", 9),
        ("made_7", "<made 7>", 12),
        ("made_7", "hostile_child.py", 9),
        ("nowhere", "hostile_child.py", 20),
    ],
)
def test_a_name_of_another_function_would_be_seen(hostile: ModuleType, function: str, file: str, line: int) -> None:
    """Whatever is mixed up, the test above fails."""
    assert hostile.wrong(Frame(function=function, file=file, line=line, own=True))

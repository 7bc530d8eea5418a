"""Text from outside made harmless and short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import TEXT

from pytest_gilprobe.model.safe_text import (
    display_width,
    elide,
    encodable,
    safe_line,
    safe_lines,
    short_name,
    short_names,
    stacked_names,
)

NODEID = "sample_workloads/native/test_hashing.py::TestHashing::test_one_mebibyte[sha256]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("test_x[a b]", "test_x[a b]"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202eevil", r"\u202eevil"),
        ("\u2066", r"\u2066"),
        ("\ud800", r"\ud800"),
        ("a\r\nb\tc\0", r"a\r\nb\tc\x00"),
        ("\u2028", r"\u2028"),
        ("漢字 é", "漢字 é"),
        ("", ""),
    ],
)
def test_safe_line(text: str, said: str) -> None:
    """What a terminal or browser would act on is shown as an escape; letters of all scripts stay."""
    assert safe_line(text) == said


@given(TEXT)
def test_safe_line_is_printable_and_short(text: str) -> None:
    """Any text comes out printable and bounded, and again the same."""
    said = safe_line(text)
    assert said.isprintable()
    assert len(said) <= 10 * 240
    assert safe_line(said, limit=len(said)) == said


def test_safe_lines() -> None:
    """An error keeps its lines and loses its blank ones; a long one loses its middle."""
    assert safe_lines("a\n\n\x1b[0mb\n") == ("a", r"\x1b[0mb")
    assert safe_lines("") == ()
    long = safe_lines("first " + "x" * 10_000 + " last")[0]
    assert len(long) <= 2000
    assert long.startswith("first")
    assert long.endswith("last")


@given(TEXT, st.integers(0, 60))
def test_elide_fits(text: str, width: int) -> None:
    """Shortened text fits, in terminal columns."""
    assert display_width(elide(safe_line(text), width)) <= width


def test_elide_keeps_both_ends() -> None:
    """The middle goes, and where there is little room the beginning."""
    assert elide("abcdefghijklmnopqrstuvwxyz0123456789", 24) == "abcdefg...wxyz0123456789"
    assert elide("abcdefghijklmnopqrstuvwxyz", 10) == "...tuvwxyz"
    assert elide("abc", 3) == "abc"
    assert elide("abcd", 2) == ".."
    assert elide("漢" * 40, 10) == "...漢漢漢"
    assert elide("漢" * 40, 30) == "漢漢漢漢...漢漢漢漢漢漢漢漢漢"


def test_display_width() -> None:
    """Wide characters take two columns, combining marks none."""
    assert display_width("abc") == 3
    assert display_width("漢字") == 4
    assert display_width("e\u0301") == 1


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-8", "4 µs é"), ("latin-1", "4 µs é"), ("ascii", r"4 us \xe9"), ("no-such-encoding", r"4 us \xe9")],
)
def test_encodable(encoding: str, said: str) -> None:
    """What an encoding lacks is escaped visibly, but for the micro sign, which has a plain form."""
    assert encodable("4 µs é", encoding) == said


@pytest.mark.parametrize(
    ("width", "name"),
    [
        (100, NODEID),
        (79, NODEID),
        (70, ".../native/test_hashing.py::TestHashing::test_one_mebibyte[sha256]"),
        (60, ".../test_hashing.py::TestHashing::test_one_mebibyte[sha256]"),
        (45, "test_one_mebibyte[sha256]"),
        (30, "test_one_mebibyte[sha256]"),
        (24, "test_on...bibyte[sha256]"),
    ],
)
def test_short_name(width: int, name: str) -> None:
    """Folders go first, then all but the test, then the middle of what is left."""
    shown = short_name(NODEID, width)
    assert len(shown) <= width
    assert shown == name


def test_short_name_of_a_file() -> None:
    """A path without a test loses its folders, too."""
    assert short_name("tests/native/test_hashing.py", 20) == ".../test_hashing.py"


def test_short_names_are_ends_that_tell_tests_apart() -> None:
    """Where no folder can be left in, a test stands by its name, or by as much of its class as another one lacks."""
    ids = ["tests/test_one.py::test_gate", "tests/test_two.py::TestA::test_it", "tests/test_two.py::TestB::test_it"]
    assert short_names(ids, 16) == ("test_gate", "TestA::test_it", "TestB::test_it")


NAMES = st.lists(st.text("ab/:_", min_size=0, max_size=40), unique=True, max_size=6)


@given(NAMES, st.integers(12, 30))
def test_short_names_differ(nodeids: list[str], width: int) -> None:
    """Different node ids stay different when shortened, on one line and on two."""
    for names in (short_names(nodeids, width), stacked_names(nodeids, width)):
        assert len(set(names)) == len(nodeids)
    assert all(len(name) <= width for name in short_names(nodeids, width))
    assert all(len(line) <= width for name in stacked_names(nodeids, width) for line in name)


def test_stacked_names() -> None:
    """The file stands above the test, each shortened for itself."""
    assert stacked_names([NODEID], 24) == ((".../test_hashing.py", "::TestH...bibyte[sha256]"),)
    assert stacked_names(["test_x.py"], 24) == (("test_x.py", ""),)

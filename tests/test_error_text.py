"""`pytest_gilprobe.model.error_text`: an error text in one line, its exception's."""

from __future__ import annotations

import doctest
import subprocess
import sys
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model import error_text
from pytest_gilprobe.model.error_text import summary


def formatted(error: BaseException) -> str:
    """Format an exception that was raised through two frames."""

    def fail() -> None:
        raise error

    try:
        fail()
    except BaseException as caught:  # noqa: BLE001 - whatever the test raises
        return "".join(traceback.format_exception(caught))
    raise AssertionError


class SeveralLinesError(Exception):
    """An exception whose text has several lines."""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(98, "Address already in use"), "OSError: [Errno 98] Address already in use"),
        (KeyError("x"), "KeyError: 'x'"),
        (SystemExit(), "SystemExit"),
        (AssertionError("a\n  b\nc"), "AssertionError: a"),
        (SeveralLinesError("first\nsecond"), "test_error_text.SeveralLinesError: first"),
        (ExceptionGroup("several", [ValueError("x")]), "ExceptionGroup: several (1 sub-exception)"),
    ],
)
def test_line_of_the_exception(error: BaseException, line: str) -> None:
    """Of a traceback the exception's line is left, and what leads up to the traceback stays before it."""
    assert summary(formatted(error)) == line
    assert summary(f"a batch of 3 calls: {formatted(error)}") == f"a batch of 3 calls: {line}"
    assert summary(f"in thread 1: {formatted(error)}\nin thread 2: {formatted(KeyError('other'))}").startswith(
        "in thread 1"
    )


def test_traceback_of_a_process_with_carets() -> None:
    """The marks under an expression are not mistaken for the exception."""
    code = "def f(x):\n    return x.a.b + 1\nf(object())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert summary(done.stderr) == "AttributeError: 'object' object has no attribute 'a'"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("one", "one"),
        ("one\ntwo", "one"),
        (
            "failed in setup: @pytest.fixture\n    def a():\n>       assert 0\nE       assert 0\n\nt.py:3: Error",
            "failed in setup: assert 0",
        ),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
    ],
)
def test_other_texts(text: str, line: str) -> None:
    """Of pytest's own texts the marked line is left, of any other text its first line."""
    assert summary(text) == line


@given(st.text())
def test_any_text_has_one_line(text: str) -> None:
    """Whatever the text, its summary is at most one line, and empty only if the text is blank."""
    assert len(summary(text).splitlines()) <= 1
    assert bool(summary(text)) == bool("".join(text.split()))


def test_examples() -> None:
    """The examples in the docstring hold."""
    assert doctest.testmod(error_text).failed == 0

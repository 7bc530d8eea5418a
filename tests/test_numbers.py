"""Numbers as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model import numbers
from pytest_gilprobe.model.estimate import Estimate

ANY = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0 s"),
        (4.1e-6, "4.1 µs"),
        (8.5e-8, "85 ns"),
        (0.025, "25 ms"),
        (9.96e-3, "10 ms"),
        (999.7e-6, "1.0 ms"),
        (1.3, "1.3 s"),
        (134.2, "134 s"),
        (-0.005, "-5.0 ms"),
        (1e300, "1.0e+300 s"),
        (None, "n/a"),
    ],
)
def test_seconds(value: float | None, said: str) -> None:
    """A duration takes the unit that leaves one to three digits."""
    assert numbers.seconds(value) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0 B"), (1, "1 B"), (1023, "1023 B"), (41 << 20, "41 MiB"), (2.5 * (1 << 30), "2.5 GiB")]
)
def test_size(value: float, said: str) -> None:
    """A number of bytes takes a binary unit."""
    assert numbers.size(value) == said


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.0, "0 %"),
        (1e-300, "<1 %"),
        (0.004, "<1 %"),
        (0.5, "50 %"),
        (0.996, ">99 %"),
        (1.0, "100 %"),
        (1.001, ">100 %"),
        (3.82, "382 %"),
        (1e300, "1e+302 %"),
        (None, "n/a"),
    ],
)
def test_percent(share: float | None, said: str) -> None:
    """A percentage is ``0 %`` only for nothing and ``100 %`` only for the whole."""
    assert numbers.percent(share) == said


@given(ANY)
def test_percent_never_claims(share: float) -> None:
    """No share but 0 reads as nothing, none but 1 as all."""
    said = numbers.percent(share)
    assert said != "0 %" or share == 0
    assert said != "100 %" or math.isclose(share, 1)


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (1.944, "1.94x"),
        (0.0, "0x"),
        (0.0041, "0.004x"),
        (9.996, "10.0x"),
        (12.34, "12.3x"),
        (123.4, "123x"),
        (None, "n/a"),
    ],
)
def test_times(factor: float | None, said: str) -> None:
    """A speed-up has three digits, and a small one does not read as none."""
    assert numbers.times(factor) == said


@pytest.mark.parametrize(
    ("factor", "said"), [(1.94, "1.9x"), (0.96, "1.0x"), (0.5, "0.50x"), (250.0, "250x"), (None, "n/a")]
)
def test_about(factor: float | None, said: str) -> None:
    """Beside a word a speed-up has one decimal."""
    assert numbers.about(factor) == said


def test_speedup_with_interval() -> None:
    """An estimate is written with its interval, or as not available."""
    assert numbers.speedup(Estimate(value=1.94, low=1.88, high=1.99)) == "1.94x [1.88, 1.99]"
    assert numbers.speedup(None) == "n/a"
    assert numbers.interval(None) == ""


@pytest.mark.parametrize(
    ("number", "said"),
    [(8.4e-05, ""), (0.049, ""), (0.05, "0.05"), (0.934, "0.93"), (2.0, "2"), (17.3, "17"), (128.0, "128"), (None, "")],
)
def test_cores(number: float | None, said: str) -> None:
    """A number of cores has two digits, and none if it rounds to nothing."""
    assert numbers.cores(number) == said


def test_share_span() -> None:
    """The interval of a share is in percent, as the share is."""
    assert numbers.share_span(Estimate(value=0.5, low=0.414, high=1.0)) == "41 % to 100 %"


def test_count() -> None:
    """Nouns agree with their number."""
    assert [numbers.count(number, "process", "processes") for number in (1, 2)] == ["1 process", "2 processes"]
    assert numbers.count(0, "worker") == "0 workers"


@given(ANY)
def test_short_and_printable(value: float) -> None:
    """Whatever a report holds, a number takes at most sixteen characters."""
    for write in (numbers.seconds, numbers.size, numbers.percent, numbers.times, numbers.about):
        assert len(write(value)) <= 16
        assert write(value).isprintable()

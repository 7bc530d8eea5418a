"""`pytest_gilprobe.stats.queued_samples`: at which samples a thread waited for a CPU."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.model.readings import GilSamples
from pytest_gilprobe.model.words import GilMethod
from pytest_gilprobe.stats import queued_samples
from pytest_gilprobe.stats.gil_samples import SampledWindow

END_NS = 1000


def window(at_ns: tuple[int, ...], queue_ns: tuple[int, ...]) -> SampledWindow:
    """Make samples of a GIL that is always held, in a window from 0 to `END_NS`."""
    count = len(at_ns)
    samples = GilSamples(
        method=GilMethod.MEMORY, at_ns=at_ns, held=(True,) * count, late_ns=(0,) * count, queue_ns=queue_ns
    )
    return SampledWindow(samples, 0, END_NS)


@pytest.mark.parametrize(
    ("waited_ns", "certain", "possible"),
    [
        (0, set(), set()),
        (5, set(), set()),
        (50, set(), {2}),
        (100, set(), {2}),
        (150, {2}, {1, 2}),
        (250, {1, 2}, {0, 1, 2}),
    ],
)
def test_a_wait_ends_at_any_moment_between_two_samples(waited_ns: int, certain: set[int], possible: set[int]) -> None:
    """So the samples at its beginning are doubtful; before a wait much shorter than the gap, none is."""
    found = window((100, 200, 300, 400, 500), (0, 0, 0, waited_ns, waited_ns))
    assert queued_samples.certain(found) == certain
    assert queued_samples.possible(found) == possible


def test_a_wait_that_no_sample_shows_was_at_the_end() -> None:
    """The kernel counted it after the last sample; how long the thread waited in all is known of the batch."""
    found = window((100, 200, 300, 400, 500), (0, 0, 0, 0, 0))
    assert queued_samples.possible(found, run_queue_ns=250) == {2, 3, 4}
    assert queued_samples.possible(found, run_queue_ns=0) == set()
    assert queued_samples.possible(window((), ()), run_queue_ns=250) == set()


def test_without_the_kernels_count_no_sample_is_known_to_wait() -> None:
    """Nothing is left out."""
    assert queued_samples.possible(window((100, 200), ()), run_queue_ns=250) == set()
    assert queued_samples.certain(window((100, 200), ())) == set()


@given(
    waits=st.lists(st.tuples(st.integers(0, 300), st.integers(1, 300)), max_size=6),
    moments=st.sets(st.integers(0, END_NS), max_size=30),
)
def test_what_is_certain_was_a_wait_and_is_possible(waits: list[tuple[int, int]], moments: set[int]) -> None:
    """Of any true waits and any samples: what is certain to lie in a wait does."""
    spans, start = [], 0
    for pause, length in waits:
        spans.append((start + pause, start + pause + length))
        start = spans[-1][1]
    at_ns = tuple(sorted(moments))
    queue_ns = tuple(sum(end - begin for begin, end in spans if end <= at) for at in at_ns)
    found = window(at_ns, queue_ns)
    certain = queued_samples.certain(found)
    if all(sum(first < end <= second for _, end in spans) <= 1 for first, second in itertools.pairwise(at_ns)):
        assert all(any(begin < at_ns[at] <= end for begin, end in spans) for at in certain)
    assert certain <= queued_samples.possible(found)

"""Where rules of thumb fail: work that is half waiting, that has a lock of its own, that is parallel already."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from sample_workloads.expected import AROUND_THE_GIL_SHARING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

ONE_AT_A_TIME = threading.Lock()


@pytest.mark.gilprobe(expect=AROUND_THE_GIL_SHARING, expect_bound="mixed")
def test_half_waiting_half_python(get: Callable[[str], bytes], numbers_in_10_ms: int) -> None:
    """Half I/O, half Python, so processes: with half the time inside the GIL no number of threads gives more than 2x.

    Two threads reach less still, 1.3x where the share allows 1.75x (CPython 3.11 and 3.13, 2 cores): each time that
    one is back from the network it waits up to 5 ms until the computing one gives way. Two processes give 1.9x, four
    2.5x against the 1.6x of four threads.

    Source: the measurement; CPython documentation, `sys.setswitchinterval`, 5 ms by default.
    """
    assert get("/users/7?wait_ms=8")
    assert sum(i * i for i in range(numbers_in_10_ms)) > 0


@pytest.mark.gilprobe(expect="processes", expect_bound="io")
def test_waiting_for_a_lock(get: Callable[[str], bytes]) -> None:
    """I/O-bound, and yet processes, with a GIL or without: the program's own lock lets one thread at a time through.

    Each process has a lock of its own and waits for nobody. That is the right answer where the lock guards something
    inside the process, such as one connection; if it guards something that processes share, they need a lock across
    processes, and nothing helps.

    Source: CPython documentation, `threading.Lock`; `multiprocessing`, "Synchronization between processes", for the
    other kind.
    """
    with ONE_AT_A_TIME:
        assert get("/users/7?wait_ms=20")


@pytest.mark.gilprobe(expect="serial", expect_bound="cpu")
def test_matrix_product(matrix: NDArray[np.float64]) -> None:
    """CPU-bound, and yet serial: NumPy's BLAS uses every core for one product, so a second one only gets in its way.

    Two threads gave 0.9x to 1.0x and two processes 0.7x to 0.9x on 2 cores. Keeping BLAS to one thread turns the
    answer round.

    Source: OpenBLAS, FAQ, "How can I use OpenBLAS in multi-threaded applications?"; NumPy documentation, "Thread
    safety".
    """
    assert (matrix @ matrix).shape == (1_000, 1_000)

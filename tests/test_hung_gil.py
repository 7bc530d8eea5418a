"""What a hung worker's GIL did, in words."""

from __future__ import annotations

import _thread
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_gilprobe.workers.parent import hung_gil
from pytest_gilprobe.workers.protocol import Ready

PLACE = "sleep(600) at a.py:3"


def _readings(*words: tuple[int, int, int], waiting: tuple[set[int], ...] = ()) -> list[hung_gil._Reading]:
    found = waiting or ({5},) * len(words)
    return [
        hung_gil._Reading(words=one, place=PLACE if one[1] == 1 else None, waiting=frozenset(wait))
        for one, wait in zip(words, found, strict=True)
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([(7, 0, 1), (7, 0, 1)], "no thread held the GIL"),
        ([(7, 1, 1), (8, 1, 2)], "its threads took turns with the GIL"),
        ([(7, 1, 1), (7, 0, 1)], "one thread held the GIL for part of the time"),
        ([(7, 1, 1)] * 2, f"one thread held the GIL all the time, in {PLACE}, and 1 other thread waited for it"),
    ],
)
def test_what_the_gil_did_is_said_by_what_all_readings_have_in_common(
    words: list[tuple[int, int, int]], expected: str
) -> None:
    """Only a thread that held it in every reading is the one that held it."""
    assert hung_gil.in_words(_readings(*words), "one thread") == expected


def test_threads_that_waited_in_most_readings_count() -> None:
    """A waiting thread wakes up now and then to ask for the GIL; one that is seen to wait only once is none."""
    held, each = [(7, 1, 1)] * 20, {5, 6, 8, 9}
    awake = [{(5, 6, 8, 9)[at % 4]} if at % 3 == 0 else set[int]() for at in range(20)]
    seen = tuple((each - away) | ({11} if at == 3 else set()) for at, away in enumerate(awake))
    assert hung_gil.in_words(_readings(*held, waiting=seen), "it").endswith("4 other threads waited for it")
    assert hung_gil.waited(_readings(*held, waiting=seen)) == each
    assert "waited" not in hung_gil.in_words(_readings(*held[:2], waiting=({5}, {6})), "it")


def test_threads_that_waited_are_named_as_far_as_they_have_names() -> None:
    """Those without a name of their own are counted only."""
    seen = _readings(*[(7, 1, 1)] * 4, waiting=({5, 6},) * 4)
    assert hung_gil.in_words(seen, "it", ["the main thread"]).endswith(
        "2 other threads waited for it (the main thread, ...)"
    )
    assert hung_gil.in_words(seen, "it", ["saver", "loader"]).endswith("waited for it (saver, loader)")
    assert hung_gil.names_of(os.getpid(), {os.getpid(), 2**22 + 1}) == ["the main thread"]


UNNAMED = "the thread Thread-3 (hold) held" if hasattr(_thread, "set_name") else "another thread than the main one held"
"""How a thread without a name of its own is told: CPython 3.14 gives the system its name."""
HOLDS = """
import ctypes, os, pickle, sys, threading, time
from pytest_gilprobe.observe.frame_search import locate_frames
from pytest_gilprobe.observe.gil_address import locate
from pytest_gilprobe.workers.protocol import Ready

def spin():
    while True:
        pass

def hold(name):
    if name:
        ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)  # PR_SET_NAME
    print(pickle.dumps(READY).hex(), flush=True)
    ctypes.PyDLL(None).sleep(30)

found = locate_frames()
READY = Ready(pid=os.getpid(), nodeids=frozenset(), gil_address=locate().address, gil_reason=None, gil_enabled=True,
              frames=found.layout, main_thread=found.thread_state)
for _ in range(2):
    threading.Thread(target=spin, daemon=True).start()
where, name = sys.argv[1:]
if where == "main":
    hold(name)
else:
    threading.Thread(target=hold, args=(name,)).start()
    spin()
"""


@pytest.mark.skipif(
    sys.platform != "linux"
    or sys.implementation.name != "cpython"
    or not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="needs Linux and a CPython with its GIL enabled",
)
@pytest.mark.parametrize(
    ("where", "name", "said", "waiting"),
    [
        ("main", "", "the main thread held", 2),
        ("other", "", UNNAMED, 3),
        ("other", "saver", "the thread saver held", 3),
    ],
)
def test_the_holder_is_named_and_all_that_wait_are_counted(
    tmp_path: Path, where: str, name: str, said: str, waiting: int
) -> None:
    """Whoever holds the GIL is told from the main thread; every thread that cannot get it waits for it."""
    program = tmp_path / "holds.py"
    program.write_text(HOLDS, "utf-8")
    process = subprocess.Popen([sys.executable, program, where, name], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = pickle.loads(bytes.fromhex(process.stdout.readline()))  # noqa: S301 - from a process of ours
        if ready.gil_address is None or ready.main_thread is None:
            pytest.skip("this machine does not let one process read another one's memory")
        told = (hung_gil.describe(ready) for _ in range(20))  # on a busy machine one may wait for a CPU instead
        found = next(one for one in told if "all the time" in one and re.search(r", and \d+ other", one))
    finally:
        process.kill()
        process.communicate()
    assert found.startswith(f"{said} the GIL all the time, in ctypes.PyDLL(None).sleep(30)")
    counted = int(found.rpartition(", and ")[2].partition(" ")[0])
    assert 1 <= counted <= waiting
    assert where == "main" or counted < waiting or "waited for it (the main thread" in found


def test_a_process_that_cannot_be_read_is_not_described() -> None:
    """An unknown address, a process that has ended, and memory that is not mapped, give no words and no error."""
    for pid, address in ((os.getpid(), None), (2**22 + 1, 4096), (os.getpid(), 4096)):
        ready = Ready(pid=pid, nodeids=frozenset(), gil_address=address, gil_reason=None, gil_enabled=True)
        assert hung_gil.describe(ready) == ""

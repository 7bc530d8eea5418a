"""The journal: what one process writes, another reads, whatever the size."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gilprobe.scan.journal import DRAWN, IMPORTING, NOTED, READY, Journal, Window

CLOCKS = (10, 30, 5, 6, 2)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.create(tmp_path / "journal", ring_bytes=512)


def _window(nodeid: str, fixtures: tuple[str, ...] = (), queue: int | None = 2) -> Window:
    return Window(
        nodeid=nodeid, fixtures=fixtures, start_ns=10, end_ns=30, cpu_ns=5, process_cpu_ns=6, run_queue_ns=queue
    )


def test_a_record_comes_out_as_it_went_in(journal: Journal) -> None:
    """Clocks, name and fixtures survive; a run-queue time that is unknown stays unknown."""
    journal.end(CLOCKS, "a.py::test", "tmp_path db")
    journal.end((*CLOCKS[:4], None), "b.py::test[\udcff]", "")
    assert list(journal.take()) == [
        _window("a.py::test", ("tmp_path", "db")),
        _window("b.py::test[\udcff]", (), None),
    ]
    assert list(journal.take()) == []


@given(names=st.lists(st.text(max_size=40).filter(lambda text: "\0" not in text), max_size=60))
def test_the_ring_keeps_everything_that_is_read_in_time(
    tmp_path_factory: pytest.TempPathFactory, names: Sequence[str]
) -> None:
    """However often the ring's end is passed, a reader that keeps up gets every record in order."""
    journal = Journal.create(tmp_path_factory.mktemp("ring") / "journal", ring_bytes=512)
    names = [name.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass") for name in names]
    found = []
    for name in names:
        journal.end(CLOCKS, name, "")
        found += [window.nodeid for window in journal.take()]
    assert found == names
    assert journal.lost == 0


def test_a_record_without_room_is_counted_and_harms_no_other(journal: Journal) -> None:
    """A full ring loses the newest records, says how many, and takes new ones once it was read."""
    for number in range(40):
        journal.end(CLOCKS, f"test_{number}", "")
    kept = [window.nodeid for window in journal.take()]
    assert kept == [f"test_{number}" for number in range(len(kept))]
    assert journal.lost == 40 - len(kept) > 0
    journal.end(CLOCKS, "later", "")
    assert [window.nodeid for window in journal.take()] == ["later"]


def test_the_test_that_is_running_is_named(journal: Journal) -> None:
    """Between begin and end the journal names the test, at other times none."""
    assert journal.inside is None
    journal.begin("a.py::test[" + "x" * 10_000 + "]")
    assert (journal.inside or "").startswith("a.py::test[xxx")
    journal.end(CLOCKS, "a.py::test", "")
    assert journal.inside is None


def test_states_follow_each_other(journal: Journal) -> None:
    """A journal waits, then has an address, then is finished, with a message of bounded length."""
    assert (journal.begun, journal.finished) == (False, False)
    journal.start(0x7FFF12345678)
    assert (journal.begun, journal.finished, journal.address) == (True, False, 0x7FFF12345678)
    journal.finish("message")
    assert (journal.begun, journal.finished, journal.message) == (True, True, "message")
    journal.end(CLOCKS, "after it", "")
    journal.finish("x" * 10_000)
    assert journal.message == "x" * 4096
    assert [window.nodeid for window in journal.take()] == ["after it"]


def test_a_watcher_shows_how_far_it_has_come(tmp_path: Path) -> None:
    """What one side has reached, the other sees; a later stage includes the earlier ones, and may be taken back."""
    written, read = Journal.create(tmp_path / "journal"), Journal.open(tmp_path / "journal")
    assert not written.has_reached(READY)
    read.reach(NOTED)
    assert (written.has_reached(READY), written.has_reached(NOTED), written.has_reached(DRAWN)) == (True, True, False)
    read.reach(IMPORTING)
    assert not written.has_reached(READY)


def _write(path: Path) -> None:
    Journal.open(path).end(CLOCKS, "from another process", "")


def test_another_process_sees_what_was_written(tmp_path: Path) -> None:
    """What one process writes before it ends, the other reads afterwards."""
    path = tmp_path / "journal"
    journal = Journal.create(path)
    writer = multiprocessing.get_context("spawn").Process(target=_write, args=(path,))
    writer.start()
    writer.join()
    assert [window.nodeid for window in journal.take()] == ["from another process"]

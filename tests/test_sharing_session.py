"""What threads share, found in sessions of their own: locks held while a call waits hold threads up on every Python."""

from __future__ import annotations

from pathlib import Path

import pytest
import sessions

from pytest_gilprobe.observe import interpreter

SOURCE = """
    import threading
    import time
    import pytest

    class Door:
        def __init__(self):
            self.lock = threading.Lock()
        def __del__(self):
            pass

    class Counter:
        def __init__(self):
            self.lock = threading.Lock()

    def waits(thing, sizes):
        with thing.lock:
            time.sleep(0.002)

    @pytest.mark.gilprobe(strategies="threads", workers=2)
    def test_lock(gilprobe):
        gilprobe(waits, Counter(), [1, 2, 3])

    @pytest.mark.gilprobe(strategies="threads", workers=2)
    def test_cannot_be_copied(gilprobe):
        gilprobe(waits, Door(), 5)

    @pytest.mark.gilprobe(strategies="threads", workers=2)
    def test_shares_nothing(gilprobe):
        gilprobe(time.sleep, 0.002)
"""
COUNTER = "argument thing (a Counter)"


def test_sharing_of_a_session(tmp_path: Path) -> None:
    """The argument with the lock is named, one that cannot be copied is said to be so, free threads are not asked.

    Beside them the control is timed where there is no GIL, then also where nothing can be copied.
    """
    sessions.write(tmp_path, SOURCE)
    done = sessions.run(tmp_path, budget_s=1.0)
    assert done.exit_status == 0, done.output
    found, held = (done.one(name)["sharing"] for name in ("::test_lock", "::test_cannot_be_copied"))
    if found is None or held is None:
        pytest.skip("too busy a machine: threads that share a lock did not seem to fall short")
    tried = {one["name"] for one in found["copies"]}  # none if a busy machine left too few rounds
    assert tried in ({COUNTER, "argument sizes (a list)", "all of them"}, set()), done.output
    assert set(found["costly"]) <= {COUNTER, "all of them"}, found
    if found["costly"]:
        assert f"with a copy of {COUNTER} for each thread, threads gain" in " ".join(done.output.split())
    assert held["not_copied"] == {"argument thing (a Door)": "Door has a __del__, which a copy would run, too"}
    assert (held["copies"], held["costly"]) == ([], [])
    free = done.one("::test_shares_nothing")["sharing"]  # asked only if a busy machine held its threads up
    assert free is None or free["copies"] == [], free
    without_gil = not interpreter.gil_enabled()
    for one in filter(None, (found, held, free)):
        assert (one["best"] is not None) == (one["of_best"] is not None) == (without_gil and one["rounds"] > 0), one
        assert one["rounds"] == 0 or one["copies"] or without_gil, one


FIXTURES = """
    import threading
    import time
    import pytest

    class Door:
        def __init__(self):
            self.lock = threading.Lock()
        def __del__(self):
            pass

    DOOR = Door()

    @pytest.fixture
    def door():
        made = Door()
        yield made
        assert not made.lock.locked()

    @pytest.fixture(scope="module")
    def wide():
        return [1, 2, 3]

    @pytest.mark.gilprobe(strategies="threads", workers=2)
    def test_fixture(door, wide):
        with door.lock:
            time.sleep(0.002)

    @pytest.mark.gilprobe(strategies="threads", workers=2)
    def test_folder(tmp_path):
        with DOOR.lock:
            (tmp_path / "one").write_text("1")
            time.sleep(0.002)
            (tmp_path / "one").unlink()

    class TestDoor:
        @pytest.mark.gilprobe(strategies="threads", workers=2)
        def test_global(self):
            with DOOR.lock:
                time.sleep(0.002)
"""


@pytest.mark.thorough
def test_fixtures_of_a_marked_test(tmp_path: Path) -> None:
    """A function-scoped fixture is made anew for each thread, though it cannot be copied; a global is a suspect."""
    sessions.write(tmp_path, FIXTURES)
    done = sessions.run(tmp_path, budget_s=1.0)
    assert done.exit_status == 0, done.output
    found, of_global = (done.one(name)["sharing"] for name in ("::test_fixture", "::test_global"))
    if found is None or of_global is None:
        pytest.skip("too busy a machine: there was no time to ask what threads share")
    tried = {one["name"] for one in found["copies"]}
    if tried and not found["not_copied"]:  # on a busy machine a set-up may seem too long to be made anew
        assert tried == {"fixture door (a Door)", "fixture wide (a list)", "all of them"}, done.output
    assert found["costly"][:1] in ([], ["fixture door (a Door)"], ["all of them"]), found
    suspected = of_global["suspects"]
    lines = (tmp_path / "test_it.py").read_text(encoding="utf-8").splitlines()
    assert [one["name"] for one in suspected] == ["DOOR.lock (a lock)"], done.output
    assert "with DOOR.lock" in lines[suspected[0]["line"] - 1]
    if not of_global["costly"]:
        assert "the code writes to or locks DOOR.lock (a lock) at " in " ".join(done.output.split())
    folder = done.one("::test_folder")["sharing"]  # each thread has its own in any case: there is nothing to try
    assert folder is None or (folder["copies"], folder["not_copied"]) == ([], {}), folder

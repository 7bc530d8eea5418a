"""What threads share, found in sessions of their own: locks held while a call waits hold threads up on every Python."""

from __future__ import annotations

from pathlib import Path

import sessions

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
    """The argument with the lock is named, one that cannot be copied is said to be so, free threads are not asked."""
    sessions.write(tmp_path, SOURCE)
    done = sessions.run(tmp_path, budget_s=1.0)
    assert done.exit_status == 0, done.output
    found = done.one("::test_lock")["sharing"]
    tried = {one["name"] for one in found["copies"]}  # none if a busy machine left too few rounds
    assert tried in ({COUNTER, "argument sizes (a list)", "all of them"}, set()), done.output
    assert set(found["costly"]) <= {COUNTER, "all of them"}, found
    if found["costly"]:
        assert f"with a copy of {COUNTER} for each thread, threads gain" in " ".join(done.output.split())
    held = done.one("::test_cannot_be_copied")["sharing"]
    assert held["not_copied"] == {"argument thing (a Door)": "Door has a __del__, which a copy would run, too"}
    assert (held["copies"], held["costly"]) == ([], [])
    free = done.one("::test_shares_nothing")["sharing"]  # asked only if a busy machine held its threads up
    assert free is None or free["rounds"] == 0, free

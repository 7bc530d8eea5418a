"""Curves in a session of its own: by the flag, by the marker, and where calls fail with many workers."""

from __future__ import annotations

from pathlib import Path

import sessions

SOURCE = """
    import asyncio
    import threading
    import time
    import pytest

    @pytest.mark.gilprobe(strategies="threads")
    def test_sleeps():
        time.sleep(0.005)

    at_once = threading.Semaphore(2)

    @pytest.mark.gilprobe(strategies="threads", workers=2, scale=(1, 2, 4, 8))
    def test_refuses_more_than_two():
        assert at_once.acquire(blocking=False), "too many connections"
        try:
            time.sleep(0.005)
        finally:
            at_once.release()

    @pytest.mark.gilprobe(strategies="tasks")
    def test_tasks(gilprobe):
        async def waits():
            await asyncio.sleep(0.005)
        async def main():
            await gilprobe(waits)
        asyncio.run(main())

    @pytest.mark.gilprobe(scale=False, strategies="threads")
    def test_left_out():
        time.sleep(0.005)
"""


def test_curves_of_a_session(tmp_path: Path) -> None:
    """Each strategy tried has a curve of the numbers asked for; a failure with four is told, and two still count."""
    sessions.write(tmp_path, SOURCE)
    done = sessions.run(tmp_path, "--gilprobe-scale=1,2,4")
    assert done.exit_status == 0, done.output
    for name, strategy in (("::test_sleeps", "threads"), ("::test_tasks", "tasks")):
        curve = done.one(name)["scaling"][strategy]
        assert {point["workers"] for point in curve["points"]} <= {1, 2, 4}, curve
        assert curve["enough_workers"] in {1, 2, 4, None}, curve
        assert curve["points"], curve
    refused = done.one("::test_refuses_more_than_two")["scaling"]["threads"]
    assert (refused["failed_at"], refused["outcome"]) == (4, "failed")
    assert "too many connections" in refused["error"]
    assert [point["workers"] for point in refused["points"]][:1] == [1]
    assert done.one("::test_left_out")["scaling"] is None

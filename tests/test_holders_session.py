"""Where the GIL is held, in sessions of their own: told, left out on request, and named by a failed gate."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import sessions

needs_gil = pytest.mark.skipif(
    sys.platform != "linux"
    or sys.implementation.name != "cpython"
    or not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="needs Linux and a CPython with its GIL enabled",
)
SOURCE = """
    import json
    import pytest

    TEXT = json.dumps([{"at": at, "third": at / 3} for at in range(2000)])

    def count(length):
        total = 0
        for at in range(length):
            total += at * at
        return total

    @pytest.mark.gilprobe(strategies="threads", max_gil_held=0.01)
    def test_it():
        count(60_000)
        json.loads(TEXT)
"""


@needs_gil
def test_names_the_users_lines_in_report_and_failure(tmp_path: Path) -> None:
    """The loop and the call of the library are told by line and expression; the gate's failure names one of them."""
    sessions.write(tmp_path, SOURCE)
    done = sessions.run(tmp_path)
    seen = done.one("::test_it")["gil"]
    if seen["holders"] is None:
        pytest.skip("too busy a machine: too few samples")
    told = {(one["function"], one["code"]): one for one in seen["holders"]}
    assert ("count", "total += at * at") in told
    assert told["test_it", "json.loads(TEXT)"]["library"] == "json/__init__.py: loads"
    assert {one["file"] for one in seen["holders"]} == {"test_it.py"}
    assert all(stack["frames"][0]["function"] == "test_it" for stack in seen["stacks"])
    if done.exit_status:
        assert "max_gil_held=0.01" in done.output
        assert "test_it.py:" in done.output.partition("evidence:")[2]


@pytest.mark.thorough
@needs_gil
def test_can_be_left_out(tmp_path: Path) -> None:
    """With the switch off no stack is read, and all else is reported."""
    sessions.write(tmp_path, SOURCE)
    seen = sessions.run(tmp_path, "--gilprobe-holders=off").one("::test_it")["gil"]
    assert (seen["holders"], seen["stacks"], seen["longest_holder"]) == (None, None, None)
    assert seen["held_fraction"] is not None
    assert seen["holders_reason"] == "--gilprobe-holders=off"

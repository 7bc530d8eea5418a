"""Workers that were forked while a fixture had something open: they end before the fixture is torn down."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_gilprobe.observe import descriptors
from pytest_gilprobe.plugin.fixtures_beside import FixturesBeside
from pytest_gilprobe.workers.parent.late_workers import end_forked_since
from pytest_gilprobe.workers.protocol import Stop

if TYPE_CHECKING:
    from pathlib import Path

PIPE, PORT = (descriptors.OpenFile(number, 1, number) for number in (7, 8))


class Process:
    """A process that ends when it is waited for."""

    def join(self, timeout: float) -> None:
        assert timeout >= 0


class Recorded:
    """A worker that was forked at a moment, and what it was sent."""

    def __init__(self, started_ns: int, *inherited: descriptors.OpenFile, ready: bool = True) -> None:
        self.started_ns, self.inherited = started_ns, frozenset(inherited)
        self.ready, self.running, self.process = ready or None, True, Process()
        self.sent: list[object] = []
        self.send = self.sent.append


class Group:
    """A group of such workers, which remembers those that were ended."""

    def __init__(self, *workers: Recorded) -> None:
        self.ended: list[Recorded] = []
        self.discard = self.ended.append
        self.everyone = [(self, worker) for worker in workers]


def test_those_that_hold_something_open_end() -> None:
    """Neither those that were forked before, nor those that inherited what was open anyway, nor what is not ready."""
    early, clean, late, starting = (
        Recorded(5, PIPE),
        Recorded(20, PORT),
        Recorded(20, PIPE, PORT),
        Recorded(20, PIPE, ready=False),
    )
    group = Group(early, clean, late, starting)
    end_forked_since(cast("Any", group), 10, frozenset({PORT}))
    assert group.ended == [late, starting]
    assert (late.sent, starting.sent) == ([Stop()], [])


def test_files_that_were_opened_since_are_told_from_others() -> None:
    """A descriptor is known by what it refers to, so that a number that is used again is another file."""
    before = descriptors.open_files()
    if not before:
        pytest.skip("this system does not list open files")
    with socket.socket() as opened:
        (new,) = descriptors.open_files() - before
        assert new.number == opened.fileno()
    assert descriptors.open_files() == before


def test_a_system_that_lists_no_files_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing is known to be inherited, and no worker is ended for it."""
    monkeypatch.setattr(descriptors, "FOLDER", "/nowhere")
    assert descriptors.open_files() == frozenset()


class Node:
    """A test, a module or a session, or a request of a fixture of one."""

    def __init__(self, *chain: Node, node: Node | None = None) -> None:
        self.node = node
        self.listchain = lambda: [*chain, self]


def test_what_a_node_keeps_is_told_when_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module's fixtures are torn down when the next test is in another module, those of a session at its end."""
    told: list[frozenset[descriptors.OpenFile]] = []
    monkeypatch.setattr("pytest_gilprobe.plugin.fixtures_beside.end_forked_since", lambda *seen: told.append(seen[2]))
    opened: list[descriptors.OpenFile] = []
    monkeypatch.setattr("pytest_gilprobe.plugin.fixtures_beside.open_files", lambda: frozenset(opened))
    session = Node()
    module = Node(session)
    one, two = Node(session, module), Node(session)
    plugin = FixturesBeside(lambda: cast("Any", ["group"]))
    for node, file in ((session, PIPE), (module, PORT), (module, PORT)):
        plugin.pytest_fixture_setup(cast("Any", Node(node=node)))
        opened.append(file)
    plugin.pytest_runtest_teardown(cast("Any", one), cast("Any", two))
    assert told == [frozenset({PIPE})]
    plugin.pytest_runtest_teardown(cast("Any", two), None)
    assert told == [frozenset({PIPE}), frozenset()]


SUITE = """
import multiprocessing
import os
import subprocess
import sys
import pytest

@pytest.fixture(scope="{scope}", autouse=True)
def program():
    code = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as program:
        yield program

@pytest.mark.gilprobe
def test_dies_in_a_worker():
    if multiprocessing.current_process().name == "gilprobe-worker-2":
        os._exit(3)

@pytest.mark.gilprobe
def test_goes_on():
    sum(range(1000))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks workers")
@pytest.mark.parametrize("scope", ["function", "session"])
def test_a_program_that_ends_with_its_input_ends(tmp_path: Path, scope: str) -> None:
    """A worker that replaces one that died has the pipe to a fixture's program open; it does not keep it running."""
    (tmp_path / "test_suite.py").write_text(SUITE.replace("{scope}", scope))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--gilprobe-workers=2"]
    command += ["--gilprobe-start-method=fork"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout

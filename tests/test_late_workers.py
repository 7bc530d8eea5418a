"""Workers that were forked while a fixture had something open: they end before the fixture is torn down."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from sessions import ALONE

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
    """A test, a module or a session."""

    def __init__(self, *chain: Node, fixtures: str = "", **params: object) -> None:
        self.listchain = lambda: [*chain, self]
        self.callspec = SimpleNamespace(params=params)
        self.fixturenames = [*params, *fixtures.split()]


class Told:
    """The plugin, with what it has told of files that were open before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before: list[frozenset[descriptors.OpenFile]] = []
        self.opened: list[descriptors.OpenFile] = []
        module = "pytest_gilprobe.plugin.fixtures_beside"
        monkeypatch.setattr(f"{module}.end_forked_since", lambda *seen: self.before.append(seen[2]))
        monkeypatch.setattr(f"{module}.open_files", lambda: frozenset(self.opened))
        self.plugin = FixturesBeside(lambda: cast("Any", [Group(Recorded(0))]), nullcontext)

    def set_up(self, node: Node, file: descriptors.OpenFile, scope: str = "module", **parameter: object) -> None:
        """Have a fixture of a node open a file."""
        request, definition = SimpleNamespace(node=node), SimpleNamespace(scope=scope, argname="unnamed")
        for definition.argname, request.param in parameter.items():
            pass
        self.plugin.pytest_fixture_setup(cast("Any", definition), cast("Any", request))
        self.opened.append(file)

    def left(self, item: Node, following: Node | None) -> list[frozenset[descriptors.OpenFile]]:
        """Tear a test down, and return what was told."""
        self.before.clear()
        self.plugin.pytest_runtest_teardown(cast("Any", item), cast("Any", following))
        return self.before


def test_what_a_node_keeps_is_told_when_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module's fixtures are torn down when the next test is in another module, those of a session at its end."""
    session = Node()
    module = Node(session)
    one, two, three = Node(session, module), Node(session, module), Node(session)
    told = Told(monkeypatch)
    for node, file in ((session, PIPE), (module, PORT), (module, PORT)):
        told.set_up(node, file)
    assert told.left(one, two) == []
    assert told.left(two, three) == [frozenset({PIPE})]
    assert told.left(three, None) == [frozenset()]


def test_a_fixture_that_gets_another_parameter_is_torn_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pytest tears it down in the set-up of the next test that wants it with another one, which may come later."""
    session = Node()
    module = Node(session)
    told = Told(monkeypatch)
    told.set_up(module, PIPE, address="a")
    told.set_up(module, PIPE, scope="function", number=0)
    following = (
        Node(session, module),
        Node(session, module, address="a", number=1),
        Node(session, module, address="b"),
        Node(session, module, fixtures="address"),
    )
    seen = []
    for one in following:
        told.before.clear()
        told.plugin.pytest_runtest_setup(cast("Any", one))
        seen.append(len(told.before))
    assert seen == [0, 0, 1, 1]
    told.plugin.pytest_fixture_post_finalizer(cast("Any", SimpleNamespace(argname="address")))
    told.before.clear()
    told.plugin.pytest_runtest_setup(cast("Any", following[2]))
    assert told.before == []


class Odd:
    """What cannot be compared, as an array cannot."""

    def __eq__(self, other: object) -> bool:
        raise ValueError

    __hash__ = object.__hash__


def test_parameters_that_cannot_be_compared_are_the_same_if_they_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As pytest has it."""
    told, module, odd = Told(monkeypatch), Node(), Odd()
    told.set_up(module, PIPE, array=odd)
    told.plugin.pytest_runtest_setup(cast("Any", Node(module, array=odd)))
    assert told.before == []
    told.plugin.pytest_runtest_setup(cast("Any", Node(module, array=Odd())))
    assert len(told.before) == 1


def test_without_workers_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tests have replaced is not undone for nothing."""
    told, module = Told(monkeypatch), Node()
    told.plugin = FixturesBeside(lambda: cast("Any", [Group()]), lambda: pytest.fail("undone"))
    told.set_up(module, PIPE)
    assert told.left(Node(module), None) == []


def test_an_error_does_not_keep_fixtures_from_being_torn_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pytest would not tear the test down if a hook before its own raised."""
    told = Told(monkeypatch)
    module = Node()
    told.set_up(module, PIPE)

    def broken(*_: object) -> None:
        msg = "no"
        raise OSError(msg)

    monkeypatch.setattr("pytest_gilprobe.plugin.fixtures_beside.end_forked_since", broken)
    assert told.left(Node(module), None) == []


SUITE = """
import multiprocessing
import os
import subprocess
import sys
import pytest

@pytest.fixture(scope="{scope}", autouse=True, params=[1, 2])
def program():
    code = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as program:
        yield program

def test_plain():
    pass

@pytest.mark.gilprobe
def test_dies_in_a_worker():
    if multiprocessing.current_process().name == "gilprobe-worker-2":
        os._exit(3)

@pytest.mark.gilprobe
def test_goes_on():
    sum(range(1000))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks workers")
@pytest.mark.parametrize(
    "scope",
    ["module", *(pytest.param(scope, marks=pytest.mark.thorough) for scope in ("function", "session"))],
)
def test_a_program_that_ends_with_its_input_ends(tmp_path: Path, scope: str) -> None:
    """A worker that replaces one that died has the pipe to a fixture's program open; it does not keep it running."""
    (tmp_path / "test_suite.py").write_text(SUITE.replace("{scope}", scope))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--gilprobe-workers=2"]
    command += ["--gilprobe-start-method=fork", "--gilprobe-max-time=0.5"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")} | ALONE
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout

"""Every kind of test is probed in the way that it runs under pytest, or the report says why it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import sessions

if TYPE_CHECKING:
    from pathlib import Path

OK = ("probed", "ok", "ok")
NO_THREADS = ("probed", "skipped", "ok")
NOT = ("not_probed", "skipped", "skipped")

PLAIN = """
import os, time, unittest
import pytest

pytestmark = pytest.mark.gilprobe

def nap():
    time.sleep(0.005)

def test_function():
    nap()

class TestClass:
    @pytest.fixture(autouse=True, scope="class")
    def lived(self):
        yield
    @pytest.fixture(autouse=True)
    def setting(self, monkeypatch):
        monkeypatch.setenv("SETTING", "1")
        yield
    def test_method(self):
        assert os.environ["SETTING"] == "1"
        nap()

class TestCase(unittest.TestCase):
    def setUp(self):
        self.value = 1
    def test_of_testcase(self):
        assert self.value == 1
        nap()
    def test_subtest(self):
        for number in range(2):
            with self.subTest(number=number):
                nap()

class TestAsyncCase(unittest.IsolatedAsyncioTestCase):
    async def test_of_async_testcase(self):
        import asyncio
        await asyncio.sleep(0.005)

class TestBoundCase(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        import asyncio
        self.queue = asyncio.Queue()
    async def test_bound(self):
        import asyncio
        await asyncio.sleep(0.005)

def test_subtests(subtests):
    for number in range(2):
        with subtests.test(number=number):
            nap()

@pytest.fixture(scope="module")
def generator():
    yield (number for number in range(3))

def test_unpicklable(generator):
    nap()

def test_own_folder(tmp_path):
    (tmp_path / "mine").mkdir()
    nap()
    (tmp_path / "mine").rmdir()

def test_capsys(capsys):
    print("x")
    assert capsys.readouterr().out == "x\\n"
    nap()

@pytest.fixture
def doubled(request):
    return request.param * 2

@pytest.mark.parametrize("doubled", [1], indirect=True)
@pytest.mark.usefixtures("generator")
def test_indirect(doubled):
    assert doubled == 2
    nap()

def test_skipped():
    pytest.skip("not today")
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> sessions.Session:
    folder = tmp_path_factory.mktemp("plain")
    sessions.write(folder, PLAIN)
    return sessions.run(folder)


class TestPlain:
    """Kinds of tests that pytest itself and `unittest` know."""

    def test_session(self, plain: sessions.Session) -> None:
        """Every test's own outcome is pytest's."""
        assert plain.exit_status == pytest.ExitCode.OK, plain.output
        assert "1 skipped" in plain.output

    @pytest.mark.parametrize(
        ("name", "outcomes"),
        [
            ("::test_function", OK),
            ("::test_method", OK),
            ("::test_of_testcase", OK),
            ("::test_subtest", OK),
            ("::test_subtests", OK),
            ("::test_unpicklable", OK),
            ("::test_own_folder", OK),
            ("::test_capsys", NO_THREADS),
            ("::test_indirect[1]", OK),
            ("::test_skipped", NOT),
        ],
    )
    def test_outcome(self, plain: sessions.Session, name: str, outcomes: tuple[str, str, str]) -> None:
        """Each kind is measured in every strategy that can run it."""
        assert plain.outcomes(name) == outcomes, plain.one(name)

    @pytest.mark.parametrize("name", ["::test_of_async_testcase", "::test_bound"])
    def test_coroutine_of_testcase(self, plain: sessions.Session, name: str) -> None:
        """A coroutine method is measured in tasks, set up in a loop or not; plain ones have no tasks."""
        assert plain.outcomes(name, "tasks") == OK, plain.one(name)
        assert plain.one(name)["event_loop"]["longest_block_s"] > 0
        assert "tasks" not in plain.one("::test_of_testcase")["strategies"]
        assert plain.one("::test_of_testcase")["event_loop"] is None

    @pytest.mark.parametrize(
        "name", ["::test_function", "::test_of_async_testcase", "::test_subtest", "::test_subtests"]
    )
    def test_time(self, plain: sessions.Session, name: str) -> None:
        """A call is not over before its waits are: no coroutine is made and left."""
        assert plain.one(name)["strategies"]["serial"]["wall_s_per_call"]["value"] > 0.004

    def test_reasons(self, plain: sessions.Session) -> None:
        """The report says why a strategy was not tried."""
        assert "capsys" in plain.one("::test_capsys")["strategies"]["threads"]["error"]
        assert "not today" in plain.one("::test_skipped")["reason"]


ASYNC = """
import asyncio
import pytest
{imports}
pytestmark = [pytest.mark.gilprobe, {mark}]

async def test_coroutine({arguments}):
    await asyncio.sleep(0.005)

class TestClass:
    async def test_method(self, {arguments}):
        await asyncio.sleep(0.005)

@{fixture}
async def made({arguments}):
    yield asyncio.get_running_loop()

async def test_fixture(made, {arguments}):
    assert made is asyncio.get_running_loop()
    await asyncio.sleep(0.005)

def test_sync():
    import time
    time.sleep(0.005)
"""
KINDS = {
    "pytest-asyncio, strict": ("pytest_asyncio", "pytest.mark.asyncio", "pytest_asyncio.fixture", "", ""),
    "pytest-asyncio, auto": ("pytest_asyncio", "", "pytest.fixture", "", "asyncio_mode = auto"),
    "anyio, marked": ("anyio", "pytest.mark.anyio", "pytest.fixture", "anyio_backend_name", ""),
    "anyio, auto": ("anyio", "", "pytest.fixture", "anyio_backend_name", "anyio_mode = auto"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_async(kind: str, tmp_path: Path) -> None:
    """A coroutine test is called in its plugin's loop; in threads each has its own, unless async fixtures have one."""
    plugin, mark, fixture, argument, ini = KINDS[kind]
    pytest.importorskip(plugin)
    source = ASYNC.format(imports=f"import {plugin}", mark=mark, fixture=fixture, arguments=argument)
    if plugin == "anyio":
        source += "\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    sessions.write(tmp_path, source, ini=ini)
    flags = ("-W", "ignore", *(("-p", "no:asyncio") if plugin == "anyio" else ("-p", "no:anyio")))
    seen = sessions.run(tmp_path, *flags, "--gilprobe-strategies=tasks,threads,processes", alone=False)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    for name in ("::test_coroutine", "::test_method", "::test_fixture"):
        assert seen.outcomes(name, "tasks") == OK, seen.one(name)
        assert seen.one(name)["verdict"]["strategy"] in {"tasks", "inconclusive"}
    assert seen.outcomes("::test_coroutine") == OK, seen.one("::test_coroutine")
    assert seen.outcomes("::test_method") == OK
    assert seen.outcomes("::test_fixture") == NO_THREADS
    assert "made" in seen.one("::test_fixture")["strategies"]["threads"]["error"]
    assert seen.outcomes("::test_sync") == OK
    for name in ("::test_coroutine", "::test_method", "::test_fixture"):
        assert seen.one(name)["strategies"]["serial"]["wall_s_per_call"]["value"] > 0.004


LOOPS = """
import asyncio
import contextvars
import functools
import pytest
import pytest_asyncio
from hypothesis import given, settings, strategies as st

pytestmark = [pytest.mark.gilprobe, pytest.mark.asyncio(loop_scope="session")]
CURRENT = contextvars.ContextVar("CURRENT")

@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def server():
    async def answer(reader, writer):
        await reader.read(1)
        await asyncio.sleep(0.005)
        writer.write(b"x")
        writer.close()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]

async def fetch(port):
    assert CURRENT.get() == "of the test"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"x")
    assert await reader.read() == b"x"
    writer.close()

async def test_given(gilprobe, server):
    CURRENT.set("of the test")
    async with asyncio.TaskGroup():
        await gilprobe(fetch, server)

@pytest.mark.parametrize("delay", [0.005])
async def test_server(server, delay, tmp_path):
    CURRENT.set("of the test")
    await fetch(server)

def test_run(gilprobe):
    async def main():
        await gilprobe(asyncio.sleep, 0.005)
    asyncio.run(main())

class Client:
    async def __call__(self):
        await asyncio.sleep(0.005)

def retry(function):
    @functools.wraps(function)
    def again(*args):
        return function(*args)
    return again

CALLABLES = {"obj": Client(), "part": functools.partial(Client()), "wrap": retry(Client().__call__)}

@pytest.mark.parametrize("function", CALLABLES.values(), ids=CALLABLES)
async def test_callable(gilprobe, function):
    await gilprobe(function)

BUSY = []

async def test_one_at_a_time():
    assert not BUSY
    BUSY.append(1)
    await asyncio.sleep(0.002)
    BUSY.clear()

@given(st.integers())
@settings(max_examples=3)
async def test_drawn(number):
    await asyncio.sleep(0.001)

async def test_forgotten(gilprobe):
    gilprobe(fetch, 1).close()
"""


@pytest.mark.thorough
def test_tasks_share_what_the_users_own_would(tmp_path: Path) -> None:
    """Tasks run in the test's loop, beside its server, in its context; what cannot be a task says why."""
    pytest.importorskip("pytest_asyncio")
    sessions.write(tmp_path, LOOPS)
    seen = sessions.run(tmp_path, "-W", "ignore", "-p", "no:anyio", alone=False)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    callables = [f"::test_callable[{kind}]" for kind in ("obj", "part", "wrap")]
    for name in ("::test_given", "::test_server[0.005]", "::test_run", *callables):
        assert seen.outcomes(name, "tasks") == OK, seen.one(name)
        assert seen.one(name)["verdict"]["strategy"] in {"tasks", "inconclusive"}, seen.one(name)["verdict"]
    assert seen.one("::test_given")["callee"]["awaited"]
    alone = seen.one("::test_one_at_a_time")["strategies"]["tasks"]
    assert alone["outcome"] == "failed"
    assert "of 2 tasks at once failed" in alone["error"]
    assert "assert not BUSY" in alone["error"]
    assert "Hypothesis" in seen.one("::test_drawn")["strategies"]["tasks"]["error"]
    assert "await" in seen.one("::test_forgotten")["reason"]


@pytest.mark.thorough
def test_hypothesis(tmp_path: Path) -> None:
    """A Hypothesis test is probed: one call runs all its examples, the same in every worker."""
    source = """
    import pytest
    from hypothesis import given, settings, strategies as st

    @pytest.mark.gilprobe
    @given(st.integers())
    @settings(max_examples=5)
    def test_drawn(number):
        assert isinstance(number, int)
    """
    sessions.write(tmp_path, source)
    seen = sessions.run(tmp_path, "-p", "hypothesispytest", "--gilprobe-strategies=threads", budget_s=20)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    assert seen.one("::test_drawn")["status"] == "probed", seen.one("::test_drawn")


def test_doctest(tmp_path: Path) -> None:
    """A doctest is not probed, and the report says why."""
    sessions.write(tmp_path, '"""\n>>> 1 + 1\n2\n"""\n', name="module.py")
    seen = sessions.run(tmp_path, "--doctest-modules", "--gilprobe-all")
    assert seen.outcomes("module.py::module") == NOT
    assert "Doctest" in seen.one("module.py::module")["reason"]


LAYOUTS = {
    "src": (
        {"src/pack/__init__.py": "VALUE = 1", "tests/test_it.py": "from pack import VALUE"},
        "pythonpath = src",
        (),
    ),
    "flat, same names": (
        {"a/test_it.py": "VALUE = 1", "b/test_it.py": "VALUE = 1"},
        "addopts = --import-mode=importlib",
        (),
    ),
    "packages": (
        {"pack/__init__.py": "", "pack/util.py": "VALUE = 1", "pack/test_it.py": "from .util import VALUE"},
        "",
        (),
    ),
    "append": ({"tests/test_it.py": "VALUE = 1"}, "", ("--import-mode=append",)),
    "node id": ({"tests/test_it.py": "VALUE = 1"}, "", ("tests/test_it.py::test_probed",)),
    "-k and -m": ({"tests/test_it.py": "VALUE = 1"}, "addopts = -k probed", ("-m", "gilprobe")),
    "deselect, -x": ({"tests/test_it.py": "VALUE = 1"}, "", ("--deselect", "tests/test_it.py::test_other", "-x")),
    "-o and -p": (
        {"tests/test_it.py": "VALUE = 1", "plug.py": "import pytest"},
        "",
        ("-p", "plug", "-o", "python_functions=test_p*"),
    ),
    "rootdir": ({"tests/test_it.py": "VALUE = 1"}, "", ("--rootdir=tests", "tests")),
    "-c": (
        {"tests/test_it.py": "VALUE = 1", "conf/other.ini": "[pytest]"},
        "",
        ("-c", "conf/other.ini", "--rootdir=."),
    ),
    "addopts": (
        {"tests/test_it.py": "VALUE = 1"},
        "addopts = -s --color=yes --junitxml=junit.xml --cov=tests -n 0",
        (),
    ),
    "conftest in a subfolder": (
        {
            "tests/sub/conftest.py": "import pytest\n@pytest.fixture\ndef extra(): return 1",
            "tests/sub/test_it.py": "VALUE = 1",
        },
        "usefixtures = extra",
        (),
    ),
    "conftest that wants all items": (
        {
            "conftest.py": (
                "def pytest_collection_modifyitems(items):\n    assert len({item.path for item in items}) == 2, 'all "
                "files'"
            ),
            "tests/test_it.py": "VALUE = 1",
            "tests/test_more.py": "def test_more(): pass",
        },
        "",
        (),
    ),
}
BODY = """

import time
import pytest

@pytest.mark.gilprobe
def test_probed():
    assert VALUE == 1
    time.sleep(0.005)

def test_other():
    pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout(layout: str, tmp_path: Path) -> None:
    """A worker collects the same node ids as the parent, whatever the layout, the ini file and the command line."""
    files, ini, flags = LAYOUTS[layout]
    for name, text in files.items():
        sessions.write(tmp_path, text + (BODY if name.endswith("test_it.py") else ""), name=name, ini=ini)
    seen = sessions.run(tmp_path, *flags, alone=False)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    assert seen.workloads
    for nodeid, workload in seen.workloads.items():
        assert workload["status"] == "probed", f"{nodeid}: {workload['reason']}"


@pytest.mark.thorough
def test_called_in_process_twice(tmp_path: Path) -> None:
    """``pytest.main()`` may be called from a script without a main guard, and again."""
    sessions.write(tmp_path, "VALUE = 1" + BODY)
    (tmp_path / "script.py").write_text(
        "import pytest\nfor _ in range(2):\n    print('status', int(pytest.main(['-q', '--gilprobe-max-time=0.5', "
        "'-W', 'ignore'])))\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | sessions.ALONE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.count("status 0") == 2, done.stdout + done.stderr
    assert done.stdout.count("::test_probed") == 2, done.stdout

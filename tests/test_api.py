"""`pytest_gilprobe.api`, `named` and ``gilprobe run``: one function, from a script, a prompt and the command line."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import pytest_gilprobe
import pytest_gilprobe.probe  # the room must not hide the function of the same name
from pytest_gilprobe import api, host, named, probe, serialize
from pytest_gilprobe.model import GilprobeError, Status
from pytest_gilprobe.options import INSIDE_WORKER

WORK = """
import time

def wait(seconds):
    time.sleep(seconds)
    return seconds

def given():
    return (0.01,)

class Shop:
    def open(self):
        time.sleep(0.01)
"""
SCRIPT = """
import sys
from pytest_gilprobe import probe

def wait(seconds, *, more=0):
    import time
    time.sleep(seconds + more)

{guard}
    found = probe(wait, 0.01, more=0.001, gilprobe_max_time=0.5, gilprobe_start_method=sys.argv[1])
    print("strategy", found.verdict.strategy)
    print(found)
"""


def python(*arguments: str, cwd: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python with this checkout importable."""
    checkout = str(Path(api.__file__).parents[1])
    path = os.pathsep.join([checkout, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "100"},
    )


class TestSettings:
    """What is refused before anything runs."""

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"gilprobe_workers": 1}, "gilprobe_workers: found 1, allowed: 'auto' or a whole number from 2"),
            ({"gilprobe_max_time": 0}, "gilprobe_max_time: found 0, allowed: a number of seconds above 0"),
            ({"gilprobe_timeout": "soon"}, "gilprobe_timeout: found 'soon'"),
            ({"gilprobe_start_method": "clone"}, "gilprobe_start_method: found 'clone', allowed: one of"),
        ],
    )
    def test_wrong_value(self, settings: dict[str, Any], said: str) -> None:
        """Each names the setting, what was found and what is allowed."""
        with pytest.raises(GilprobeError, match=said):
            probe(len, "", **settings)

    def test_no_callable(self) -> None:
        """A result in place of a function is refused."""
        with pytest.raises(GilprobeError, match="pass the function, not its result"):
            probe(3)  # type: ignore[arg-type]  # that is the mistake

    def test_inside_a_worker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A worker that reaches it starts nothing: the script lacks its guard."""
        monkeypatch.setenv(INSIDE_WORKER, "1")
        with pytest.raises(GilprobeError, match="if __name__ == '__main__':"):
            probe(len, "")

    @pytest.mark.parametrize(
        ("func", "args", "said"),
        [
            (sum, ((n for n in range(3)),), "builtins:sum cannot be probed: its argument 1 is a generator"),
            (lambda: (n for n in range(3)), (), "its call just makes a generator, and runs none of it"),
        ],
    )
    def test_call_that_cannot_be_repeated(self, func: Any, args: tuple[Any, ...], said: str) -> None:
        """A call that later ones would not be like, or that does not do its work, is refused with what to do."""
        with pytest.raises(GilprobeError, match=said):
            probe(func, *args)

    def test_function_that_raises(self) -> None:
        """What the function raises when it is first called passes through."""
        with pytest.raises(ZeroDivisionError):
            probe(divmod, 1, 0)

    def test_package_exports_the_function(self) -> None:
        """The room of the same name does not hide it, whichever was imported first."""
        assert pytest_gilprobe.probe is api.probe


class TestNames:
    """What ``MODULE:FUNCTION`` and ``--args-from`` take."""

    @pytest.mark.parametrize("text", ["json", "json:", ":loads", "", "json:nothing", "no_such_module:x"])
    def test_wrong(self, text: str) -> None:
        """What is not there is named."""
        with pytest.raises(GilprobeError, match=text.partition(":")[0] or "allowed: MODULE:FUNCTION"):
            named.resolve(text)

    def test_module_that_raises(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever a module raises when it is imported is said in one line, as is a name that is none."""
        (tmp_path / "raises_when_imported.py").write_text("1 / 0\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(GilprobeError, match="raises_when_imported cannot be imported: ZeroDivisionError: division"):
            named.resolve("raises_when_imported:f")
        with pytest.raises(GilprobeError, match=r"\.near cannot be imported: TypeError"):
            named.resolve(".near:f")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("sys:path", "--args-from=sys:path: found list, allowed: a function that returns the arguments"),
            ("os:abc", "--args-from=os:abc: found module"),
            ("builtins:chr", "--args-from=builtins:chr raised TypeError"),
        ],
    )
    def test_no_source_of_arguments(self, text: str, said: str) -> None:
        """What is no function, or raises, gives no arguments, and says why."""
        with pytest.raises(GilprobeError, match=said):
            named.arguments_from(text)

    def test_source_of_arguments(self) -> None:
        """A function's value is read as arguments are."""
        assert named.arguments_from("builtins:dict") == ((), {})

    def test_dotted(self) -> None:
        """A name may lead into a class."""
        assert named.resolve("json:JSONDecoder.decode").__qualname__ == "JSONDecoder.decode"

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ((1, 2), ((1, 2), {})),
            ({"a": 1}, ((), {"a": 1})),
            ({1: 2}, (({1: 2},), {})),
            ([1], (([1],), {})),
            (None, ((None,), {})),
        ],
    )
    def test_arguments(self, value: object, expected: object) -> None:
        """A tuple is the positional arguments, a dict of names the named ones, anything else the only one."""
        assert named.arguments_of(value) == expected

    @pytest.mark.parametrize(
        ("args", "keywords", "said"),
        [
            ((), {}, r"work:f\(a, \*, b=0\): missing a required argument: 'a'; --args-from=MODULE:FUNCTION"),
            ((1, 2), {}, "too many positional arguments"),
            ((1,), {"c": 1}, "unexpected keyword argument 'c'"),
        ],
    )
    def test_arguments_that_do_not_fit(self, args: tuple[Any, ...], keywords: dict[str, Any], said: str) -> None:
        """What is missing or too much is named, and how arguments are given."""

        def f(a: Any, *, b: Any = 0) -> None:
            """Never called."""

        f.__annotations__.clear()
        with pytest.raises(GilprobeError, match=said):
            named.fit("work:f", f, args, keywords)

    def test_arguments_that_fit(self) -> None:
        """Those that fit pass, and so do any of a function whose signature nobody knows."""
        named.fit("work:f", divmod, (1, 2), {})
        named.fit("work:f", max, (1,), {"any": 1})


class TestScripts:
    """Real probes in a process of their own."""

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_script(self, method: str, tmp_path: Path) -> None:
        """A function of the script itself is probed, however workers start."""
        (tmp_path / "script.py").write_text(SCRIPT.format(guard='if __name__ == "__main__":'))
        done = python("script.py", method, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] in {"strategy threads", "strategy inconclusive"}
        assert "__main__:wait" in done.stdout

    def test_script_without_guard(self, tmp_path: Path) -> None:
        """Without the guard a spawned worker would run the script again; the error says what to write."""
        (tmp_path / "script.py").write_text(SCRIPT.format(guard="if True:"))
        done = python("script.py", "spawn", cwd=tmp_path)
        assert done.returncode == 1
        assert "GilprobeError: probe() was reached again while a worker process imported this script" in done.stderr

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_prompt(self, tmp_path: Path) -> None:
        """A function typed at a prompt, as in a notebook, is inherited by forked workers, be it a lambda."""
        lines = """
        import time
        from pytest_gilprobe import probe
        found = probe(lambda: time.sleep(0.01), gilprobe_max_time=0.5)
        print(found.result.status)
        """
        done = python("-", cwd=tmp_path, text=textwrap.dedent(lines))
        assert done.stdout.strip() == Status.PROBED, done.stderr

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.skipif(not host.gil_enabled(), reason="without a GIL, threads are advised")
    def test_prompt_where_pools_spawn(self, tmp_path: Path) -> None:
        """Where a pool would not find a function typed at a prompt, advice for processes says so."""
        lines = """
        import multiprocessing
        from pytest_gilprobe import probe
        multiprocessing.set_start_method("spawn")
        def work():
            return sum(range(300_000))

        found = probe(work, gilprobe_workers=2, gilprobe_max_time=3)
        print(found.verdict.strategy, *(caution.slug for caution in found.verdict.cautions))
        """
        done = python("-", cwd=tmp_path, text=textwrap.dedent(lines))
        strategy, *slugs = done.stdout.split()
        assert strategy in {"processes", "inconclusive"}, done.stderr
        assert ("not-importable" in slugs) is (strategy == "processes")
        assert slugs.count("not-importable") <= 1

    def test_prompt_without_fork(self, tmp_path: Path) -> None:
        """Where workers cannot inherit it, the error says to put it into a module."""
        lines = "from pytest_gilprobe import probe\nprobe(lambda: None, gilprobe_start_method='spawn')\n"
        done = python("-", cwd=tmp_path, text=lines)
        assert "put the function into a module and import it" in done.stderr


class TestRun:
    """``gilprobe run``."""

    def run(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        (folder / "work.py").write_text(WORK)
        return python("-m", "pytest_gilprobe", "run", *arguments, "--max-time=0.5", cwd=folder)

    def test_report(self, tmp_path: Path) -> None:
        """It prints the report, writes JSON where asked, and that gives the code to paste."""
        done = self.run(tmp_path, "work:wait", "--args-from=work:given", "--workers=2", "--json=found.json")
        assert done.returncode == 0, done.stderr
        assert "work:wait" in done.stdout
        (found,) = serialize.read(tmp_path / "found.json").workloads
        assert found.callee is not None
        assert (found.nodeid, found.callee.module, found.callee.name) == ("work:wait", "work", "wait")
        shown = python("-m", "pytest_gilprobe", "render", "found.json", "--advice=work:wait", cwd=tmp_path)
        assert "wait" in shown.stdout or shown.stdout.startswith("# no code: ")

    def test_wrong_name(self, tmp_path: Path) -> None:
        """A function that is not there is one line on standard error, and status 2."""
        done = self.run(tmp_path, "work:nothing")
        assert done.returncode == 2
        assert done.stderr == "gilprobe: error: work:nothing: module 'work' has no attribute 'nothing'\n"

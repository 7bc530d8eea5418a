"""`pytest_gilprobe.probing.function` and ``gilprobe run``: one function, from a script, a prompt, the command line."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import sessions

import pytest_gilprobe
from pytest_gilprobe import INSIDE_WORKER, GilprobeError, Prober, probe
from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.results import Callee
from pytest_gilprobe.model.words import Outcome, Status
from pytest_gilprobe.observe import interpreter
from pytest_gilprobe.probing import function as api
from pytest_gilprobe.probing import named_function
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict import judge_again
from pytest_gilprobe.workers import naming

FRESH = """
import sys
from pytest_gilprobe import Prober

def drain(heap, rest):
    while heap:
        heap.pop()

def make():
    return list(range(3000)), []

if __name__ == "__main__":
    found = Prober(max_time=1.5, start_method=sys.argv[1]).fresh(drain, make)
    print(found.result.status, *[one.slug for one in found.verdict.cautions], found.result.serial.call_s.value > 20e-6)
"""
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
from pytest_gilprobe import Prober

def wait(seconds, *, more=0):
    import time
    time.sleep(seconds + more)

{guard}
    found = Prober(max_time=1.5, start_method=sys.argv[1]).probe(wait, 0.01, more=0.001)
    print("strategy", found.verdict.strategy)
    print(repr(found))
    print(found)
"""


def python(*arguments: str, cwd: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python with this checkout importable."""
    checkout = str(Path(api.__file__).parents[2])
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
            ({"workers": 1}, "workers: found 1, allowed: 'auto' or a whole number from 2"),
            ({"max_time": 0}, "max_time: found 0, allowed: a number of seconds above 0"),
            ({"strategies": "fibres"}, "strategies: found 'fibres', allowed: one or more of 'serial', 'tasks'"),
            ({"strategies": ()}, "strategies: found \\(\\), allowed: one or more of"),
            ({"timeout": "soon"}, "timeout: found 'soon'"),
            ({"start_method": "clone"}, "start_method: found 'clone', allowed: one of"),
        ],
    )
    def test_wrong_value(self, settings: dict[str, Any], said: str) -> None:
        """Each is refused before anything is called: its name, what was found and what is allowed."""
        with pytest.raises(GilprobeError, match=f"^{said}"):
            Prober(**settings)

    def test_no_callable(self) -> None:
        """A result in place of a function is refused."""
        with pytest.raises(GilprobeError, match="pass the function, not its result"):
            probe(3)  # type: ignore[arg-type]  # that is the mistake

    def test_what_makes_no_arguments(self) -> None:
        """The arguments themselves, in place of a function that makes them, are an error that says what is needed."""
        with pytest.raises(GilprobeError, match="allowed: a function that returns the arguments"):
            api.Prober().fresh(len, ["a"])  # type: ignore[arg-type]

    def test_what_would_have_to_be_awaited(self) -> None:
        """A plain function cannot have its arguments from a coroutine function."""

        async def make() -> int:
            raise NotImplementedError

        with pytest.raises(GilprobeError, match="found a coroutine function as make"):
            api.Prober().fresh(len, make)

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

    def test_no_setting_collides_with_a_keyword(self) -> None:
        """A function's own keywords are passed on, whatever their names: here it says that it got them."""

        def f(**kwargs: object) -> None:
            raise KeyError(*kwargs)

        with pytest.raises(KeyError) as found:
            probe(f, workers=2, max_time=3, strategies=4, timeout=5, start_method=6, func=7, self=8)
        assert found.value.args == ("workers", "max_time", "strategies", "timeout", "start_method", "func", "self")


class TestNamesOfThePackage:
    """What a user may import."""

    def test_every_public_name_is_there(self) -> None:
        """Each is imported from where it is defined, on its first use, and listed."""
        assert {name for name in pytest_gilprobe.__all__ if not hasattr(pytest_gilprobe, name)} == set()
        assert set(pytest_gilprobe.__all__) <= set(dir(pytest_gilprobe))
        assert pytest_gilprobe.probe is api.probe
        assert pytest_gilprobe.read_report is report_json.read

    def test_any_other_name_is_an_error(self) -> None:
        """As of any module."""
        with pytest.raises(AttributeError, match="module 'pytest_gilprobe' has no attribute 'nothing'"):
            _ = pytest_gilprobe.nothing

    def test_importing_the_package_imports_nothing_else(self, tmp_path: Path) -> None:
        """What is not used costs nothing."""
        code = "import sys, pytest_gilprobe; print(sum(name.startswith('pytest_gilprobe') for name in sys.modules))"
        assert python("-c", code, cwd=tmp_path).stdout.strip() == "1"


class TestNames:
    """What ``MODULE:FUNCTION`` and ``--args-from`` take."""

    @pytest.mark.parametrize("text", ["json", "json:", ":loads", "", "json:nothing", "no_such_module:x"])
    def test_wrong(self, text: str) -> None:
        """What is not there is named."""
        with pytest.raises(GilprobeError, match=text.partition(":")[0] or "allowed: MODULE:FUNCTION"):
            naming.resolved(text)

    def test_module_that_raises(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever a module raises when it is imported is said in one line, as is a name that is none."""
        (tmp_path / "raises_when_imported.py").write_text("1 / 0\n")
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(GilprobeError, match="raises_when_imported cannot be imported: ZeroDivisionError: division"):
            naming.resolved("raises_when_imported:f")
        with pytest.raises(GilprobeError, match=r"\.near cannot be imported: TypeError"):
            naming.resolved(".near:f")

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
            named_function.arguments_from(text)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("sys:path", "--fresh=sys:path: found list, allowed: a function that returns the arguments"),
            ("builtins:chr", "--fresh=builtins:chr raised TypeError"),
        ],
    )
    def test_no_source_of_fresh_arguments(self, text: str, said: str) -> None:
        """What is no function, or raises, makes no arguments, and says why."""
        with pytest.raises(GilprobeError, match=said):
            named_function.fresh_from(text)

    def test_source_of_fresh_arguments(self) -> None:
        """A tuple is all arguments of a call, anything else, even a dict, is the only one."""
        assert named_function.fresh_from("builtins:tuple") == (tuple, ())
        assert named_function.fresh_from("builtins:dict") == (dict, ({},))

    def test_source_of_arguments(self) -> None:
        """A function's value is read as arguments are."""
        assert named_function.arguments_from("builtins:dict") == ((), {})

    def test_dotted(self) -> None:
        """A name may lead into a class."""
        assert naming.resolved("json:JSONDecoder.decode").__qualname__ == "JSONDecoder.decode"

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
        assert named_function.arguments_of(value) == expected

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
            named_function.fit("work:f", f, args, keywords)

    def test_arguments_that_fit(self) -> None:
        """Those that fit pass, and so do any of a function whose signature nobody knows."""
        named_function.fit("work:f", divmod, (1, 2), {})
        named_function.fit("work:f", max, (1,), {"any": 1})


class TestScripts:
    """Real probes in a process of their own."""

    @pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.thorough)])
    def test_script(self, method: str, tmp_path: Path) -> None:
        """A function of the script itself is probed, however workers start."""
        (tmp_path / "script.py").write_text(SCRIPT.format(guard='if __name__ == "__main__":'))
        done = python("script.py", method, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        strategy, line, *report = done.stdout.splitlines()
        assert strategy in {"strategy threads", "strategy inconclusive"}
        assert line.startswith((strategy.removeprefix("strategy "), "not probed", "one run only"))
        assert not line.startswith(("not probed", "one run only")) or strategy == "strategy inconclusive"
        assert "__main__:wait" in line
        assert "__main__:wait" in "\n".join(report)

    @pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.thorough)])
    def test_new_arguments(self, method: str, tmp_path: Path) -> None:
        """A function that uses its arguments up is probed with new ones, and takes its whole time in each call."""
        (tmp_path / "script.py").write_text(FRESH)
        done = python("script.py", method, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        status, *slugs, is_whole = done.stdout.split()
        assert (status, is_whole) == ("probed", "True")
        assert "changes-arguments" not in slugs

    @pytest.mark.thorough
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
        from pytest_gilprobe import Prober
        found = Prober(max_time=1.5, strategies="threads").probe(lambda: time.sleep(0.01))
        print(found.result.status, found.result.strategies["processes"].outcome)
        print(found._repr_html_())
        """
        done = python("-", cwd=tmp_path, text=textwrap.dedent(lines))
        words, _, page = done.stdout.partition("\n")
        assert words.split() == [Status.PROBED, Outcome.SKIPPED], done.stderr
        assert page.startswith('<iframe srcdoc="&lt;!DOCTYPE html&gt;')

    @pytest.mark.thorough
    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.skipif(not interpreter.gil_enabled(), reason="without a GIL, threads are advised")
    def test_prompt_where_pools_spawn(self, tmp_path: Path) -> None:
        """Where a pool would not find a function typed at a prompt, advice for processes says so."""
        lines = """
        import multiprocessing
        from pytest_gilprobe import Prober
        multiprocessing.set_start_method("spawn")
        def work():
            return sum(range(300_000))

        found = Prober(workers=2, max_time=1.5).probe(work)
        print(found.verdict.strategy, *(caution.slug for caution in found.verdict.cautions))
        """
        done = python("-", cwd=tmp_path, text=textwrap.dedent(lines))
        strategy, *slugs = done.stdout.split()
        assert strategy in {"processes", "inconclusive"}, done.stderr
        assert ("not-importable" in slugs) is (strategy == "processes")
        assert slugs.count("not-importable") <= 1

    def test_prompt_without_fork(self, tmp_path: Path) -> None:
        """Where workers cannot inherit it, the error says to put it into a module."""
        lines = "from pytest_gilprobe import Prober\nProber(start_method='spawn').probe(lambda: None)\n"
        done = python("-", cwd=tmp_path, text=lines)
        assert "put the function into a module and import it" in done.stderr


class TestRun:
    """``gilprobe run``."""

    def run(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        (folder / "work.py").write_text(WORK)
        return python("-m", "pytest_gilprobe", "run", f"--max-time={sessions.budget(2.0)}", *arguments, cwd=folder)

    def test_report(self, tmp_path: Path) -> None:
        """It prints the report, writes JSON and evidence where asked; code to paste and verdict follow from those."""
        files = ("--json=found.json", "--evidence=found.jsonl.gz")
        done = self.run(tmp_path, "work:wait", "--args-from=work:given", "--workers=2", *files)
        assert done.returncode == 0, done.stderr
        assert "work:wait" in done.stdout
        (found,) = report_json.read(tmp_path / "found.json").workloads
        assert found.callee is not None
        assert (found.nodeid, found.callee.module, found.callee.name) == ("work:wait", "work", "wait")
        shown = python("-m", "pytest_gilprobe", "render", "found.json", "--advice=work:wait", cwd=tmp_path)
        assert "wait" in shown.stdout or shown.stdout.startswith("# no code: ")
        again = judge_again.report_again(tmp_path / "found.jsonl.gz", BUILT_IN.get)
        assert again == report_json.read(tmp_path / "found.json")

    def test_coroutine_function(self, tmp_path: Path) -> None:
        """A coroutine function is awaited in an event loop, and tasks are tried in place of threads."""
        source = "import asyncio\n\nasync def wait(s):\n    await asyncio.sleep(s)\n\ndef given():\n    return 0.005\n"
        (tmp_path / "awaits.py").write_text(source)
        done = self.run(tmp_path, "awaits:wait", "--args-from=awaits:given", "--workers=2", "--json=found.json")
        assert done.returncode == 0, done.stderr
        (found,) = report_json.read(tmp_path / "found.json").workloads
        outcomes = {name: part.outcome for name, part in found.strategies.items()}
        assert (outcomes["tasks"], outcomes["threads"]) == (Outcome.OK, Outcome.SKIPPED)
        assert found.verdict.strategy in {"tasks", "inconclusive"}
        assert found.callee == Callee(
            module="awaits", name="wait", parameters=("s",), awaited=True, awaited_by="asyncio"
        )

    @pytest.mark.thorough
    def test_fresh_arguments_that_are_awaited(self, tmp_path: Path) -> None:
        """A coroutine function that makes the arguments of another is awaited, in the same event loop as the call."""
        source = "import asyncio\n\nasync def wait(loops):\n    assert loops.pop() is asyncio.get_running_loop()\n"
        source += "    await asyncio.sleep(0.005)\n\n"
        source += "async def loops():\n    await asyncio.sleep(0)\n    return [asyncio.get_running_loop()]\n"
        (tmp_path / "awaits.py").write_text(source)
        done = self.run(
            tmp_path,
            "awaits:wait",
            "--fresh=awaits:loops",
            "--workers=2",
            f"--max-time={sessions.budget(1.0)}",
            "--json=found.json",
        )
        assert done.returncode == 0, done.stderr
        (found,) = report_json.read(tmp_path / "found.json").workloads
        assert found.status is Status.PROBED, found.reason
        assert found.strategies["tasks"].outcome is Outcome.OK

    def test_fresh_arguments(self, tmp_path: Path) -> None:
        """Each call has arguments of its own from ``--fresh``; ``--args-from`` beside it is refused, as is a misfit."""
        source = "def drain(heap):\n    while True:\n        heap.pop()\n        if not heap:\n            return\n\n"
        source += "def heap():\n    return list(range(2_000))\n\ndef two():\n    return 1, 2\n"
        (tmp_path / "drains.py").write_text(source)
        done = self.run(
            tmp_path,
            "drains:drain",
            "--fresh=drains:heap",
            "--workers=2",
            f"--max-time={sessions.budget(1.0)}",
            "--json=found.json",
        )
        assert done.returncode == 0, done.stderr  # a heap that had been drained would raise IndexError
        (found,) = report_json.read(tmp_path / "found.json").workloads
        assert found.status is Status.PROBED
        for more, said in (("--args-from=drains:heap", "both give the arguments"), ("", "too many positional")):
            fresh = "drains:heap" if more else "drains:two"
            refused = self.run(tmp_path, "drains:drain", f"--fresh={fresh}", *filter(None, [more]))
            assert refused.returncode == 2
            assert said in refused.stderr

    def test_strategies(self, tmp_path: Path) -> None:
        """Only those that are listed are tried; one that does not exist is an error."""
        done = self.run(
            tmp_path,
            "work:wait",
            "--args-from=work:given",
            "--strategies=threads",
            f"--max-time={sessions.budget(1.0)}",
            "--json=found.json",
        )
        assert done.returncode == 0, done.stderr
        (found,) = report_json.read(tmp_path / "found.json").workloads
        assert {name: part.outcome for name, part in found.strategies.items()} == {
            "serial": Outcome.OK,
            "threads": Outcome.OK,
            "processes": Outcome.SKIPPED,
            "interpreters": Outcome.SKIPPED,
        }
        wrong = self.run(tmp_path, "work:wait", "--strategies=fibres")
        assert wrong.returncode == 2
        assert wrong.stderr.startswith(
            "gilprobe: error: strategies: found ('fibres',), allowed: one or more of 'serial', 'tasks', 'threads'"
        )

    def test_wrong_name(self, tmp_path: Path) -> None:
        """A function that is not there is one line on standard error, and status 2."""
        done = self.run(tmp_path, "work:nothing")
        assert done.returncode == 2
        assert done.stderr == "gilprobe: error: work:nothing: module 'work' has no attribute 'nothing'\n"

"""`pytest_gilprobe.advice`: code that runs as it is printed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from reports_fixture import ENVIRONMENT, not_probed, probed, processes, serial, threads, verdict
from strategies import workloads
from test_sample_workloads import ROOT, WORKLOADS, stated

from pytest_gilprobe import advice
from pytest_gilprobe.model import (
    Bound,
    Callee,
    Gil,
    Outcome,
    ProcessesResult,
    Recommendation,
    Report,
    WorkloadResult,
)
from pytest_gilprobe.reporters import html

RESIZE = Callee(module="shop.images", name="resize", parameters=("path", "width"))
FETCH = Callee(module="shop.net", name="fetch")


def workload(strategy: Recommendation, callee: Callee | None, *, call_s: float = 0.02) -> WorkloadResult:
    """Make a result with this advice for two workers, whose calls take ``call_s``."""
    made = probed(
        "a::b",
        verdict(Bound.CPU, Gil.HELD, strategy, 1.9, "because"),
        serial(call_s, 0.98, 0.9),
        threads(1.9),
        processes(1.9),
    )
    return replace(made, callee=callee)


THREADS = """\
from concurrent.futures import ThreadPoolExecutor

from shop.net import fetch

with ThreadPoolExecutor(max_workers=2) as pool:
    tasks = [pool.submit(fetch) for _ in range(100)]
    results = [task.result() for task in tasks]"""
PROCESSES = """\
from concurrent.futures import ProcessPoolExecutor

from shop.images import resize
# paths, widths: what each call is given, in order

if __name__ == "__main__":  # a new process may import this file
    with ProcessPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(resize, paths, widths))"""
SERIAL = """\
from shop.images import resize
# paths, widths: what each call is given, in order

# a pool is worth a try only with 900 calls or more per task
results = [resize(path, width) for path, width in zip(paths, widths)]"""
BATCHES = """\
from concurrent.futures import ThreadPoolExecutor

from shop.images import resize
# paths, widths: what each call is given, in order


def resize_batch(calls):
    return [resize(path, width) for path, width in calls]


with ThreadPoolExecutor(max_workers=2) as pool:
    calls = list(zip(paths, widths))
    batches = pool.map(resize_batch, [calls[at : at + 2] for at in range(0, len(calls), 2)])
    results = [result for batch in batches for result in batch]"""


class TestCode:
    """The text."""

    @pytest.mark.parametrize(
        ("found", "expected"),
        [
            (workload(Recommendation.THREADS, FETCH), THREADS),
            (workload(Recommendation.PROCESSES, RESIZE), PROCESSES),
            (workload(Recommendation.SERIAL, RESIZE, call_s=1e-6), SERIAL),
            (workload(Recommendation.THREADS, RESIZE, call_s=1e-4), BATCHES),
        ],
    )
    def test_whole(self, found: WorkloadResult, expected: str) -> None:
        """The measured number of workers, the function's own name, the guard for processes, batches for short calls."""
        assert advice.code(found) == expected

    def test_chunks_of_a_process_pool(self) -> None:
        """Short calls go to processes in chunks whose hand-out costs a tenth of their time."""
        found = workload(Recommendation.PROCESSES, RESIZE, call_s=1e-4)
        assert "pool.map(resize, paths, widths, chunksize=9)" in advice.code(found)

    def test_keywords(self) -> None:
        """Arguments that can be given by name only are given so."""
        only = replace(RESIZE, parameters=("path", "width="))
        assert "pool.submit(resize, path, width=width) for path, width in zip(paths, widths)" in advice.code(
            workload(Recommendation.PROCESSES, only)
        )

    @pytest.mark.parametrize(
        ("callee", "expected"),
        [
            (Callee(module="shop.text", name="words", parameters=("word",)), "[words(word) for word in words_]"),
            (Callee(module="shop.text", name="text", parameters=("text",)), "[text(text_) for text_ in texts]"),
            (Callee(module="builtins", name="str.split", parameters=("str",)), "[str.split(str_) for str_ in strs]"),
            (
                Callee(module="shop", name="Call.f", parameters=("call", "f=")),
                "[Call.f(call_, f=f_) for call_, f_ in zip(calls_, fs)]",
            ),
            (Callee(module="shop", name="f", parameters=("a", "b")), "[f(a, b) for a, b in zip(as_, bs)]"),
        ],
    )
    def test_variables_are_not_what_else_is_named(self, callee: Callee, expected: str) -> None:
        """A variable never hides the function, its class, a keyword or a name that the code uses."""
        assert f"results = {expected}" in advice.code(workload(Recommendation.SERIAL, callee))

    def test_first_move_it(self) -> None:
        """A function that no other process finds must be moved first."""
        inner = Callee(module="work", name="work", importable=False)
        assert "# first move work to the top level of work" in advice.code(workload(Recommendation.PROCESSES, inner))

    def test_serial_hint_only_where_a_pool_would_gain(self) -> None:
        """A short call that gains in no strategy is not sent to larger tasks."""
        found = workload(Recommendation.SERIAL, RESIZE, call_s=1e-6)
        bound = replace(found, threads=threads(1.0), processes=ProcessesResult(outcome=Outcome.SKIPPED, error="no"))
        assert "worth a try" in advice.code(found)
        assert "worth a try" not in advice.code(bound)

    def test_inconclusive(self) -> None:
        """Without a verdict there is no code, but the reason."""
        assert advice.code(workload(Recommendation.INCONCLUSIVE, FETCH)) == "# no code: because"
        assert advice.code(not_probed("a::b", "it failed")) == "# no code: it failed"

    @pytest.mark.parametrize("name", ["x; import os", "", "class", "a b", "<lambda>", "x\ny"])
    def test_names_that_are_none(self, name: str) -> None:
        """A report is a file: names in it that are no names are not put into code."""
        for callee in (replace(FETCH, name=name), replace(FETCH, module=name), replace(FETCH, parameters=(name,))):
            assert advice.code(workload(Recommendation.THREADS, callee)).startswith("# no code: ")

    @given(workloads())
    def test_compiles_whatever_the_report_says(self, found: WorkloadResult) -> None:
        """The code of any report is Python."""
        compile(advice.code(found), "advice", "exec")


class TestLookup:
    """One workload of a report."""

    REPORT = Report(
        tool_version="1", created="now", environment=ENVIRONMENT, workloads=(workload(Recommendation.THREADS, FETCH),)
    )

    def test_found(self) -> None:
        """By its node id."""
        assert advice.of(self.REPORT, "a::b") == THREADS

    def test_unknown(self) -> None:
        """A node id that is not in the report is an error that shows what is."""
        with pytest.raises(advice.AdviceError, match="no workload 'c' in the report; it has 1, such as: a::b"):
            advice.of(self.REPORT, "c")


BEFORE = {
    "get": """
def get(path):
    return b'{"name": "Ada"}' if "users" in path else bytes(256 * 1024)

gets = [get] * 2""",
    "text": """
import random
from sample_workloads.conftest import WORDS
texts = [" ".join(random.Random(2024).choices(WORDS, k=100_000))] * 2""",
    "document": """
import json
documents = [json.dumps([{"id": n, "city": "x", "prices": [n], "paid": True} for n in range(4_000)])] * 2""",
    "numbers_in_10_ms": """
numbers_in_10_mss = [1_000] * 2""",
    "photo": """
from PIL import Image
from sample_workloads.picture import PATH
photos = [Image.open(PATH).copy()] * 2""",
    "matrix": """
import numpy
matrixs = [numpy.random.default_rng(1).random((1_000, 1_000))] * 2""",
    "database": """
import pathlib, sqlite3, sys
path = pathlib.Path(sys.argv[1], "orders.db")
if __name__ == "__main__":
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, city TEXT, price REAL)")
        rows = ((n, f"city {n % 97}", n / 7) for n in range(20_000))
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
    connection.close()
databases = [path] * 2""",
}
"""What the user has and a test does not: the arguments of two calls, by the name of the test's fixture."""
NEEDS = {"photo": "PIL", "matrix": "numpy"}


def arguments_of(nodeid: str) -> tuple[str, ...]:
    """Name what a sample workload's test is given; skip where that needs what is not installed."""
    function = WORKLOADS[nodeid]
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    for name in names:
        pytest.importorskip(NEEDS.get(name, "json"))
    return names


def sample(nodeid: str, strategy: str) -> WorkloadResult:
    """Make a sample workload's result with this advice."""
    function = WORKLOADS[nodeid]
    callee = Callee(module=function.__module__, name=function.__name__, parameters=arguments_of(nodeid))
    return workload(Recommendation(strategy), callee)


def run(code: str, nodeid: str, strategy: str, folder: Path) -> None:
    """Run code to paste as a program of its own, after what the user has, and see that it made every call."""
    names = arguments_of(nodeid)
    before = "\n".join(BEFORE[name] for name in names)
    program = folder / f"{strategy}.py"
    guard = 'if __name__ == "__main__":\n    ' if strategy == "processes" else ""
    text = f"{before}\n{code}\n\n{guard}print(len(results))\n".replace("range(100)", "range(4)")
    program.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program), str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    assert int(done.stdout) == (4 if not names else 2)


@pytest.mark.slow
@pytest.mark.parametrize("nodeid", WORKLOADS)
def test_runs_for_every_sample_workload(nodeid: str, tmp_path: Path) -> None:
    """The code for each sample workload, under the advice that its marker states, runs and makes every call."""
    for strategy in sorted(stated(nodeid)[0]):
        code = advice.code(sample(nodeid, strategy))
        assert WORKLOADS[nodeid].__name__ in code
        folder = tmp_path / strategy
        folder.mkdir()
        run(code, nodeid, strategy, folder)


class Pasted(HTMLParser):
    """What a reader copies from a page: the text under *code to paste*."""

    def __init__(self) -> None:
        super().__init__()
        self.code: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the parser's
        """Begin at the ``pre`` of such a section."""
        self._inside = tag == "pre" or (self._inside and tag != "details")
        if tag == "pre":
            self.code.append("")

    def handle_endtag(self, tag: str) -> None:
        """End with it."""
        self._inside = self._inside and tag != "pre"

    def handle_data(self, data: str) -> None:
        """Collect the text."""
        if self._inside:
            self.code[-1] += data


@pytest.mark.parametrize(
    ("name", "strategy"),
    [("data_crunching", "processes"), ("api_calls", "threads"), ("simple_scripting", "serial")],
)
def test_page_holds_code_that_runs(name: str, strategy: str, tmp_path: Path) -> None:
    """What a reader copies from the HTML page is the code, character for character, and runs."""
    (nodeid,) = [known for known in WORKLOADS if known.endswith(f"::test_{name}")]
    found = sample(nodeid, strategy)
    page = html.draw(Report(tool_version="1", created="now", environment=ENVIRONMENT, workloads=(found,)))
    reader = Pasted()
    reader.feed(page)
    assert reader.code == [advice.code(found)]
    run(reader.code[0], nodeid, strategy, tmp_path)

"""`pytest_gilprobe.report.snippets`: code that runs as it is printed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from reports_fixture import ENVIRONMENT, not_probed, probed, processes, serial, threads, verdict, with_parts
from strategies import workloads

from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.results import Callee, StrategyResult, WorkloadResult
from pytest_gilprobe.model.words import INCONCLUSIVE, NOT_ASKED, SERIAL, Bound, Gil, Outcome
from pytest_gilprobe.report import html, snippets
from pytest_gilprobe.strategies.registry import BUILT_IN

RESIZE = Callee(module="shop.images", name="resize", parameters=("path", "width"))
FETCH = Callee(module="shop.net", name="fetch")


def workload(strategy: str, callee: Callee | None, *, call_s: float = 0.02) -> WorkloadResult:
    """Make a result with this advice for two workers, whose calls take ``call_s``."""
    made = probed(
        "a::b",
        verdict(Bound.CPU, Gil.HELD, strategy, 1.9, "because"),
        serial(call_s, 0.98, 0.9),
        threads(1.9),
        processes(1.9),
    )
    return replace(made, callee=callee)


def code_for(found: WorkloadResult) -> str:
    """Give the code that follows from a result."""
    return snippets.code(found, BUILT_IN).text


THREADS = """\
from concurrent.futures import ThreadPoolExecutor

from shop.net import fetch

with ThreadPoolExecutor(max_workers=2) as pool:
    tasks = [pool.submit(fetch) for _ in range(100)]
    results = [task.result() for task in tasks]"""
PROCESSES = """\
from concurrent.futures import ProcessPoolExecutor

from shop.images import resize

# you supply path_list, width_list: lists with the arguments of all calls

if __name__ == "__main__":  # a new process may import this file
    with ProcessPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(resize, path_list, width_list))"""
ONE_BY_ONE = """\
# a pool is worth a try only with 200 calls or more per task
from shop.images import resize

# you supply path_list, width_list: lists with the arguments of all calls

results = [resize(path, width) for path, width in zip(path_list, width_list)]"""
BATCHES = """\
from concurrent.futures import ThreadPoolExecutor

from shop.images import resize

# you supply path_list, width_list: lists with the arguments of all calls


def resize_batch(calls):
    return [resize(path, width) for path, width in calls]


with ThreadPoolExecutor(max_workers=2) as pool:
    calls = list(zip(path_list, width_list))
    batches = pool.map(resize_batch, [calls[at : at + 2] for at in range(0, len(calls), 2)])
    results = [result for batch in batches for result in batch]"""

TO_MOVE = """\
from concurrent.futures import ProcessPoolExecutor

# you supply row_list, scale_list: lists with the arguments of all calls


def inner(row, *, scale):
    ...  # you supply what inner does; a pool's processes find functions at the top level only


if __name__ == "__main__":  # a new process may import this file
    with ProcessPoolExecutor(max_workers=2) as pool:
        tasks = [pool.submit(inner, row, scale=scale) for row, scale in zip(row_list, scale_list)]
        results = [task.result() for task in tasks]"""
TEST = """\
def totals():
    ...  # you supply what TestShop.test_totals does


results = [totals() for _ in range(100)]"""


class TestCode:
    """The text."""

    @pytest.mark.parametrize(
        ("found", "expected"),
        [
            (workload("threads", FETCH), THREADS),
            (workload("processes", RESIZE), PROCESSES),
            (workload(SERIAL, RESIZE, call_s=1e-6), ONE_BY_ONE),
            (workload("threads", RESIZE, call_s=1e-4), BATCHES),
        ],
    )
    def test_whole(self, found: WorkloadResult, expected: str) -> None:
        """The measured number of workers, the function's own name, the guard for processes, batches for short calls."""
        assert code_for(found) == expected

    def test_chunks_of_a_process_pool(self) -> None:
        """Short calls go to processes in chunks whose dispatch costs a tenth of their time."""
        found = workload("processes", RESIZE, call_s=1e-4)
        assert "pool.map(resize, path_list, width_list, chunksize=9)" in code_for(found)

    def test_keywords(self) -> None:
        """Arguments that can be given by name only are given so."""
        only = replace(RESIZE, parameters=("path", "width="))
        assert "pool.submit(resize, path, width=width) for path, width in zip(path_list, width_list)" in code_for(
            workload("processes", only)
        )

    @pytest.mark.parametrize(
        ("callee", "expected"),
        [
            (Callee(module="shop.text", name="words", parameters=("word",)), "[words(word) for word in word_list]"),
            (Callee(module="shop.text", name="text", parameters=("text",)), "[text(text_) for text_ in text_list]"),
            (
                Callee(module="builtins", name="str.split", parameters=("str",)),
                "[str.split(str_) for str_ in str_list]",
            ),
            (
                Callee(module="shop", name="Call.f", parameters=("call", "f=")),
                "[Call.f(call_, f=f_) for call_, f_ in zip(call_list, f_list)]",
            ),
            (Callee(module="shop", name="f", parameters=("a", "b")), "[f(a, b) for a, b in zip(a_list, b_list)]"),
        ],
    )
    def test_variables_are_not_what_else_is_named(self, callee: Callee, expected: str) -> None:
        """A variable never hides the function, its class, a keyword or a name that the code uses."""
        assert f"results = {expected}" in code_for(workload(SERIAL, callee))

    def test_function_that_nothing_imports(self) -> None:
        """A test, a lambda and a nested function are not imported: the user fills in what they do."""
        inner = Callee(module="shop", name="inner", parameters=("row", "scale="), importable=False)
        assert code_for(workload("processes", inner)) == TO_MOVE
        test = Callee(module="test_shop", name="TestShop.test_totals", is_test=True)
        assert code_for(workload(SERIAL, test)) == TEST

    def test_function_of_the_test_file(self) -> None:
        """A function that is defined beside its test is imported from there, and the code says so."""
        file = "tests/test_shop.py"
        found = replace(workload(SERIAL, Callee(module="tests.test_shop", name="total")), nodeid=f"{file}::t")
        assert code_for(found).splitlines()[:2] == [
            f"# total is defined in a test file, {file}: move it, or run this where tests.test_shop can be imported",
            "from tests.test_shop import total",
        ]

    def test_function_of_the_script(self) -> None:
        """A function of ``__main__`` cannot be imported by its name, and the code says that it is to be there."""
        found = code_for(workload(SERIAL, Callee(module="__main__", name="total")))
        assert found.splitlines()[0] == "# you supply total: the script that was probed defines it"

    def test_serial_hint_only_where_a_pool_would_gain(self) -> None:
        """A short call that gains in no strategy is not sent to larger tasks."""
        found = workload(SERIAL, RESIZE, call_s=1e-6)
        never = StrategyResult(outcome=Outcome.SKIPPED, error=NOT_ASKED, impossible=True)
        bound = with_parts(found, threads=threads(1.0), processes=never)
        assert "worth a try" in code_for(found)
        assert "worth a try" not in code_for(bound)

    def test_inconclusive(self) -> None:
        """Without a verdict there is no code, but the reason."""
        assert code_for(workload(INCONCLUSIVE, FETCH)) == "# no code: because"
        assert code_for(not_probed("a::b", "it failed")) == "# no code: it failed"

    def test_strategy_that_has_no_code(self) -> None:
        """A strategy that is not known here has no code to paste."""
        found = code_for(workload("executor:elsewhere", FETCH))
        assert found == "# no code: there is none to paste for executor:elsewhere"

    def test_says_whether_it_is_code(self) -> None:
        """A program can tell code from the reason why there is none."""
        assert snippets.code(workload("threads", FETCH), BUILT_IN).is_code
        for found in (workload(INCONCLUSIVE, FETCH), workload("elsewhere", FETCH), workload("threads", None)):
            assert not snippets.code(found, BUILT_IN).is_code

    @pytest.mark.parametrize("name", ["x; import os", "", "class", "a b", "<lambda>", "x\ny"])
    def test_names_that_are_none(self, name: str) -> None:
        """A report is a file: names in it that are no names are not put into code."""
        for callee in (replace(FETCH, name=name), replace(FETCH, module=name), replace(FETCH, parameters=(name,))):
            assert code_for(workload("threads", callee)).startswith("# no code: ")

    @given(workloads())
    def test_compiles_whatever_the_report_says(self, found: WorkloadResult) -> None:
        """The code of any report is Python."""
        compile(code_for(found), "advice", "exec")


class TestLookup:
    """One workload of a report."""

    REPORT = Report(tool_version="1", created="now", environment=ENVIRONMENT, workloads=(workload("threads", FETCH),))

    def test_found(self) -> None:
        """By its node id."""
        assert snippets.of(self.REPORT, "a::b", BUILT_IN) == (THREADS, True)

    def test_unknown(self) -> None:
        """A node id that is not in the report is an error that shows what is."""
        with pytest.raises(snippets.AdviceError, match="no workload 'c' in the report; it has 1, such as: a::b"):
            snippets.of(self.REPORT, "c", BUILT_IN)


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


@pytest.mark.parametrize("strategy", ["processes", "threads", "serial"])
def test_page_holds_code_that_runs(strategy: str, tmp_path: Path) -> None:
    """What a reader copies from the HTML page is the code, character for character, and runs as a program."""
    found = workload(strategy, Callee(module="callables", name="plain", parameters=("number",)))
    page = html.draw(Report(tool_version="1", created="now", environment=ENVIRONMENT, workloads=(found,)), BUILT_IN)
    reader = Pasted()
    reader.feed(page)
    assert reader.code == [code_for(found)]
    program = tmp_path / "program.py"
    shown = '\nif __name__ == "__main__":\n    print(results)\n'
    program.write_text(f"number_list = [1, 2, 3]\n{reader.code[0]}\n{shown}", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert (done.stdout.strip(), done.returncode) == ("[2, 4, 6]", 0), done.stderr

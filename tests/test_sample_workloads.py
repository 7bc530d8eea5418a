"""The sample workloads: each states its answer, runs without the plugin, and is never answered wrongly by it."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # the workloads are read from the checkout: they are not installed

from sample_workloads import expected, picture, server  # noqa: E402 - needs the line above

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILES = ("test_textbook.py", "test_native_code.py", "test_in_between.py", "test_async.py")
STRATEGIES = {"serial", "tasks", "threads", "processes"}
PATIENCE_S = 10
A_PROBE_OF_ALL_S = 600
PORTABLE = str(Path(__file__).parent / "portable")


def workloads_of(file: str) -> dict[str, Callable[..., None]]:
    """Return the workloads of one file by node id, in the file's order."""
    module = importlib.import_module(f"sample_workloads.{Path(file).stem}")
    return {f"sample_workloads/{file}::{name}": func for name, func in vars(module).items() if name.startswith("test_")}


WORKLOADS = {nodeid: func for file in FILES for nodeid, func in workloads_of(file).items()}
each_workload = pytest.mark.parametrize("nodeid", WORKLOADS)


def stated(nodeid: str) -> tuple[set[str], str]:
    """Return the strategies and the bound that a workload's marker expects."""
    (mark,) = [mark for mark in WORKLOADS[nodeid].pytestmark if mark.name == "gilprobe"]  # type: ignore[attr-defined]
    expect = mark.kwargs["expect"]
    return {expect} if isinstance(expect, str) else set(expect), mark.kwargs["expect_bound"]


def run_pytest(*args: str, first_path: str = "") -> subprocess.CompletedProcess[str]:
    """Run pytest on the sample workloads in a process of its own, from the top of the checkout."""
    command = [sys.executable, "-m", "pytest", "sample_workloads", "-p", "no:cacheprovider", *args]
    path = os.pathsep.join(filter(None, [first_path, os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=A_PROBE_OF_ALL_S,
        check=False,
    )


class TestStatements:
    """What each workload says of itself."""

    def test_every_file_is_known(self) -> None:
        """A file of workloads that these tests do not know of would go unchecked."""
        assert set(FILES) == {path.name for path in (ROOT / "sample_workloads").glob("test_*.py")}

    @each_workload
    def test_marker(self, nodeid: str) -> None:
        """Each workload's marker states one or more strategies and a bound."""
        strategies, bound = stated(nodeid)
        assert strategies
        assert strategies <= STRATEGIES
        assert bound in {"io", "cpu", "mixed"}

    @each_workload
    def test_docstring(self, nodeid: str) -> None:
        """Each docstring's first line names the strategy that is right under a GIL, and the text gives a source."""
        doc = WORKLOADS[nodeid].__doc__ or ""
        first_line = doc.splitlines()[0]
        (said,) = [word for word in STRATEGIES if re.search(rf"\b(so|yet|and) {word}\b", first_line)]
        assert "Source: " in doc
        assert not expected.gil_is_on() or {said} == stated(nodeid)[0]

    @pytest.mark.skipif(not expected.gil_is_on(), reason="the textbook is about a Python with a GIL")
    def test_textbook(self) -> None:
        """The five textbook scenarios read threads, threads, processes, processes, serial."""
        answers = [stated(nodeid)[0] for nodeid in workloads_of("test_textbook.py")]
        assert answers == [{"threads"}, {"threads"}, {"processes"}, {"processes"}, {"serial"}]


class TestRuns:
    """The workloads as pytest runs them."""

    def test_without_the_plugin(self, tmp_path: Path) -> None:
        """Each workload is an ordinary test that passes, or is skipped with a reason, where the plugin is absent."""
        ini = tmp_path / "pytest.ini"
        ini.write_text("[pytest]\n", encoding="utf-8")
        ignored = "ignore::pytest.PytestUnknownMarkWarning"
        run = run_pytest("-p", "no:gilprobe", "-c", str(ini), f"--rootdir={ROOT}", "-W", ignored, "-rA")
        done = set(re.findall(r"^PASSED (\S+)", run.stdout, re.MULTILINE))
        skipped = re.findall(r"^SKIPPED \[(\d+)\] \S+ \S", run.stdout, re.MULTILINE)
        assert run.returncode == pytest.ExitCode.OK, run.stdout + run.stderr
        assert done <= set(WORKLOADS)
        assert len(done) + sum(map(int, skipped)) == len(WORKLOADS)

    @pytest.mark.slow
    @pytest.mark.parametrize(("workers", "first_path"), [(2, ""), (4, ""), (2, PORTABLE)])
    def test_no_verdict_is_wrong(self, workers: int, first_path: str, tmp_path: Path) -> None:
        """A probe of every workload may end inconclusive, but never with another strategy or bound than stated.

        That holds where all that only Linux has is refused (see ``tests/portable``), too. Waiting is told anywhere.
        """
        flags = ("--gilprobe-report", f"--gilprobe-report-dir={tmp_path}", f"--gilprobe-workers={workers}")
        run = run_pytest(*flags, first_path=first_path)
        report = json.loads((tmp_path / "gilprobe.json").read_text(encoding="utf-8"))
        assert any(workload["verdict"]["strategy"] != "inconclusive" for workload in report["workloads"]), run.stdout
        assert {workload["nodeid"] for workload in report["workloads"]} == set(WORKLOADS), run.stdout
        assert [mistake for workload in report["workloads"] for mistake in mistakes(workload)] == []
        assert run.returncode == pytest.ExitCode.OK, run.stdout + run.stderr

    @pytest.mark.slow
    def test_basics(self, tmp_path: Path) -> None:
        """The scripts of ``docs/basics.md`` run as printed, and time what the output printed there shows."""
        page = (ROOT / "docs" / "basics.md").read_text(encoding="utf-8")
        scripts = re.findall(r"```python\n# (\S+)\n(.*?)```", page, re.DOTALL)
        assert [name for name, _ in scripts] == ["two_downloads.py", "two_sums.py"]
        for name, script in scripts:
            path = tmp_path / name
            path.write_text(script, encoding="utf-8")
            output = subprocess.check_output([sys.executable, path], cwd=ROOT, text=True, timeout=A_PROBE_OF_ALL_S)
            (printed, *_) = re.findall(rf"\$ \S+ {re.escape(name)}\n(.*?)```", page, re.DOTALL)
            assert without_figures(output) == without_figures(printed)


def mistakes(workload: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with one workload of a report; inconclusive is not, nor is a test that was skipped."""
    nodeid, status, verdict = workload["nodeid"], workload["status"], workload["verdict"]
    strategies, bound = stated(nodeid)
    if status == "not_probed" and not workload["reason"]:
        yield f"{nodeid}: not probed, and no reason"
    if status == "error":
        yield f"{nodeid}: {workload['reason']}"
    if verdict["strategy"] not in {*strategies, "inconclusive"}:
        yield f"{nodeid}: {sorted(strategies)} stated, {verdict['strategy']} found: {verdict['reason']}"
    if verdict["bound"] not in {bound, "inconclusive"}:
        yield f"{nodeid}: {bound} bound stated, {verdict['bound']} found: {verdict['reason']}"


def without_figures(output: str) -> str:
    """Return ``output`` with every number replaced, since times differ from run to run."""
    return re.sub(r"\d+\.\d+", "N", output)


class TestMistakes:
    """The judge of the slow test above."""

    NODEID = "sample_workloads/test_textbook.py::test_api_calls"

    @pytest.mark.parametrize(
        ("strategy", "bound", "count"),
        [
            ("threads", "io", 0),
            ("inconclusive", "inconclusive", 0),
            ("processes", "io", 1),
            ("threads", "cpu", 1),
            ("serial", "mixed", 2),
        ],
    )
    def test_count(self, strategy: str, bound: str, count: int) -> None:
        """Each of strategy and bound that differs from what is stated is one mistake; inconclusive is none."""
        verdict = {"strategy": strategy, "bound": bound, "reason": "measured"}
        workload = {"nodeid": self.NODEID, "status": "probed", "reason": None, "verdict": verdict}
        assert len(list(mistakes(workload))) == count


@contextmanager
def late_server() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start the server as a program; give its process and port."""
    command = [sys.executable, str(ROOT / "sample_workloads" / "server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.terminate()


class TestServer:
    """The server that answers late."""

    def test_answers_side_by_side(self) -> None:
        """A request that waits keeps no other waiting."""
        with late_server() as (_, port), closing(HTTPConnection("127.0.0.1", port)) as slow:
            slow.request("GET", f"/users/1?wait_ms={server.LONGEST_WAIT_MS}")
            with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as quick:
                quick.request("GET", "/file")
                assert len(quick.getresponse().read()) == server.FILE_BYTES

    def test_stops_with_its_parent(self) -> None:
        """The end of its standard input, which a dying parent brings about, ends the server."""
        with late_server() as (process, _):
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(PATIENCE_S) == 0

    @pytest.mark.parametrize(
        ("query", "seconds"),
        [("", 0.0), ("wait_ms=30", 0.03), ("wait_ms=-1", 0.0), ("wait_ms=1e9", server.LONGEST_WAIT_MS / 1000)],
    )
    def test_wait(self, query: str, seconds: float) -> None:
        """The wait is what the query asks for, within 0 and the longest wait."""
        assert server.wait_s(query) == seconds

    def test_json(self) -> None:
        """Any path but the file's is answered with JSON that repeats it."""
        content_type, body = server.answer("/users/7")
        assert (content_type, json.loads(body)["path"]) == ("application/json", "/users/7")


@st.composite
def pictures(draw: st.DrawFn) -> picture.Picture:
    """Draw a picture of up to 8 by 8 pixels."""
    width, height = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    size = width * height * 3
    return picture.Picture(width=width, height=height, pixels=draw(st.binary(min_size=size, max_size=size)))


class TestPicture:
    """The picture file."""

    def test_file_is_what_the_script_draws(self) -> None:
        """The committed file holds the pixels that the script draws."""
        assert picture.from_png(picture.PATH.read_bytes()) == picture.draw()

    def test_other_programs_read_the_same(self) -> None:
        """Pillow reads the pixels that the pixel-by-pixel workload reads."""
        image = pytest.importorskip("PIL.Image", reason="needs Pillow, which the extra 'samples' installs")
        with image.open(picture.PATH) as photo:
            assert photo.tobytes() == picture.draw().pixels

    @given(pictures())
    def test_round_trip(self, drawn: picture.Picture) -> None:
        """Whatever is written is read back."""
        assert picture.from_png(picture.to_png(drawn)) == drawn

    def test_other_kinds_are_refused(self) -> None:
        """A PNG of another kind is an error that names what was found."""
        png = picture.to_png(picture.Picture(width=1, height=1, pixels=b"abc"))
        grey = png.replace(b"\x08\x02\0\0\0", b"\x08\0\0\0\0")
        with pytest.raises(ValueError, match=r"found \(8, 0, 0, 0, 0\)"):
            picture.from_png(grey)

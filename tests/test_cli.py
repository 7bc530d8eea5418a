"""The command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from comparison_fixture import free_threaded_report
from reports_fixture import rich_report

import pytest_gilprobe
from pytest_gilprobe.cli import main
from pytest_gilprobe.model.report_json import to_json, write_atomic


@pytest.fixture
def report(tmp_path: Path) -> str:
    """Write the fixed report to a file."""
    write_atomic(tmp_path / "a.json", to_json(rich_report()))
    return str(tmp_path / "a.json")


@pytest.fixture
def other(tmp_path: Path) -> str:
    """Write the fixed report of a free-threaded build to a file."""
    write_atomic(tmp_path / "b.json", to_json(free_threaded_report()))
    return str(tmp_path / "b.json")


@pytest.mark.parametrize(
    ("form", "start"), [("terminal", "CPython 3.13.0"), ("markdown", "## "), ("html", "<!DOCTYPE html>")]
)
def test_render(report: str, form: str, start: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``render`` draws a report on standard output in each form."""
    assert main(["render", report, "--format", form]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(start)
    assert out.endswith("\n")
    assert err == ""


def test_advice_and_its_exit_status(report: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A script can tell code to paste from the reason why there is none."""
    found = rich_report().workloads
    for workload in found:
        status = main(["render", report, f"--advice={workload.nodeid}"])
        said = capsys.readouterr().out
        assert status == (1 if said.startswith("# no code: ") else 0)
        assert said.startswith("# no code: ") or "results = " in said


@pytest.mark.parametrize(
    ("form", "part"), [("terminal", "threads 1.9x*"), ("markdown", "**threads**"), ("html", "was processes")]
)
def test_compare(report: str, other: str, form: str, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``compare`` draws a comparison in each form."""
    assert main(["compare", report, other, "--format", form]) == 0
    assert part in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "start"),
    [("x.md", "## "), ("x.html", "<!DOCTYPE html>"), ("x.HTM", "<!DOCTYPE"), ("x.txt", "CPython 3")],
)
def test_output_file(report: str, name: str, start: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``-o`` writes to a file, in the form that its suffix says."""
    assert main(["render", report, "-o", str(tmp_path / "new" / name)]) == 0
    assert (tmp_path / "new" / name).read_text(encoding="utf-8").startswith(start)
    assert capsys.readouterr().out == ""


def test_format_beats_suffix(report: str, tmp_path: Path) -> None:
    """A form that was asked for beats the suffix."""
    assert main(["render", report, "--format", "markdown", "-o", str(tmp_path / "x.html")]) == 0
    assert (tmp_path / "x.html").read_text(encoding="utf-8").startswith("## ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["render", "missing.json"], "missing.json: cannot be read: No such file or directory"),
        (["compare", "missing.json", "missing.json"], "missing.json: cannot be read: No such file or directory"),
        (["render", "damaged.json"], "damaged.json: line 1, column 1: not JSON: Expecting value"),
        (["compare", "a.json"], "nothing to compare: found 1 report, needed: at least 2"),
        (["render", "a.json", "-o", "a.json/x.md"], "a.json/x.md: cannot be written: "),
    ],
)
def test_wrong_input(
    report: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong input is one line on standard error, and the exit status is 2."""
    monkeypatch.chdir(Path(report).parent)
    Path("damaged.json").write_text("not JSON", encoding="utf-8")
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"gilprobe: error: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["draw"], ["render"], ["render", "a.json", "--format", "pdf"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong arguments show the usage, and the exit status is 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: gilprobe")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` names the package and its version."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"pytest-gilprobe {pytest_gilprobe.__version__}\n"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the module as a program."""
    return subprocess.run(
        [sys.executable, "-m", "pytest_gilprobe", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        cwd=Path(pytest_gilprobe.__file__).parent.parent,
    )


def test_module(report: str) -> None:
    """``python -m pytest_gilprobe`` is the same program."""
    done = run("render", report)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"CPython 3.13.0 (GIL on)")


@pytest.mark.parametrize("form", ["terminal", "markdown", "html"])
def test_ascii_output(report: str, form: str) -> None:
    """An output that knows only ASCII gets ASCII, with nothing lost."""
    done = run("render", report, "--format", form, PYTHONIOENCODING="ascii:strict")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()
    assert (b"4.1 us" if form == "terminal" else b"4.1 &#181;s") in done.stdout


def test_no_color(report: str) -> None:
    """Without a terminal there is no colour."""
    assert b"\x1b" not in run("render", report).stdout


def test_color_on_a_terminal(report: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets colour, unless NO_COLOR is set."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    main(["render", report])
    assert "\x1b[1;36mprocesses" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    main(["render", report])
    assert "\x1b" not in capsys.readouterr().out


def test_closed_pipe(report: str) -> None:
    """A reader that has seen enough is not an error."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "pytest_gilprobe", "render", report],
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
            cwd=Path(pytest_gilprobe.__file__).parent.parent,
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_interrupt(report: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the program without a traceback, with the shell's usual status."""

    def interrupted(_path: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pytest_gilprobe.model.report_json.read", interrupted)
    assert main(["render", report]) == 130

"""The documentation as a product.

Its code runs, its consoles show what is really printed, its tables equal the code.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import catalogues
import pytest
from reports_fixture import rich_report

import pytest_gilprobe
from pytest_gilprobe import cli, hookspecs
from pytest_gilprobe.model import report_json
from pytest_gilprobe.plugin.config import KEYWORDS
from pytest_gilprobe.plugin.options import OPTIONS
from pytest_gilprobe.strategies.contract import Strategy
from pytest_gilprobe.strategies.registry import BUILT_IN

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = {
    "api.md": [pytest.mark.slow],
    "async.md": [pytest.mark.slow],
    "basics.md": [pytest.mark.slow],
    "deciding.md": [],
    "executors.md": [pytest.mark.thorough],
    "strategies.md": [pytest.mark.thorough],
    "textbook.md": [],
    "tutorial.md": [pytest.mark.slow],
}
"""The pages with code, and the marks of those tests that run it for long."""

sys.path.append(str(ROOT / "benchmarks"))
import join  # noqa: E402 - a script's folder, found just above
import questions  # noqa: E402


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: a file to be saved and run, or a command with what it prints."""

    language: str
    body: str

    @property
    def file(self) -> str | None:
        """The name in the first line's comment."""
        found = re.match(r"# (\w+\.py)\n", self.body)
        return found[1] if found and self.language == "python" else None

    @property
    def command(self) -> str | None:
        """What stands behind the prompt, in the first line."""
        return self.body.splitlines()[0].removeprefix("$ ") if self.body.startswith("$ ") else None

    def shape(self) -> Iterator[str]:
        """Give the lines of the output that do not depend on timing: without a figure, an answer or a caution."""
        skip = False
        for line in self.body.splitlines()[1:]:
            text = " ".join(line.split())
            skip = text.startswith("caution:") or (skip and line.startswith("   "))
            prose = line.startswith("  ") or re.search(r"\d|inconclusive|threads|processes|serial", text)
            if text.strip("- ") and not skip and not prose:
                yield text


def blocks(page: str) -> list[Block]:
    """Read the blocks of a page, in order."""
    text = (DOCS / page).read_text("utf-8")
    return [Block(language=found["language"], body=found["body"]) for found in FENCE.finditer(text)]


def environment(folder: Path) -> dict[str, str]:
    """Have ``python``, ``pytest`` and ``gilprobe`` be those that run this test, in a terminal of 80 columns."""
    programs = folder / "programs"
    programs.mkdir()
    modules = {
        "python": "",
        "pytest": " -m pytest -p no:cacheprovider -p no:asyncio",
        "gilprobe": " -m pytest_gilprobe",
    }
    for name, module in modules.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{module} "$@"\n', "utf-8")
        program.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_", "COVERAGE_"))}
    paths = os.pathsep.join([str(programs), os.environ.get("PATH", "")])
    return {**kept, "PATH": paths, "COLUMNS": "80", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "CI": ""}


def run(command: str, folder: Path, env: dict[str, str]) -> str:
    """Run a command as a reader would; it has to succeed."""
    done = subprocess.run(
        ["bash", "-o", "errexit", "-c", command],  # noqa: S607 - whichever bash there is
        cwd=folder,
        env=env,
        text=True,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("page", [pytest.param(name, marks=marks) for name, marks in RUN.items()])
def test_code_of_a_page_runs(page: str, tmp_path: Path) -> None:
    """A reader who saves each file of a page and types each command sees what it shows, timing apart."""
    if shutil.which("bash") is None:
        pytest.skip("takes bash")
    env = environment(tmp_path)
    folder = tmp_path / "reader"
    folder.mkdir()
    if "sample_workloads/" in (DOCS / page).read_text("utf-8"):  # elsewhere ``pytest`` would collect them, too
        (folder / "sample_workloads").symlink_to(ROOT / "sample_workloads")
    for number, block in enumerate(blocks(page), 1):
        if block.file:
            (folder / block.file).write_text(block.body, "utf-8")
            later = [other.command for other in blocks(page)[number:] if other.command]
            if not any(block.file in command or command.startswith("pytest") for command in later):
                run(f"{'pytest -q' if block.file.startswith('test_') else 'python'} {block.file}", folder, env)
        elif block.command and shutil.which(block.command.split()[0], path=env["PATH"]):
            printed = {" ".join(line.split()) for line in run(block.command, folder, env).splitlines()}
            unsettled = any(line.startswith("# no code:") for line in printed)  # a machine too busy for a verdict
            assert unsettled or [line for line in block.shape() if line not in printed] == []


def test_every_page_with_code_is_run() -> None:
    """No page has Python code or a console that no test runs."""
    with_code = {
        path.name
        for path in DOCS.glob("*.md")
        if any(block.language in {"python", "console"} or block.command for block in blocks(path.name))
    }
    assert with_code == {*RUN, "questions.md"}


def test_timing_is_not_part_of_a_shape() -> None:
    """What may differ from run to run is left out of the comparison, and what may not is kept."""
    body = (
        "$ pytest\nworkload  bound  per\n::test_a  100 %\n\ntest_a.py::test_a\n  CPU-bound\n  caution: busy\n    "
        "machine [slug]\nend\n"
    )
    assert list(Block(language="console", body=body).shape()) == ["workload bound per", "test_a.py::test_a", "end"]


def options() -> str:
    """Draw every option as a row, from its declaration."""
    lines = ["| flag, and ini key | default | meaning |", "|---|---|---|"]
    for option in OPTIONS:
        flag = option.flag if option.is_switch else f"{option.flag}={option.metavar}"
        meaning = re.sub(r" \(default: .*?\)$", "", option.help)
        default = f"`{option.default}`" if option.default else "see there" if "default:" in option.help else "none"
        if default == "see there":
            default = re.findall(r"\(default: (.*?)\)$", option.help)[0]
        lines.append(f"| `{flag}`<br>`{option.ini}` | {default} | {meaning} |")
    return "\n".join(lines)


def test_options_are_those_of_the_code() -> None:
    """docs/options.md lists every option with its ini key, its default and its help text."""
    catalogues.check("docs/options.md", "options", options())


def test_keywords_are_those_of_the_code() -> None:
    """docs/options.md has a row for each keyword of the marker, and no other."""
    section = (DOCS / "options.md").read_text("utf-8").partition("## The marker")[2].partition("## The fixture")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(KEYWORDS)


def test_command_line_is_that_of_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/options.md names every subcommand and every flag of ``gilprobe``."""
    section = (DOCS / "options.md").read_text("utf-8").partition("## The command line")[2]
    helps = []
    for command in ([], ["compare"], ["render"], ["run"], ["watch"]):
        with pytest.raises(SystemExit):
            cli.main([*command, "--help"])
        helps.append(capsys.readouterr().out)
    commands = set(re.findall(r"^    (\w+)  ", re.sub(r"\x1b\[[\d;]*m", "", helps[0]), re.MULTILINE))
    assert commands == set(re.findall(r"^\| `gilprobe (\w+)", section, re.MULTILINE))
    flags = {flag for text in helps for flag in re.findall(r"--[a-z][a-z-]+", re.sub(r"\x1b\[[\d;]*m", "", text))}
    assert {flag for flag in flags if f"`{flag}" not in section and flag not in section} == set()


def keys(value: object) -> Iterator[str]:
    """List the keys of a JSON value and of all values in it, but not strategies' names."""
    if isinstance(value, dict):
        yield from (key for key in value if key not in BUILT_IN)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys(inner)


def test_fields_are_those_of_the_report() -> None:
    """docs/json.md names every key that a report of a probe has."""
    page = (DOCS / "json.md").read_text("utf-8")
    report = json.loads(report_json.to_json(rich_report()))
    assert {key for key in keys(report) if f"`{key}`" not in page and f'"{key}"' not in page} == set()


def test_names_are_those_of_the_package() -> None:
    """docs/api.md names everything that is public, docs/strategies.md all that a strategy may say, and every hook."""
    api, strategies = ((DOCS / page).read_text("utf-8") for page in ("api.md", "strategies.md"))
    assert [name for name in pytest_gilprobe.__all__ if f"`{name}" not in api] == []
    told = {name for name in vars(Strategy) if not name.startswith("_")} | {
        name for name in vars(hookspecs) if name.startswith("pytest_")
    }
    assert {name for name in told if f"`{name}" not in strategies} == set()


def test_pages_are_in_the_navigation() -> None:
    """Every page of the documentation can be reached from its menu, and the menu leads nowhere else."""
    pages = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(pages) == sorted(path.name for path in DOCS.glob("*.md"))


def test_pictures_are_there_and_used() -> None:
    """Every picture that a page shows exists and says in words what it shows."""
    shown = {
        (words, target)
        for path in DOCS.glob("*.md")
        for words, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", path.read_text("utf-8"))
    }
    assert shown
    assert [target for words, target in shown if not words or not (DOCS / target).is_file()] == []


@pytest.mark.parametrize("name", ["textbook", "threaded"])
def test_measured_numbers_are_quoted(name: str) -> None:
    """The tables of measured numbers have a row for each sample workload that they tell of, each with a figure.

    That they are those of ``reports/`` is for ``benchmarks/matrix.sh``, which renews both: a run of tox makes other
    reports.
    """
    text = (ROOT / join.QUOTES[name][0]).read_text("utf-8")
    table = text.partition(f"<!-- {name} -->")[2].partition("<!-- end")[0]
    rows = re.findall(r"^\| (.*?) \| (.*)$", table, re.MULTILINE)
    told = {words: cells for words, cells in rows if words != "a call"}
    assert set(told) == set(join.DESCRIPTIONS.values())
    assert [words for words, cells in told.items() if not re.search(r"\d", cells)] == []


def test_reports_are_quoted_by_their_figures(tmp_path: Path) -> None:
    """What is quoted of a report is drawn from it: between the marks, and nowhere else."""
    folder = tmp_path / "py313"
    folder.mkdir()
    report_json.write_atomic(folder / "gilprobe.json", report_json.to_json(rich_report()))
    assert "CPython 3.13.0" in join.machine(tmp_path)
    text = "before\n<!-- machine -->\nold\n<!-- end of machine -->\nafter\n"
    assert join.quoted("machine", text, "new") == "before\n<!-- machine -->\nnew\n\n<!-- end of machine -->\nafter\n"
    assert join.quoted("other", text, "new") == text


def test_columns_are_in_the_order_of_pythons(tmp_path: Path) -> None:
    """Versions rise from left to right; a free-threaded build stands behind the standard one, its GIL on before off."""
    names = ["py313/gilprobe.json", "py313t/gilprobe-gil1.json", "py313t/gilprobe.json", "py314/gilprobe.json"]
    for name in [*reversed(names), "pypy/gilprobe.json"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in join.found(tmp_path)] == names


def test_answered_questions_are_those_of_the_script() -> None:
    """Each question of ``benchmarks/questions.py`` is on the page, with its link, its test and one of its decisions."""
    page = (ROOT / "docs" / "questions.md").read_text("utf-8")
    sections = page.split("\n## ")[1:]
    assert len(sections) == len(questions.QUESTIONS) == 10
    for number, (section, asked) in enumerate(zip(sections, questions.QUESTIONS, strict=True), 1):
        assert section.startswith(f"{number}. {asked.title}\n")
        assert asked.asked in section
        assert f"({asked.link})" in section
        assert f"```python\n{asked.source}```" in section
        assert any(
            f"**Decision.** {text}" in section
            for text in (*asked.decisions.values(), questions.OPEN, questions.EITHER_POOL)
        )
        compile(asked.source, asked.title, "exec")


def test_code_of_answered_questions_runs(tmp_path: Path) -> None:
    """Each test on that page passes, as far as what it imports is installed; the script probes them all."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    gilprobe\n", "utf-8")
    (tmp_path / "conftest.py").write_text(
        "import pytest\n\n\n@pytest.fixture\ndef gilprobe():\n    return lambda func, *args: func(*args)\n", "utf-8"
    )
    for number, asked in enumerate(questions.QUESTIONS):
        needs = re.findall(r"^(?:import|from) (pandas|sklearn)", asked.source, re.MULTILINE)
        if all(importlib.util.find_spec(name) for name in needs):
            (tmp_path / f"test_{number}.py").write_text(asked.source, "utf-8")
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    assert " passed" in run(f"{sys.executable} -m pytest -q -p no:cacheprovider", tmp_path, env)

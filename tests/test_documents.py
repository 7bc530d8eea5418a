"""The documents: what they say of the code is so, and what they tell a reader to run runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import catalogues
import pytest
from evidence import PYTHON_LOOP, estimate, evidence, measurement, tried
from reports_fixture import ENVIRONMENT
from test_sentences import PLAN

import pytest_gilprobe
from pytest_gilprobe.model import report_json
from pytest_gilprobe.model.report import Report
from pytest_gilprobe.model.words import INCONCLUSIVE, Status
from pytest_gilprobe.report import brief_terminal, terminal
from pytest_gilprobe.strategies.registry import BUILT_IN
from pytest_gilprobe.verdict.results import result_of

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
COMMANDS = re.findall(r"^```\n(python3 .*)\n```$", README.partition("## The two commands")[2], re.MULTILINE)
BASH = shutil.which("bash") or "bash"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_rooms_are_those_of_the_package() -> None:
    """CONTRIBUTING.md has a row for each folder of the package, in the order in which imports may run."""
    named = re.findall(r"^\| `(\w+)/` \|", CONTRIBUTING, re.MULTILINE)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    assert named == [name for layer in layers for name in layer.split(" | ") if (catalogues.PACKAGE / name).is_dir()]
    assert sorted(named) == sorted(path.parent.name for path in catalogues.PACKAGE.glob("*/__init__.py"))


def test_list_of_modules_is_that_of_the_package() -> None:
    """CONTRIBUTING.md lists every module with the first line of its docstring."""
    catalogues.check("CONTRIBUTING.md", "modules", catalogues.modules())


def test_the_map_names_files_that_are_there() -> None:
    """A file in the table of what to change where exists, and the names in parentheses behind it occur in it."""
    table = CONTRIBUTING.partition("### Where to change what")[2].partition("### Modules")[0]
    found = re.findall(r"`((?:\w+/)*\w[\w.]*)`(?: \(((?:`\w+`(?:, )?)+)\))?", table)
    named = [(path, re.findall(r"\w+", names)) for path, names in found if "/" in path or path.endswith(".py")]
    assert len(named) > 40
    for path, names in named:
        inside = [ROOT / "pytest_gilprobe" / f"{path}{end}" for end in ("", ".py")] + [ROOT / path]
        file = next((one for one in inside if one.is_file()), None)
        assert file is not None, path
        assert [name for name in names if name not in file.read_text("utf-8")] == [], path


def test_short_report_is_as_it_is_drawn() -> None:
    """The first picture of docs/reading.md, of a decided and an open answer, is what the code says of such evidence."""
    open_one = evidence(
        replace(tried(1.4), pool_speedup=estimate(1.4, 0.79, 1.99), run_queue_share=0.3),
        replace(tried(1.9), pool_speedup=estimate(1.9, 1.72, 1.98)),
        seen=measurement(*[PYTHON_LOOP] * 5),
        held_fraction=estimate(0.3, 0.1, 0.5),
        wall_s_per_call=estimate(0.023),
    )
    decided = evidence(0.89, 1.9, wall_s_per_call=estimate(0.0069))
    of_each = {"test_totals": decided, "test_sqlite_recursion": open_one}
    results = (
        result_of(replace(PLAN, nodeid=f"tests/regions/of_all_shops/test_reports.py::{name}"), each)
        for name, each in of_each.items()
    )
    report = Report(tool_version="1", created="now", environment=ENVIRONMENT, workloads=tuple(results))
    _, *lines = terminal.text(brief_terminal.draw(report, BUILT_IN, width=80), color=False).splitlines()
    catalogues.check("docs/reading.md", "short report", "\n".join(["```text", *lines, "```"]))


def test_every_module_has_a_first_line() -> None:
    """Each module says in one line what it is for."""
    bare = [line for line in catalogues.modules().splitlines() if line.endswith("|  |")]
    assert bare == []


def test_numbers_in_the_method_are_those_of_the_code() -> None:
    """docs/method.md lists every number that decides, with its value and its reason."""
    catalogues.check("docs/method.md", "numbers", catalogues.numbers())


@pytest.mark.parametrize("module", catalogues.METHOD_MODULES)
def test_every_number_that_decides_has_a_reason(module: str) -> None:
    """A number without a word on what it is and why would stand in docs/method.md with nothing behind it."""
    assert [name for name, _, why in catalogues.constants(module) if not why] == []


def test_every_module_that_decides_is_in_the_method() -> None:
    """The statistics, the thresholds, the judge and the schedule are among the modules whose numbers are listed."""
    deciding = {f"stats/{path.stem}" for path in (catalogues.PACKAGE / "stats").glob("*.py")} - {"stats/__init__"}
    others = {"model/thresholds", "probing/schedule", "verdict/judge", "verdict/trust", "verdict/cautions"}
    assert deciding | others <= set(catalogues.METHOD_MODULES)


def test_readme_is_short() -> None:
    """The README is 100 lines at most."""
    assert len(README.splitlines()) <= 100


def test_readme_has_two_commands() -> None:
    """One command runs the main job, the other the tests; each makes its own environment and is one line."""
    main_job, tests = COMMANDS
    assert main_job.endswith("pytest sample_workloads --gilprobe-report")
    assert tests.endswith("pytest -m 'not slow'")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for command in COMMANDS:
        (extra,) = re.findall(r"'\.\[(\w+)\]'", command)
        assert extra in extras


def test_ci_finds_the_readmes_commands() -> None:
    """``.ci/run`` takes the commands out of the README as they stand there."""
    script = (ROOT / ".ci/run").read_text("utf-8")
    body = re.search(r"^readme_command\(\) \{.*?\n(.*?)^\}", script, re.MULTILINE | re.DOTALL)
    assert body is not None
    for number, command in enumerate(COMMANDS, 1):
        found = subprocess.run(
            [BASH, "-c", body.group(1), "bash", str(number)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == command


def test_readmes_example_runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The marked test that the README shows can be pasted, is probed, and does not get the opposite answer."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_gilprobe.plugin")
    (code,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    pytester.makepyfile(test_readme=code)
    result = pytester.runpytest_subprocess("--gilprobe-report", "-p", "no:cacheprovider", timeout=60)
    result.assert_outcomes(passed=1)
    only = report_json.read(pytester.path / "reports/gilprobe.json").workloads[0]
    assert only.status is Status.PROBED
    assert only.verdict.strategy in {"threads", "processes", INCONCLUSIVE}


def test_changelog_knows_this_version() -> None:
    """The version of the package has an entry in CHANGELOG.md."""
    assert f"## [{pytest_gilprobe.__version__}]" in CHANGELOG


def test_changelog_has_a_line_for_each_change() -> None:
    """Every change is told on one line of at most 170 characters, under one of the usual headings."""
    body = CHANGELOG.partition("## [Unreleased]")[2]
    changes = [line for line in body.splitlines() if line and not line.startswith("#")]
    assert [line for line in changes if not line.startswith("- ") or len(line) > 170] == []
    assert set(re.findall(r"^### (\w+)$", body, re.MULTILINE)) <= {"Added", "Changed", "Deprecated", "Fixed", "Removed"}


def links() -> Iterator[tuple[Path, str]]:
    """List the relative links of all documents."""
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
            if "://" not in target:
                yield path, target


def test_links_lead_somewhere() -> None:
    """Every relative link in a document leads to a file of the project."""
    assert [(path.name, target) for path, target in links() if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_no_machine(path: Path) -> None:
    """No document carries a path of the machine that it was written on."""
    found = re.findall(r"(?<![\w.`/])/(?:tmp|root|work|home)/\S*", path.read_text("utf-8"))
    assert found == []


def test_no_module_is_longer_than_a_reader_takes_in() -> None:
    """CONTRIBUTING.md promises modules of at most 300 lines."""
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in catalogues.PACKAGE.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 300} == {}

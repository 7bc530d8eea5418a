"""What a session without a marked test pays for the plugin: almost nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_gilprobe.plugin import options

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ("numpy", "tabulate", "psutil", "multiprocessing", "jinja2", "ctypes")
LIGHT = {"pytest_gilprobe", "pytest_gilprobe.hookspecs", "pytest_gilprobe.plugin", "pytest_gilprobe.plugin.options"}
REPORT_MODULES = """
import json, sys
def pytest_unconfigure(config):
    with open("modules.json", "w", encoding="utf-8") as file:
        json.dump({"modules": sorted(sys.modules),
                   "plugins": [name for name, _ in config.pluginmanager.list_name_plugin()]}, file)
"""


@pytest.fixture(autouse=True)
def _no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def _session(pytester: pytest.Pytester, *flags: str) -> tuple[set[str], list[str], pytest.RunResult]:
    """Run pytest in a process of its own, with this plugin and no other; tell what it had imported at its end."""
    pytester.makeconftest(REPORT_MODULES)
    command = [sys.executable, "-m", "pytest", "-p", "pytest_gilprobe.plugin", *flags]
    result = pytester.run(*command)
    found = json.loads((pytester.path / "modules.json").read_text("utf-8"))
    return set(found["modules"]), found["plugins"], result


@pytest.mark.parametrize("flags", [(), ("--collect-only",), ("-q", "-k", "nothing")])
def test_a_session_without_a_marked_test_imports_nothing_but_the_hooks(
    pytester: pytest.Pytester, flags: tuple[str, ...]
) -> None:
    """Without a marked test nothing heavy, and of this package only hooks and options, is ever imported."""
    pytester.makepyfile("def test_a(): pass")
    modules, plugins, _ = _session(pytester, *flags)
    assert not modules & set(HEAVY)
    assert {name for name in modules if name.startswith("pytest_gilprobe")} == LIGHT
    assert not [name for name in plugins if "gilprobe" in name and name != "pytest_gilprobe.plugin"]


def test_a_controller_of_pytest_xdist_imports_nothing_that_it_does_not_report(pytester: pytest.Pytester) -> None:
    """With pytest-xdist, a controller to which no worker sends a result imports one module of this package more."""
    pytest.importorskip("xdist")
    pytester.makepyfile("def test_a(): pass")
    modules, plugins, _ = _session(pytester, "-p", "xdist", "-n2")
    assert {name for name in modules if name.startswith("pytest_gilprobe")} == LIGHT | {"pytest_gilprobe.plugin.xdist"}
    assert "gilprobe-reporting" not in plugins


def test_a_deselected_marked_test_costs_nothing(pytester: pytest.Pytester) -> None:
    """A marked test that is deselected starts nothing and imports nothing."""
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.gilprobe
        def test_marked(): pass
        def test_other(): pass
        """
    )
    modules, _, _ = _session(pytester, "-k", "other")
    assert {name for name in modules if name.startswith("pytest_gilprobe")} == LIGHT


def test_a_session_without_a_marked_test_prints_nothing(pytester: pytest.Pytester) -> None:
    """The word gilprobe does not occur in the output of a session that has no use for it."""
    pytester.makepyfile("def test_a(): pass")
    _, _, result = _session(pytester)
    assert result.ret == 0
    assert "gilprobe" not in "\n".join(line for line in result.outlines if not line.startswith("plugins:"))


def test_a_script_that_probes_can_be_imported_in_a_subinterpreter() -> None:
    """What `Prober` imports has no extension module that does not load there."""
    code = "import sys; from pytest_gilprobe import Prober; print({'psutil', 'numpy'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_only_hooks_that_run_once_a_session_are_implemented() -> None:
    """The light half implements no hook that pytest calls for every test, file or report."""
    from pytest_gilprobe import plugin  # noqa: PLC0415 - after what it imports was looked at

    once = {"addhooks", "addoption", "load_initial_conftests", "configure", "report_header", "sessionstart"}
    hooks = {name.removeprefix("pytest_") for name in vars(plugin) if name.startswith("pytest_")}
    assert hooks == once | {"collection_modifyitems", "gilprobe_strategies"}


def test_marks_are_found_wherever_they_are_put(pytester: pytest.Pytester) -> None:
    """A mark on a function, a parameter, a class, a module, or added while collecting is found, and nothing else is."""
    pytester.makeconftest(
        """
        import pytest
        def pytest_itemcollected(item):
            if item.name == "test_added":
                item.add_marker(pytest.mark.gilprobe)
        """
    )
    items = pytester.getitems(
        """
        import pytest
        def test_plain(): pass
        @pytest.mark.gilprobe
        def test_function(): pass
        def test_added(): pass
        @pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.gilprobe)])
        def test_parameter(x): pass
        @pytest.mark.gilprobe
        class TestMarked:
            def test_inside(self): pass
            def test_inside_too(self): pass
        class TestOther:
            def test_gilprobe(self): pass
        def test_last(): pass
        """
    )
    found = [item.name for item in options.marked(items)]
    assert found == [item.name for item in items if item.get_closest_marker("gilprobe") is not None]
    assert found == ["test_function", "test_added", "test_parameter[2]", "test_inside", "test_inside_too"]


def test_a_marked_module_marks_its_tests(pytester: pytest.Pytester) -> None:
    """``pytestmark`` of a module is inherited by all its tests."""
    items = pytester.getitems(
        """
        import pytest
        pytestmark = pytest.mark.gilprobe
        def test_a(): pass
        class TestB:
            def test_c(self): pass
        """
    )
    assert [item.name for item in options.marked(items)] == ["test_a", "test_c"]


def test_importing_the_hooks_needs_no_dataclass(tmp_path: Path) -> None:
    """The package's part of the start-up makes no record: each would cost every session 0.4 ms."""
    code = (
        "import pytest, dataclasses, sys\n"
        "made = []\n"
        "real = dataclasses._process_class\n"
        "dataclasses._process_class = lambda cls, *rest: (made.append(cls), real(cls, *rest))[1]\n"
        "import pytest_gilprobe.plugin\n"
        "print(len(made))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run.stdout.strip() == "0"

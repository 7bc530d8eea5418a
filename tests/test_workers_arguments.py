"""`pytest_gilprobe.workers.parent.session_arguments`: the parent's command line, as a worker runs it again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from pytest_gilprobe.workers.parent.session_arguments import spec_for

if TYPE_CHECKING:
    from pytest_gilprobe.workers.worker_spec import WorkerSpec

FILE = "def test_one(): pass\ndef test_two(): pass\n"


def spec(pytester: pytest.Pytester, *arguments: str) -> WorkerSpec:
    """Describe the worker for the first test of a session started with these arguments."""
    path = pytester.makepyfile(test_it=FILE)
    items, _ = pytester.inline_genitems("-p", "no:asyncio", str(path))
    config = pytester.parseconfig("-p", "no:asyncio", *arguments)
    return spec_for(config, items[:1])


def test_command_line_is_the_parents(pytester: pytest.Pytester) -> None:
    """A worker gets the parent's arguments in their order, so that it collects the same node ids."""
    found = spec(pytester, "-k", "one", "test_it.py").arguments
    start = found.index("-k")
    assert found[start : start + 3] == ("-k", "one", "test_it.py")


def test_nodeids_and_files_are_of_the_items(pytester: pytest.Pytester) -> None:
    """Only the tests asked for are named, and the files that they are in."""
    found = spec(pytester)
    assert found.nodeids == {"test_it.py::test_one"}
    assert found.files == {str(pytester.path / "test_it.py")}
    assert found.working_dir == str(pytester.path)


def test_own_folder_is_left_open(pytester: pytest.Pytester) -> None:
    """Each worker's folder is filled in later; what is written goes there."""
    found = spec(pytester)
    assert found.folder == ""
    assert "--basetemp={folder}/tmp" in found.overrides


@pytest.mark.parametrize("flag", ["--capture=no", "--color=no", "--log-file=/dev/null"])
def test_worker_keeps_off_the_parents_screen_and_files(pytester: pytest.Pytester, flag: str) -> None:
    """Capturing, colours and log files are the parent's."""
    assert flag in spec(pytester).overrides


def test_flag_of_an_absent_plugin_is_left_out(pytester: pytest.Pytester) -> None:
    """A worker is told about a plugin's option only where the plugin is: it would be a usage error elsewhere."""
    assert any("cache_dir" in flag for flag in spec(pytester).overrides)
    without = spec(pytester, "-p", "no:cacheprovider")
    assert not any("cache_dir" in flag for flag in without.overrides)


@pytest.mark.parametrize("plugin", ["xdist", "pytest_cov"])
def test_neighbours_are_switched_off(plugin: str) -> None:
    """In a worker, xdist must not start workers of its own, and coverage must not trace what is timed."""
    bare = overrides_with(set())
    assert [flag for flag in overrides_with({plugin}) if flag not in bare]


def overrides_with(plugins: set[str]) -> tuple[str, ...]:
    """Return the overrides of a session that has these plugins and no options."""
    config = SimpleNamespace(
        option=SimpleNamespace(),
        pluginmanager=SimpleNamespace(hasplugin=lambda name: name in plugins),
        invocation_params=SimpleNamespace(args=(), plugins=None, dir="/"),
        getoption=lambda *_: None,
    )
    return spec_for(cast("pytest.Config", config), []).overrides


def test_lone_dashes_are_taken_out(pytester: pytest.Pytester) -> None:
    """Behind ``--`` the overrides would be read as files."""
    assert "--" not in spec(pytester, "--", "test_it.py").arguments

"""Describe this process's pytest session so that a worker process can run the same session."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pytest_gilprobe.workers.worker_spec import WorkerSpec


def spec_for(
    config: pytest.Config, items: Sequence[pytest.Item], gil_switched_on_by: tuple[str, ...] = ()
) -> WorkerSpec:
    """Describe the pytest session of a worker process: it collects only ``items``, under the same node ids as here.

    ``config`` is that of this process's session. ``gil_switched_on_by`` names the modules whose import has switched the
    GIL on in this process. In the result, ``folder`` is empty, because each worker gets its own folder later.
    """
    from pytest_gilprobe.workers.worker_spec import WorkerSpec  # noqa: PLC0415 - not before the first probe

    return WorkerSpec(
        arguments=_before_dashes(config),
        overrides=_overrides(config),
        plugins=tuple(plugin for plugin in config.invocation_params.plugins or () if isinstance(plugin, str)),
        working_dir=str(config.invocation_params.dir),
        folder="",
        nodeids=frozenset(item.nodeid for item in items),
        files=frozenset(str(item.path) for item in items),
        gil_switched_on_by=gil_switched_on_by,
    )


def _before_dashes(config: pytest.Config) -> tuple[str, ...]:
    """Return the command line without a lone ``--``, behind which the overrides would be read as files."""
    return tuple(os.fspath(argument) for argument in config.invocation_params.args if argument != "--")


def _overrides(config: pytest.Config) -> tuple[str, ...]:
    """Choose the flags that keep a worker's session away from the parent's files and screen, and single-process.

    A flag is passed only if the plugin that defines it is there: unknown flags are usage errors.
    """
    known, plugins = config.option, config.pluginmanager
    flags = ["--color=no"] if hasattr(known, "color") else []
    if hasattr(known, "capture"):
        flags.append("--capture=no")
    if hasattr(known, "basetemp"):
        flags.append("--basetemp={folder}/tmp")
    if hasattr(known, "log_file"):
        flags.append(f"--log-file={os.devnull}")
    if plugins.hasplugin("cacheprovider"):
        flags += ["-o", "cache_dir={folder}/cache"]
    if plugins.hasplugin("xdist"):
        flags += ["-n0", "--dist=no"]
    if plugins.hasplugin("pytest_cov"):
        flags.append("--no-cov")
    if plugins.hasplugin("faulthandler"):
        flags += ["-o", "faulthandler_timeout=0"]
    if isinstance(seed := getattr(known, "randomly_seed", None), int):
        flags.append(f"--randomly-seed={seed}")
    return tuple(flags)

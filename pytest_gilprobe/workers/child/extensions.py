"""List the extension modules (of native code) that this process has loaded; try to load them in a subinterpreter.

Loading is tried in a process of its own, which a module that was not written for subinterpreters may crash.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TRIAL_S = 20.0
"""Time limit in seconds for the trial of all modules in a subinterpreter. A longer trial is ended without a result."""
_OUR_OWN = "psutil"
"""A package that this one imports in pytest's own process, so that a fork has it, whatever the workload imports."""
_TRIAL = """
import importlib.machinery, importlib.util, json, sys
found = {}
for name, path in json.loads(FILES).items():
    loader = importlib.machinery.ExtensionFileLoader(name, path)
    try:
        loader.create_module(importlib.util.spec_from_file_location(name, path, loader=loader))
        found[name] = True
    except ImportError as error:
        if "does not support loading in subinterpreters" in str(error):
            found[name] = False
    except Exception:
        pass
print(json.dumps(found), flush=True)
"""
_HOST = """
import os, sys
from concurrent import interpreters
one = interpreters.create()
one.prepare_main(FILES=sys.stdin.read())
one.exec({trial!r})
sys.stdout.flush()
os._exit(0)
"""


def listed(*, forked: bool) -> dict[str, str]:
    """Return the files of all loaded extension modules that are not of the standard library, by the modules' names.

    ``forked`` is whether this process is a fork of pytest's own process. If it is, the modules of psutil, which this
    package imports in that process, are left out.
    """
    own = tuple(os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
    found: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        loader, file = getattr(spec, "loader", None), getattr(spec, "origin", None)
        if not isinstance(loader, importlib.machinery.ExtensionFileLoader) or not isinstance(file, str):
            continue
        real = os.path.realpath(file)
        is_own = real.startswith(own) and "site-packages" not in real and "dist-packages" not in real
        if not is_own and not (forked and name.startswith(_OUR_OWN)):
            found[name] = file
    return found


def tried(files: Mapping[str, str]) -> dict[str, bool]:
    """Return, by name, whether each module in ``files`` loads in a subinterpreter with a GIL of its own.

    ``files`` has the modules' files by the modules' names. Only the creation of a module object is tried, in which
    CPython refuses some modules. A module that fails for another reason is left out of the result.
    """
    try:
        done = subprocess.run(  # noqa: S603 - this Python, with a script of ours
            [sys.executable, "-c", _HOST.format(trial=_TRIAL)],
            input=json.dumps(dict(files)),
            capture_output=True,
            text=True,
            timeout=TRIAL_S,
            check=True,
        )
        found = json.loads(done.stdout.strip().rpartition("\n")[2])
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    return {name: bool(loads) for name, loads in found.items() if name in files}

"""Whatever a call does wrong in a subinterpreter costs the process that hosts it, and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import Fault
from test_faults import TABLE, assert_as_if_nothing_had_happened, run

if sys.version_info < (3, 14):
    pytest.skip("subinterpreters with a GIL of their own need CPython 3.14", allow_module_level=True)

ODD = "class Odd(Exception):\n    pass\n"
UNSHOWN = "class Odd(Exception):\n    def __str__(self): raise ValueError('no text')\n    __repr__ = __str__\n"
SLOW = "@pytest.fixture\ndef slow():\n    {0}\n    yield\n    {1}\n"
WAITS = "if in_thread(): time.sleep(30)"


def there(name: str, what: str, outcome: str, *said: str, module: str = "", fixtures: str = "") -> Fault:
    """Make a fault that shows in interpreters only: each runs in a thread of its own, which serial calls do not."""
    return Fault(
        name=name,
        body=f"work()\nif in_thread():\n    {what}",
        processes=outcome,
        said=said,
        module=module,
        fixtures=fixtures,
        arguments=("--gilprobe-strategies=interpreters",),
    )


FAULTS = (
    there("raises an assertion", "value = 3; assert value == 4", "failed", "assert 3 == 4"),
    there("raises SystemExit", "sys.exit(3)", "failed", "SystemExit: 3"),
    there("raises KeyboardInterrupt", "raise KeyboardInterrupt", "failed", "KeyboardInterrupt"),
    there("raises what cannot be pickled", "raise Odd(lambda: 0)", "failed", "Odd", module=ODD),
    there("raises what cannot be shown", "raise Odd", "failed", "Odd", module=UNSHOWN),
    there("raises pytest.skip", "pytest.skip('not here')", "failed", "Skipped: not here"),
    there("raises pytest.exit", "pytest.exit('enough')", "failed", "enough"),
    there("forks", "os.fork()", "failed", "fork not supported"),
    there("starts a daemon thread", "threading.Thread(daemon=True, target=work).start()", "failed", "daemon thread"),
    there("hangs on a lock", "lock = threading.Lock(); lock.acquire(); lock.acquire()", "hung", "test_it.py"),
    there("hangs and computes", "while True: pass", "hung", "test_it.py"),
    there("hangs in set-up", "pass", "hung", "no answer", module=SLOW.format(WAITS, "pass"), fixtures="slow"),
    there("hangs in tear-down", "pass", "ok", module=SLOW.format("pass", WAITS), fixtures="slow"),
    there("os._exit", "os._exit(3)", "crashed", "exit status 3"),
    there("abort", "os.abort()", "crashed", "SIGABRT"),
    there("segmentation fault", "os.kill(os.getpid(), signal.SIGSEGV)", "crashed", "SIGSEGV"),
    there("SIGKILL", "os.kill(os.getpid(), signal.SIGKILL)", "crashed", "SIGKILL"),
    there("changes the environment", "os.environ['ODD'] = '1'", "ok"),
    there("changes the current folder", "os.chdir('/')", "ok"),
)
QUICK = ("forks",)


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Collect the rows of the table in ``docs/interpreters.md``; write them down if that is asked for."""
    rows: list[str] = []
    yield rows
    if TABLE is not None and rows:
        head = "| fault in an interpreter | what the report says | time | next | left |\n|---|---|---|---|---|\n"
        Path(TABLE).write_text(head + "\n".join(rows) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    "fault",
    [pytest.param(one, marks=() if one.name in QUICK else pytest.mark.slow, id=one.name) for one in FAULTS],
)
def test_fault(fault: Fault, tmp_path: Path, table: list[str]) -> None:
    """The session passes, the report tells the fault, the next test runs in interpreters, and no process is left."""
    seen = run(fault, tmp_path)
    assert seen.exit_status == pytest.ExitCode.OK, seen.output
    text = json.dumps(seen.faulty)
    assert seen.faulty["status"] == "probed", text
    assert seen.faulty["strategies"]["interpreters"]["outcome"] == fault.processes, text
    assert [words for words in fault.said if words not in text] == [], text
    assert "pytest_gilprobe" not in text, text
    assert_as_if_nothing_had_happened(seen.following)
    assert seen.left == ()
    table.append(seen.row())

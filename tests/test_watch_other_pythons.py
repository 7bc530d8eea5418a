"""``gilprobe watch --pid``: programs of every other Python that this machine has."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from pytest_gilprobe import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14", "3.15", "3.13t")
VERSION: Final = "import sys; print('%d.%d' % sys.version_info[:2] + sys.abiflags)"
PROGRAM: Final = """\
import threading

def häuft_an():
    seen = 0
    while True:
        seen += sum(range(999))

threading.Thread(target=häuft_an, name="zweiter", daemon=True).start()
print("ready", flush=True)
häuft_an()
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs /proc")


@pytest.fixture(params=PYTHONS)
def busy_program(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run two threads that compute in another Python, its GIL on; skip where this machine has none of this version."""
    command = shutil.which(f"python{request.param}")
    told = command and subprocess.run([command, "-c", VERSION], capture_output=True, text=True, check=False).stdout
    if command is None or told is None or told.strip() != request.param:
        pytest.skip(f"no python{request.param} on PATH")
    file = tmp_path / "busy.py"
    file.write_text(PROGRAM, "utf-8")
    switch = ["-X", "gil=1"] if request.param.endswith("t") else []
    with subprocess.Popen([command, *switch, str(file)], stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
            yield program
        finally:
            program.kill()


@pytest.mark.thorough
def test_a_program_of_another_python_is_watched(
    busy_program: subprocess.Popen[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """Who holds the GIL, where in the code, and who waits for it; the program goes on."""
    assert cli.main(["watch", "--pid", str(busy_program.pid), "--for", "1"]) == 0
    said = " ".join(capfd.readouterr().err.split())
    held = re.search(r"GIL held >?(\d+) % of the time", said)
    assert held is not None, said
    assert int(held[1]) > 60
    assert re.search(r"% in häuft_an \(.*busy\.py\), (.* in )?line [56]: ", said), said
    waits = re.search(r"([\d.]+) of 2 threads waiting for the GIL on average", said)
    assert waits is not None, said
    assert float(waits[1]) > 0.1  # on a busy machine a thread queues for a CPU instead
    assert busy_program.poll() is None

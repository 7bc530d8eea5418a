"""How near to the truth are peers that tell where the GIL is held? The mixtures of ``holders.py``, seen by py-spy.

    python benchmarks/holders_peers.py [--python PYTHON] [--busy 2]

Each mixture runs in a child process that times its functions inside, as for ``holders.py``. It is watched in turn by
the project's own sampler, by ``py-spy record --gil`` where py-spy is installed, and by ``profiling.sampling attach
--mode gil`` of the child's own Python where it has that (CPython 3.15): three seconds each, at 1,000 samples a second.
A sample belongs to the innermost function of the mixture on its stack. Prints each mixture, and the mean and
largest error of all shares; exit status 1 if a peer is nearer to the truth than this project, in the mean, by 0.005.
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import holders

SECONDS: Final = 3
RATE: Final = 1000
OWN: Final = "pytest-gilprobe"
NEARER: Final = 0.005


def py_spy(_: str, pid: int, file: str) -> list[str]:
    """Return the command by which py-spy records collapsed stacks of the threads that hold the GIL."""
    found = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    where = ["--pid", str(pid), "--output", file]
    return [] if found is None else [found, "record", "--gil", "-r", f"{RATE}", "-d", f"{SECONDS}", "-f", "raw", *where]


def sampling(python: str, pid: int, file: str) -> list[str]:
    """Return the command by which CPython's own sampler does the same."""
    has = subprocess.run([python, "-c", "import profiling.sampling"], capture_output=True, check=False)
    if has.returncode:
        return []
    where = ["--collapsed", "-o", file, str(pid)]
    return [python, "-m", "profiling.sampling", "attach", "--mode", "gil", "-r", f"{RATE}", "-d", f"{SECONDS}", *where]


PEERS: Final[Mapping[str, Callable[[str, int, str], list[str]]]] = {"py-spy": py_spy, "profiling.sampling": sampling}


def shares_of(text: str, names: Mapping[str, float]) -> dict[str, float]:
    """Return the share of samples that belongs to each function of a mixture, from collapsed stacks.

    A line is ``frame;frame;frame COUNT``, outermost first; how a frame is written differs, the function's name is a
    word of it.
    """
    seen: defaultdict[str, int] = defaultdict(int)
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        words = re.findall(r"\w+", stack)
        seen[next((word for word in reversed(words) if word in names), "elsewhere")] += int(count)
    total = max(1, sum(seen.values()))
    return {name: count / total for name, count in seen.items()}


def watched(python: str, mixture: str, peer: Callable[[str, int, str], list[str]]) -> tuple[Any, Any] | None:
    """Return the true shares and those that a peer found; ``None`` if the peer is missing, or could not."""
    with holders.running(python, mixture) as (process, where), tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "stacks.txt")
        command = peer(python, process.pid, str(file))
        if where is None or not command:
            return None
        holders.asked(process, 0.1, None)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as looking:
            spent: defaultdict[str, float] = defaultdict(float)
            while looking.poll() is None:
                found = holders.asked(process, holders.BATCH_S, None)
                for name, ns in found["spent"].items():
                    spent[name] += 0.0 if name in holders.RELEASES else ns
            said = looking.stdout.read() if looking.stdout else ""
        if not file.exists():
            print(f"{mixture}: {' '.join(said.split())[-200:]}", file=sys.stderr)
            return None
        total = sum(spent.values())
        return {name: ns / total for name, ns in spent.items()}, shares_of(file.read_text("utf-8"), spent)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--busy", type=int, default=0)
    asked = parser.parse_args()
    version = subprocess.run([asked.python, "-V"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{version}, watched by Python {platform.python_version()}, {asked.busy} busy loops\n")
    print("| mixture | tool | true shares | found | largest error |\n|---|---|---|---|---:|")
    errors: defaultdict[str, list[float]] = defaultdict(list)
    with holders.busy(asked.busy):
        for mixture in (*holders.build(), holders.PACKAGES):
            own = holders.measured(asked.python, mixture)
            seen: dict[str, tuple[Any, Any] | None] = {OWN: None if own is None else own[:2]}
            seen |= {name: watched(asked.python, mixture, peer) for name, peer in PEERS.items()}
            for name, pair in seen.items():
                if pair is not None:
                    true, found = pair
                    each = [abs(found.get(one, 0.0) - share) for one, share in true.items()]
                    errors[name] += each
                    said = [", ".join(f"{one} {of.get(one, 0.0):.3f}" for one in true) for of in pair]
                    print(f"| {mixture} | {name} | {said[0]} | {said[1]} | {max(each):.3f} |", flush=True)
    print("\n| tool | mean error | largest |\n|---|---:|---:|")
    means = {name: statistics.mean(each) for name, each in errors.items()}
    for name, each in errors.items():
        print(f"| {name} | {means[name]:.3f} | {max(each):.3f} |")
    return 1 if any(mean < means[OWN] - NEARER for mean in means.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

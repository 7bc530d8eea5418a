"""Read stacks of a program that makes it hard, and count wrong names: none may be.

A child process makes and drops functions without end, so that code objects are freed and others take their place, has
threads that start and end, forks, executes itself anew, and dies at a random moment while it is read. Every function
that it makes has a number, and so have its file and its first line: what is read of one function may not be mixed with
what is of another.

    python benchmarks/hostile.py                       20 lives of the child, about half a minute
    python benchmarks/hostile.py --lives 1200          as many as an hour has
    python benchmarks/hostile.py --python PYTHON       a child of another Python; it needs no package installed

Prints Markdown; the exit status is 1 if a name was wrong, or too few stacks were read to say so.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_gilprobe.model.stacks import Frame  # noqa: E402
from pytest_gilprobe.observe.frame_reader import FrameReader  # noqa: E402
from pytest_gilprobe.observe.gil_sampler import GilSampler, SamplingError  # noqa: E402
from pytest_gilprobe.observe.held_stacks import HeldStacks  # noqa: E402
from pytest_gilprobe.scan import other_process  # noqa: E402
from pytest_gilprobe.scan.other_process import CannotWatchError  # noqa: E402

MEAN_S: Final = 0.000_3
LIVES: Final = 20
LIFE_S: Final = (0.2, 1.5)
"""Shortest and longest life of a child, in seconds, before it is killed."""
ENOUGH: Final = 100
"""Fewest stacks a life, on average, that show something."""
MADE: Final = re.compile(r"(?:.*\.)?made_(\d+)$")
KNOWN: Final = frozenset({"<module>", "make", "live", "fork", "spawn"})
CHILD: Final = """
import itertools, os, random, sys, threading, time
luck = random.Random(int(sys.argv[1]))

def make(number):
    space = {}
    text = f"def made_{number}(depth):\\n if depth: return made_{number}(depth - 1)\\n return sum(range(400))"
    text = "\\n" * number + text
    exec(compile(text, f"<made {number}>", "exec"), space)
    return space[f"made_{number}"]

def live():
    for number in itertools.count(luck.randrange(50)):
        make(number % 5000)(luck.randrange(4))
        if number % 40 == 0:
            yield

def spawn():
    for _ in live():
        return

def fork():
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)

def main():
    born = time.monotonic()
    for round, _ in enumerate(live()):
        thread = threading.Thread(target=spawn)
        thread.start()
        if round % 3 == 0:
            thread.join()
        if round % 20 == 0:
            fork()
        if time.monotonic() - born > 0.7:
            os.execv(sys.executable, [sys.executable, "-W", "ignore", *sys.argv, "again"])

main()
"""


def life(python: str, path: Path, number: int) -> Counter[str]:
    """Watch one life of a child to its end; return how often what was read was right, wrong or nothing."""
    seen: Counter[str] = Counter()
    luck = random.Random(number)
    process = subprocess.Popen([python, "-W", "ignore", str(path), str(number)])
    read, write = os.pipe()
    try:
        dies_at = time.monotonic() + luck.uniform(*LIFE_S)
        while time.monotonic() < dies_at:
            _watch(process.pid, dies_at, read, seen)
        # now it dies while it is read
        killer = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.05; kill -{signal.SIGKILL.value} {process.pid}"])
        _watch(process.pid, time.monotonic() + 0.2, read, seen)
        killer.wait()
    finally:
        process.kill()
        process.wait()
        os.close(read)
        os.close(write)
    return seen


def _watch(pid: int, until: float, never: int, seen: Counter[str]) -> None:
    """Read a process's stacks until a moment, or until it executes itself anew."""
    image = other_process.image(pid)
    try:
        where = other_process.find_gil(pid)
        if where.frames is None:
            sys.exit("the frames of this Python are not found")
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    except (CannotWatchError, OSError):
        time.sleep(0.01)
        return
    stacks = HeldStacks(FrameReader(memory, where.frames, lambda _: False))
    try:
        while time.monotonic() < until and other_process.image(pid) == image:
            with GilSampler(pid, where.address, mean_interval_s=MEAN_S, stacks=stacks) as sampler:
                sampler.sample_until(never, 0.05)
            samples = sampler.samples()
            seen["dropped"] += samples.torn
            for at in samples.stack:
                if at >= 0:
                    seen["stacks"] += 1
                    seen.update(filter(None, map(wrong, samples.stacks[at])))
    except SamplingError:
        pass
    finally:
        os.close(memory)


def wrong(frame: Frame) -> str | None:
    """Return how a frame is wrong; ``None`` if it is as the child's source has it."""
    number = frame.file.removeprefix("<made ").removesuffix(">")
    made = MADE.match(frame.function)
    if frame.file.startswith("<made "):
        right = frame.function == "<module>" or (made is not None and made[1] == number)
        lines = range(int(number), int(number) + 4)
        is_resumed = frame.function == "<module>" and frame.line is None
        return (
            None
            if right and (is_resumed or frame.line in lines)
            else f"wrong: {frame.function} in {frame.file}:{frame.line}"
        )
    if made is not None or (frame.own and frame.function not in KNOWN | {"main"}):
        return f"wrong: {frame.function} in {frame.file}:{frame.line}"
    return None


def measured(python: str, lives: int, folder: Path) -> Counter[str]:
    """Watch so many lives; return the sum of what was seen."""
    path = folder / "hostile_child.py"
    path.write_text(CHILD, encoding="utf-8")
    return sum((life(python, path, number) for number in range(lives)), Counter())


def main() -> int:
    """Print a row."""
    import tempfile  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lives", type=int, default=LIVES)
    parser.add_argument("--python", default=sys.executable)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seen = measured(arguments.python, arguments.lives, Path(folder))
    bad = {name: number for name, number in seen.items() if name.startswith("wrong")}
    print("| Python | lives | stacks | dropped | wrong names |\n|---|---|---|---|---|")
    python = arguments.python.rpartition("/")[2]
    print(f"| {python} | {arguments.lives} | {seen['stacks']} | {seen['dropped']} | {sum(bad.values())} |")
    for name, number in bad.items():
        print(f"{number} x {name}")
    return int(bool(bad) or seen["stacks"] < ENOUGH * arguments.lives)


if __name__ == "__main__":
    sys.exit(main())

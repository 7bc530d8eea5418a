"""Compare the GIL-held fraction of sampler, heartbeat and gilknocker with the truth.

A child process runs mixtures with known held shares: a Python loop, which holds the GIL, in turn with hashing or
sleeping, which release it. It times its own phases, so that the truth is what happened, not what was intended: a phase
that a busy machine stretched counts as long as it was, and waiting for the GIL counts as released.

    python benchmarks/gil_accuracy.py                   an otherwise idle machine, about two minutes
    python benchmarks/gil_accuracy.py --busy 2          with two busy loops beside it; slow-down is not measured
    python benchmarks/gil_accuracy.py --python PYTHON   mixtures run by another Python; it needs no package installed

gilknocker is compared where the mixtures' Python has it. Prints Markdown; ends every process that it starts.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_gilprobe.observe.gil_address import locate  # noqa: E402
from pytest_gilprobe.observe.gil_sampler import GilSampler  # noqa: E402
from pytest_gilprobe.observe.heartbeat import Heartbeat  # noqa: E402 - the checkout beside this file is what is measured
from pytest_gilprobe.stats.gil_samples import SampledWindow, held_fraction  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_gilprobe.model.readings import GilSamples

KINDS: Final = ("hash", "sleep")
PERIODS_S: Final = (0.0005, 0.004, 0.03)
SHARES: Final = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
METHODS: Final = ("sampler", "heartbeat", "gilknocker")
MAX_SAMPLES: Final = 2000
BARS: Final = {False: (0.01, 0.04), True: (0.03, 0.08)}
"""The sampler's greatest mean and maximum absolute error allowed, by whether the machine is busy."""

SLOWDOWN_BAR: Final = 0.01
SLOWDOWN_BATCH_S: Final = 0.05
"""The least length of a probe's batches."""

SLOWDOWN_PAIRS: Final = 200
"""So many pairs give the median ratio to about half a percent where single batches differ by 3 %."""

SAMPLES_PER_BATCH: Final = 300
"""How many samples a probe intends to take of a serial batch: in one of 50 ms they are densest."""

TIE: Final = 0.02
ANSWER_TIMEOUT_S: Final = 120.0
HASHED_BYTES: Final = 64 << 20
HASH_RELEASES_FROM_BYTES: Final = 2048
"""hashlib keeps the GIL for less (``HASHLIB_GIL_MINSIZE``), so a release phase hashes at least this much."""

KNOCK_INTERVAL_US: Final = 1000
"""What distributed's system monitor, gilknocker's best-known user, sets by default."""


# In the child: mixtures that time themselves.


def serve() -> None:
    """Answer one JSON line for each one asked, until standard input ends."""
    place = locate()
    python, mute = sys.version, has_gilknocker()
    answer(pid=os.getpid(), address=place.address, reason=place.reason, python=python, no_gilknocker=mute)
    data = memoryview(bytes(HASHED_BYTES))
    bytes_per_ns = hash_rate(data)
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["kind"] == "loop":
            answer(**fixed_work(asked["turns"]))
            continue
        with measured_inside(asked["method"]) as found:
            times = mixture(asked, data, bytes_per_ns)
        estimate = found["estimate"](times["start_ns"], times["end_ns"])
        answer(**times, estimate=estimate)


def answer(**found: Any) -> None:
    """Write one line."""
    print(json.dumps(found), flush=True)


def has_gilknocker() -> str | None:
    """Return why this Python has no gilknocker to compare with, else None; try it in a process that it may crash."""
    code = f"import gilknocker; knocker = gilknocker.KnockKnock({KNOCK_INTERVAL_US}); knocker.start(); knocker.stop()"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if not found.returncode:
        return None
    return found.stderr.splitlines()[-1] if found.stderr else f"it ends the interpreter with {found.returncode}"


def hash_rate(data: memoryview) -> float:
    """Measure bytes hashed per nanosecond, the best of a few tries."""
    best_ns, size = sys.maxsize, 1 << 20
    for _ in range(7):
        start_ns = time.perf_counter_ns()
        hashlib.sha256(data[:size])
        best_ns = min(best_ns, time.perf_counter_ns() - start_ns)
    return size / best_ns


def mixture(asked: dict[str, Any], data: memoryview, bytes_per_ns: float) -> dict[str, Any]:
    """Hold and release in turn for a whole number of periods; return start, end, and the held share as timed."""
    clock, sleep, sha256 = time.perf_counter_ns, time.sleep, hashlib.sha256
    period_ns = asked["period_s"] * 1e9
    hold_ns, release_ns = round(period_ns * asked["share"]), round(period_ns * (1 - asked["share"]))
    piece = data[: max(HASH_RELEASES_FROM_BYTES, round(release_ns * bytes_per_ns))]
    sleeps, release_s, window_ns = asked["kind"] == "sleep", release_ns * 1e-9, asked["window_s"] * 1e9
    held_ns = released_ns = 0
    start_ns = now_ns = clock()
    while now_ns - start_ns < window_ns:
        hold_until_ns = now_ns + hold_ns
        while clock() < hold_until_ns:
            pass
        release_from_ns = clock()
        if release_ns and sleeps:
            sleep(release_s)
        elif release_ns:
            sha256(piece)
        before_ns, now_ns = now_ns, clock()
        held_ns += release_from_ns - before_ns
        released_ns += now_ns - release_from_ns
    return {"start_ns": start_ns, "end_ns": now_ns, "truth": held_ns / (held_ns + released_ns)}


def fixed_work(turns: int) -> dict[str, Any]:
    """Run a loop of so many turns; return its wall time and its CPU time."""
    start_ns, begun_ns = time.perf_counter_ns(), time.thread_time_ns()
    for _ in range(turns):
        pass
    used_ns, end_ns = time.thread_time_ns() - begun_ns, time.perf_counter_ns()
    return {"wall_ns": end_ns - start_ns, "cpu_ns": used_ns}


@contextlib.contextmanager
def measured_inside(method: str) -> Iterator[dict[str, Any]]:
    """Measure with what runs in the mixtures' own process, if the method does; the estimate is asked for afterwards."""
    found: dict[str, Any] = {"estimate": lambda _start_ns, _end_ns: None}
    if method == "heartbeat":
        with Heartbeat() as beat:
            yield found
        found["estimate"] = lambda start_ns, end_ns: estimated(beat.samples(), start_ns, end_ns)
    elif method == "gilknocker":
        import gilknocker  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415 - optional

        knocker = gilknocker.KnockKnock(KNOCK_INTERVAL_US)
        knocker.start()
        yield found
        metric = knocker.contention_metric
        knocker.stop()
        found["estimate"] = lambda _start_ns, _end_ns: {"value": metric, "low": metric, "high": metric}
    else:
        yield found


def estimated(samples: GilSamples, start_ns: int, end_ns: int) -> dict[str, float] | None:
    """Estimate the held share of a window, as plain numbers."""
    estimate = held_fraction([SampledWindow(samples, start_ns, end_ns)])
    if estimate is None:
        return None
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


# In the parent: ask, sample, compare.


class Workload:
    """The child that runs the mixtures."""

    def __init__(self, python: str) -> None:
        """Start it, and read where its GIL lies."""
        self._child = subprocess.Popen(
            [python, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        if self._child.stdin is None or self._child.stdout is None:
            sys.exit("gil_accuracy: no pipes to the child")
        self._stdin, self.stdout = self._child.stdin, self._child.stdout
        self.hello = self.answer()

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, whatever it does."""
        self._child.kill()
        self._child.communicate()

    def ask(self, **wanted: Any) -> None:
        """Ask for one mixture."""
        self._stdin.write(json.dumps(wanted).encode() + b"\n")

    def answer(self) -> dict[str, Any]:
        """Wait for the answer to what was asked."""
        line = self.stdout.readline()
        if not line:
            sys.exit("gil_accuracy: the child ended without an answer")
        found: dict[str, Any] = json.loads(line)
        return found

    def sampled(self, mean_s: float = 0.0005, **wanted: Any) -> tuple[dict[str, Any], GilSamples]:
        """Ask for one mixture, and sample its GIL from outside until it is over."""
        pid, address = self.hello["pid"], self.hello["address"]
        with GilSampler(pid, address, mean_interval_s=mean_s, max_samples=MAX_SAMPLES) as sampler:
            self.ask(**wanted)
            if not sampler.sample_until(self.stdout.fileno(), ANSWER_TIMEOUT_S):
                sys.exit("gil_accuracy: no answer in time")
        return self.answer(), sampler.samples()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One mixture measured by one method: value minus truth, and whether the truth lay in the interval."""

    kind: str
    period_s: float
    share: float
    method: str
    truth: float
    error: float | None
    covered: bool


def measure(workload: Workload, wanted: dict[str, Any]) -> Row:
    """Run one mixture with one method."""
    if wanted["method"] == "sampler":
        times, samples = workload.sampled(**wanted)
        estimate = estimated(samples, times["start_ns"], times["end_ns"])
    else:
        workload.ask(**wanted)
        times = workload.answer()
        estimate = times["estimate"]
    truth = times["truth"]
    return Row(
        kind=wanted["kind"],
        period_s=wanted["period_s"],
        share=wanted["share"],
        method=wanted["method"],
        truth=truth,
        error=None if estimate is None else estimate["value"] - truth,
        covered=estimate is not None and estimate["low"] <= truth <= estimate["high"],
    )


def slowdown(workload: Workload) -> dict[str, tuple[float, float, float]]:
    """Return how much longer a fixed loop takes while its GIL is sampled, by its CPU time and by wall time.

    The median over many pairs of one batch sampled and one not, in alternating order, with the interval of its order
    statistics. A loop computes all the while, so CPU time is its cost without what other programs take from it; wall
    time also shows whether the sampler took a CPU away.
    """
    turns = 1_000_000
    workload.ask(kind="loop", turns=turns)
    turns = round(turns * SLOWDOWN_BATCH_S * 1e9 / workload.answer()["cpu_ns"])
    ratios: dict[str, list[float]] = {"cpu_ns": [], "wall_ns": []}
    for pair in range(SLOWDOWN_PAIRS):
        found: dict[bool, dict[str, Any]] = {}
        for sampled in (bool(pair % 2), not pair % 2):
            if sampled:
                found[sampled], _ = workload.sampled(SLOWDOWN_BATCH_S / SAMPLES_PER_BATCH, kind="loop", turns=turns)
            else:
                workload.ask(kind="loop", turns=turns)
                found[sampled] = workload.answer()
        for clock, known in ratios.items():
            known.append(found[True][clock] / found[False][clock] - 1)
    return {clock: median_interval(known) for clock, known in ratios.items()}


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median and its 95 % interval, whatever the values' distribution.

    *Source:* order statistics; W. J. Conover, "Practical Nonparametric Statistics", 1999, section 3.2.
    """
    ordered, number = sorted(values), len(values)
    apart = statistics.NormalDist().inv_cdf(0.975) * math.sqrt(number) / 2
    low, high = math.floor(number / 2 - apart), math.ceil(number / 2 + apart)
    return statistics.median(ordered), ordered[max(0, low)], ordered[min(number - 1, high)]


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Keep ``count`` CPUs busy; the loops end by themselves after ten minutes, should this process be killed.

    Each has a session of its own, as other programs have: Linux divides CPUs between sessions first, which is harder on
    a sampler than loops in its own session.
    """
    loop = "import time\nend = time.monotonic() + 600\nwhile time.monotonic() < end: pass"
    loops = [subprocess.Popen([sys.executable, "-c", loop], start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for process in loops:
            process.kill()
            process.wait()


# What it prints.


def table(rows: Sequence[Row], methods: Sequence[str]) -> Iterator[str]:
    """Draw one line for each mixture: what each method found minus what was true."""
    yield "| mixture | period | intended share | " + " | ".join(f"{method} error (truth)" for method in methods) + " |"
    yield "|---|---|---|" + "---|" * len(methods)
    for kind in KINDS:
        for period_s in PERIODS_S:
            for share in SHARES:
                found = [row for row in rows if (row.kind, row.period_s, row.share) == (kind, period_s, share)]
                cells = (cell(row) for method in methods for row in found if row.method == method)
                yield f"| {kind} | {period_s * 1e3:g} ms | {share:g} | " + " | ".join(cells) + " |"


def cell(row: Row) -> str:
    """Write one error and its truth."""
    return f"{'none' if row.error is None else f'{row.error:+.3f}'} ({row.truth:.3f})"


def summary(rows: Sequence[Row], methods: Sequence[str]) -> Iterator[str]:
    """Draw one line for each method."""
    yield "| method | mean error | maximum | bias | truth in the 95 % interval | no answer |"
    yield "|---|---|---|---|---|---|"
    for method in methods:
        own = [row for row in rows if row.method == method]
        errors = [row.error for row in own if row.error is not None]
        if not errors:
            yield f"| {method} | | | | | {len(own)} of {len(own)} |"
            continue
        sizes = [abs(error) for error in errors]
        covered = f"{sum(row.covered for row in own)} of {len(errors)}" if method != "gilknocker" else "has none"
        figures = f"{statistics.fmean(sizes):.4f} | {max(sizes):.3f} | {statistics.fmean(errors):+.4f}"
        yield f"| {method} | {figures} | {covered} | {len(own) - len(errors)} of {len(own)} |"


def verdicts(rows: Sequence[Row], *, busy: bool, slower: dict[str, tuple[float, float, float]]) -> Iterator[str]:
    """Compare the sampler's figures with what is allowed."""
    sizes = [abs(row.error) for row in rows if row.method == "sampler" and row.error is not None]
    for name, value, bar in zip(("mean", "maximum"), (statistics.fmean(sizes), max(sizes)), BARS[busy], strict=True):
        yield f"* sampler, {name} absolute error {value:.4f}, bar {bar}: {said(met=value <= bar)}"
    for clock, (value, low, high) in slower.items():
        what = {"cpu_ns": "CPU", "wall_ns": "wall"}[clock]
        allowed = f", bar {SLOWDOWN_BAR:.0%}: {said(met=value <= SLOWDOWN_BAR)}" if clock == "cpu_ns" else ""
        how = f"median of {SLOWDOWN_PAIRS} pairs"
        yield f"* a sampled loop takes {value:+.2%} [{low:+.2%}, {high:+.2%}] of {what} time more, {how}{allowed}"
    pairs = list(against_gilknocker(rows))
    if pairs:
        beaten = sum(ours > theirs and max(ours, theirs) > TIE for ours, theirs in pairs)
        closer = f"{beaten} of {len(pairs)} rows, ties within {TIE} left out"
        yield f"* gilknocker closer in {closer}: {said(met=not beaten)}"


def against_gilknocker(rows: Sequence[Row]) -> Iterator[tuple[float, float]]:
    """Pair the sampler's and gilknocker's absolute errors, mixture by mixture."""
    theirs = {(row.kind, row.period_s, row.share): row.error for row in rows if row.method == "gilknocker"}
    for row in rows:
        other = theirs.get((row.kind, row.period_s, row.share))
        if row.method == "sampler" and row.error is not None and other is not None:
            yield abs(row.error), abs(other)


def said(*, met: bool) -> str:
    """Return the word for it."""
    return "met" if met else "**missed**"


def run(options: argparse.Namespace) -> int:
    """Measure everything, print it."""
    with Workload(options.python) as workload:
        if workload.hello["address"] is None:
            print(f"Nothing to sample: {workload.hello['reason']}")
            return 0
        methods = [name for name in options.methods if name != "gilknocker" or not workload.hello["no_gilknocker"]]
        slower = {} if options.busy else slowdown(workload)
        with busy_loops(options.busy):
            load_before = os.getloadavg()[0]
            rows = [
                measure(workload, wanted)
                for kind in KINDS
                for period_s in PERIODS_S
                for share in SHARES
                for method in methods
                for wanted in [
                    {
                        "kind": kind,
                        "period_s": period_s,
                        "share": share,
                        "method": method,
                        "window_s": options.window if method == "sampler" else options.window / 2,
                    },
                ]
            ]
        machine = f"{platform.system()} {platform.release()}, {os.cpu_count()} CPUs"
        print(f"{time.strftime('%Y-%m-%d')}, {machine}, mixtures")
        print(f"on Python {workload.hello['python']}; {options.busy} busy loops, {options.window} s a mixture;")
        print(f"load average {load_before:.1f} before, {os.getloadavg()[0]:.1f} after.")
        if workload.hello["no_gilknocker"]:
            print(f"Without gilknocker: {workload.hello['no_gilknocker']}.")
        print()
    verdict_lines = verdicts(rows, busy=options.busy > 0, slower=slower)
    for lines in (verdict_lines, summary(rows, methods), table(rows, methods)):
        print("\n".join(lines), end="\n\n")
    return 0


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare GIL-held fractions with the truth.")
    parser.add_argument("--python", default=sys.executable, help="runs the mixtures (default: this one)")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="busy loops beside them (default: 0)")
    parser.add_argument("--window", type=float, default=1.1, metavar="S", help="seconds a mixture (default: 1.1)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return 0
    return run(options)


if __name__ == "__main__":
    sys.exit(main())

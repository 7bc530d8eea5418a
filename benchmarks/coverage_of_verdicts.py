"""How often verdicts are wrong and intervals miss the truth: simulated calls of known speed-ups on a noisy machine.

Readings are drawn, nothing is timed; survey, schedule, statistics, judging and the rule to stop are those of a real
probe (``tests/simulated.py`` is the model). So it takes no quiet machine, and the same seed gives the same numbers.

    python benchmarks/coverage_of_verdicts.py                 40 probes of each call in each weather, some minutes
    python benchmarks/coverage_of_verdicts.py --repeat 200    more of them

Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from simulated import CALLS, NEAR, WEATHERS, Found, experiments  # noqa: E402 - the checkout beside this file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WRONG_BAR: Final = 0.01
"""Share of answers that may be wrong, of calls that are more than 10 % away from every threshold."""
COVERAGE_BAR: Final = 0.90
"""Share of intervals that must hold the truth where the probe stopped: looking after every round costs some of 95 %."""


def said(*, met: bool) -> str:
    """Say it."""
    return "met" if met else "**missed**"


def summary(found: Sequence[Found]) -> Iterator[str]:
    """Hold wrong answers and coverage against the bars."""
    far = [one for one in found if len(one.call.tolerable) == 1]
    near = [one for one in found if len(one.call.tolerable) > 1]
    wrong, silent = (fmean(kept) for kept in ([one.wrong for one in far], [one.silent for one in far]))
    yield f"* calls more than {NEAR - 1:.0%} away from every threshold, {len(far)} probes: {wrong:.2%} wrong answers,"
    yield f"  bar {WRONG_BAR:.0%}: {said(met=wrong <= WRONG_BAR)}; {silent:.1%} without an answer"
    other = fmean(not one.silent and one.strategy is not one.call.right for one in near)
    silent = fmean(one.silent for one in near)
    yield f"* calls nearer than that, {len(near)} probes: {other:.1%} have the word of the other side,"
    yield f"  {silent:.1%} no answer"
    every = [caught for one in found for _, caught in one.caught()]
    share = fmean(every)
    yield f"* intervals that held the truth when the probe stopped: {share:.1%} of {len(every)},"
    yield f"  bar {COVERAGE_BAR:.0%}: {said(met=share >= COVERAGE_BAR)}"


def coverage(found: Sequence[Found]) -> Iterator[str]:
    """Draw a table: in how many probes of each weather each interval held the truth."""
    kept: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for one in found:
        for name, caught in one.caught():
            kept[name, one.weather.name].append(caught)
    names = list(dict.fromkeys(name for name, _ in kept))
    yield "| weather | " + " | ".join(names) + " |"
    yield "|---|" + "---|" * len(names)
    for weather in WEATHERS:
        cells = (f"{fmean(kept[name, weather.name]):.1%}" for name in names)
        yield f"| {weather.name} | " + " | ".join(cells) + " |"


def answers(found: Sequence[Found]) -> Iterator[str]:
    """Draw a table: what each call was said to be in each weather, and after how many rounds on average."""
    yield "| call | right | " + " | ".join(weather.name for weather in WEATHERS) + " |"
    yield "|---|---|" + "---|" * len(WEATHERS)
    for call in CALLS:
        cells = []
        for weather in WEATHERS:
            own = [one for one in found if (one.call, one.weather) == (call, weather)]
            counts = Counter(one.strategy for one in own)
            rounds = fmean(one.result.serial.rounds or 0 for one in own if one.result.serial is not None)
            words = ", ".join(f"{count} {word}" for word, count in counts.most_common())
            cells.append(f"{words}; {rounds:.1f} rounds")
        right = " or ".join(sorted(call.tolerable, key=lambda word: word != call.right))
        yield f"| {call.name} | {right} | " + " | ".join(cells) + " |"


def main() -> int:
    """Read the command line, simulate, print."""
    parser = argparse.ArgumentParser(description="Count wrong verdicts and missed truths of simulated probes.")
    parser.add_argument("--repeat", type=int, default=40, help="probes of each call in each weather (default: 40)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = list(experiments(CALLS, WEATHERS, options.repeat, options.seed))
    python = sys.version.split()[0]
    print(f"{time.strftime('%Y-%m-%d')}, Python {python}, seed {options.seed}, {options.repeat} probes each.\n")
    for lines in (summary(found), coverage(found), answers(found)):
        print("\n".join(lines), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

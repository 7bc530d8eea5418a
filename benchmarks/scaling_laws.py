"""How often is the number of workers wrong, and do intervals hold the parameters? Simulated curves of known laws.

    python benchmarks/scaling_laws.py [--repeat 200]

Throughputs follow a law, times noise with a standard deviation of 2, 5 and 10 %; nothing is timed, so that the same
seeds give the same numbers. The rule by which a ladder ends, points, number and fit are those of a real probe. Prints
Markdown; the exit status is 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_gilprobe.model.ladder import Step, StretchReading  # noqa: E402 - the checkout beside this file
from pytest_gilprobe.model.scaling import ScalingPoint  # noqa: E402
from pytest_gilprobe.probing.ladder import GAIN  # noqa: E402
from pytest_gilprobe.stats import scaling, scaling_laws  # noqa: E402

COUNTS: Final = (1, 2, 4, 8, 16, 32, 64)
NOISES: Final = (0.02, 0.05, 0.10)
WRONG_BAR: Final = {0.02: 0.01, 0.05: 0.01, 0.10: 0.02}
"""Share of curves that may name a number beyond the neighbours of the right one, by noise."""
COVERAGE_BAR: Final = 0.90
"""Share of fits whose parameter must lie within two standard errors: 95 % of a normal distribution do, and 88 % of
Student's t distribution with the 4 degrees of freedom that 7 points leave beside 3 parameters."""
ABOUT: Final = 0.02
"""A number that misses 90 % of the highest throughput by so much is right, too: Amdahl's 32 of 64 gives 89 %."""


class Law(NamedTuple):
    """Throughput by the number of workers, the model that fits it, and its parameters there."""

    rate: Callable[[int], float]
    model: str
    parameters: dict[str, float]


def _usl(contention: float, coherency: float) -> Law:
    parameters = {"per_worker": 50.0, "contention": contention, "coherency": coherency}
    return Law(lambda n: scaling_laws.usl((50.0, contention, coherency), n), "usl", parameters)


def _capped(limit: float) -> Law:
    parameters = {"per_worker": 50.0, "ceiling": 50.0 * limit}
    return Law(lambda n: 50.0 * min(n, limit), "capped", parameters)


LAWS: Final = {
    "linear": Law(lambda n: 50.0 * n, "linear", {"per_worker": 50.0}),
    "Amdahl, 3 % serial": _usl(0.03, 0.0),
    "Amdahl, 10 % serial": _usl(0.1, 0.0),
    "USL, 5 % and 0.2 %": _usl(0.05, 0.002),
    "limit of 1": _capped(1),
    "limit of 4": _capped(4),
    "limit of 6": _capped(6),
    "limit of 20": _capped(20),
}


class Shares(NamedTuple):
    """Shares of curves: number right, a neighbour's, wrong, open; law right; parameters within two standard errors.

    ``law`` and ``within`` are of the curves with points enough for a fit; parameters that are 0 are left out.
    """

    right: float
    neighbour: float
    wrong: float
    open: float
    law: float | None
    within: dict[str, float]


def ladder(rate: Callable[[int], float], noise: float, rng: random.Random) -> tuple[ScalingPoint, ...]:
    """Return the points of a ladder: up to where two doublings gain less than 10 %, and down again."""
    steps: list[Step] = []
    rates: dict[int, float] = {}
    for count in COUNTS:
        rates[count] = rate(count) * math.exp(rng.gauss(0, noise))
        steps.append(_step(rates[count], count))
        lower = [found for fewer, found in rates.items() if fewer <= count // 4]
        if lower and rates[count] < GAIN * max(lower):
            break
    steps += [_step(rate(count) * math.exp(rng.gauss(0, noise)), count) for count in rates]
    return scaling.points_of(steps)


def _step(rate: float, workers: int) -> Step:
    marks_ns = tuple(round(number / rate * 1e9) for number in range(1, 6))
    reading = StretchReading(marks_ns=(marks_ns,), queued_ns=0, process_cpu_ns=0)
    return Step(workers=workers, begin_ns=0, settled_ns=0, until_ns=marks_ns[-1], calls_per_mark=1, readings=(reading,))


def shares(law: Law, noise: float, repeat: int) -> Shares:
    """Simulate so many curves of a law, each with a seed of its own."""
    best = max(map(law.rate, COUNTS))
    right = next(at for at, count in enumerate(COUNTS) if law.rate(count) >= (scaling.ENOUGH - ABOUT) * best)
    distances: list[int | None] = []
    laws: list[bool] = []
    within: dict[str, list[bool]] = {name: [] for name, value in law.parameters.items() if value}
    for seed in range(repeat):
        points = ladder(law.rate, noise, random.Random(seed))
        enough = scaling.enough_workers(points)
        distances.append(None if enough is None else abs(COUNTS.index(enough) - right))
        if len(points) < scaling_laws.FEWEST_POINTS:
            continue
        fit = scaling_laws.best_fit(points)
        laws.append(fit is not None and fit.law == law.model)
        if fit is not None and fit.law == law.model:
            for name, found in within.items():
                found.append(abs(fit.parameters[name] - law.parameters[name]) <= 2 * fit.errors[name])
    return Shares(
        right=_share([one == 0 for one in distances]),
        neighbour=_share([one == 1 for one in distances]),
        wrong=_share([one is not None and one > 1 for one in distances]),
        open=_share([one is None for one in distances]),
        law=_share(laws) if laws else None,
        within={name: _share(found) for name, found in within.items() if found},
    )


def _share(held: Sequence[bool]) -> float:
    return sum(held) / len(held)


def table(found: dict[tuple[str, float], Shares]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| law | noise | right | neighbour | wrong | open | law named | within two standard errors |"
    yield "|---|---|---|---|---|---|---|---|"
    for (name, noise), one in found.items():
        within = ", ".join(f"{key} {share:.0%}" for key, share in one.within.items())
        numbers = " | ".join(f"{share:.1%}" for share in one[:4])
        yield f"| {name} | {noise:.0%} | {numbers} | {'' if one.law is None else f'{one.law:.0%}'} | {within} |"


def main() -> int:
    """Print the table; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=200)
    repeat = parser.parse_args().repeat
    found = {(name, noise): shares(law, noise, repeat) for name, law in LAWS.items() for noise in NOISES}
    print(*table(found), sep="\n")
    missed = [
        f"{name}, noise {noise:.0%}"
        for (name, noise), one in found.items()
        if one.wrong > WRONG_BAR[noise] or min(one.within.values(), default=1.0) < COVERAGE_BAR
    ]
    print("", f"bars missed: {'; '.join(missed) or 'none'}", sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

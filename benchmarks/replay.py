"""Judge a corpus again, with the statistics and the judge as they stand. ``record.py`` makes the corpus.

    python benchmarks/replay.py                        # half of the workloads: the half to work with
    python benchmarks/replay.py --held-out             # the other half, to be looked at only at the end
    python benchmarks/replay.py --folder corpus --list

Each probe is judged after every round, as a session does, and stops where the code would have stopped. Wrong is an
answer that the rule gives for no speed-ups within 10 % of the truth. An interval counts as one that holds the truth if
it does within the truth's own standard error. Nothing is timed, so that the machine need not be quiet. Prints Markdown;
exit status 1 if an answer is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from pytest_gilprobe.model import evidence_file  # noqa: E402 - the checkout beside this file
from pytest_gilprobe.model.evidence import EvidenceRecord  # noqa: E402
from pytest_gilprobe.model.readings import BatchReading, Evidence, Measurement  # noqa: E402
from pytest_gilprobe.model.words import INCONCLUSIVE, NextStep  # noqa: E402
from pytest_gilprobe.strategies.registry import BUILT_IN  # noqa: E402
from pytest_gilprobe.verdict.judge import judge  # noqa: E402
from pytest_gilprobe.verdict.results import evidence_of  # noqa: E402
from pytest_gilprobe.verdict.rule import at_corners  # noqa: E402

CORPUS: Final = ROOT / "benchmarks" / "corpus"
NEAR: Final = 1.1
"""A truth within this factor of a threshold may be taken for either side of it."""
MOST_ERROR: Final = 0.1
"""A true speed-up with a greater relative standard error than this is not held against intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What the code as it stands makes of one recorded probe.

    ``rounds`` is the number of rounds after which it stopped, ``right`` the answers that the truth allows, and
    ``caught`` tells of each interval whether it holds the truth: ``bare`` calls, or in a ``pool``.
    """

    name: str
    condition: str
    strategy: str
    right: frozenset[str]
    rounds: int
    recorded: int
    caught: tuple[tuple[str, bool], ...]
    evidence: Evidence

    @property
    def open(self) -> bool:
        """Whether there is no answer."""
        return self.strategy == INCONCLUSIVE

    @property
    def wrong(self) -> bool:
        """Whether the answer is none of those that the truth allows."""
        return not self.open and self.strategy not in self.right


def is_held_out(name: str) -> bool:
    """Tell whether a workload belongs to the half that is set aside; by its name, so that it stays there."""
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 1


def replayed(folder: Path, *, held_out: bool) -> Iterator[Replayed]:
    """Judge one half of a corpus again."""
    for path in sorted(folder.glob("*.jsonl.gz")):
        label, _, condition = path.name.removesuffix(".jsonl.gz").partition("-")
        truths = json.loads((folder / f"{label}-truth.json").read_text("ascii"))["workloads"]
        for record in evidence_file.read_records(path):
            truth = truths.get(record.nodeid, {"disturbed": True})
            if is_held_out(record.nodeid) is held_out and record.can_be_judged and not truth["disturbed"]:
                yield judged(record, truth, f"{label} {condition}")


def judged(record: EvidenceRecord, truth: dict[str, Any], condition: str) -> Replayed:
    """Judge one probe after every round until the code would stop; compare it with the truth."""
    assert record.measurement is not None
    assert record.machine is not None
    strategies = tuple(BUILT_IN[name] for name in record.strategies if name in BUILT_IN)
    rounds = len(record.measurement.rounds)
    for number in range(1, rounds + 1):
        evidence = evidence_of(until(record.measurement, number), record.machine, strategies)
        judgement = judge(evidence)
        if judgement.next_step is NextStep.STOP:
            break
    return Replayed(
        name=record.nodeid.rpartition("::")[2].removeprefix("test_workload"),
        condition=condition,
        strategy=judgement.verdict.strategy,
        right=right_answers(truth, evidence),
        rounds=number,
        recorded=rounds,
        caught=tuple(held(truth, evidence)),
        evidence=evidence,
    )


def until(measurement: Measurement, number: int) -> Measurement:
    """Return what had been measured before the round after this one."""
    rounds = measurement.rounds
    if number == len(rounds):
        return measurement
    end = min(map(begun, rounds[number].batches.values()))
    controls = tuple(one for one in measurement.controls if begun(one.alone) < end)
    return replace(measurement, rounds=rounds[:number], controls=controls)


def begun(batch: BatchReading) -> int:
    """Return when a batch began."""
    return min(lane.start_ns for lane in batch.lanes)


def right_answers(truth: dict[str, Any], evidence: Evidence) -> frozenset[str]:
    """Return the answers of the rule for speed-ups near the true ones, of the strategies that were tried."""
    tried = [one.name for one in evidence.strategies if evidence.results[one.name].pool_speedup is not None]
    intervals = {}
    for name in tried:
        if true := truth["pool"].get(name):
            factor = NEAR * (1 + 2 * true["error"])
            intervals[name] = (true["value"] / factor, true["value"] * factor)
    return frozenset(at_corners(intervals))


def held(truth: dict[str, Any], evidence: Evidence) -> Iterator[tuple[str, bool]]:
    """Tell for each interval of a speed-up whether it holds the truth."""
    for strategy in evidence.strategies:
        part = evidence.results[strategy.name]
        for kind, found in (("bare", part.speedup), ("pool", part.pool_speedup)):
            true = truth[kind].get(strategy.name)
            if found is not None and true is not None and true["error"] <= MOST_ERROR:
                value, error = true["value"], 1 + true["error"]
                yield kind, found.low / error <= value <= found.high * error


def table(found: Sequence[Replayed]) -> Iterator[str]:
    """Draw a line for each condition."""
    yield "| condition | probes | wrong | open | rounds (median, most) | bare intervals hold | pool intervals hold |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    by_condition: defaultdict[str, list[Replayed]] = defaultdict(list)
    for one in found:
        by_condition[one.condition].append(one)
    for condition, some in [*by_condition.items(), ("all", list(found))]:
        rounds = [one.rounds for one in some if not one.open]
        needed = f"{median(rounds):g}, {max(rounds)}" if rounds else ""
        wrong, left = sum(one.wrong for one in some), sum(one.open for one in some)
        shares = " | ".join(share(some, kind) for kind in ("bare", "pool"))
        yield f"| {condition} | {len(some)} | {wrong} | {left} | {needed} | {shares} |"


def share(found: Sequence[Replayed], kind: str) -> str:
    """Say which share of the intervals of one kind holds the truth."""
    caught = [held for one in found for its, held in one.caught if its == kind]
    return f"{sum(caught) / len(caught):.0%} of {len(caught)}" if caught else ""


def line(one: Replayed) -> str:
    """Describe one probe."""
    speedups = ", ".join(
        f"{name} {part.pool_speedup.value:.2f} [{part.pool_speedup.low:.2f}, {part.pool_speedup.high:.2f}]"
        for name, part in one.evidence.results.items()
        if part.pool_speedup is not None
    )
    said = "open" if one.open else f"**{one.strategy}**" if one.wrong else one.strategy
    right = " or ".join(sorted(one.right))
    return f"| {one.name} | {one.condition} | {said} | {right} | {one.rounds} of {one.recorded} | {speedups} |"


def main() -> int:
    """Judge the corpus, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=CORPUS, help="where the corpus is (default: benchmarks/corpus)")
    parser.add_argument("--held-out", action="store_true", help="judge the half of the workloads that is set aside")
    parser.add_argument("--list", action="store_true", help="list every probe, not only wrong and open ones")
    asked = parser.parse_args()
    found = list(replayed(asked.folder, held_out=asked.held_out))
    if not found:
        msg = f"{asked.folder}: no corpus whose truths are known; benchmarks/record.py makes one"
        raise SystemExit(msg)
    print("\n".join(table(found)))
    listed = [one for one in found if asked.list or one.wrong or one.open]
    if listed:
        print("\n| workload | condition | said | right | rounds | speed-ups in a pool |\n|---|---|---|---|---|---|")
        print("\n".join(map(line, sorted(listed, key=lambda one: (not one.wrong, one.name)))))
    return 1 if any(one.wrong for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())

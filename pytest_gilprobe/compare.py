"""Reports to one comparison, or the reason why they cannot be compared.

Each report is held against one other, its reference: the first report given, or, for a run without GIL, a run of the
same Python version with GIL where there is one. Speed-ups are ratios within one run and are compared always where the
worker counts agree; absolute times only between machines that look alike, and then as ratios.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_gilprobe.comparison import Change, ChangeKind, Column, CompareError, Comparison, Reservation, Row
from pytest_gilprobe.model import (
    Environment,
    Estimate,
    Outcome,
    ProcessesResult,
    Recommendation,
    Report,
    Status,
    Strategy,
    ThreadsResult,
    WorkloadResult,
)

LEAST_DIFFERENCE = 0.05
"""A ratio nearer to 1 is never called a difference: intervals of one run do not hold the drift between two runs."""
_CEILINGS_DIFFER = 0.15
_FEWEST = 2


def compare(reports: Sequence[tuple[str, Report]]) -> Comparison:
    """Set reports side by side.

    Args:
        reports: at least two, each with a name to tell it by (its file, say); the first is the reference.

    Raises:
        CompareError: fewer than two reports, different schema versions, or no workload in two of them.
    """
    if len(reports) < _FEWEST:
        msg = f"nothing to compare: found {len(reports)} report, needed: at least {_FEWEST}"
        raise CompareError(msg)
    _refuse_other_schema(reports)
    columns = _columns(reports)
    found = [{workload.nodeid: workload for workload in report.workloads} for _, report in reports]
    shared = [nodeid for nodeid in _in_order(found) if sum(nodeid in each for each in found) >= _FEWEST]
    if not shared:
        sets = ", ".join(f"{name} has {len(each)}" for (name, _), each in zip(reports, found, strict=True))
        msg = f"nothing to compare: no workload is in two of the reports ({sets})"
        raise CompareError(msg)
    rows = tuple(_row(nodeid, columns, tuple(each.get(nodeid) for each in found)) for nodeid in shared)
    common = set(shared)
    return Comparison(
        columns=columns,
        rows=rows,
        changes=tuple(change for row in rows for change in _changes(row, columns)),
        warnings=tuple(_warnings(columns, rows)),
        unshared=tuple(tuple(nodeid for nodeid in each if nodeid not in common) for each in found),
    )


def alike(one: Environment, other: Environment) -> bool:
    """Tell whether two runs look as if made on one machine, so that their absolute times may be held together.

    True is no proof: two machines of one make look alike in what a report records.
    """
    return _machine(one) == _machine(other)


def ratio(after: Estimate | None, before: Estimate | None) -> Estimate | None:
    """Divide two independent estimates; the interval holds every ratio of values from both intervals.

    So two 95 % intervals give one that is wider than 95 % needs: a difference is called real later rather than
    earlier (two disjoint 95 % intervals of equal width are a difference at about p = 0.006). ``None`` where either is
    missing or reaches down to zero. *Source*: interval arithmetic; Cumming and Finch, "Inference by eye", 2005.
    """
    if after is None or before is None or after.low <= 0 or before.low <= 0:
        return None
    try:
        return Estimate(
            value=after.value / before.value,
            low=after.low / before.high,
            high=after.high / before.low,
            confidence=min(after.confidence, before.confidence),
        )
    except (ValueError, OverflowError, ZeroDivisionError):
        return None


def differs(compared: Estimate | None) -> bool:
    """Tell whether a ratio is a real difference: its interval leaves out 1, and its value is 5 % from it or more."""
    if compared is None or compared.low <= 1 <= compared.high or compared.value <= 0:
        return False
    return max(compared.value, 1 / compared.value) >= 1 + LEAST_DIFFERENCE


def label(environment: Environment) -> str:
    """Name a Python shortly: ``3.13``, ``3.13t`` for a free-threaded build, ``3.13t GIL on`` where its GIL is on."""
    version = ".".join(environment.python.split(".")[:2])
    if not environment.free_threaded_build:
        return version if environment.gil_enabled else f"{version} GIL off"
    return f"{version}t GIL on" if environment.gil_enabled else f"{version}t"


# Columns


def _refuse_other_schema(reports: Sequence[tuple[str, Report]]) -> None:
    (first_name, first), *others = reports
    for name, report in others:
        if report.schema_version != first.schema_version:
            msg = (
                f"{name}: schema_version: found {report.schema_version}, allowed: {first.schema_version}"
                f" as in {first_name}"
            )
            raise CompareError(msg)


def _columns(reports: Sequence[tuple[str, Report]]) -> tuple[Column, ...]:
    environments = [report.environment for _, report in reports]
    names = [f"{at}. {name}" for at, (name, _) in enumerate(reports, 1)]
    labels = _unique(
        [label(each) for each in environments],
        [f"{label(each)} ({each.python})" for each in environments],
        [f"{label(each)} ({name})" for each, (name, _) in zip(environments, reports, strict=True)],
        names,
    )
    return tuple(
        Column(label=said, name=name, report=report, reference=_reference(at, environments))
        for at, (said, (name, report)) in enumerate(zip(labels, reports, strict=True))
    )


def _unique(*choices: list[str]) -> list[str]:
    """Take the first way of naming in which no two reports share a name."""
    return next((labels for labels in choices if len(set(labels)) == len(labels)), choices[-1])


def _reference(at: int, environments: Sequence[Environment]) -> int | None:
    if at == 0:
        return None
    own = environments[at]
    if own.gil_enabled:
        return 0
    siblings = [
        position
        for position, other in enumerate(environments)
        if other.gil_enabled and _version(other) == _version(own) and alike(own, other)
    ]
    return min(siblings, key=lambda position: environments[position].free_threaded_build, default=0)


def _version(environment: Environment) -> tuple[str, ...]:
    return (environment.implementation, *environment.python.split(".")[:2])


def _machine(environment: Environment) -> tuple[object, ...]:
    return (_system(environment), environment.machine, environment.cpus_usable, environment.cpus_logical)


def _system(environment: Environment) -> str:
    """Name the system without its C library: `platform.platform` tells the one that this Python was linked to."""
    return environment.platform.partition("-with-")[0]


# Rows


def _in_order(found: Iterable[dict[str, WorkloadResult]]) -> Iterator[str]:
    seen: set[str] = set()
    for each in found:
        yield from (nodeid for nodeid in each if nodeid not in seen)
        seen.update(each)


def _row(nodeid: str, columns: Sequence[Column], cells: tuple[WorkloadResult | None, ...]) -> Row:
    return Row(
        nodeid=nodeid,
        cells=cells,
        serial_ratios=tuple(_serial_ratio(column, columns, cells, at) for at, column in enumerate(columns)),
    )


def _serial_ratio(
    column: Column, columns: Sequence[Column], cells: Sequence[WorkloadResult | None], at: int
) -> Estimate | None:
    if column.reference is None:
        return None
    new, old = cells[at], cells[column.reference]
    if new is None or old is None or new.serial is None or old.serial is None:
        return None
    if not alike(column.report.environment, columns[column.reference].report.environment):
        return None
    return ratio(new.serial.wall_s_per_call, old.serial.wall_s_per_call)


# Changes


def _changes(row: Row, columns: Sequence[Column]) -> Iterator[Change]:
    for at, column in enumerate(columns):
        reference = column.reference
        if reference is None:
            continue
        new, old = row.cells[at], row.cells[reference]
        if new is None or old is None or Status.PROBED not in (new.status, old.status):
            continue
        if new.status is old.status:
            yield from _changes_between(new, old, row.serial_ratios[at], at, reference)


def _changes_between(
    new: WorkloadResult, old: WorkloadResult, serial: Estimate | None, column: int, reference: int
) -> Iterator[Change]:
    def change(kind: ChangeKind, **what: object) -> Change:
        return Change(kind=kind, nodeid=new.nodeid, column=column, reference=reference, **what)  # type: ignore[arg-type]

    parts = [change(ChangeKind.OUTCOME, **what) for what in _outcomes(new, old)]
    parts += [change(ChangeKind.SPEEDUP, **what) for what in _speedups(new, old)]
    unknown = Recommendation.INCONCLUSIVE
    if new.verdict.strategy is not old.verdict.strategy and unknown not in (new.verdict.strategy, old.verdict.strategy):
        yield change(
            ChangeKind.MOVED,
            before=str(old.verdict.strategy),
            after=str(new.verdict.strategy),
            real=bool(parts) or differs(serial),
        )
    yield from parts
    if serial is not None and differs(serial):
        yield change(ChangeKind.SERIAL, ratio=serial, strategy=Strategy.SERIAL, worse=serial.value > 1)


def _outcomes(new: WorkloadResult, old: WorkloadResult) -> Iterator[dict[str, object]]:
    for strategy in (Strategy.THREADS, Strategy.PROCESSES):
        after, before = part(new, strategy).outcome, part(old, strategy).outcome
        if after is not before and Outcome.SKIPPED not in (after, before):
            worse = before is Outcome.OK
            yield {"strategy": strategy, "before": str(before), "after": str(after), "worse": worse}


def _speedups(new: WorkloadResult, old: WorkloadResult) -> Iterator[dict[str, object]]:
    if new.workers != old.workers:
        return
    for strategy in (Strategy.THREADS, Strategy.PROCESSES):
        compared = ratio(part(new, strategy).speedup, part(old, strategy).speedup)
        if compared is not None and differs(compared):
            worse = compared.value < 1 and str(old.verdict.strategy) == str(strategy)
            yield {"strategy": strategy, "ratio": compared, "worse": worse}


def part(result: WorkloadResult, strategy: Strategy) -> ThreadsResult | ProcessesResult:
    """Give what a workload did in threads or in processes."""
    return result.threads if strategy is Strategy.THREADS else result.processes


# Reservations


def _warnings(columns: Sequence[Column], rows: Sequence[Row]) -> Iterator[Reservation]:
    environments = [column.report.environment for column in columns]
    machines = tuple(f"{_system(each)}, {each.cpus_usable} of {each.cpus_logical} CPUs" for each in environments)
    candidates = [
        ("machines-differ", machines),
        ("start-methods-differ", tuple(each.start_method for each in environments)),
        ("versions-differ", tuple(column.report.tool_version for column in columns)),
    ]
    for slug, values in candidates:
        if len(set(values)) > 1:
            yield Reservation(slug=slug, values=values)
    if any(len({cell.workers for cell in row.cells if cell and cell.serial}) > 1 for row in rows):
        yield Reservation(slug="workers-differ", values=tuple(_workers(column.report) for column in columns))
    if _ceilings_differ(environments):
        ceilings = (each.scaling_ceiling for each in environments)
        values = tuple("n/a" if ceiling is None else f"{ceiling:.2f}x" for ceiling in ceilings)
        yield Reservation(slug="ceilings-differ", values=values)


def _workers(report: Report) -> str:
    found = sorted({workload.workers for workload in report.workloads if workload.serial})
    return " to ".join(map(str, dict.fromkeys(found[:1] + found[-1:]))) or "none"


def _ceilings_differ(environments: Iterable[Environment]) -> bool:
    """Tell whether the same control ran differently well: then a machine was busy in one run and not in another."""
    by_workers: dict[int | None, list[float]] = {}
    for each in environments:
        if each.scaling_ceiling:
            by_workers.setdefault(each.ceiling_workers, []).append(each.scaling_ceiling)
    return any(min(found) < max(found) * (1 - _CEILINGS_DIFFER) for found in by_workers.values())

"""Write and read the file in which pytest passes its tests' times to its watcher: a line of JSON, then numbers.

The numbers are binary, 20 bytes for each test, so that writing them for a large suite takes little memory and time.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_gilprobe.model.suite_times import Cost, SuiteTimes
from pytest_gilprobe.scan.messages import from_text, to_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


NAME: Final = "suite.times"
"""Name of the file with the tests' times, in a scan's temporary folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """All of `SuiteTimes` but what has one value for each test; ``tests`` is their number."""

    start: Cost
    collection: Cost
    tests: int
    fixture_sets: tuple[tuple[int, ...], ...]
    fixtures: tuple[Cost, ...]
    names: tuple[tuple[int, str], ...]


def write(path: Path, times: SuiteTimes) -> None:
    """Write ``times`` to the file ``path``. Raises `OSError` if the file cannot be written."""
    head = _Head(
        start=times.start,
        collection=times.collection,
        tests=len(times.walls_s),
        fixture_sets=times.fixture_sets,
        fixtures=times.fixtures,
        names=tuple(times.names.items()),
    )
    with path.open("wb") as file:
        file.write(to_text(head).encode("ascii") + b"\n")
        for column in _columns(times.walls_s, times.cpus_s, times.needs):
            file.write(column.tobytes())


def read(path: Path) -> SuiteTimes:
    """Return the times that `write` wrote to the file ``path``.

    Raises `OSError` if the file cannot be read, and `ValueError` if it is cut off or `write` did not write it.
    """
    with path.open("rb") as file:
        head = from_text(_Head, file.readline().decode("ascii"))
        columns = _columns((), (), ())
        for column in columns:
            numbers = file.read(column.itemsize * head.tests)
            if len(numbers) < column.itemsize * head.tests:
                msg = f"{path}: the times of {head.tests} tests are cut off"
                raise ValueError(msg)
            column.frombytes(numbers)
    walls_s, cpus_s, needs = columns
    return SuiteTimes(
        start=head.start,
        collection=head.collection,
        walls_s=walls_s,
        cpus_s=cpus_s,
        needs=needs,
        fixture_sets=head.fixture_sets,
        fixtures=head.fixtures,
        names=dict(head.names),
    )


def _columns(
    walls_s: Sequence[float], cpus_s: Sequence[float], needs: Sequence[int]
) -> tuple[array[float], array[float], array[int]]:
    """Return the columns as arrays; a column that is an array already is not copied."""
    return (
        walls_s if isinstance(walls_s, array) else array("d", walls_s),
        cpus_s if isinstance(cpus_s, array) else array("d", cpus_s),
        needs if isinstance(needs, array) else array("I", needs),
    )

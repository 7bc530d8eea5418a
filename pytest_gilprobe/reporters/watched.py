"""Draw what `gilprobe watch` saw: one line while it looks, a summary at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from pytest_gilprobe.model import Estimate
from pytest_gilprobe.reporters import numbers
from pytest_gilprobe.reporters.inert import encodable, inert
from pytest_gilprobe.reporters.screen import Page, table, text

_BARS: Final = " ▁▂▃▄▅▆▇█"
_PLAIN_BARS: Final = " .:-=+*#@"
_MOST_THREADS: Final = 30
_LIVE_COLUMNS: Final = 10
_MOST_LIVE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedThread:
    """One thread: shares of the time that was watched. ``held`` is its own; None is what could not be told.

    Without a ``tid`` it is several, which have ended or were too short to be told apart.
    """

    tid: int | None
    name: str
    held: float | None
    cpu: float
    run_queue: float
    waiting: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedView:
    """A watch, ready to draw."""

    headline: str
    short: str
    unwatched: str
    curve: tuple[float | None, ...]
    curve_step: str
    threads: tuple[WatchedThread, ...]


def view(  # noqa: PLR0913 - the fields of what is drawn, by name
    *,
    pid: int,
    wall_s: float,
    held: Estimate | None,
    unwatched: str | None,
    curve: Sequence[float | None],
    cpu: float | None,
    count: int,
    threads: Sequence[WatchedThread],
) -> WatchedView:
    """Lay a watch out: the threads that held the GIL longest come first.

    ``cpu`` is the process's, threads too short to be seen counted; the sum of ``threads`` stands in where it is None.
    """
    cpu = sum(thread.cpu for thread in threads) if cpu is None else cpu
    waiting = sum(thread.waiting or 0.0 for thread in threads)
    share = f"GIL held {numbers.percent(held.value)} of the time" if held else "GIL not seen"
    interval = f" {numbers.interval(held)}" if held else ""
    busy = f"CPU {numbers.percent(cpu)} of one core"
    waits = f", {waiting:.1f} of {numbers.count(count, 'thread')} waiting for the GIL on average"
    return WatchedView(
        headline=f"gilprobe watch: process {pid}, {numbers.seconds(wall_s)}: {share}{interval}, {busy}{waits}",
        short=f"gilprobe: {wall_s:.0f} s  GIL {numbers.percent(held.value if held else None)}  {busy}"
        f"  {numbers.count(count, 'thread')}, {waiting:.1f} waiting",
        unwatched=f"the GIL was {'watched at first only' if held else 'not watched'}: {inert(unwatched)}"
        if unwatched
        else "",
        curve=tuple(curve),
        curve_step=numbers.seconds(wall_s / len(curve)) if curve else "",
        threads=tuple(sorted(threads, key=lambda thread: (-(thread.held or 0), -thread.cpu))),
    )


def live_line(seen: WatchedView, *, width: int, encoding: str = "utf-8") -> str:
    """Say how it stands, on one line: the whole, the last moments, and as many of the threads as have room."""
    room = max(width - 1, 0)
    line = seen.short[:room]
    holders = (f"{thread.tid} {inert(thread.name)} {numbers.percent(thread.held)}" for thread in seen.threads)
    page = Page(width=max(width, 40), encoding=encoding)
    for piece in (_bars(seen, encoding)[-_LIVE_COLUMNS:], *map(page.fit, islice(holders, _MOST_LIVE))):
        if piece and len(line) + len(piece) + 2 <= room:
            line += f"  {piece}"
    return line


def draw(seen: WatchedView, *, width: int = 80, encoding: str = "utf-8") -> str:
    """Draw the summary: the whole, the curve over time, the threads."""
    page = Page(width=max(width, 40), encoding=encoding)
    lines = page.wrap(seen.headline)
    lines += page.wrap(seen.unwatched) if seen.unwatched else []
    if any(point is not None for point in seen.curve):
        lines += [f"GIL held over time, {page.fit(seen.curve_step)} a column, from none to all:", _bars(seen, encoding)]
    rows = [_row(thread, page) for thread in seen.threads[:_MOST_THREADS]]
    drawn = "\n".join(lines) + "\n"
    if rows:
        headers = ("thread", "GIL held", "CPU", "run queue", "waiting for the GIL")
        drawn += text(table(headers, rows, [{}] * len(rows), page.width), color=False)
    if len(seen.threads) > _MOST_THREADS:
        drawn += f"and {len(seen.threads) - _MOST_THREADS} more threads\n"
    return drawn


def _bars(seen: WatchedView, encoding: str) -> str:
    bars = _BARS if encodable(_BARS, encoding) == _BARS else _PLAIN_BARS
    return "".join("?" if point is None else bars[round(point * (len(bars) - 1))] for point in seen.curve)


def _row(thread: WatchedThread, page: Page) -> tuple[str, ...]:
    return (
        page.fit(inert(thread.name) if thread.tid is None else f"{thread.tid} {inert(thread.name)}"),
        numbers.percent(thread.held),
        numbers.percent(thread.cpu),
        numbers.percent(thread.run_queue),
        numbers.percent(thread.waiting),
    )

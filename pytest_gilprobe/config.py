"""What the user asked for: options and marker keywords read, checked and resolved to a Plan."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_gilprobe.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_gilprobe.model import Bound, FailOn, Strategy

MOST_WORKERS = 256
"""More workers than this are refused: a typing error would otherwise start thousands of processes."""
PROOF_TIMES = 2
"""So many times as long as a probe's default may one take that has no answer to what is expected, or contradicts it and
cannot exclude it yet.

A lock put around the hot loop, beside a busy loop on each of two CPUs: the gate failed in 193 of 200 probes of up to 5
s, in 195 where only contradictions had 10 s, in 200 of 200 where open answers had them too; half of them took 3 s or
less. *Source:* ``benchmarks/gate_rates.py``.
"""
START_METHODS = ("fork", "forkserver", "spawn")

_ON = frozenset({"1", "true", "yes", "on"})
_OFF = frozenset({"0", "false", "no", "off"})


class _Refused(ValueError):  # noqa: N818 - what it says is what is allowed, not an error
    """A value that is not allowed; the message says what is."""


def _switch(text: str) -> bool:
    if text.strip().lower() in _ON | _OFF:
        return text.strip().lower() in _ON
    msg = "true or false"
    raise _Refused(msg)


def _seconds(text: object) -> float:
    msg = "a number of seconds above 0"
    if isinstance(text, bool):
        raise _Refused(msg)
    try:
        seconds = float(text)  # type: ignore[arg-type]  # what is no number raises, as wanted
    except (TypeError, ValueError):
        raise _Refused(msg) from None
    if not (math.isfinite(seconds) and seconds > 0):
        raise _Refused(msg)
    return seconds


def _workers(text: object) -> int | None:
    """Read a number of workers; None is ``auto``."""
    if text == "auto":
        return None
    msg = f"'auto' or a whole number from 2 to {MOST_WORKERS} (with one worker there is nothing to compare)"
    try:
        number = int(text) if isinstance(text, int | str) and not isinstance(text, bool) else 0
    except ValueError:
        raise _Refused(msg) from None
    if not 2 <= number <= MOST_WORKERS:  # noqa: PLR2004 - the contract's least number
        raise _Refused(msg)
    return number


def _start_method(text: str) -> str:
    import multiprocessing  # noqa: PLC0415 - heavy, and rarely asked for

    allowed = multiprocessing.get_all_start_methods()
    if text not in allowed:
        msg = "one of " + ", ".join(repr(method) for method in START_METHODS if method in allowed)
        raise _Refused(msg)
    return text


def _folder(text: str) -> Path:
    if not text.strip():
        msg = "the path of a folder"
        raise _Refused(msg)
    return Path(text)


def _file(text: str) -> Path:
    if not text.strip():
        msg = "the path of a gilprobe.json"
        raise _Refused(msg)
    return Path(text)


def _fail_on(text: str) -> frozenset[FailOn]:
    from pytest_gilprobe.model import FailOn  # noqa: PLC0415 - heavy, and a scan needs none of it

    found = [word.strip() for word in text.split(",") if word.strip()]
    allowed = [str(one) for one in FailOn]
    if any(word not in allowed for word in found):
        msg = "of " + ", ".join(map(repr, allowed)) + ", with commas between"
        raise _Refused(msg)
    return frozenset(FailOn(word) for word in found)


def _strategies(value: object) -> frozenset[Strategy]:
    from pytest_gilprobe.model import Strategy  # noqa: PLC0415 - heavy, and a scan needs none of it

    found = (value,) if isinstance(value, str) else value
    allowed = [str(strategy) for strategy in Strategy]
    if not isinstance(found, list | tuple | set | frozenset) or not found or any(one not in allowed for one in found):
        msg = "one or more of " + ", ".join(map(repr, allowed))
        raise _Refused(msg)
    return frozenset(Strategy(one) for one in found)


def _bound(value: object) -> Bound:
    from pytest_gilprobe.model import Bound  # noqa: PLC0415 - heavy, and a scan needs none of it

    allowed = [str(bound) for bound in Bound if bound is not Bound.INCONCLUSIVE]
    if value not in allowed:
        msg = "one of " + ", ".join(map(repr, allowed))
        raise _Refused(msg)
    return Bound(str(value))


def _factor(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        msg = "a number above 0, such as 1.5"
        raise _Refused(msg)
    return float(value)


_READERS: dict[str, Callable[[str], Any]] = {
    "switch": _switch,
    "folder": _folder,
    "workers": _workers,
    "seconds": _seconds,
    "start_method": _start_method,
    "fail_on": _fail_on,
    "file": _file,
}
"""By what `pytest_gilprobe.options.Option.reads` says."""

KEYWORDS: dict[str, Callable[[Any], Any]] = {
    "workers": _workers,
    "max_time": _seconds,
    "strategies": _strategies,
    "expect": _strategies,
    "expect_bound": _bound,
    "min_speedup": _factor,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What flags and ini file ask for in this session. ``workers`` and ``start_method``: None is automatic."""

    report: bool
    report_dir: Path
    disable: bool
    probe_all: bool
    scan: bool
    ab_gil: bool
    workers: int | None
    max_time_s: float
    proof_time_s: float
    """What a probe may take where something expected is contradicted: longer only if nobody set a time."""
    timeout_s: float
    start_method: str | None
    fail_on: frozenset[FailOn]
    baseline: Path | None
    changed: tuple[str, ...]
    """``name=value`` of each option that differs from its default, for the report header."""

    @classmethod
    def from_pytest(cls, config: pytest.Config) -> Settings:
        """Resolve every option: flag before ini before default.

        Raises `pytest.UsageError` naming the flag or ini key, what was found and what is allowed.
        """
        values: dict[str, Any] = {}
        changed, given = [], set()
        for option in OPTIONS:
            flag, ini = config.getoption(option.ini), str(config.getini(option.ini))
            text = flag if flag is not None else ini or option.default
            try:
                values[option.name] = _READERS[option.reads](text) if text or flag is not None else None
            except _Refused as allowed:
                where = option.flag if flag is not None else f"ini key {option.ini}"
                msg = f"{where}: found {text!r}, allowed: {allowed}"
                raise pytest.UsageError(msg) from None
            if flag is not None or ini:
                given.add(option.name)
            if text != option.default and values[option.name] is not False:
                changed.append(option.name if option.is_switch else f"{option.name}={text}")
        return cls(
            report=values["report"],
            report_dir=values["report-dir"],
            disable=values["disable"],
            probe_all=values["all"],
            scan=values["scan"],
            ab_gil=values["ab-gil"],
            workers=values["workers"],
            max_time_s=values["max-time"],
            proof_time_s=values["max-time"] * (1 if "max-time" in given else PROOF_TIMES),
            timeout_s=values["timeout"],
            start_method=values["start-method"],
            fail_on=values["fail-on"] or frozenset(),
            baseline=values["baseline"],
            changed=tuple(changed),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What the marker's author expects of the verdict; None and empty expect nothing."""

    strategies: frozenset[Strategy] = frozenset()
    bound: Bound | None = None
    min_speedup: float | None = None

    @property
    def says_anything(self) -> bool:
        """Whether there is something to hold a verdict against."""
        return bool(self.strategies or self.bound is not None or self.min_speedup is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How one workload is to be probed: marker before flag before ini before default."""

    nodeid: str
    workers: int
    max_time_s: float
    timeout_s: float
    proof_time_s: float = 0.0
    """What it may take where something expected is contradicted and not excluded yet; less than the above is as much.
    """
    strategies: frozenset[Strategy]
    expectation: Expectation


def read_marks(nodeid: str, marks: Iterable[pytest.Mark]) -> dict[str, Any]:
    """Merge the ``gilprobe`` marks of one test, the closest first; a closer keyword wins.

    Raises `pytest.UsageError` naming the test, the value and what is allowed.
    """
    merged: dict[str, Any] = {}
    for mark in marks:
        if mark.args:
            msg = f"{nodeid}: @pytest.mark.gilprobe takes keywords only, found {mark.args!r}, allowed: {_names()}"
            raise pytest.UsageError(msg)
        for keyword, value in mark.kwargs.items():
            if keyword not in KEYWORDS:
                msg = f"{nodeid}: @pytest.mark.gilprobe has no keyword {keyword!r}, allowed: {_names()}"
                raise pytest.UsageError(msg)
            try:
                read = KEYWORDS[keyword](value)
            except _Refused as allowed:
                msg = f"{nodeid}: @pytest.mark.gilprobe({keyword}=...): found {value!r}, allowed: {allowed}"
                raise pytest.UsageError(msg) from None
            merged.setdefault(keyword, read)
    return merged


def check(name: str, reads: str, value: object) -> Any:
    """Read a setting that comes from Python code, by the reader that the flag of the same meaning has.

    Raises `GilprobeError` naming the setting, what was found and what is allowed.
    """
    try:
        return _READERS[reads](value)  # type: ignore[arg-type]  # what is no text is refused, or read as it is
    except _Refused as allowed:
        from pytest_gilprobe.model import GilprobeError  # noqa: PLC0415 - heavy, and a scan needs none of it

        msg = f"{name}: found {value!r}, allowed: {allowed}"
        raise GilprobeError(msg) from None


def refuse(message: str) -> NoReturn:
    """Raise `pytest.UsageError` for a setting that cannot be followed."""
    raise pytest.UsageError(message)


def _names() -> str:
    return ", ".join(KEYWORDS)


def plan_for(nodeid: str, keywords: dict[str, Any], settings: Settings, cpus: int) -> Plan:
    """Resolve one workload's plan from its marks' keywords, the settings and the usable CPUs."""
    from pytest_gilprobe.model import Strategy  # noqa: PLC0415 - heavy, and a scan needs none of it

    workers = keywords.get("workers", settings.workers)
    strategies = keywords.get("strategies", frozenset(Strategy)) | {Strategy.SERIAL}
    expected = keywords.get("expect", frozenset())
    tried = ", ".join(repr(one.value) for one in Strategy if one in strategies)
    if expected and not expected & strategies:
        wanted = ", ".join(repr(one.value) for one in Strategy if one in expected)
        refuse(f"{nodeid}: @pytest.mark.gilprobe expects {wanted}, but strategies= tries only {tried}")
    if "min_speedup" in keywords and not (expected or strategies) & strategies - {Strategy.SERIAL}:
        refuse(f"{nodeid}: @pytest.mark.gilprobe(min_speedup=...) wants threads or processes, found {tried} only")
    return Plan(
        nodeid=nodeid,
        workers=workers if workers is not None else min(4, max(2, cpus)),
        max_time_s=keywords.get("max_time", settings.max_time_s),
        proof_time_s=keywords.get("max_time", settings.proof_time_s),
        timeout_s=settings.timeout_s,
        strategies=strategies,
        expectation=Expectation(
            strategies=expected,
            bound=keywords.get("expect_bound"),
            min_speedup=keywords.get("min_speedup"),
        ),
    )

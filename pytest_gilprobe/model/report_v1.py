"""Convert version 1 of ``gilprobe.json`` to version 2, before its values are read and checked.

Version 1 had separate records for serial calls, threads and processes, which also held the values about the GIL.
"""

from __future__ import annotations

from pytest_gilprobe.model.codec import JsonObject
from pytest_gilprobe.model.words import INCONCLUSIVE, SERIAL, Outcome

VERSION = 1
_THREADS, _PROCESSES = "strategies.threads", "strategies.processes"
_SCAN_MOVE = ("scan.pools", "scan.groups")
_MOVES = (
    ("serial", "strategies.serial"),
    ("threads", _THREADS),
    ("processes", _PROCESSES),
    ("strategies.serial.native_cpu_share", "strategies.serial.extra_cores"),
    ("strategies.serial.gil_held_fraction", "gil.held_fraction"),
    ("strategies.serial.gil_method", "gil.method"),
    ("strategies.serial.longest_hold_s", "gil.longest_hold_s"),
    (f"{_THREADS}.ceiling", "gil.threads_ceiling"),
    (f"{_THREADS}.pool_speedup_least", f"{_THREADS}.pool_speedup_at_worst"),
    (f"{_THREADS}.pool_speedup_most", f"{_THREADS}.pool_speedup_at_best"),
    (f"{_THREADS}.hand_out_s_per_call", f"{_THREADS}.dispatch_s_per_call"),
    (f"{_PROCESSES}.hand_out_s_per_call", f"{_PROCESSES}.dispatch_s_per_call"),
    (f"{_PROCESSES}.over_threads", f"{_PROCESSES}.over.threads.ratio"),
    (f"{_PROCESSES}.over_threads_least", f"{_PROCESSES}.over.threads.at_worst"),
    (f"{_PROCESSES}.over_threads_most", f"{_PROCESSES}.over.threads.at_best"),
)
"""Where in a workload version 1 had a value, and where version 2 has it; in the order in which they are moved."""


def upgraded(top: JsonObject) -> JsonObject:
    """Convert a report's JSON object ``top`` from version 1 to version 2 in place, and return it.

    Damaged parts stay as they are: reading the values afterwards reports them.
    """
    workloads = top.get("workloads")
    for workload in workloads if isinstance(workloads, list) else ():
        if isinstance(workload, dict):
            _upgrade(workload)
    _move(top, *_SCAN_MOVE)
    return top


def place(path: str) -> str:
    """Convert a value's path in version 2 of ``gilprobe.json`` to the value's path in version 1.

    For instance, ``gil.threads_ceiling`` gives ``threads.ceiling``.
    """
    head, sep, at = path.partition("].") if path.startswith("workloads[") else ("", "", path)
    for old, new in (_SCAN_MOVE, *reversed(_MOVES)):
        if at.startswith(new):
            at = old + at.removeprefix(new)
    return head + sep + at


def _upgrade(workload: JsonObject) -> None:
    workload.update(strategies={}, gil={})
    serial = workload.get("serial")
    if serial is None:
        workload["serial"] = {"outcome": Outcome.SKIPPED.value, "error": workload.get("reason")}
    elif isinstance(serial, dict):
        serial["outcome"] = Outcome.OK.value
    verdict = workload.get("verdict")
    if isinstance(verdict, dict):
        advised = verdict.get("strategy")
        decided = isinstance(advised, str) and advised != INCONCLUSIVE
        verdict["candidates"] = {advised: 1.0} if decided else {}
        verdict["workers"] = (1 if advised == SERIAL else workload.get("workers")) if decided else None
    for old, new in _MOVES:
        _move(workload, old, new)


def _move(top: JsonObject, old: str, new: str) -> None:
    """Move a value from one path to another; leave it where there is none, or where it is null."""
    *folder, key = old.split(".")
    at: object = top
    for name in folder:
        at = at.get(name) if isinstance(at, dict) else None
    if not isinstance(at, dict) or at.get(key) is None:
        return
    value = at.pop(key)
    *folder, key = new.split(".")
    to = top
    for name in folder:
        if not isinstance(to.get(name), dict):
            to[name] = {}
        to = to[name]
    to[key] = value

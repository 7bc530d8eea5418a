"""Carry out ``gilprobe run``: import the function that the command line names, and probe it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model import values
from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.probing import named_function
from pytest_gilprobe.probing.function import Prober
from pytest_gilprobe.workers.naming import resolved

if TYPE_CHECKING:
    import argparse

    from pytest_gilprobe.probing.probed import Probed


def probed(arguments: argparse.Namespace) -> Probed:
    """Probe the function that the command line names; ``arguments`` are the parsed arguments of ``gilprobe run``.

    Raises `GilprobeError` for a value that is not allowed, or if the function cannot be measured.
    """
    listed = arguments.strategies
    prober = Prober(
        workers=arguments.workers,
        max_time=arguments.max_time,
        strategies=None if listed is None else values.check("--strategies", values.listed_strategies, listed),
        timeout=arguments.timeout,
        start_method=arguments.start_method,
        evidence=arguments.evidence is not None,
        scale=arguments.scale,
        executors=values.check("--executor", values.executors, arguments.executor),
    )
    sys.path[:0] = [""] if "" not in sys.path else []
    function = resolved(arguments.function)
    if arguments.fresh:
        return _fresh(prober, function, arguments)
    args, keywords = named_function.arguments_from(arguments.args_from) if arguments.args_from else ((), {})
    if callable(function):
        named_function.fit(arguments.function, function, args, keywords)
    return prober.probe(function, *args, **keywords)


def _fresh(prober: Prober, function: Any, arguments: argparse.Namespace) -> Probed:
    """Probe with new arguments for each call; raise `GilprobeError` if they cannot be had or do not fit."""
    if arguments.args_from:
        msg = "--fresh and --args-from both give the arguments, allowed: one of them"
        raise GilprobeError(msg)
    make, args = named_function.fresh_from(arguments.fresh)
    if callable(function):
        named_function.fit(arguments.function, function, args, {})
    return prober.fresh(function, make)

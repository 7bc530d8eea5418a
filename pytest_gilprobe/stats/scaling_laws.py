"""Fit laws of scaling to throughputs: a straight line, a hard limit, and the Universal Scalability Law.

A law gives the throughput by the number of workers. Every fit is of the logarithm of throughput, since throughputs have
relative errors, by Gauss and Newton's method. NumPy is not used: it must not be loaded in a process that still forks
workers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_gilprobe.model.scaling import ScalingPoint

FEWEST_POINTS = 4
"""Fewest points (throughputs with different numbers of workers) to which a law is fitted: fewer points fit any law."""
FITS = 0.08
"""A law fits throughputs if the root mean square of the logarithmic residuals is at most this: about the throughputs'
noise."""
STEPS = 40
"""Largest number of iterations of a fit: from the starting points that are used, 5 to 15 reach the minimum."""
_LEAST = 1e-9
"""Least value of a parameter in a fit, so that it has a logarithm: contention and coherency may be 0."""
_DELTA = 1e-6
"""Step of a numerical derivative by the logarithm of a parameter."""
_CONVERGED = 1e-5
"""A fit ends where no parameter changes by more than this share."""
_Law = Callable[[Sequence[float], float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A law of scaling, fitted to the throughputs that were measured with several numbers of workers.

    ``law`` is its name. The throughput of N workers, in calls per second, is per_worker * N for ``linear``, the smaller
    of per_worker * N and ceiling for ``capped``, and per_worker * N / (1 + contention * (N - 1) + coherency * N *
    (N - 1)) for ``usl``, the Universal Scalability Law. ``parameters`` has the values of these parameters by name,
    ``errors`` their standard errors: per_worker and ceiling in calls per second, the others without a unit.
    ``residual`` is the root mean square of the residuals of the throughput's natural logarithm: 0.05 is about 5 %.
    *Source:* N. J. Gunther, "A General Theory of Computational Scalability Based on Rational Functions", 2008.
    """

    law: str
    parameters: dict[str, float]
    errors: dict[str, float]
    residual: float

    @property
    def with_errors(self) -> dict[str, float]:
        """The parameters by name, each followed by its standard error under the same name with ``_se`` added."""
        return {
            key: value
            for name in self.parameters
            for key, value in ((name, self.parameters[name]), (f"{name}_se", self.errors[name]))
        }


def usl(parameters: Sequence[float], workers: float) -> float:
    """Return the throughput of a number of ``workers`` by the Universal Scalability Law, in calls per second.

    ``parameters`` are the throughput of one worker in calls per second, the contention and the coherency.
    """
    per_worker, contention, coherency = parameters
    return per_worker * workers / (1 + contention * (workers - 1) + coherency * workers * (workers - 1))


def capped(parameters: Sequence[float], workers: float) -> float:
    """Return the throughput of ``workers`` workers that do not hinder each other, up to a hard limit.

    ``parameters`` are the throughput of one worker, and the limit. All throughputs are in calls per second.
    """
    return min(parameters[0] * workers, parameters[1])


def linear(parameters: Sequence[float], workers: float) -> float:
    """Return the throughput of ``workers`` workers that do not hinder each other.

    ``parameters`` has one number, the throughput of one worker. Both throughputs are in calls per second.
    """
    return parameters[0] * workers


def best_fit(points: Sequence[ScalingPoint]) -> Fit | None:
    """Return the law that fits best, more parameters counting against it; ``None`` if none fits, or for too few points.

    ``points`` are throughputs with different numbers of workers. *Source:* the corrected information criterion of C. M.
    Hurvich and C.-L. Tsai, Biometrika 76, 1989. A noise of one percent is added to the residuals, so that no law wins
    by fitting noise.
    """
    if len(points) < FEWEST_POINTS:
        return None
    pairs = [(float(point.workers), point.throughput.value) for point in points]
    fits = [_linear(pairs), _capped(pairs), _usl(pairs)]
    fitting = [fit for fit in fits if fit is not None and fit.residual <= FITS]
    best = min(fitting, key=lambda fit: _criterion(fit, len(pairs)), default=None)
    return None if best is None else _with_noise_of(points, best)


def _with_noise_of(points: Sequence[ScalingPoint], fit: Fit) -> Fit:
    """Return a fit whose errors are no smaller than the points' intervals imply: few residuals may be small by chance.

    The half-width of a point's interval is about twice its standard error.
    """
    ends = [(point.throughput.low, point.throughput.high) for point in points if point.throughput.low > 0]
    known = fmean((math.log(high / low) / 4) ** 2 for low, high in ends) if ends else 0.0
    seen = fit.residual**2 * len(points) / max(1, len(points) - len(fit.parameters))
    wider = math.sqrt(max(1.0, known / max(seen, 1e-300)))
    return replace(fit, errors={name: error * wider for name, error in fit.errors.items()})


def _criterion(fit: Fit, number: int) -> float:
    used = len(fit.parameters)
    return number * math.log(fit.residual**2 + 1e-4) + 2 * used * number / max(number - used - 1, 0.5)


_Pairs = Sequence[tuple[float, float]]


def _linear(pairs: _Pairs) -> Fit | None:
    start = [math.exp(sum(math.log(rate / workers) for workers, rate in pairs) / len(pairs))]
    return _fitted("linear", linear, ("per_worker",), start, pairs)


def _capped(pairs: _Pairs) -> Fit | None:
    """Try every number of points on the slope; at least one point lies on the ceiling."""
    found = []
    for on_slope in range(1, len(pairs)):
        logs = [math.log(rate / workers) for workers, rate in pairs[:on_slope]]
        tops = [math.log(rate) for _, rate in pairs[on_slope:]]
        start = [math.exp(sum(logs) / len(logs)), math.exp(sum(tops) / len(tops))]
        found.append(_fitted("capped", capped, ("per_worker", "ceiling"), start, pairs))
    return min((fit for fit in found if fit is not None), key=lambda fit: fit.residual, default=None)


def _usl(pairs: _Pairs) -> Fit | None:
    per_worker = pairs[0][1] / pairs[0][0]
    starts = [[per_worker, contention, coherency] for contention in (0.01, 0.2, 0.8) for coherency in (1e-5, 1e-2)]
    names = ("per_worker", "contention", "coherency")
    found = [_fitted("usl", usl, names, start, pairs) for start in starts]
    return min((fit for fit in found if fit is not None), key=lambda fit: fit.residual, default=None)


def _fitted(name: str, law: _Law, names: tuple[str, ...], start: list[float], pairs: _Pairs) -> Fit | None:
    """Fit a law by damped steps of Gauss and Newton in the logarithms of its parameters, which stay positive."""
    logs = [math.log(max(value, _LEAST)) for value in start]
    residuals, damping = _residuals(law, logs, pairs), 1e-3
    for _ in range(STEPS):
        slopes = _slopes(law, logs, pairs)
        normal, right = _normal(slopes, residuals)
        step = _solved([[cell + damping * (row == column) for column, cell in enumerate(cells)]
                        for row, cells in enumerate(normal)], right)  # fmt: skip
        if step is None:
            return None
        changes = [min(2.0, max(-2.0, change)) for change in step]
        tried = [max(math.log(_LEAST), log - change) for log, change in zip(logs, changes, strict=True)]
        if max(map(abs, changes)) < _CONVERGED:
            break
        after = _residuals(law, tried, pairs)
        if _squares(after) < _squares(residuals):
            logs, residuals, damping = tried, after, damping / 3
        else:
            damping *= 4
    values = [math.exp(log) for log in logs]
    freedom = max(1, len(pairs) - len(names))
    errors = _errors(_slopes(law, logs, pairs), _squares(residuals) / freedom)
    return Fit(
        law=name,
        parameters=dict(zip(names, values, strict=True)),
        errors={key: value * error for key, value, error in zip(names, values, errors, strict=True)},
        residual=math.sqrt(_squares(residuals) / len(pairs)),
    )


def _residuals(law: _Law, logs: Sequence[float], pairs: _Pairs) -> list[float]:
    values = [math.exp(log) for log in logs]
    return [math.log(max(law(values, workers), 1e-300)) - math.log(rate) for workers, rate in pairs]


def _squares(values: Sequence[float]) -> float:
    return math.fsum(value * value for value in values)


def _slopes(law: _Law, logs: Sequence[float], pairs: _Pairs) -> list[list[float]]:
    """Return the derivatives of each point's residual by each parameter's logarithm."""
    at = _residuals(law, logs, pairs)
    moved = [
        _residuals(law, [log + _DELTA * (one == other) for other, log in enumerate(logs)], pairs)
        for one in range(len(logs))
    ]
    return [[(column[row] - at[row]) / _DELTA for column in moved] for row in range(len(pairs))]


def _normal(slopes: list[list[float]], residuals: Sequence[float]) -> tuple[list[list[float]], list[float]]:
    size = range(len(slopes[0]))
    matrix = [[math.fsum(row[one] * row[other] for row in slopes) for other in size] for one in size]
    right = [math.fsum(row[one] * left for row, left in zip(slopes, residuals, strict=True)) for one in size]
    return matrix, right


def _errors(slopes: list[list[float]], variance: float) -> list[float]:
    """Return the standard error of each parameter's logarithm; infinite errors are cut off at 1e6."""
    size = len(slopes[0])
    matrix, _ = _normal(slopes, [0.0] * len(slopes))
    found = []
    for one in range(size):
        column = _solved(
            [[cell + 1e-12 * (row == other) for other, cell in enumerate(cells)] for row, cells in enumerate(matrix)],
            [float(row == one) for row in range(size)],
        )
        found.append(min(1e6, math.sqrt(max(0.0, column[one] * variance))) if column else 1e6)
    return found


def _solved(matrix: list[list[float]], right: list[float]) -> list[float] | None:
    """Solve a small system of linear equations by elimination with pivots; ``None`` if it has no single solution."""
    rows = [[*cells, value] for cells, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for at in range(size):
        pivot = max(range(at, size), key=lambda row: abs(rows[row][at]))
        if abs(rows[pivot][at]) < 1e-300:  # noqa: PLR2004 - no pivot
            return None
        rows[at], rows[pivot] = rows[pivot], rows[at]
        for below in range(at + 1, size):
            factor = rows[below][at] / rows[at][at]
            rows[below] = [cell - factor * other for cell, other in zip(rows[below], rows[at], strict=True)]
    found = [0.0] * size
    for at in reversed(range(size)):
        rest = math.fsum(rows[at][other] * found[other] for other in range(at + 1, size))
        found[at] = (rows[at][size] - rest) / rows[at][at]
    return found

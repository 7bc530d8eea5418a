"""In a worker process, answer questions that need no test: how long fixed code takes, and what an executor costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.workers.child import batch, control, dispatch, stretch
from pytest_gilprobe.workers.child.executor_tasks import ExecutorError
from pytest_gilprobe.workers.protocol import Answer, Control, Done, Failed, Unable
from pytest_gilprobe.workers.stretch_messages import MachineStretch, Stretched

if TYPE_CHECKING:
    import pytest

    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.workers.executor_messages import MeasureDispatch


def strategies_of(config: pytest.Config) -> dict[str, Strategy]:
    """Return the strategies (ways to make calls) that this session's plugins and conftest files register, by name."""
    found: list[Sequence[Strategy] | Strategy] = config.hook.pytest_gilprobe_strategies(config=config)
    strategies = (one for some in found for one in (some if isinstance(some, Sequence) else (some,)))
    return {strategy.name: strategy for strategy in strategies}


def answer_of(action: Callable[[], Answer]) -> Answer:
    """Return what ``action()`` returns; if it raises, return `Failed`, or `Unable` if the system refused a thread."""
    try:
        return action()
    except batch.NoThreadError as error:
        return Unable(error=str(error))
    except ExecutorError as error:
        return Failed(error=str(error), outcome=error.outcome)
    except GilprobeError as error:
        return Failed(error=str(error))
    except BaseException as error:  # noqa: BLE001 - the parent must know; pytest.fail and pytest.skip are no Exception
        return Failed(error=batch.describe(error))


def run_control(question: Control | MachineStretch) -> Answer:
    """Measure how fast this machine is at present, by running fixed code, not a test's; return the times.

    For a `Control`, run the control (a fixed pure-Python loop) ``question.calls`` times in this thread: the answer is
    `Done`. For a `MachineStretch`, run threads that compute without the GIL for a set time: the answer is `Stretched`.
    If that fails, the answer is `Failed`, or `Unable` if the system refuses a thread.
    """
    if isinstance(question, MachineStretch):
        return answer_of(lambda: Stretched(reading=stretch.run_machine(question)))
    return answer_of(lambda: Done(reading=batch.run_serial(control.loop, question.calls, question.begin_ns)))


def measure_dispatch(strategies: Mapping[str, Strategy], question: MeasureDispatch) -> Answer:
    """Measure what it costs to dispatch tasks to the executor of the strategy that ``question`` names.

    ``strategies`` are those that this worker process knows, by name. If the strategy is not among them, has no
    executor, or its executor raises, return `Failed`.
    """
    return answer_of(lambda: dispatch.measure(named(strategies, question.strategy), question))


def named(strategies: Mapping[str, Strategy], name: str) -> Strategy:
    """Return the strategy called ``name`` of ``strategies``; raise `GilprobeError` if there is none."""
    if name not in strategies:
        msg = f"a worker process found the strategies {', '.join(strategies) or 'none'}, asked for {name!r}"
        raise GilprobeError(msg)
    return strategies[name]

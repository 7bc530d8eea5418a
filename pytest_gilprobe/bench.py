"""The bench: the workers in which a test is open; set up, opened anew where one is lost, torn down at the end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_gilprobe.model import NOT_ASKED, End, Measurement, Outcome, Strategy
from pytest_gilprobe.workers.protocol import Close, Closed, Failed, Open, Opened
from pytest_gilprobe.workers.worker import Lost

if TYPE_CHECKING:
    from pytest_gilprobe.config import Plan
    from pytest_gilprobe.workers.pool import Pool
    from pytest_gilprobe.workers.protocol import Answer
    from pytest_gilprobe.workers.worker import Worker


class NotProbed(Exception):  # noqa: N818 - not an error: a finding
    """Nothing could be measured; the text is the reason, ``seen`` what is known all the same."""

    seen: Measurement | None = None


class Bench:
    """One test, open in some workers of a pool.

    ``seen`` is what is known of it so far, to which the schedule adds its rounds; ``workers`` are those in which it is
    open, the first of them the one for serial calls and threads; ``given`` tells whether a function was named with its
    arguments.
    """

    def __init__(self, plan: Plan, pool: Pool, keep: int) -> None:
        """Plan for a test; ``keep`` is how many of its collectors stay set up afterwards."""
        self._plan = plan
        self._pool = pool
        self._open = Open(nodeid=plan.nodeid, keep=keep)
        self.workers: list[Worker] = []
        self.given = False
        self.seen = Measurement(
            workers=plan.workers,
            rounds=(),
            threads_end=self._planned(Strategy.THREADS),
            processes_end=self._planned(Strategy.PROCESSES),
        )

    def _planned(self, strategy: Strategy) -> End:
        if strategy not in self._plan.strategies:
            return End(outcome=Outcome.SKIPPED, error=NOT_ASKED, impossible=True)
        stuck = self._pool.stuck.together(self._plan.nodeid) if strategy is Strategy.PROCESSES else None
        if stuck is not None:
            return End(outcome=Outcome.SKIPPED, error=f"not set up in several processes at once: {stuck}")
        return End(outcome=Outcome.OK)

    def going(self, strategy: Strategy) -> bool:
        """Tell whether a strategy is asked for and has not ended."""
        end = self.seen.threads_end if strategy is Strategy.THREADS else self.seen.processes_end
        return end.outcome is Outcome.OK

    def set_up(self) -> None:
        """Open the test in as many workers as the strategies need; in one alone if they cannot hold it at once."""
        found = self.start()
        answers = self._pool.ask_all(found, self._open)
        self._remember_hangs(answers)
        bad = next((answer for answer in answers if not isinstance(answer, Opened)), None)
        if bad is not None and len(found) > 1:
            found, answers = self._alone(found, answers, bad)
        first = answers[0]
        if not isinstance(first, Opened):
            raise NotProbed(f"it passed, but could not be set up again in a worker process: {text_of(first)}")
        self.workers = found
        self.given = first.given
        if first.unsafe_in_threads is not None and self.going(Strategy.THREADS):
            unsafe = End(outcome=Outcome.SKIPPED, error=first.unsafe_in_threads, impossible=True)
            self.seen = replace(self.seen, threads_end=unsafe)
        start_ups = [worker.start_up_s for worker in found if worker.start_up_s is not None]
        ready = found[0].ready
        self.seen = replace(
            self.seen,
            start_up_s=max(start_ups, default=None),
            tracers=first.tracers,
            callee=first.callee,
            gil_on_at_start=ready.gil_enabled if ready is not None else True,
            gil_switched_on_by=ready.gil_switched_on_by if ready is not None else (),
        )

    def _alone(
        self, found: list[Worker], answers: list[Answer | Lost], bad: Answer | Lost
    ) -> tuple[list[Worker], list[Answer | Lost]]:
        """Go on without processes, in a worker where the test is open: one that was not in the others' way.

        Where there is none, another try is made in one worker alone, unless they hung: that would hang, too. If that
        fails, the first try tells why: what it left in the worker may be all that the second one stumbled over.
        """
        several = "set-up in several processes at once"
        one = f"set-up in one of {len(found)} processes at once"
        self.end(Strategy.PROCESSES, bad, one if isinstance(bad, Lost) else several)
        opened = [pair for pair in zip(found, answers, strict=True) if isinstance(pair[1], Opened)]
        if opened:
            self._pool.ask_all([worker for worker, _ in opened[1:]], Close())
            return [opened[0][0]], [opened[0][1]]
        if all(map(_hung, answers)):
            return found, answers
        self.end(Strategy.PROCESSES, bad, several)
        found = self._ready(1)
        again = self._pool.ask_all(found, self._open)
        return found, again if isinstance(again[0], Opened) else [bad]

    def _remember_hangs(self, answers: list[Answer | Lost]) -> None:
        """Keep which fixtures hung: in every worker, or only while the test was open in another one."""
        hung = [answer.error for answer in answers if isinstance(answer, Lost) and _hung(answer)]
        together = any(isinstance(answer, Opened) for answer in answers)
        for stacks in hung if together or len(hung) == len(answers) else ():
            self._pool.stuck.note(self._plan.nodeid, stacks, together=together)

    def start(self) -> list[Worker]:
        """Have as many workers as the strategies need.

        Raises `NotProbed` where they do not come up, or set-up is known to hang in them.
        """
        stuck = self._pool.stuck.alone(self._plan.nodeid)
        if stuck is not None:
            raise NotProbed(f"it passed, but was not set up again in a worker process: {stuck}")
        return self._ready(self._plan.workers if self.going(Strategy.PROCESSES) else 1)

    def _ready(self, count: int) -> list[Worker]:
        found = self._pool.ready(count)
        if isinstance(found, Lost):
            raise NotProbed(found.error)
        return found

    def tear_down(self) -> None:
        """Close the test wherever it is still open; a worker that cannot do that, or is not as it was, is replaced."""
        alive = [worker for worker in self.workers if worker.alive]
        left: set[str] = set()
        culprits = dict.fromkeys(self.seen.gil_switched_on_by)
        for worker, answer in zip(alive, self._pool.ask_all(alive, Close()), strict=True):
            if isinstance(answer, Closed):
                culprits.update(dict.fromkeys(answer.gil_switched_on_by))
            if isinstance(answer, Closed) and not (answer.left or answer.spoilt):
                continue
            if isinstance(answer, Closed):
                left.update(answer.left)
            if worker.alive:
                self._pool.retire(worker)
        self.seen = replace(self.seen, left_changed=tuple(sorted(left)), gil_switched_on_by=tuple(culprits))

    def replace(self, *, fresh: bool) -> None:
        """Open the test again in new workers for those that are gone; ``fresh`` also replaces the first one."""
        if fresh and self.workers[0].alive:
            self._pool.discard(self.workers[0])
        count = len(self.workers)
        before = [worker for worker in self.workers if worker.alive]
        found = self._ready(count)
        missing = [worker for worker in found if worker not in before][: count - len(before)]
        for answer in self._pool.ask_all(missing, self._open):
            if not isinstance(answer, Opened):
                raise NotProbed(f"it could not be set up again after a worker was lost: {text_of(answer)}")
        # The pool keeps its order of age; the first worker must stay the one that serial and threads run in.
        self.workers = [*before, *missing]

    def end(self, strategy: Strategy, answer: Answer | Lost, during: str) -> None:
        """Keep how a strategy ended. The worker of a lost or failed batch is not trusted any more."""
        outcome = answer.outcome if isinstance(answer, Lost) else Outcome.FAILED
        end = End(outcome=outcome, error=f"{during}: {text_of(answer)}")
        if strategy is Strategy.THREADS:
            self.seen = replace(self.seen, threads_end=end)
        else:
            self.seen = replace(self.seen, processes_end=end)


def _hung(answer: Answer | Lost) -> bool:
    return isinstance(answer, Lost) and answer.outcome is Outcome.HUNG


def text_of(answer: Answer | Lost) -> str:
    """Return what went wrong, as the worker or the pool tells it."""
    return answer.error if isinstance(answer, Failed | Lost) else f"unexpected answer {type(answer).__name__}"

"""Set a test up in worker processes, set it up again if a worker is lost, and tear it down at the end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model.apart_readings import ApartReading
from pytest_gilprobe.model.readings import End, Measurement
from pytest_gilprobe.model.words import NOT_ASKED, CallKind, Outcome
from pytest_gilprobe.probing.workers_apart import WorkersApart
from pytest_gilprobe.workers.parent.worker import Lost
from pytest_gilprobe.workers.protocol import Close, Closed, Failed, Open, Opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_gilprobe.model.settings import Plan
    from pytest_gilprobe.strategies.contract import Strategy
    from pytest_gilprobe.strategies.registry import Strategies
    from pytest_gilprobe.workers.parent.group import WorkerGroup
    from pytest_gilprobe.workers.parent.worker import Worker
    from pytest_gilprobe.workers.protocol import Answer


class NotProbed(Exception):  # noqa: N818 - not an error: a finding
    """Raised if a test cannot be measured; the text is the reason. ``seen`` has any readings so far, or ``None``."""

    seen: Measurement | None = None


class NotAgain(NotProbed):
    """Raised if a test passed once, but failed when a worker called it again; ``error`` is the text of that failure."""

    def __init__(self, reason: str, error: str) -> None:
        """Keep why the test cannot be measured (``reason``), and the text of the failure in the worker (``error``)."""
        super().__init__(reason)
        self.error = error


class OpenTest:
    """One test that is set up (open) in several worker processes of a session.

    ``seen`` has the readings so far. ``workers`` are the workers in use; strategies that need only one worker use the
    first. ``given`` is whether the test passed a function and its arguments to the `gilprobe` fixture. The test stays
    open in spare workers, which are no longer in use: tearing it down there may remove what workers in use still need,
    such as a file of a fixed name.
    """

    def __init__(self, plan: Plan, group: WorkerGroup, strategies: Strategies, keep: int) -> None:
        """Prepare for the test of ``plan``; ``keep`` of its collectors (session, module ...) stay set up at the end."""
        self._plan = plan
        self._group = group
        self._strategies = strategies
        awaited = plan.kind is CallKind.AWAITED
        self.opening = Open(nodeid=plan.nodeid, keep=keep, fresh=plan.fresh, awaited=awaited)
        self.workers: list[Worker] = []
        self.apart = WorkersApart(group)
        self.spare: list[Worker] = []
        self.given = False
        self.most_calls: int | None = None
        """For how many calls a worker makes arguments in advance; ``None`` if all calls have the same arguments."""
        self.may_be_fresh = False
        """Whether the fixtures of the test may be made anew for each call, and are not."""
        ends = {strategy.name: self._planned(strategy) for strategy in strategies.parallel}
        self.seen = Measurement(workers=plan.workers, rounds=(), ends=ends)

    def _planned(self, strategy: Strategy) -> End:
        if strategy.name not in self._plan.strategies:
            return End(outcome=Outcome.SKIPPED, error=NOT_ASKED, impossible=True)
        if self._needs_several(strategy) and (why := self._group.hung_fixtures.together(self._plan.nodeid)):
            return End(outcome=Outcome.SKIPPED, error=f"not set up in several processes at once: {why}")
        return End(outcome=Outcome.OK)

    def _needs_several(self, strategy: Strategy) -> bool:
        return strategy.workers_needed(self._plan.workers) > 1

    # Strategies that have not ended

    def going(self, strategy: Strategy) -> bool:
        """Return ``True`` if the user wants a parallel strategy, and it has neither failed nor been skipped so far."""
        return self.seen.ends[strategy.name].outcome is Outcome.OK

    def going_ones(self) -> list[Strategy]:
        """Return the parallel strategies that the user wants and that have not failed or been skipped, by `rank`."""
        return [strategy for strategy in self._strategies.parallel if self.going(strategy)]

    def end(self, strategy: Strategy, end: End) -> None:
        """Store ``end``, a strategy's outcome and the reason for it, in the readings of the test (``seen``)."""
        self.seen = replace(self.seen, ends={**self.seen.ends, strategy.name: end})

    def end_with(self, strategy: Strategy, answer: Answer | Lost, during: str) -> None:
        """Record the failure that ``answer`` reports as a strategy's result; ``during`` says what failed."""
        if isinstance(answer, Failed) and answer.impossible:
            self.end(strategy, End(outcome=Outcome.SKIPPED, error=answer.error, impossible=True))
            return
        outcome = answer.outcome if isinstance(answer, Lost | Failed) else Outcome.FAILED
        self.end(strategy, End(outcome=outcome, error=f"{during}: {text_of(answer)}"))

    def end_serial(self, answer: Answer | Lost, during: str) -> None:
        """Record ``answer``, a failure of serial calls, for each strategy that needs several workers.

        If all of these have failed or been skipped before, record it for ``serial``. ``during`` says what failed.
        """
        several = [one for one in self.going_ones() if self._needs_several(one)]
        for strategy in several or [self._strategies.serial]:
            self.end_with(strategy, answer, during)

    def end_those_in_several(self, answer: Answer | Lost, during: str) -> None:
        """Record ``answer``, a failure, for each strategy that needs several workers; ``during`` says what failed."""
        for strategy in self.going_ones():
            if self._needs_several(strategy):
                self.end_with(strategy, answer, during)

    def _workers_needed(self) -> int:
        usual = (one for one in self.going_ones() if one.worker_main() is None)
        return max((one.workers_needed(self._plan.workers) for one in usual), default=1)

    # Set up

    def start(self) -> list[Worker]:
        """Start and return the workers that are needed; raise `NotProbed` if that fails or set-up is known to hang."""
        if why := self._group.hung_fixtures.alone(self._plan.nodeid):
            msg = f"it passed, but was not set up again in a worker process: {why}"
            raise NotProbed(msg)
        return self._ready(self._workers_needed())

    def _ready(self, count: int) -> list[Worker]:
        found = self._group.ready(count)
        if isinstance(found, Lost):
            raise NotProbed(found.error)
        return found

    def set_up(self) -> None:
        """Set the test up in all workers that are needed, or else in one; raise `NotProbed` if it works in none."""
        found = self.start()
        answers = self._group.ask_all(found, self.opening)
        self._remember_hangs(answers)
        bad = next((answer for answer in answers if not isinstance(answer, Opened)), None)
        if bad is not None and len(found) > 1:
            found, answers = self._alone(found, answers, bad)
        first = answers[0]
        if not isinstance(first, Opened):
            msg = f"it passed, but could not be set up again in a worker process: {text_of(first)}"
            raise NotProbed(msg)
        self.workers = found
        self.given = first.given
        known = [answer.most_calls for answer in answers if isinstance(answer, Opened) and answer.most_calls]
        self.most_calls = min(known, default=None)
        self.may_be_fresh = first.may_be_fresh
        for strategy in self.going_ones():
            if (why := self._why_not(strategy, first)) is not None:
                self.end(strategy, End(outcome=Outcome.SKIPPED, error=why, impossible=True))
        self._note_facts(first)

    def set_up_apart(self) -> None:
        """Set the test up for each strategy that has a worker process of its own; record for which that failed."""
        for strategy in self.going_ones():
            if strategy.worker_main() is None:
                continue
            found = self.apart.opened(strategy, replace(self.opening, lanes=self._plan.workers), self.workers[0])
            if found.bad is not None:
                self.end_with(strategy, found.bad, found.during)
            self.note_apart(strategy, **found.noted())

    def note_apart(self, strategy: Strategy, **changes: Any) -> None:
        """Store ``changes`` (fields of `ApartReading` and their values) for a strategy with a worker of its own."""
        known = replace(self.seen.apart.get(strategy.name, ApartReading()), **changes)
        self.seen = replace(self.seen, apart={**self.seen.apart, strategy.name: known})

    def end_those_apart(self, why: str) -> None:
        """Record that each strategy that has a worker process of its own was skipped; ``why`` is the reason."""
        for strategy in self.going_ones():
            if strategy.worker_main() is not None:
                self.end(strategy, End(outcome=Outcome.SKIPPED, error=why))

    def workers_of(self, strategy: Strategy) -> list[Worker]:
        """Return a strategy's workers; raise `KeyError` if it needs one of its own and the test is not set up there."""
        return self.workers if strategy.worker_main() is None else [self.apart.worker(strategy)]

    def _why_not(self, strategy: Strategy, opened: Opened) -> str | None:
        ready = self.workers[0].ready
        if ready is not None and ready.strategies is not None and strategy.name not in ready.strategies:
            return "workers do not know it: the conftest file that registers it is not loaded for this test"
        return opened.refused.get(strategy.name)

    def _note_facts(self, first: Opened) -> None:
        start_ups = [worker.start_up_s for worker in self.workers if worker.start_up_s is not None]
        ready = self.workers[0].ready
        self.seen = replace(
            self.seen,
            start_up_s=max(start_ups, default=None),
            tracers=first.tracers,
            callee=first.callee,
            fresh=self.most_calls is not None,
            not_fresh=first.not_fresh,
            after_body=first.after_body,
            awaited=first.awaited,
            loop_hidden=first.loop_hidden,
            gil_on_at_start=ready.gil_enabled if ready is not None else True,
            holders_unread=ready.frames_reason if ready is not None else None,
            gil_switched_on_by=ready.gil_switched_on_by if ready is not None else (),
        )

    def _alone(
        self, found: list[Worker], answers: list[Answer | Lost], bad: Answer | Lost
    ) -> tuple[list[Worker], list[Answer | Lost]]:
        """Go on in one worker, where the test is open; else try again in one alone, unless all hung.

        If that fails, the first try gives the reason: what it left in the worker may have made the second one fail.
        """
        several = "set-up in several processes at once"
        one = f"set-up in one of {len(found)} processes at once"
        self.end_those_in_several(bad, one if isinstance(bad, Lost) else several)
        opened = [pair for pair in zip(found, answers, strict=True) if isinstance(pair[1], Opened)]
        if opened:
            self._group.ask_all([worker for worker, _ in opened[1:]], Close())
            return [opened[0][0]], [opened[0][1]]
        if all(map(_hung, answers)):
            return found, answers
        found = self._ready(1)
        again = self._group.ask_all(found, self.opening)
        return found, again if isinstance(again[0], Opened) else [bad]

    def _remember_hangs(self, answers: Sequence[Answer | Lost]) -> None:
        """Keep which fixtures hung: in every worker, or only while the test was open in another one."""
        hung = [answer.error for answer in answers if isinstance(answer, Lost) and _hung(answer)]
        together = any(isinstance(answer, Opened) for answer in answers)
        for stacks in hung if together or len(hung) == len(answers) else ():
            self._group.hung_fixtures.note(self._plan.nodeid, stacks, together=together)

    # After a strategy has ended

    def mend(self, *, distrusted: Worker | None = None) -> None:
        """Set the test up in new workers if there are too few for the strategies that have not failed or been skipped.

        The worker ``distrusted`` is ended and not used again. If set-up fails, this is recorded as a failure of the
        strategies that need several workers. Raises `NotProbed` if it fails and the test is set up in no worker.
        """
        if distrusted is not None and distrusted.alive:
            self._group.discard(distrusted)
        alive = [worker for worker in (*self.workers, *self.spare) if worker.alive]
        missing = self._workers_needed() - len(alive)
        if missing > 0:
            alive = self._reopened(alive, missing)
        needed = self._workers_needed()
        self.workers, self.spare = alive[:needed], alive[needed:]

    def _reopened(self, alive: list[Worker], missing: int) -> list[Worker]:
        """Open the test in further workers, behind those in which it is open."""
        found = self._group.ready(len(alive) + missing)
        bad: Answer | Lost | None = found if isinstance(found, Lost) else None
        if not isinstance(found, Lost):
            fresh = [worker for worker in found if worker not in alive][:missing]
            answers = self._group.ask_all(fresh, self.opening)
            alive += [worker for worker, answer in zip(fresh, answers, strict=True) if isinstance(answer, Opened)]
            bad = next((answer for answer in answers if not isinstance(answer, Opened)), None)
        if bad is not None:
            if not alive:
                msg = f"it could not be set up again after a worker was lost: {text_of(bad)}"
                raise NotProbed(msg)
            self.end_those_in_several(bad, "set-up after a worker was lost")
        return alive

    def keep_only(self, worker: Worker) -> None:
        """Use only ``worker`` from now on; the test stays set up in the other workers, which become spare ones."""
        self.spare += [one for one in self.workers if one is not worker]
        self.workers = [worker]

    # The end

    def tear_down(self) -> None:
        """Tear the test down in all workers; replace a worker if that fails or if the test left changes there."""
        self._tear_down_in(self._group, [*self.workers, *self.spare])
        for group, worker in self.apart.open_ones():
            self._tear_down_in(group, [worker])

    def _tear_down_in(self, group: WorkerGroup, some: Sequence[Worker]) -> None:
        workers = [worker for worker in some if worker.alive]
        left, switched_on_by = set(self.seen.left_changed), dict.fromkeys(self.seen.gil_switched_on_by)
        for worker, answer in zip(workers, group.ask_all(workers, Close()), strict=True):
            if isinstance(answer, Closed):
                switched_on_by.update(dict.fromkeys(answer.gil_switched_on_by))
                left.update(answer.left)
                if not (answer.left or answer.spoilt):
                    continue
            if worker.alive:
                group.retire(worker)
        self.seen = replace(self.seen, left_changed=tuple(sorted(left)), gil_switched_on_by=tuple(switched_on_by))


def _hung(answer: Answer | Lost) -> bool:
    return isinstance(answer, Lost) and answer.outcome is Outcome.HUNG


def text_of(answer: Answer | Lost) -> str:
    """Return the error's text if ``answer`` tells of a failure, else ``unexpected answer`` and the answer's type."""
    return answer.error if isinstance(answer, Failed | Lost) else f"unexpected answer {type(answer).__name__}"

"""Sample another process's GIL at random moments, by reading that process's memory.

Nothing runs in the sampled process, which cannot notice the sampling. The samples are valid for these reasons:

* The moments are those of a Poisson process, which cannot fall into step with the sampled process. So the share of
  samples that find the GIL held estimates the share of time for which it is held. *Source:* R. W. Wolff,
  "Poisson arrivals see time averages", Operations Research 30(2), 1982.
* A sample is one `os.pread` of aligned words, which the kernel copies whole.
* A pause must not depend on what the sampled thread does. If the sampler shared a CPU with that thread, the sampler
  could wake only while the thread sleeps. So the sampler avoids the CPU on which the sampled process's main thread last
  ran. If no other CPU is left, statistics can correct the share of samples by what each has recorded: how late it was,
  whether the CPU was shared, and whether the sampled thread was running or runnable.
* A thread that waits for a CPU may hold the GIL during that wait, which would not happen on an idle machine. The kernel
  adds each wait in the run queue to the thread's ``run_delay`` when the wait ends. So that number, recorded with each
  sample, shows afterwards which samples fell into such a wait.
"""

from __future__ import annotations

import os
import random
import struct
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.model.readings import GilSamples
from pytest_gilprobe.model.words import GilMethod, Sleep
from pytest_gilprobe.observe import clocks, sleeps
from pytest_gilprobe.observe.affinity import STAT_BYTES, CpuAvoider, parse_stat
from pytest_gilprobe.observe.frame_reader import FrameReader
from pytest_gilprobe.observe.gil_address import HOLDER_OFFSET
from pytest_gilprobe.observe.held_stacks import HeldStacks
from pytest_gilprobe.observe.pauses import readable
from pytest_gilprobe.observe.source_code import is_plugins

if TYPE_CHECKING:
    from pytest_gilprobe.observe.frame_layout import FrameLayout

_WORDS: Final = struct.Struct("@PiL")
"""``last_holder``, ``locked``, ``switch_number``, aligned as the C compiler does."""

_LOCKED_VALUES: Final = (-1, 0, 1)

STACKS_S: Final = 0.000_6
"""Shortest mean time, in seconds, between two samples of the GIL that also read a stack (the functions being executed).
Reading stacks then takes some 10 % of a CPU. If samples are more frequent, only some of them read one."""

LEAST_PAUSE: Final = 0.5
"""Shortest pause after a sample of the GIL, as a multiple of the time that the sample took. Reading a deep stack may
take longer than the mean pause; without this limit, the sampler would then keep a CPU busy without a break."""


class _Sample(NamedTuple):
    """One row of `GilSamples`, whose columns have these names; ``None`` where the system does not report it."""

    at_ns: int
    late_ns: int
    held: bool
    holder: int
    switches: int
    runnable: bool | None
    same_core: bool | None
    queue_ns: int | None
    sleeps: Sleep | None
    stack: int | None
    loop_stack: int | None


class SamplingError(GilprobeError):
    """A process's GIL cannot be sampled; ``str()`` of the error is the reason, for the user."""


class GilSampler:
    """Sample another process's GIL at random moments, in the thread that calls `sample_until`.

    A sampler is a context manager that keeps a few file descriptors open. Use a new sampler for each batch (calls timed
    together): `samples` returns all samples since the sampler was entered.
    """

    def __init__(  # noqa: PLR0913 - what to sample, and how
        self,
        pid: int,
        address: int,
        *,
        mean_interval_s: float,
        max_samples: int = 2000,
        seed: int | None = None,
        frames: FrameLayout | None = None,
        stacks: HeldStacks | None = None,
    ) -> None:
        """Store which process to sample, and how; nothing is opened yet.

        Args:
            pid: The process to sample: a descendant of this process, or any other that the system lets it trace.
            address: The address that `pytest_gilprobe.observe.gil_address.locate` returned in that process.
            mean_interval_s: Mean pause between samples, in seconds, above 0. Pauses are exponentially distributed.
            max_samples: Maximum number of samples to keep, 2 or more. When it is reached, every second sample is
                dropped and the mean pause doubles, so that the samples cover a long batch evenly.
            seed: Seed of the random pauses, which makes them repeatable; ``None`` seeds from the system.
            frames: Where the process keeps its frames, to read the stack of the thread that holds the GIL.
            stacks: Reads stacks in place of ``frames``, and remembers code objects from one sampler to the next.

        Raises:
            ValueError: ``mean_interval_s`` or ``max_samples`` is out of range.

        """
        if not mean_interval_s > 0 or max_samples < 2:  # noqa: PLR2004 - half of it must be one sample
            msg = f"a sampler needs an interval above 0 and 2 samples, found {mean_interval_s!r} and {max_samples!r}"
            raise ValueError(msg)
        self._pid = pid
        self._gil_address = address
        self._address = address + HOLDER_OFFSET
        self._mean_ns = mean_interval_s * 1e9
        self._max_samples = max_samples
        self._random = random.Random(seed)  # noqa: S311 - statistics, no secret
        self._memory: int | None = None
        self._stat: int | None = None
        self._schedstat: int | None = None
        self._with_sleeps = False
        self._loop_thread: int | None = None
        self._events_fd: int | None = None
        self._syscall: int | None = None
        self._samples: list[_Sample] = []
        self._frames = frames
        self._stacks = stacks

    def watch_loop(self, thread_state: int | None, events_fd: int | None = None) -> Self:
        """Also sample how the process's main thread, which runs an event loop, waits for events or blocks the loop.

        Each sample then says what that thread sleeps in, if it sleeps. Some samples also have the thread's stack, if it
        was not waiting for events. Call this method before entering the sampler. It returns the sampler.

        ``thread_state`` is the address of the main thread's ``PyThreadState``. If it is ``None``, or if the sampler was
        made without ``frames`` and ``stacks``, that thread's stack is never read. ``events_fd`` is the descriptor by
        which the loop waits for events; ``None`` stands for any descriptor.
        """
        self._with_sleeps, self._loop_thread, self._events_fd = True, thread_state, events_fd
        return self

    def __enter__(self) -> Self:
        """Open the process's memory and read the GIL's words once, without recording them.

        Raises:
            SamplingError: The process has ended or may not be traced, or the address does not hold a GIL's words.

        """
        try:
            self._memory = os.open(f"/proc/{self._pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
            self._stat = _open_task(self._pid, "stat")
            self._schedstat = _open_task(self._pid, "schedstat")
            self._syscall = _open_task(self._pid, "syscall") if self._with_sleeps else None
            words = os.pread(self._memory, _WORDS.size, self._address)
        except OSError as error:
            self._close()
            msg = f"cannot read the memory of process {self._pid}: {_reason(error)}"
            raise SamplingError(msg) from error
        if len(words) < _WORDS.size or _WORDS.unpack(words)[1] not in _LOCKED_VALUES:
            self._close()
            msg = f"process {self._pid} has no GIL state at the address given, or is gone"
            raise SamplingError(msg)
        if self._stacks is not None:
            self._stacks.restart()
        elif self._frames is not None:
            self._stacks = HeldStacks(FrameReader(self._memory, self._frames, is_plugins))
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file descriptors; the samples stay available."""
        self._close()

    def sample_until(self, fd: int, timeout_s: float) -> bool:
        """Sample the GIL until ``fd`` can be read or ``timeout_s`` has passed.

        If the sampled process ends first, sampling stops but waiting continues. A sampler that was not entered only
        waits.

        Args:
            fd: A descriptor that becomes readable when sampling shall end, such as a pipe whose other end is closed
                then.
            timeout_s: Maximum time to wait, in seconds, 0 or more.

        Returns:
            Whether ``fd`` can be read; ``False`` means that ``timeout_s`` has passed.
        """
        avoider = CpuAvoider()
        try:
            return self._sample_until(fd, clocks.perf_counter_ns() + round(timeout_s * 1e9), avoider)
        finally:
            avoider.restore()

    def _sample_until(self, fd: int, deadline_ns: int, avoider: CpuAvoider) -> bool:
        """Pause and sample in turn."""
        clock = clocks.perf_counter_ns
        begun_ns = clock()
        while True:
            # A pause starts when the last sample began, not when it was intended: missed moments are skipped, and
            # pauses stay independent of how late the last sample was. Nor when it ended: a deep stack takes longer to
            # read, so that code with deep stacks would be sampled less often than other code.
            now_ns = clock()
            least_ns = now_ns + round((now_ns - begun_ns) * LEAST_PAUSE)
            intended_ns = max(least_ns, begun_ns + round(self._random.expovariate(1 / self._mean_ns)))
            until_ns = min(intended_ns, deadline_ns) if self._memory is not None else deadline_ns
            if readable(fd, max(0, until_ns - now_ns) * 1e-9):
                return True
            begun_ns = clock()
            if begun_ns >= deadline_ns:
                return False
            if self._memory is not None:
                self._sample(self._memory, intended_ns, avoider)

    def samples(self) -> GilSamples:
        """Return all samples kept so far, in order, as columns; a column is empty if any value in it is unknown."""
        columns = dict(zip(_Sample._fields, zip(*self._samples, strict=True), strict=False))
        known = {name: column for name, column in columns.items() if None not in column}
        read = {} if self._stacks is None else {"stacks": self._stacks.described(), "torn": self._stacks.torn}
        return GilSamples(method=GilMethod.MEMORY, **({"at_ns": (), "late_ns": (), "held": ()} | known | read))

    def _sample(self, memory: int, intended_ns: int, avoider: CpuAvoider) -> None:
        """Read the GIL's words once; end the sampling where the process has ended."""
        try:
            # the words come late: the frames are copied next, and a hold that ends in between is lost
            stat = os.pread(self._stat, STAT_BYTES, 0) if self._stat is not None else b""
            delays = os.pread(self._schedstat, clocks.SCHEDSTAT_BYTES, 0) if self._schedstat is not None else b""
            words = os.pread(memory, _WORDS.size, self._address)
            syscall = os.pread(self._syscall, sleeps.BYTES, 0) if self._syscall is not None else b""
        except OSError:
            words = stat = delays = syscall = b""
        if len(words) < _WORDS.size:
            self._close()
            return
        at_ns = clocks.perf_counter_ns()
        holder, locked, switches = _WORDS.unpack(words)
        sleep = sleeps.parse(syscall, gil_address=self._gil_address, events_fd=self._events_fd)
        stack, loop_stack = self._read_stacks(memory, words, sleep)
        runnable, cpu = parse_stat(stat)
        self._samples.append(
            _Sample(
                at_ns=at_ns,
                late_ns=at_ns - intended_ns,
                held=locked == 1,
                holder=holder,
                switches=switches,
                runnable=runnable,
                same_core=avoider.avoid(cpu),
                queue_ns=clocks.run_delay_ns(delays),
                sleeps=sleep,
                stack=stack,
                loop_stack=loop_stack,
            )
        )
        if len(self._samples) >= self._max_samples:
            del self._samples[::2]
            self._mean_ns *= 2

    def _read_stacks(self, memory: int, words: bytes, sleep: Sleep | None) -> tuple[int | None, int | None]:
        """Return the number of the holder's stack, and of the event loop's; -1: not read, ``None``: never read."""
        stacks, loop = self._stacks, self._loop_thread if self._with_sleeps else None
        if stacks is None:
            return None, None
        none = None if loop is None else -1
        if self._random.random() * STACKS_S * 1e9 >= self._mean_ns:
            return -1, none
        last, locked, _ = _WORDS.unpack(words)
        holder = last if locked == 1 else 0

        def is_same() -> bool:
            return os.pread(memory, _WORDS.size, self._address) == words

        stack = stacks.read(holder, is_same) if holder else -1
        if loop is None or sleep in {None, Sleep.EVENTS}:
            return stack, none
        return stack, stack if loop == holder else stacks.read_beside(loop, is_same)

    def _close(self) -> None:
        """Close all descriptors, once."""
        for descriptor in (self._memory, self._stat, self._schedstat, self._syscall):
            if descriptor is not None:
                os.close(descriptor)
        self._memory = self._stat = self._schedstat = self._syscall = None


def _open_task(pid: int, name: str) -> int | None:
    """Open one of the files about the main thread; return ``None`` where the system does not have it."""
    try:
        return os.open(f"/proc/{pid}/task/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _reason(error: OSError) -> str:
    """Return why a process cannot be read, for the user."""
    if isinstance(error, PermissionError):
        return "no right to trace it"
    if isinstance(error, FileNotFoundError | ProcessLookupError):
        return "it is gone"
    return error.strerror or str(error)

"""Factories of Dask's executor, for ``--gilprobe-executor=dask=pytest_gilprobe.strategies.dask:local_cluster``.

Dask is imported only when a factory is called, in a worker process of a probe. It comes with the extra ``dask``.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_gilprobe.model.errors import GilprobeError
from pytest_gilprobe.observe import machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from concurrent.futures import Executor

WAIT_S = 15.0
"""Seconds to wait for the answer of Dask's scheduler, and then again for its first worker to connect."""
MUST_AGREE = ("python", "dask", "distributed", "cloudpickle")
"""The software, by its names in Dask's list of versions, whose version must be the same in client, scheduler and
workers: they exchange pickled functions."""


@contextmanager
def local_cluster() -> Iterator[Executor]:
    """Start a Dask scheduler and a worker process for each usable CPU; yield their executor, then end all.

    Raises `GilprobeError` if Dask is not installed.
    """
    distributed = _distributed()
    cluster = distributed.LocalCluster(
        n_workers=machine.usable_cpus(), threads_per_worker=1, dashboard_address=None, silence_logs=50
    )
    with cluster, distributed.Client(cluster) as client:
        yield client.get_executor(pure=False)


@contextmanager
def connected() -> Iterator[Executor]:
    """Connect to the scheduler that Dask's setting ``scheduler-address`` names; yield its executor, then disconnect.

    The environment variable ``DASK_SCHEDULER_ADDRESS`` is that setting. Raises `GilprobeError` if it is not set, if the
    scheduler does not answer, if no worker is connected to it, or if it uses other versions of Python or Dask.
    """
    distributed = _distributed()
    address = import_module("dask").config.get("scheduler-address", None)
    if not address:
        msg = "Dask: no scheduler is named; set DASK_SCHEDULER_ADDRESS, such as tcp://10.0.0.1:8786"
        raise GilprobeError(msg)
    try:
        client = distributed.Client(address, timeout=WAIT_S)
    except (OSError, TimeoutError) as error:
        msg = f"Dask: the scheduler at {address} did not answer within {WAIT_S:.0f} s: {error}"
        raise GilprobeError(msg) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WAIT_S)
        except TimeoutError:
            msg = f"Dask: no worker connected to the scheduler at {address} within {WAIT_S:.0f} s"
            raise GilprobeError(msg) from None
        if differing := mismatches(client.get_versions()):
            msg = f"Dask: versions differ, so functions may not arrive as they were sent: {'; '.join(differing)}"
            raise GilprobeError(msg)
        yield client.get_executor(pure=False)


def mismatches(versions: Mapping[str, Any]) -> list[str]:
    """Describe what has another version in Dask's scheduler, or in one of its workers, than in this process.

    The result has a text for each name in `MUST_AGREE` whose versions differ, such as
    ``python 3.11.7 here, 3.12.1 at the scheduler``. ``versions`` is the result of Dask's ``Client.get_versions``.
    """
    own = _packages(versions.get("client"))
    others = {"the scheduler": versions.get("scheduler"), **(versions.get("workers") or {})}
    found: dict[str, str] = {}
    for where, entry in others.items():
        theirs = _packages(entry)
        for name in MUST_AGREE:
            if name in own and name in theirs and own[name] != theirs[name]:
                found.setdefault(name, f"{name} {own[name]} here, {theirs[name]} at {where}")
    return list(found.values())


def _packages(entry: Any) -> dict[str, str]:
    packages = (entry or {}).get("packages") or {}
    return {name: str(version) for name, version in dict(packages).items()}


def _distributed() -> Any:
    try:
        return import_module("distributed")
    except ImportError as error:
        msg = f"Dask is not installed here ({error}): pip install 'pytest-gilprobe[dask]'"
        raise GilprobeError(msg) from None

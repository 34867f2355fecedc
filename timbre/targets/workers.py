"""Several workers on one target: processes of this machine, or a Ray cluster.

    TIMBRE_TARGET_WORKERS=2 timbre run …              two processes here
    TIMBRE_RAY_ADDRESS=auto timbre run …              the cluster that Ray finds (pip install 'timbre[ray]')
    TIMBRE_RAY_ADDRESS=local TIMBRE_TARGET_WORKERS=2  a cluster of two workers that is started here and ended after it

What is given out are jobs: the reference of one fold, and one shard of the store. A job reads the inputs and the scratch folder and
leaves one thing there under a name of its own, a shard under the digest of what it is made of. So a lost worker costs one job, and jobs may
be done twice. Whoever assembles takes what is there and makes the rest itself. Workers on other machines need the home (`TIMBRE_HOME`) on a
file system that all of them share. The bytes are those of one process, on machines of one kind with the same `TIMBRE_THREADS`.

Why Ray and not prefect-ray's task runner: docs/adr/0016-ray.md.
"""

import logging
import os
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from importlib import import_module
from multiprocessing import get_context
from typing import Any

import psutil

from timbre.progress import Progress
from timbre.settings import settings
from timbre.targets.jobs import Job, work

LOCAL = "local"
_LOSSES = 3
"""So many workers may be lost one after the other; then whoever assembles makes the rest, and meets what killed them."""


def several() -> bool:
    """Whether this machine's settings ask for more than one worker."""
    return settings().target_workers > 1 or settings().ray_address is not None


def do_all(jobs: Sequence[Job], progress: Progress, what: str, until: ExitStack) -> None:
    """Have every job done by somebody. A worker that is lost is said, and what it owed is left undone: the caller finds out.

    Args:
        until: a cluster that is started for them lives until this is closed, and takes the next jobs as well.

    Raises:
        ValueError: Ray is asked for and is not installed, or no cluster answers.
    """
    if not jobs:
        return
    done = _by_ray(jobs, until) if settings().ray_address is not None else _by_processes(jobs)
    for _ in progress.track(done, what, total=len(jobs)):
        pass


def _by_processes(jobs: Sequence[Job]) -> Iterator[None]:
    """Each worker is a pool of its own, so that one that dies takes no other's job along; another takes its place and its job."""
    owed, lost = deque(jobs), 0
    with ExitStack() as pools:

        def worker() -> ProcessPoolExecutor:
            return pools.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))

        idle = [worker() for _ in range(min(settings().target_workers, len(jobs)))]
        busy: dict[Future[None], tuple[ProcessPoolExecutor, Job]] = {}
        while owed or busy:
            while owed and idle:
                pool, job = idle.pop(), owed.popleft()
                busy[_submitted(pool, job)] = pool, job
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                pool, job = busy.pop(future)
                try:
                    future.result()
                except BrokenProcessPool:
                    lost += 1
                    again = lost < _LOSSES
                    told = "a worker of the target was lost; what it owed is made"
                    warnings.warn(f"{told} {'by another' if again else 'here, with all that is left'}", stacklevel=2)
                    if not again:
                        return
                    pool.shutdown()
                    idle.append(worker())
                    owed.append(job)
                else:
                    lost = 0
                    idle.append(pool)
                    yield


def _submitted(pool: ProcessPoolExecutor, job: Job) -> "Future[None]":
    """The job with this worker; one that died idle has failed at it."""
    try:
        return pool.submit(work, job)
    except BrokenProcessPool as error:
        broken: Future[None] = Future()
        broken.set_exception(error)
        return broken


def _by_ray(jobs: Sequence[Job], until: ExitStack) -> Iterator[None]:
    ray = until.enter_context(_cluster())
    remote = ray.remote(num_cpus=settings().threads, max_retries=3)(_work_as)
    carried = {name: value for name, value in os.environ.items() if name.startswith("TIMBRE_")}
    waiting = [remote.remote(job, carried) for job in jobs]
    while waiting:
        (ready, *_), waiting = ray.wait(waiting)
        try:
            ray.get(ready)
        except ray.exceptions.WorkerCrashedError as error:
            warnings.warn(f"a worker of the target was lost ({error}); what it owed is made here", stacklevel=2)
        yield


def _work_as(job: Job, variables: Mapping[str, str]) -> None:
    """A job in a worker that was started by nobody of ours: with our variables."""
    os.environ.update(variables)
    settings.cache_clear()
    work(job)


@contextmanager
def _cluster() -> Iterator[Any]:
    """Ray, connected: to the cluster that this process uses already, else to one that ends with the block."""
    try:
        ray: Any = import_module("ray")
    except ModuleNotFoundError as error:
        raise ValueError("TIMBRE_RAY_ADDRESS asks for Ray, which is not installed: pip install 'timbre[ray]', or unset it") from error
    address, before = settings().ray_address, set(psutil.Process().children())
    ours = not ray.is_initialized()
    if ours:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
        try:
            if address == LOCAL:
                os.environ.setdefault("RAY_worker_niceness", "0")  # or whatever else runs here goes before its workers (15 is Ray's)
                ray.init(num_cpus=settings().target_workers * settings().threads, **quiet)
            else:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # of its own kinds some are bare
            for left in set(psutil.Process().children(recursive=True)) - before:  # a start that timed out ends nothing by itself
                left.kill()
            raise ValueError(f"no Ray cluster answers at {address} ({error}): start one, or set TIMBRE_RAY_ADDRESS=local") from error
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()

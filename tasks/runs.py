"""One run at a time in one home, whoever starts it: `timbre run`, a schedule, or somebody on Prefect's page."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from timbre.settings import settings
from timbre.staging import sweep


@contextmanager
def only_run(home: Path) -> Iterator[None]:
    """Hold the run lock of this home; in a process that holds it already, nothing happens.

    What killed builds left is swept away first. When an error ends the run, its run in MLflow ends as FAILED. Where another process
    holds it, this one is refused, or with `TIMBRE_WHEN_BUSY=wait` says whom it waits for, and goes on when that has ended, however it did.

    Raises:
        ValueError: another process holds it; the sentence names that process and since when.
    """
    from filelock import FileLock, Timeout

    home.mkdir(parents=True, exist_ok=True)
    holder = home / "run.json"
    lock = FileLock(home / "run.lock", thread_local=False, is_singleton=True)
    if lock.is_locked:  # `timbre run` takes it before it starts a server, and the flow that it calls takes it again
        yield
        return
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        who = holder.read_text() if holder.exists() else "another process"
        if settings().when_busy == "refuse":
            raise ValueError(
                f"a run is going on already ({who}); wait for it (TIMBRE_WHEN_BUSY=wait does), or set TIMBRE_HOME to work elsewhere"
            ) from error
        print(f"waiting for the run that is going on ({who})", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        holder.write_text(f"process {os.getpid()}, since {datetime.now():%H:%M:%S}")
        sweep(home)
        try:
            yield
        except BaseException:
            from timbre.tasks.stores.mlflow import fail_runs

            fail_runs()
            raise
    finally:
        holder.unlink(missing_ok=True)
        lock.release()

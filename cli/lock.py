"""One run at a time in one home."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path


@contextmanager
def only_run(home: Path) -> Iterator[None]:
    """Hold the run lock of this home.

    Raises:
        ValueError: another run holds it; the sentence names its process and start.
    """
    from filelock import FileLock, Timeout

    home.mkdir(parents=True, exist_ok=True)
    holder = home / "run.json"
    lock = FileLock(home / "run.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        who = holder.read_text() if holder.exists() else "another process"
        raise ValueError(f"a run is going on already ({who}); wait for it, or set TIMBRE_HOME to work elsewhere") from error
    try:
        holder.write_text(f"process {os.getpid()}, since {datetime.now():%H:%M:%S}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()

"""Unfinished folders: made under a lock, gone at the end, and swept away after a kill.

A folder `.building-<name>-<random>` belongs to whoever holds `work/<name>.lock`. The operating system gives that lock
back when its holder dies, however it dies; so a folder whose lock can be had has no builder any more.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = ".building-"


@contextmanager
def staging(parent: Path, name: str) -> Iterator[Path]:
    """A new folder under `parent`, removed at the end unless it was renamed by then. The caller holds `lock_path` of `name`."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{name}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def lock_path(home: Path, name: str) -> Path:
    """The lock of what is being built under `name` in this home."""
    return home / "work" / f"{name}.lock"


def sweep(home: Path) -> list[Path]:
    """Remove the unfinished folders of this home whose builder is dead; those of a living one are left alone.

    Returns:
        What was removed.
    """
    from filelock import FileLock, Timeout

    removed = []
    for folder in [*home.glob(f"artifacts/*/{_PREFIX}*"), *home.glob(f"work/{_PREFIX}*")]:
        name = folder.name.removeprefix(_PREFIX).rpartition("-")[0]
        lock = FileLock(lock_path(home, name))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
        finally:
            lock.release()
    return removed

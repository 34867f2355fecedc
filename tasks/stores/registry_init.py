"""How a data registry comes to be: made empty or cloned, furnished with what DVC needs, and owned by one build at a time."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from timbre.artifacts import write_atomically
from timbre.settings import Settings
from timbre.tasks.stages import STAGING
from timbre.tasks.stores.git import Git, GitError
from timbre.tasks.stores.processes import end_leftovers

REMOTE = "storage"
_BRANCH = "main"
_FILES = {
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    ".dvcignore": f"{STAGING}*\n",
    ".gitignore": f"{STAGING}*\n",
    "README.md": (
        "# Data registry\n\nCorpora and target distributions, versioned with git and DVC. Written by Timbre only.\n\n"
        "    git tag --list 'target/*' -n3                                         which versions there are\n"
        "    dvc import URL target/literary --rev target/literary/v1               take one, from another DVC project\n"
        "    dvc get URL corpus/literary --rev corpus/literary/v1                  or anywhere\n"
    ),
}


@contextmanager
def only_owner(path: Path, wait_seconds: float = -1) -> Iterator[bool]:
    """Own the registry at `path` until the end of the block; gives whether the owner before crashed.

    What a crashed owner left running is ended first.

    Raises:
        ValueError: somebody else owned it for longer than `wait_seconds` (negative: wait for ever).
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(beside(path, "lock")), beside(path, "owner")
    try:
        lock.acquire(timeout=min(1.0, wait_seconds) if wait_seconds >= 0 else 1.0)
    except Timeout:
        who = holder.read_text() if holder.exists() else "another process"
        print(f"waiting for {who}, which is writing the data registry {path}", file=sys.stderr, flush=True)
        try:
            lock.acquire(timeout=wait_seconds)
        except Timeout as error:
            raise ValueError(f"{who} is still writing the data registry {path}: wait for it, then run the same command again") from error
    try:
        crashed = end_leftovers(beside(path, "build")) or holder.exists()
        holder.write_text(f"process {os.getpid()} (since {datetime.now():%H:%M:%S})")
        yield crashed
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def beside(path: Path, what: str) -> Path:
    """A file next to the registry that belongs to it: lock, owner, build."""
    return path.parent / f".{path.name}.{what}"


def found(path: Path, settings: Settings) -> None:
    """Clone or make the registry if it is not there, and commit what it needs to be one. Starts no DVC.

    Raises:
        ValueError: something else is at `path`, the shared registry cannot be reached, or it has no DVC remote yet.
    """
    if not (path / ".git").exists():
        if path.exists() and any(path.iterdir()):
            raise ValueError(f"{path} is not a git repository, and not empty: let TIMBRE_DATA_REGISTRY name another folder")
        for leftover in path.parent.glob(f".{path.name}.new-*"):  # of a killed one: we are the only owner
            shutil.rmtree(leftover, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.new-", dir=path.parent))
        try:
            _create(Git(staging), settings.registry_url)
            staging.chmod(0o755)
            if path.exists():
                path.rmdir()
            staging.rename(path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    furnish(Git(path), settings)


def furnished(path: Path) -> bool:
    """Whether the registry stands; judged without git."""
    return (path / ".git").exists() and (path / ".dvc" / "config").exists()


def furnish(git: Git, settings: Settings) -> None:
    """Write and commit the files that make a git repository a data registry, where they are missing or outdated.

    Raises:
        ValueError: it is shared, and nobody has said where its data goes.
    """
    changed = [name for name in _FILES if not (git.path / name).exists()]
    for name in changed:
        _written(git.path / name, _FILES[name])
    if _configure(git, settings):
        changed.append(".dvc/config")
    if changed:
        git("add", "--", *changed)
        git("commit", "--quiet", "-m", "Set up the data registry", "--", *changed)


def _create(git: Git, url: str | None) -> None:
    if url is None:
        git("init", "--quiet", "--initial-branch", _BRANCH, "--template=", ".")
        return
    try:
        git("clone", "--quiet", "--template=", url, ".")
    except GitError as error:
        raise ValueError(f"the data registry {url} cannot be cloned: check TIMBRE_DATA_REGISTRY and your access to it ({error})") from error


def _configure(git: Git, settings: Settings) -> bool:
    """Write DVC's configuration. A shared registry's own wins; a different TIMBRE_DATA_REMOTE then counts on this machine only."""
    path, shared = git.path / ".dvc" / "config", git.origin is not None
    if not shared or not path.exists():
        if shared and settings.data_remote is None:
            raise ValueError(f"the data registry {git.origin} is new: set TIMBRE_DATA_REMOTE to the URL where its data shall be stored")
        return _written(path, _config(_url(settings)))
    local = git.path / ".dvc" / "config.local"
    if settings.data_remote is None:
        local.unlink(missing_ok=True)
    elif _quoted(_url(settings)) not in path.read_text():
        _written(local, f"['remote \"{REMOTE}\"']\n    url = {_quoted(_url(settings))}\n    verify = true\n[core]\n    remote = {REMOTE}\n")
    return False


def _written(path: Path, text: str) -> bool:
    if path.exists() and path.read_text() == text:
        return False
    write_atomically(path, text.encode())
    return True


def _config(url: str) -> str:
    return (
        f"[core]\n    remote = {REMOTE}\n    analytics = false\n    check_update = false\n    autostage = false\n"
        f'[cache]\n    type = "reflink,copy"\n'
        f"['remote \"{REMOTE}\"']\n    url = {_quoted(url)}\n    verify = true\n"
    )


def _url(settings: Settings) -> str:
    url = settings.remote_url
    return url if "://" in url else str(Path(url).expanduser().absolute())


def _quoted(url: str) -> str:
    if '"' in url or "\n" in url:
        raise ValueError(f"the DVC remote {url!r} has a quotation mark or a line break in its name: choose another")
    return f'"{url}"'

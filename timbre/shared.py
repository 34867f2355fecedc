"""Artifacts that several machines share: a folder or bucket of any kind that fsspec knows.

    TIMBRE_ARTIFACT_STORE=s3://team-artifacts/timbre timbre run …      what another machine has built is fetched, what is built here sent

    <store>/<stage>/<digest>-<sender>/<file>     files of an artifact as one machine sent it; never written again
    <store>/<stage>/keys/<key>                   the name of such a folder, written last: an artifact is there whole or not at all

A folder is verified against its own manifest. That finds damage and not forgery: who may write here decides what everybody's runs find.
A store that does not answer is said, and not asked again for some minutes.
"""

import json
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from timbre.settings import settings

_MANIFEST = "manifest.json"
_FOLDER = re.compile(r"([0-9a-f]{64})-[0-9a-f]{32}")
_PATIENCE: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"connect_timeout": 5, "read_timeout": 20, "retries": {"total_max_attempts": 1}}}
}
"""Options of file systems that would wait for minutes otherwise: seconds, and tries of the library below s3fs, which tries five times."""
_SILENT_SECONDS = 600.0


class SharedArtifacts:
    """The store behind a URL, as the machine with this home sees it."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self._silent = home / "work" / "artifact-store-silent"
        """Touched when the store did not answer, so that the next steps of a run do not wait for it too."""

    @classmethod
    def named(cls, home: Path) -> "SharedArtifacts | None":
        """The store of this machine's settings, if they name one."""
        url = settings().artifact_store
        return None if url is None else cls(url, home)

    def fetch(self, stage: str, key: str, folder: Path) -> str | None:
        """Put the files of the artifact with this key into an empty folder; its digest as the store has it, None where it is not whole."""
        if not self._asked():
            return None
        with self._reached("looked for", stage, key):
            system, root = self._opened()
            pointer = f"{root}/{stage}/keys/{key}"
            if not system.exists(pointer):
                return None
            name = str(system.cat_file(pointer).decode()).strip()
            if (found := _FOLDER.fullmatch(name)) is None:
                raise ValueError(f"its name there leads to {name[:80]!r}, which is no artifact")
            place = f"{root}/{stage}/{name}"
            system.get_file(f"{place}/{_MANIFEST}", str(folder / _MANIFEST))
            for inside in map(PurePosixPath, json.loads((folder / _MANIFEST).read_bytes())["files"]):
                if inside.is_absolute() or ".." in inside.parts:
                    raise ValueError(f"a file of it is called {inside}")
                (folder / inside).parent.mkdir(parents=True, exist_ok=True)
                system.get_file(f"{place}/{inside}", str(folder / inside))
            return found[1]
        return None

    def send(self, stage: str, key: str, digest: str, folder: Path) -> None:
        """Put an artifact there, its name last; a machine that sends the same meanwhile has a folder of its own."""
        if not self._asked():
            return
        with self._reached("sent", stage, key):
            system, root = self._opened()
            place = f"{root}/{stage}/{digest}-{uuid4().hex}"
            for path in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
                target = f"{place}/{path.relative_to(folder).as_posix()}"
                system.makedirs(target.rpartition("/")[0], exist_ok=True)
                system.put_file(str(path), target)
            system.makedirs(f"{root}/{stage}/keys", exist_ok=True)
            system.pipe_file(f"{root}/{stage}/keys/{key}", place.rpartition("/")[2].encode())

    def _opened(self) -> tuple[Any, str]:
        import fsspec

        system, root = fsspec.url_to_fs(self.url, **_PATIENCE.get(self.url.partition("://")[0], {}))
        system.invalidate_cache()  # another machine may have written since we looked
        return system, str(root).rstrip("/")

    def _asked(self) -> bool:
        """Whether the store is asked: not for some minutes after it did not answer."""
        return not self._silent.exists() or time.time() - self._silent.stat().st_mtime > _SILENT_SECONDS

    @contextmanager
    def _reached(self, what: str, stage: str, key: str) -> Iterator[None]:
        """What goes wrong with the store, in whatever library, is said; the run goes on with this machine's own."""
        try:
            yield
        except Exception as error:
            said = f"TIMBRE_ARTIFACT_STORE is {self.url}, and {stage} {key[:12]} could not be {what} there"
            warnings.warn(f"{said} ({type(error).__name__}: {error}); this machine goes on without it", stacklevel=3)
            if not isinstance(error, (ValueError, FileNotFoundError, PermissionError)):  # those are answers
                self._silent.parent.mkdir(parents=True, exist_ok=True)
                self._silent.touch()

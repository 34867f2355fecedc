"""Artifacts that several machines share: a folder or bucket of any kind that fsspec knows.

    TIMBRE_ARTIFACT_STORE=s3://team-artifacts/timbre timbre run …      what another machine has built is fetched, what is built here sent

    <store>/<stage>/<digest>/<file>     files of an artifact
    <store>/<stage>/keys/<key>          its digest, written when all of them lie there: an artifact is there whole or not at all

Nothing that comes from there is believed: whoever takes a folder verifies it. A store that does not answer costs time, not a run.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from timbre.settings import settings


class SharedArtifacts:
    """The store behind a URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    def named(cls) -> "SharedArtifacts | None":
        """The store of this machine's settings, if they name one."""
        url = settings().artifact_store
        return None if url is None else cls(url)

    def fetch(self, stage: str, key: str, folder: Path) -> str | None:
        """Put the files of the artifact with this key into an empty folder; its digest as the store has it, None where it has none."""
        with self._reached("looked for", stage, key):
            system, root = self._opened()
            pointer = f"{root}/{stage}/keys/{key}"
            if not system.exists(pointer):
                return None
            digest = str(system.cat_file(pointer).decode()).strip()
            if not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise ValueError(f"its name there leads to {digest[:80]!r}, which is no digest")
            place = PurePosixPath(root, stage, digest)
            for name in system.find(str(place)):
                inside = PurePosixPath(name).relative_to(place)
                if ".." in inside.parts:
                    raise ValueError(f"a file of it is called {inside}")
                target = folder / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                system.get_file(name, str(target))
            return digest
        return None

    def send(self, stage: str, key: str, digest: str, folder: Path) -> None:
        """Put an artifact there, its name last; what another machine sent meanwhile has the same bytes."""
        with self._reached("sent", stage, key):
            system, root = self._opened()
            if system.exists(f"{root}/{stage}/keys/{key}"):
                return
            for path in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
                target = f"{root}/{stage}/{digest}/{path.relative_to(folder).as_posix()}"
                system.makedirs(target.rpartition("/")[0], exist_ok=True)
                system.put_file(str(path), target)
            system.makedirs(f"{root}/{stage}/keys", exist_ok=True)
            system.pipe_file(f"{root}/{stage}/keys/{key}", digest.encode())

    def _opened(self) -> tuple[Any, str]:
        import fsspec

        system, root = fsspec.url_to_fs(self.url)
        system.invalidate_cache()  # another machine may have written since we looked
        return system, str(root).rstrip("/")

    @contextmanager
    def _reached(self, what: str, stage: str, key: str) -> Iterator[None]:
        """What goes wrong with the store, in whatever library, is said; the run goes on with this machine's own."""
        try:
            yield
        except Exception as error:
            said = f"TIMBRE_ARTIFACT_STORE is {self.url}, and {stage} {key[:12]} could not be {what} there"
            warnings.warn(f"{said} ({type(error).__name__}: {error}); this machine goes on without it", stacklevel=3)

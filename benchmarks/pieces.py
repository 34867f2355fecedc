"""Measurements in pieces: each is kept in a file, by the code that ran and what was asked, and is not had twice while both are the same."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from timbre.artifacts import digest_json, write_atomically
from timbre.settings import PROJECT_ROOT, settings

_CODE = (
    "timbre/**/*.py", "tasks/**/*.py", "flows/**/*.py", "cli/**/*.py", "requirements.lock",
    "benchmarks/cold_start.py", "benchmarks/faults.py", "benchmarks/release_costs.py",
)  # fmt: skip


class TimeOver(Exception):
    """No time is left for the next piece; those before it are kept."""


@dataclass(frozen=True)
class Pieces:
    """The pieces in one folder, and until when another may begin."""

    folder: Path
    ends: float = float("inf")
    """A reading of `time.monotonic`."""

    def kept(self, what: str, asked: Mapping[str, Any], measure: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """A measurement, found or had now, with the load that it was had at.

        Raises:
            TimeOver: it is not there, and no time is left.
        """
        place = self._file(what, asked)
        if not place.exists():
            if time.monotonic() >= self.ends:
                raise TimeOver(what)
            about = {"what": what, "asked": dict(asked), "code": code_digest()}
            before = os.getloadavg()[0]
            found = dict(measure()) | about | {"load": [round(before, 1), round(os.getloadavg()[0], 1)]}
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(place, json.dumps(found, indent=1).encode())
        return dict(json.loads(place.read_bytes()))

    def _file(self, what: str, asked: Mapping[str, Any]) -> Path:
        return self.folder / f"{what}-{digest_json({'asked': dict(asked), 'code': code_digest()})[:12]}.json"


@lru_cache
def code_digest() -> str:
    """sha256 of everything that these measurements run: another commit of the documentation has the same."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _CODE for path in PROJECT_ROOT.glob(pattern)}):
        digest.update(f"{path.relative_to(PROJECT_ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """These variables for a while, and settings that know of them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    settings.cache_clear()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        settings.cache_clear()

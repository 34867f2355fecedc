"""Artifacts: directories that exist whole or not at all, found by key, identified by digest.

An artifact lies at `<home>/artifacts/<stage>/<digest>/` and holds data files and `manifest.json`.

    key    = sha256 of canonical JSON {schema, stage, stage_version, config, input digests}    what the cache is asked
             and, where the stage runs a model, {precision}: see `timbre.precision`
    digest = sha256 of canonical JSON {key, sha256 of every file but those with timings}       who it is

An artifact that holds `crashed.json` tells of a step that broke: whoever comes next in the same road reads it, and no later
one finds it by its key, so that the step is tried again.

A stage writes into a temporary sibling, which is fsynced and renamed. What must survive a kill goes into
`<home>/work/<key>/` and is removed once the artifact stands.
"""

import hashlib
import json
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from timbre import budget
from timbre.config import Frozen
from timbre.files import HashCache, made, published, sha256_file, write_atomically
from timbre.precision import Precision, precision
from timbre.progress import Progress
from timbre.shared import SharedArtifacts
from timbre.staging import lock_path, staging, sweep
from timbre.versions import built_by

__all__ = [
    "CRASHED", "MANIFEST", "SCHEMA", "Artifact", "ArtifactStore", "ConfigT", "FileInput", "FileRecord", "HashCache", "Input",
    "IntegrityError", "Manifest", "Stage", "Workspace", "canonical_json", "digest_json", "json_lines", "sha256_file", "write_atomically",
]  # fmt: skip
SCHEMA = 1
MANIFEST = "manifest.json"
CRASHED = "crashed.json"


class IntegrityError(Exception):
    """Stored bytes are not what their manifest says. The message names the file."""


def kept(place: Path, make: Callable[[], list[Any]]) -> list[Any]:
    """What a JSON file holds; made and written first where it is not there, so that long work that was killed goes on behind it."""
    if not place.exists():
        write_atomically(place, canonical_json(make()))
    found: list[Any] = json.loads(place.read_bytes())
    return found


def canonical_json(value: Any) -> bytes:
    """One spelling for one value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def json_lines(rows: Iterable[Any]) -> bytes:
    """A canonical JSON value a line; `Artifact.json_lines` reads them back."""
    return b"".join(canonical_json(row) + b"\n" for row in rows)


def digest_json(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


class FileRecord(Frozen):
    """What a manifest says of one file."""

    sha256: str
    size: int


class Manifest(Frozen):
    """`manifest.json`. `built` (time, host, seconds, Timbre's version and commit, libraries) stands outside key and digest.

    So do the files named by `timings`: they are hashed and verified like all others, but no two runs measure the same, and
    the same inputs shall have the same digest.
    """

    schema_version: int
    stage: str
    stage_version: int
    config: dict[str, Any]
    inputs: dict[str, str]
    precision: Precision | None = None
    """In which numbers its model ran; None where none did."""
    files: dict[str, FileRecord]
    timings: tuple[str, ...] = ()
    key: str
    digest: str
    built: dict[str, Any]


@dataclass(frozen=True)
class FileInput:
    """An input that is a plain file or folder under version control rather than an artifact: probes, replay, a policy."""

    path: Path

    @cached_property
    def digest(self) -> str:
        if self.path.is_file():
            return sha256_file(self.path)
        if not self.path.is_dir():
            raise ValueError(f"{self.path}: no such file or folder")
        files = sorted(entry for entry in self.path.rglob("*") if entry.is_file())
        return digest_json({str(entry.relative_to(self.path)): sha256_file(entry) for entry in files})


@dataclass(frozen=True)
class Artifact:
    """A directory whose every file was found to be what its manifest says."""

    path: Path
    manifest: Manifest
    cached: bool = field(default=True, compare=False)

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def stage(self) -> str:
        return self.manifest.stage

    @property
    def libraries(self) -> dict[str, str]:
        """Versions of the libraries that it was built with; empty where it does not say."""
        return dict(self.manifest.built.get("libraries", {}))

    def file(self, name: str) -> Path:
        """The path of one of its files.

        Raises:
            IntegrityError: the manifest lists no such file.
        """
        if name not in self.manifest.files:
            raise IntegrityError(f"{self.path} has no file {name!r}; it holds {', '.join(self.manifest.files)}")
        return self.path / name

    def verified(self, name: str) -> Path:
        """The path of one of its files, hashed now, whatever is remembered of it by inode, size and time.

        Raises:
            IntegrityError: the manifest lists no such file, or its bytes are others.
        """
        path = self.file(name)
        if sha256_file(path) != self.manifest.files[name].sha256:
            raise _altered(path, self.path)
        return path

    def json(self, name: str) -> Any:
        return json.loads(self.file(name).read_bytes())

    def json_lines(self, name: str) -> list[dict[str, Any]]:
        """The objects of a file that holds one a line."""
        return [json.loads(line) for line in self.file(name).read_bytes().splitlines()]

    @classmethod
    def open(cls, path: Path, hashes: HashCache | None = None) -> "Artifact":
        """Open and verify an artifact anywhere on disk.

        Raises:
            IntegrityError: a file is missing, surplus, or not what the manifest says.
        """
        manifest_path = path / MANIFEST
        try:
            manifest = Manifest.model_validate_json(manifest_path.read_bytes())
        except (OSError, ValueError) as error:
            raise IntegrityError(f"{manifest_path}: not a readable manifest ({error})") from error
        present = {str(entry.relative_to(path)) for entry in path.rglob("*") if entry.is_file()} - {MANIFEST}
        if present != set(manifest.files):
            wrong = ", ".join(sorted(present ^ set(manifest.files)))
            raise IntegrityError(f"{path}: files and manifest disagree about {wrong}")
        hash_of = hashes.sha256 if hashes is not None else sha256_file
        with hashes.written_once() if hashes is not None else nullcontext():
            for name, record in manifest.files.items():
                if hash_of(path / name) != record.sha256:
                    raise _altered(path / name, path)
        if manifest.digest != _digest(manifest.key, manifest.files, manifest.timings):
            raise IntegrityError(f"{manifest_path}: its digest does not follow from its files")
        if manifest.key != _key(manifest.stage, manifest.stage_version, manifest.config, manifest.inputs, manifest.precision):
            raise IntegrityError(f"{manifest_path}: its key does not follow from its stage, configuration and inputs")
        return cls(path, manifest)


def _altered(path: Path, folder: Path) -> IntegrityError:
    return IntegrityError(f"{path}: its sha256 is not the one in the manifest; remove {folder} to have it built again")


Input = Artifact | FileInput
ConfigT = TypeVar("ConfigT", bound=BaseModel)


@dataclass(frozen=True)
class Workspace:
    """What a stage's builder is given besides its configuration and inputs."""

    output: Path
    """Empty folder; what is written here becomes the artifact."""
    scratch: Path
    """Survives a kill: checkpoints and finished shards go here, each written to a temporary name and renamed."""
    progress: Progress


@dataclass(frozen=True)
class Stage(Generic[ConfigT]):
    """A step of the road: a name, a version raised when its behaviour changes, and the function that builds."""

    name: str
    version: int
    build: Callable[[ConfigT, Mapping[str, Input], Workspace], None]
    timings: tuple[str, ...] = ()
    """Files that hold measured times, and so stand outside the digest."""
    runs_model: bool = False
    """Whether the precision in which models run here decides what it writes; it then stands in the key."""

    def key(self, config: ConfigT, inputs: Mapping[str, Input]) -> str:
        digests = {name: value.digest for name, value in inputs.items()}
        return _key(self.name, self.version, config.model_dump(mode="json"), digests, self.precision)

    @property
    def precision(self) -> Precision | None:
        """In which numbers its model runs here; None where it runs none."""
        return precision() if self.runs_model else None


class ArtifactStore:
    """The artifacts under one home, and the only place that decides whether a stage must run."""

    def __init__(self, home: Path, progress: Progress | None = None) -> None:
        self.home = home
        self.progress = progress or Progress()
        self.hashes = HashCache(home / "hashes.json")

    def find(self, stage: str, key: str, *, crashed: bool = False) -> Artifact | None:
        """The verified artifact with this key, or None if it was never built.

        Args:
            crashed: where there is none, what the last try left that crashed; for whoever judges by it, never to spare a try.

        Raises:
            IntegrityError: it is there, but damaged.
        """
        pointer = self._pointer(stage, key)
        if crashed and not pointer.exists():
            pointer = self._pointer(stage, key, crashed=True)
        if not pointer.exists():
            return None
        path = self.home / "artifacts" / stage / pointer.read_text().strip()
        artifact = Artifact.open(path, self.hashes) if path.exists() else None
        if artifact is not None and (artifact.stage, artifact.manifest.key) != (stage, key):
            raise IntegrityError(f"{pointer}: it points at an artifact with another key; remove it to have the {stage} built again")
        return artifact

    def open(self, stage: str, digest: str) -> Artifact:
        """The verified artifact with this digest.

        Raises:
            ValueError: there is none here.
            IntegrityError: it is damaged.
        """
        path = self.home / "artifacts" / stage / digest
        if not path.exists():
            raise ValueError(f"no {stage} artifact {digest[:12]} under {self.home}; `timbre run` builds it")
        artifact = Artifact.open(path, self.hashes)
        if (artifact.stage, artifact.digest) != (stage, digest):
            raise IntegrityError(
                f"{path}: it holds another artifact ({artifact.stage} {artifact.digest[:12]}) than its name says; remove it"
            )
        return artifact

    def build(self, stage: Stage[ConfigT], config: ConfigT, inputs: Mapping[str, Input]) -> Artifact:
        """The artifact of `stage` for this configuration and these inputs: found, or built once.

        Two processes that ask for the same key wait for each other; the second finds what the first built.
        """
        from filelock import FileLock

        key = stage.key(config, inputs)
        if (found := self.find(stage.name, key)) is not None:
            return found
        scratch = self.home / "work" / key
        scratch.mkdir(parents=True, exist_ok=True)
        sweep(self.home)
        with FileLock(lock_path(self.home, key)):
            if (found := self.find(stage.name, key)) is not None:
                return found
            if (shared := SharedArtifacts.named(self.home)) is not None and (found := self._fetched(shared, stage.name, key)) is not None:
                shutil.rmtree(scratch, ignore_errors=True)
                return found
            scratch.mkdir(parents=True, exist_ok=True)
            built = self._build(stage, config, inputs, key, scratch)
            if shared is not None and CRASHED not in built.manifest.files:
                shared.send(stage.name, key, built.digest, built.path)
            return built

    def adopt(self, path: Path) -> Artifact:
        """Take a verified artifact from elsewhere (a DVC checkout, another machine) into this store."""
        from filelock import FileLock

        artifact = Artifact.open(path)
        home = self.home / "artifacts" / artifact.stage / artifact.digest
        if not home.exists():
            lock = lock_path(self.home, artifact.manifest.key)
            made(lock.parent)
            with FileLock(lock), staging(home.parent, artifact.manifest.key) as folder:
                shutil.copytree(path, folder, dirs_exist_ok=True)
                published(folder, home)
        self._point(artifact.manifest)
        return Artifact.open(home, self.hashes)

    def all(self) -> list[Path]:
        """Every artifact directory, for `timbre doctor`."""
        return sorted(path for path in (self.home / "artifacts").glob("*/[!.]*/") if path.name != "keys")

    def _build(self, stage: Stage[ConfigT], config: ConfigT, inputs: Mapping[str, Input], key: str, scratch: Path) -> Artifact:
        budget.check(f"before the stage {stage.name}")
        parent = made(self.home / "artifacts" / stage.name)
        started = time.monotonic()
        with staging(parent, key) as folder:
            stage.build(config, inputs, Workspace(folder, scratch, self.progress))
            files = _records(folder)
            manifest = Manifest(
                schema_version=SCHEMA,
                stage=stage.name,
                stage_version=stage.version,
                config=config.model_dump(mode="json"),
                inputs={name: value.digest for name, value in inputs.items()},
                precision=stage.precision,
                files=files,
                timings=stage.timings,
                key=key,
                digest=_digest(key, files, stage.timings),
                built={
                    "at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "seconds": round(time.monotonic() - started, 2),
                    "host": socket.gethostname(),
                    **built_by({name: value.libraries for name, value in inputs.items() if isinstance(value, Artifact)}),
                },
            )
            (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2))
            published(folder, parent / manifest.digest)
        self._point(manifest)
        shutil.rmtree(scratch, ignore_errors=True)
        return Artifact(parent / manifest.digest, manifest, cached=False)

    def _fetched(self, shared: SharedArtifacts, stage: str, key: str) -> Artifact | None:
        with staging(self.home / "artifacts" / stage, key) as folder:
            if (digest := shared.fetch(stage, key, folder)) is None:
                return None
            try:
                artifact = Artifact.open(folder)
            except IntegrityError as error:
                raise IntegrityError(f"{shared.url} has a damaged {stage} ({error}): remove {stage}/keys/{key} there") from error
            if (artifact.stage, artifact.manifest.key, artifact.digest) != (stage, key, digest):
                raise IntegrityError(f"{shared.url} has another artifact than it says: remove {stage}/keys/{key} there")
            published(folder, self.home / "artifacts" / stage / digest)
        self._point(artifact.manifest)
        return Artifact.open(self.home / "artifacts" / stage / digest, self.hashes)

    def _pointer(self, stage: str, key: str, *, crashed: bool = False) -> Path:
        return self.home / "artifacts" / stage / "keys" / (f"{key}.crashed" if crashed else key)

    def _point(self, manifest: Manifest) -> None:
        crashed = CRASHED in manifest.files
        pointer = self._pointer(manifest.stage, manifest.key, crashed=crashed)
        made(pointer.parent)
        write_atomically(pointer, manifest.digest.encode())
        if not crashed:
            self._pointer(manifest.stage, manifest.key, crashed=True).unlink(missing_ok=True)


def _records(folder: Path) -> dict[str, FileRecord]:
    files = sorted(entry for entry in folder.rglob("*") if entry.is_file())
    return {str(entry.relative_to(folder)): FileRecord(sha256=sha256_file(entry), size=entry.stat().st_size) for entry in files}


def _key(stage: str, version: int, config: Mapping[str, Any], inputs: Mapping[str, str], numbers: Precision | None) -> str:
    decided = {"schema": SCHEMA, "stage": stage, "stage_version": version, "config": config, "inputs": inputs}
    return digest_json(decided if numbers is None else decided | {"precision": numbers.model_dump(mode="json")})


def _digest(key: str, files: Mapping[str, FileRecord], timings: tuple[str, ...]) -> str:
    return digest_json({"key": key, "files": {name: record.sha256 for name, record in files.items() if name not in timings}})

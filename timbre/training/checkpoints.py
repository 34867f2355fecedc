"""Checkpoints of a training run: one safetensors file each, whole or absent.

A file is written to a temporary name, fsynced and renamed to `step-000012-<first half of its sha256>.safetensors`: a
kill leaves at most a temporary file, and a damaged file is known by its name and passed over. It holds tensors
(adapter, optimizer moments, best adapter so far) and, as its one metadata entry, the rest of the state as JSON.
"""

import hashlib
import json
import os
import re
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from timbre.artifacts import canonical_json, sha256_file
from timbre.files import fsync, made

_KEPT = 2
_HALF = 32


@dataclass
class Checkpoint:
    """Everything that the step after `step` depends on, besides data and configuration."""

    step: int
    state: dict[str, Any]
    tensors: dict[str, Tensor] = field(repr=False)


class Checkpoints:
    """The checkpoints in one folder; the last two are kept."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Args: `fingerprint` names configuration and data; checkpoints of another run are not gone on from."""
        self._folder = folder
        self._fingerprint = fingerprint

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, then remove those that are older than the one before it. The tensors are written from where they lie."""
        from safetensors.torch import save_file

        state = {"step": checkpoint.step, "fingerprint": self._fingerprint, "state": checkpoint.state}
        handle, name = tempfile.mkstemp(prefix=f".step-{checkpoint.step:06d}-", dir=made(self._folder))
        os.close(handle)
        staging = Path(name)
        try:
            save_file(checkpoint.tensors, staging, metadata={"state": canonical_json(state).decode()})
            with staging.open("rb") as written:
                os.fsync(written.fileno())
            staging.replace(self._folder / f"step-{checkpoint.step:06d}-{sha256_file(staging)[:_HALF]}.safetensors")
        except SafetensorError as error:
            raise _of_the_system(error) from error
        finally:
            staging.unlink(missing_ok=True)
        fsync(self._folder)
        for old in self._files()[:-_KEPT]:
            old.unlink()

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint of this run, or None. What a kill left half-written is removed."""
        for leftover in self._folder.glob(".step-*"):
            leftover.unlink(missing_ok=True)  # another process of the run may have been here first
        for path in reversed(self._files()):
            data = path.read_bytes()
            try:
                checkpoint = self._read(data) if path.stem.endswith(_half_digest(data)) else None
                damaged = checkpoint is None and not path.stem.endswith(_half_digest(data))
            except (ValueError, LookupError, TypeError, AttributeError, SafetensorError):  # named by its digest, and yet no checkpoint
                checkpoint, damaged = None, True
            if damaged:
                warnings.warn(f"{path.name} is damaged; going on from an older checkpoint", stacklevel=2)
                continue
            if checkpoint is not None:
                return checkpoint
            warnings.warn(f"{path.name} belongs to a run with other data or settings; it is ignored", stacklevel=2)
        return None

    def _read(self, data: bytes) -> Checkpoint | None:
        from safetensors.torch import load

        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        state = json.loads(header["__metadata__"]["state"])
        if state["fingerprint"] != self._fingerprint:
            return None
        return Checkpoint(state["step"], state["state"], load(data))

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("step-*.safetensors"))


def _half_digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_HALF]


def _of_the_system(error: SafetensorError) -> Exception:
    """A full disk as what it is: the library says the system's number in words only."""
    number = re.search(r"os error (\d+)", str(error))
    return error if number is None else OSError(int(number[1]), os.strerror(int(number[1])))

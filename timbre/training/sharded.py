"""Checkpoints of sharded weights: every process writes its own shards, in the background, and no one ever holds the whole.

A checkpoint is a folder `step-000012-<part of a digest>`: safetensors files (`torch.distributed.checkpoint`; never its pickled form) and
`checkpoint.json` with the rest of the state and the sha256 of each file. It is written under a name that begins with a dot, by a thread
that talks over a process group of its own while training goes on, and renamed when all shards are there: a kill leaves what is passed over.
"""

import json
import shutil
import warnings
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.optim import Optimizer

from timbre.artifacts import canonical_json, digest_json, sha256_file, write_atomically
from timbre.training.checkpoints import Checkpoint
from timbre.training.parallel import World

_KEPT = 2
_ABOUT = "checkpoint.json"


class ShardedCheckpoints:
    """The checkpoints in one folder, which all processes see; the last two are kept."""

    def __init__(self, folder: Path, fingerprint: str, world: World) -> None:
        """Args: `fingerprint` names configuration and data; checkpoints of another run are not gone on from."""
        self._folder, self._fingerprint, self._world = folder, fingerprint, world
        self._group = distributed.new_group(backend="gloo")
        self._going_on: Future[None] | None = None

    def save(self, checkpoint: Checkpoint) -> None:
        """Begin to write a checkpoint, when the one before it is written; its tensors are copied before this returns."""
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
        from torch.distributed.checkpoint.state_dict_saver import async_save

        self.finish()
        begun = self._folder / f".step-{checkpoint.step:06d}"
        if self._world.first:
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir(parents=True)
        self._world.wait()
        written: Any = async_save(
            {name: _copied(value) for name, value in checkpoint.tensors.items()},
            storage_writer=HuggingFaceStorageWriter(str(begun), save_distributed=True),
            process_group=self._group,
        )
        self._going_on = Future()
        about = {
            "step": checkpoint.step,
            "fingerprint": self._fingerprint,
            "state": checkpoint.state,
            "tensors": sorted(checkpoint.tensors),
        }
        written.add_done_callback(lambda future, going_on=self._going_on: self._complete(future, going_on, begun, about))

    def _complete(self, written: Any, going_on: "Future[None]", begun: Path, about: dict[str, Any]) -> None:
        """All shards of all processes are there: the first process seals and names them."""
        try:
            written.result()
            if self._world.first:
                files = {path.name: sha256_file(path) for path in sorted(begun.iterdir())}
                write_atomically(begun / _ABOUT, canonical_json(about | {"files": files}))
                named = self._folder / f"{begun.name[1:]}-{digest_json(files)[:12]}"
                shutil.rmtree(named, ignore_errors=True)
                begun.rename(named)
                for old in self._folders()[:-_KEPT]:
                    shutil.rmtree(old)
            going_on.set_result(None)
        except BaseException as error:
            going_on.set_exception(error)

    def finish(self) -> None:
        """Until the checkpoint that is being written is there.

        Raises: whatever stopped it, a full disk for example.
        """
        if self._going_on is not None:
            self._going_on.result()
            self._going_on = None

    def newest(self, parameters: Mapping[str, Tensor]) -> Checkpoint | None:
        """The newest whole checkpoint of this run, or None: each process gets its shards of it.

        Args:
            parameters: what is trained, by name, sharded as it is here; nothing in it is changed.
        """
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
        from torch.distributed.checkpoint.state_dict_loader import load

        chosen: list[Any] = [self._choose() if self._world.first else None]
        distributed.broadcast_object_list(chosen, src=0, group=self._group)
        if chosen[0] is None:
            return None
        name, about = chosen[0]
        tensors: dict[str, Any] = {one: _empty(one, parameters) for one in about["tensors"]}
        load(tensors, storage_reader=HuggingFaceStorageReader(str(self._folder / name)), process_group=self._group)
        return Checkpoint(about["step"], about["state"], tensors)

    def _choose(self) -> tuple[str, dict[str, Any]] | None:
        """The name of the newest that is whole, and what it says of itself. What a kill left half-written is removed."""
        for leftover in self._folder.glob(".step-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for folder in reversed(self._folders()):
            try:
                about = json.loads((folder / _ABOUT).read_bytes())
                there = {path.name: sha256_file(path) for path in folder.iterdir() if path.name != _ABOUT}
                whole = about["files"] == there
            except (OSError, ValueError, LookupError, TypeError):
                whole = False
            if not whole:
                warnings.warn(f"{folder.name} is damaged; going on from an older checkpoint", stacklevel=2)
            elif about["fingerprint"] != self._fingerprint:
                warnings.warn(f"{folder.name} belongs to a run with other data or settings; it is ignored", stacklevel=2)
            else:
                return folder.name, about
        return None

    def _folders(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("step-*") if path.is_dir())


def _copied(value: Tensor) -> Tensor:
    """The next step changes weights and moments in place; what lies on a device is copied to the host by torch."""
    return value.detach().clone() if value.device.type == "cpu" else value.detach()


def shards_of(parameters: Mapping[str, Tensor], best: Mapping[str, Tensor], optimizer: Optimizer) -> dict[str, Tensor]:
    """What a checkpoint holds, this process' shards of it: weights, the best weights so far, the optimizer's moments."""
    tensors = {f"adapter/{name}": value.detach() for name, value in parameters.items()}
    tensors |= {f"best/{name}": value for name, value in best.items()}
    for name, parameter in parameters.items():
        tensors |= {f"optimizer/{name}/{part}": value for part, value in optimizer.state[parameter].items()}
    return tensors


def _empty(name: str, parameters: Mapping[str, Tensor]) -> Tensor:
    """A tensor of a checkpoint before it is read: as sharded as the weight that it is of."""
    kind, _, of = name.partition("/")
    weight, part = of.rsplit("/", 1) if kind == "optimizer" else (of, "")
    return torch.zeros(()) if part == "step" else torch.zeros_like(parameters[weight].detach())

"""Several processes, one run: who takes which passages, sums over all, and weights in shards (FSDP2).

Each process backpropagates its share of a step, divided by the positions of the whole step, so that the sum over
processes is the gradient of one process with the whole batch. Outside `torchrun` there is one process, and nothing here
does anything.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

_PATIENCE = timedelta(days=2)
"""How long the others wait for one that writes samples or looks alone. `torchrun` ends them all at once when one of them dies."""


@dataclass(frozen=True)
class World:
    """The processes of this run."""

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> "World":
        """Those of the process group, if one stands."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def share(self, order: Sequence[int], weights: Sequence[int]) -> list[int]:
        """This process' part of `order`: the heaviest first, each to the least laden; its own order is kept."""
        if self.size == 1:
            return list(order)
        loads, mine = [0] * self.size, set()
        for place in sorted(range(len(order)), key=lambda place: -weights[order[place]]):
            laden = loads.index(min(loads))
            loads[laden] += weights[order[place]]
            if laden == self.rank:
                mine.add(place)
        return [index for place, index in enumerate(order) if place in mine]

    def total(self, values: Iterable[float]) -> list[float]:
        """The sums over all processes; the same numbers in each of them."""
        numbers = list(values)
        if self.size > 1:
            summed = torch.tensor(numbers, dtype=torch.float64)
            distributed.all_reduce(summed)
            numbers = summed.tolist()
        return numbers

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace what is trained's gradients by their sums over all processes, in one message; sharded ones are summed already."""
        if self.size == 1:
            return
        own = [parameter for parameter in parameters if parameter.requires_grad and not hasattr(parameter, "device_mesh")]
        if not own:
            return
        flat = torch.cat([torch.zeros_like(one).flatten() if one.grad is None else one.grad.flatten() for one in own])
        distributed.all_reduce(flat)
        for parameter, part in zip(own, torch.split(flat, [one.numel() for one in own]), strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            distributed.barrier()


def shard(student: nn.Module, network: Any) -> None:
    """Shard every weight over the processes, a block at a time (FSDP2, `fully_shard`): a process holds 1/size of each.

    The network may lie on the CPU: each block goes to the device whole, and only 1/size of it stays there.
    Gradients are added up over the processes, not averaged: see the head of this file.

    Raises:
        ValueError: the model has no list of blocks.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    from timbre.models import device

    lists = [module for module in network.modules() if isinstance(module, nn.ModuleList) and len(module)]
    if not lists:
        raise ValueError(f"{type(network).__name__} has no list of blocks to shard: set training.sharding to replicate")
    mesh = init_device_mesh(device().type, (distributed.get_world_size(),))
    for block in max(lists, key=len):
        fully_shard(block, mesh=mesh)
    fully_shard(student, mesh=mesh)
    for module in student.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo knows sums only


def clip(parameters: Iterable[nn.Parameter], norm: float) -> float:
    """Scale all gradients down to a total norm of at most `norm`; returns what it was, over all shards."""
    found: Tensor = torch.nn.utils.clip_grad_norm_(parameters, norm)
    return float(found.full_tensor() if hasattr(found, "full_tensor") else found)


def check_devices(processes: int) -> None:
    """Refuse more processes than there are devices for.

    Raises:
        ValueError: fewer CUDA devices than processes.
    """
    from timbre.models import device

    if device().type == "cuda" and processes > (devices := torch.cuda.device_count()):
        raise ValueError(
            f"training.processes is {processes}, but torch finds {devices} CUDA device{'s' * (devices != 1)}: "
            "lower it, or set TIMBRE_DEVICE to cpu"
        )


@contextmanager
def process_group() -> Iterator[World]:
    """The world that `torchrun` started this process in: gloo for what lies on the CPU, NCCL for what lies on CUDA devices.

    Raises:
        ValueError: fewer CUDA devices than processes.
    """
    import os

    from timbre.models import device

    check_devices(int(os.environ["WORLD_SIZE"]))
    cuda = device().type == "cuda"
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield World.here()
    finally:
        distributed.destroy_process_group()

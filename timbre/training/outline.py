"""A model whose weights no process ever holds whole: made without them, sharded, and each shard read from the files by whom it falls to."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from timbre.config import TrainingConfig
from timbre.models.folder import model_files
from timbre.objectives.objective import objective

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def never_whole(config: TrainingConfig) -> bool:
    """Whether training needs no whole copy of the base: all weights are trained, in shards, and compared with no base beside them.

    Packing is tried out on the whole model before it is believed.
    """
    sharded = config.processes > 1 and config.sharding == "fsdp2" and config.adapter == "full" and not config.packing
    return sharded and objective(config.objective).needs not in ("base", "pairs") and config.base_kl_weight == 0


def outline(folder: Path) -> "PreTrainedModel | None":
    """The model of a folder with its buffers and without its weights (they are on the meta device), in eval mode.

    None where its files name weights by other names than the network does, as those of older formats can.
    """
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM

    with init_empty_weights(include_buffers=False):
        settings = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)  # nosec B615: a local folder
        model: PreTrainedModel = AutoModelForCausalLM.from_config(settings, dtype=torch.float32)  # type: ignore[no-untyped-call]
    model.tie_weights()
    model.eval()  # type: ignore[no-untyped-call]
    wanted = {name for name, _ in model.named_parameters()}  # of tied ones the first
    return model if wanted <= _where(folder).keys() and not _persistent(model) else None


def fill(network: nn.Module, folder: Path) -> None:
    """Give a sharded outline its weights in float32: of each this process' rows, read from the file alone."""
    from safetensors import safe_open
    from torch.distributed.tensor import DTensor

    from timbre.models import device

    where, place = _where(folder), device()
    filled: dict[int, nn.Parameter] = {}
    weights: dict[str, Tensor] = {}
    for name, shard in network.named_parameters(remove_duplicate=False):
        if id(shard) not in filled:
            assert isinstance(shard, DTensor), f"{name} is not sharded"
            begin, end = _rows(shard)
            with safe_open(where[name], framework="pt") as file:
                rows = file.get_slice(name)[begin:end].to(place, torch.float32)
            mine = DTensor.from_local(rows, shard.device_mesh, shard.placements, run_check=False, shape=shard.shape, stride=shard.stride())
            filled[id(shard)] = nn.Parameter(mine)
        weights[name] = filled[id(shard)]
    network.load_state_dict(weights, strict=False, assign=True)
    for buffer in network.buffers():
        buffer.data = buffer.data.to(place)


def _rows(shard: Any) -> tuple[int, int]:
    """Which rows of the whole lie in this process: the first dimension in equal parts, the last of which may be smaller or empty."""
    count, parts = shard.shape[0], shard.device_mesh.size()
    each = -(-count // parts)
    begin = min(each * shard.device_mesh.get_local_rank(), count)
    return begin, min(begin + each, count)


def _where(folder: Path) -> dict[str, Path]:
    """Name of a tensor -> the file that has it."""
    from safetensors import safe_open

    found: dict[str, Path] = {}
    for path in model_files(folder):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                found |= dict.fromkeys(file.keys(), path)
    return found


def _persistent(model: nn.Module) -> set[str]:
    """Buffers that files hold: who made the outline made them anew, and they would have to be read."""
    return model.state_dict().keys() - {name for name, _ in model.named_parameters(remove_duplicate=False)}

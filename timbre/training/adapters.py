"""What is trained: LoRA (2106.09685) on every linear layer but the head, by peft; a correction of the head; or all weights.

Made on a frozen base, saved and put back. The kind is seen from the model itself.
"""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from timbre.artifacts import canonical_json, write_atomically
from timbre.config import TrainingConfig
from timbre.models.adapters import CONFIG, KIND, WEIGHTS, CorrectedHead, correct_head
from timbre.objectives.head import Correction, Head

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["CONFIG", "WEIGHTS"]


def prepare(model: "PreTrainedModel", config: TrainingConfig) -> Any:
    """The model with what `config.adapter` says is trained, and nothing changed yet; the rest frozen, in eval mode."""
    if config.adapter == "lora":
        return add_adapter(model, rank=config.rank, alpha=config.lora_alpha, seed=config.seed)
    model.requires_grad_(config.adapter == "full")
    if config.adapter == "correction":
        head = correct_head(model, config.rank, config.lora_alpha)
        bound = head.down.shape[1] ** -0.5
        generator = torch.Generator().manual_seed(config.seed)
        with torch.no_grad():
            head.down.copy_((2 * torch.rand(head.down.shape, generator=generator) - 1) * bound)
    ready: Any = model
    return ready.float().eval() if config.adapter == "full" else ready.eval()


def kind_of(model: Any) -> str:
    """`lora`, `correction` or `full`."""
    if hasattr(model, "peft_config"):
        return "lora"
    return "correction" if isinstance(model.get_output_embeddings(), CorrectedHead) else "full"


def head_of(model: Any, vocab_size: int, *, base: bool = False) -> Head:
    """The LM head as the objectives take it, with the correction where there is one, unless the `base`'s is asked for."""
    head = (model.get_base_model() if hasattr(model, "peft_config") else model).get_output_embeddings()
    corrected = isinstance(head, CorrectedHead) and not base
    return Head(head.weight, vocab_size, Correction(head.down, head.up, head.bias, head.scale) if corrected else None)


def add_adapter(model: "PreTrainedModel", *, rank: int, alpha: int, seed: int) -> "PeftModel":
    """The model with a fresh adapter (B = 0, so that nothing changes yet), base weights frozen, in eval mode.

    Dropout stays off, also in training: the loop then draws no random numbers, and a resumed run needs none back.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, bias="none", target_modules="all-linear", task_type="CAUSAL_LM",
        fan_in_fan_out=_has_transposed_layers(model),
    )  # fmt: skip
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for a name that will change
        torch.manual_seed(seed)
        adapted = get_peft_model(model, config)
    return adapted.eval()


def adapter_parameters(model: Any) -> dict[str, torch.nn.Parameter]:
    """What is trained, by name, in a fixed order."""
    return {name: parameter for name, parameter in sorted(model.named_parameters()) if parameter.requires_grad}


def copy_parameters(model: Any, *, shards: bool = False) -> dict[str, Tensor]:
    """A snapshot of what is trained, on the CPU. Where weights are sharded, every process must ask for it.

    Args:
        shards: only this process' shards, where they lie: no process then holds the whole.
    """
    if shards:
        return {name: parameter.detach().clone() for name, parameter in adapter_parameters(model).items()}
    return {name: whole(parameter.detach()).cpu().clone() for name, parameter in adapter_parameters(model).items()}


def put_parameters(model: Any, snapshot: dict[str, Tensor]) -> None:
    """Set what is trained to a snapshot."""
    with torch.no_grad():
        for name, parameter in adapter_parameters(model).items():
            parameter.copy_(like(snapshot[name], parameter))


def put_adapter(model: Any, folder: Path) -> None:
    """Set what is trained to what `save_adapter` wrote, before anything is sharded.

    Raises:
        ValueError: it was another kind of adapter, or of another rank.
    """
    from safetensors.torch import load_file

    tensors, now = load_file(folder / WEIGHTS), adapter_tensors(model)
    if {name: value.shape for name, value in tensors.items()} != {name: value.shape for name, value in now.items()}:
        raise ValueError(
            f"the token-level adapter at {folder} is of another kind or rank than this one: leave training.adapter and training.rank as "
            "they were"
        )
    match kind_of(model):
        case "lora":
            from peft import set_peft_model_state_dict

            set_peft_model_state_dict(model, tensors)
        case "correction":
            head = model.get_output_embeddings()
            with torch.no_grad():
                for name in ("down", "up", "bias"):
                    getattr(head, name).copy_(tensors[name])
        case _:
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(tensors[name])


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor put together from all processes; any other as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def like(tensor: Tensor, model: Tensor) -> Tensor:
    """A tensor sharded as `model` is, where it is; a shard of it stays what it is."""
    if not hasattr(model, "device_mesh") or hasattr(tensor, "device_mesh"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(model.device), model.device_mesh, model.placements)  # type: ignore[attr-defined]


def adapter_tensors(model: Any, *, keep: bool = True) -> dict[str, Tensor]:
    """What `save_adapter` writes, by its names in the file. Where weights are sharded, every process must ask for it.

    Args:
        keep: whether this process wants it; one that does not gets nothing, and holds no more than a tensor at a time.
    """
    match kind_of(model):
        case "lora":
            from peft import get_peft_model_state_dict

            found = get_peft_model_state_dict(model)
        case "correction":
            head = model.get_output_embeddings()
            found = {"down": head.down, "up": head.up, "bias": head.bias}
        case _:
            found = dict(model.named_parameters())
    gathered: dict[str, Tensor] = {}
    for name, value in found.items():
        together = whole(value.detach())
        if keep:
            gathered[name] = together.cpu().contiguous()
    return gathered


def save_adapter(model: Any, folder: Path, tensors: dict[str, Tensor] | None = None) -> None:
    """Write what was trained; LoRA as peft reads it. The same weights give the same bytes: no path of the base, sorted keys.

    Args:
        tensors: `adapter_tensors(model)`, if they were had before.
    """
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    tensors = adapter_tensors(model) if tensors is None else tensors
    write_atomically(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    write_atomically(folder / CONFIG, adapter_config_bytes(model))


def adapter_config_bytes(model: Any) -> bytes:
    """`adapter_config.json`: peft's own for LoRA, else the kind and what it takes to rebuild it."""
    if (kind := kind_of(model)) != "lora":
        own: dict[str, Any] = {KIND: kind}
        if kind == "correction":
            head = model.get_output_embeddings()
            own |= {"rank": head.down.shape[0], "alpha": round(head.scale * head.down.shape[0])}
        return json.dumps(own, indent=2, sort_keys=True).encode() + b"\n"
    values: dict[str, Any] = model.peft_config["default"].to_dict()
    values |= {"base_model_name_or_path": "", "inference_mode": True, "revision": None}
    return json.dumps(json.loads(canonical_json({name: _plain(value) for name, value in values.items()})), indent=2).encode() + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, set):
        return sorted(value)
    return getattr(value, "value", value)  # enumerations


def _has_transposed_layers(model: "PreTrainedModel") -> bool:
    """GPT-2 and its kin keep their linear layers as input × output."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for module in model.modules())

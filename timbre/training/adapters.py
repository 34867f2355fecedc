"""LoRA adapters (2106.09685) on every linear layer but the head, by peft: made, saved and put back."""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from timbre.artifacts import canonical_json, write_atomically

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


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


def adapter_parameters(model: "PeftModel") -> dict[str, torch.nn.Parameter]:
    """What is trained, by name, in a fixed order."""
    return {name: parameter for name, parameter in sorted(model.named_parameters()) if parameter.requires_grad}


def copy_parameters(model: "PeftModel") -> dict[str, Tensor]:
    """A snapshot of the adapter on the CPU."""
    return {name: parameter.detach().cpu().clone() for name, parameter in adapter_parameters(model).items()}


def put_parameters(model: "PeftModel", snapshot: dict[str, Tensor]) -> None:
    """Set the adapter to a snapshot."""
    with torch.no_grad():
        for name, parameter in adapter_parameters(model).items():
            parameter.copy_(snapshot[name])


def save_adapter(model: "PeftModel", folder: Path) -> None:
    """Write the adapter as peft reads it. The same weights give the same bytes: no path of the base model, sorted keys."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().cpu().contiguous() for name, value in get_peft_model_state_dict(model).items()}
    write_atomically(folder / WEIGHTS, save(weights, metadata={"format": "pt"}))
    write_atomically(folder / CONFIG, adapter_config_bytes(model))


def adapter_config_bytes(model: "PeftModel") -> bytes:
    """`adapter_config.json` of the active adapter."""
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

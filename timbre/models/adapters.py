"""What training leaves behind, in its three kinds, put back into a model: LoRA (peft's format), correction head, full weights.

All are a folder with `adapter_model.safetensors` and `adapter_config.json`; the latter names the kind under `timbre_adapter`
(peft's own files have no such field).
"""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS, CONFIG, KIND = "adapter_model.safetensors", "adapter_config.json", "timbre_adapter"


class CorrectedHead(nn.Module):
    """The frozen LM head with a bias and a low-rank term beside it: z = h·Wᵀ + scale·(h·downᵀ)·upᵀ + bias."""

    def __init__(self, base: nn.Module, rank: int, scale: float) -> None:
        """All of it starts at zero, so that nothing changes; `down` is drawn by who trains it.

        At least in float32, whatever the base is held in: bf16 would swallow an optimizer's small steps.
        """
        super().__init__()
        self.base, self.scale = base, scale
        rows, width = self.weight.shape
        options: dict[str, Any] = {"device": self.weight.device, "dtype": torch.promote_types(self.weight.dtype, torch.float32)}
        self.down = nn.Parameter(torch.zeros(rank, width, **options))
        self.up = nn.Parameter(torch.zeros(rows, rank, **options))
        self.bias = nn.Parameter(torch.zeros(rows, **options))

    @property
    def weight(self) -> Tensor:
        """The rows of the base's head."""
        weight: Tensor = self.base.weight  # type: ignore[assignment]
        return weight

    def forward(self, hidden: Tensor) -> Tensor:
        wide = hidden.to(self.down.dtype)
        corrected: Tensor = self.base(hidden) + self.scale * (wide @ self.down.T) @ self.up.T + self.bias
        return corrected

    def merged(self) -> nn.Linear:
        """One plain head with a bias, its weights untied from the embedding."""
        rows, width = self.weight.shape
        plain = nn.Linear(width, rows, bias=True, device=self.weight.device, dtype=self.weight.dtype)
        with torch.no_grad():
            plain.weight.copy_(self.weight + self.scale * self.up @ self.down)
            plain.bias.copy_(self.bias)
        return plain


def correct_head(model: "PreTrainedModel", rank: int, alpha: int) -> CorrectedHead:
    """Put a correction without effect beside the model's head; returns it."""
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    corrected = CorrectedHead(head, rank, alpha / rank)
    model.set_output_embeddings(corrected)  # type: ignore[no-untyped-call]
    return corrected


def adapter_kind(folder: Path) -> str:
    """`lora`, `correction` or `full`.

    Raises:
        ValueError: a kind that this version does not know.
    """
    kind = str(json.loads((folder / CONFIG).read_bytes()).get(KIND, "lora"))
    if kind not in ("lora", "correction", "full"):
        raise ValueError(f"the adapter in {folder} is of the kind {kind!r}, which this version does not know: upgrade Timbre")
    return kind


def with_adapter(model: "PreTrainedModel", folder: Path, *, merged: bool, trainable: bool = False) -> Any:
    """The model with the adapter in `folder`, in eval mode, frozen unless `trainable`.

    Args:
        merged: as one plain model; else base and adapter apart (a `PeftModel`, or a `CorrectedHead`).

    Raises:
        ValueError: the adapter does not fit this model, or its weights are no safetensors.
    """
    kind = adapter_kind(folder)
    if not (folder / WEIGHTS).is_file():  # peft would look for a pickle next
        raise ValueError(f"the adapter in {folder} has no {WEIGHTS}: pickled weights are never loaded, save them as safetensors")
    try:
        if kind == "lora":
            return _with_lora(model, folder, merged, trainable)
        return (_with_correction if kind == "correction" else _with_weights)(model, folder, merged, trainable)
    except SafetensorError as error:
        raise ValueError(f"the adapter in {folder} has a damaged {WEIGHTS} ({error}): save it again as safetensors") from error
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(
            f"the {kind} adapter in {folder} does not fit {type(model).__name__}: use the model that it was trained on"
        ) from error


def _with_lora(model: "PreTrainedModel", folder: Path, merged: bool, trainable: bool) -> Any:
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for a name that will change
        adapted = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
    return (adapted.merge_and_unload() if merged else adapted).eval()


def _with_correction(model: "PreTrainedModel", folder: Path, merged: bool, trainable: bool) -> Any:
    config = json.loads((folder / CONFIG).read_bytes())
    head = correct_head(model, config["rank"], config["alpha"])
    _copy_into({name: getattr(head, name) for name in ("down", "up", "bias")}, _tensors(folder))
    head.requires_grad_(trainable)
    head.base.requires_grad_(False)
    if merged:
        model.set_output_embeddings(head.merged())  # type: ignore[no-untyped-call]
        model.config.tie_word_embeddings = False
    return model.eval()  # type: ignore[no-untyped-call]


def _with_weights(model: "PreTrainedModel", folder: Path, _merged: bool, trainable: bool) -> Any:
    _copy_into(dict(model.named_parameters()), _tensors(folder))
    return model.requires_grad_(trainable).eval()  # type: ignore[no-untyped-call]


def _copy_into(parameters: dict[str, nn.Parameter], tensors: dict[str, Tensor]) -> None:
    if parameters.keys() != tensors.keys():
        raise ValueError(f"other tensors: {', '.join(sorted(parameters.keys() ^ tensors.keys())[:3])}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            if parameter.shape != tensors[name].shape:
                raise ValueError(f"{name} has shape {tuple(tensors[name].shape)} instead of {tuple(parameter.shape)}")
            parameter.copy_(tensors[name])


def _tensors(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(str(folder / WEIGHTS)))

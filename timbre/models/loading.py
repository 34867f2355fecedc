"""Loading a resolved model in the precision of this machine (`timbre.precision`), always from the artifact, never with remote code.

The loss kernels want hidden states and head apart, so that positions × vocabulary logits are never all in memory.
"""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from timbre.artifacts import Artifact, digest_json
from timbre.models.tokens import start_ids
from timbre.precision import device_class, precision
from timbre.settings import settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_HEAD_ROWS = 4096
"""Rows of the head that are widened at a time."""


CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""The environment variable, and its value, without which cuBLAS does not give the same bytes twice; read at its first product."""


def device() -> torch.device:
    """Where models run: `TIMBRE_DEVICE`, or a CUDA device if there is one. There products are made repeatable, see `CUBLAS`.

    Raises:
        ValueError: cuda was asked for and there is none, or an unknown device.
    """
    if device_class(settings()) == "cpu":
        return torch.device("cpu")
    os.environ.setdefault(*CUBLAS)
    return torch.device("cuda")


def weights_dtype() -> torch.dtype:
    """What weights are held in, see `timbre.precision`."""
    return torch.bfloat16 if precision().weights == "bfloat16" else torch.float32


def autocast(given: Literal["off", "bf16"]) -> Literal["off", "bf16"]:
    """`training.autocast`, on for CPUs whose products run in bf16: else the adapter's, in fp32, would be the slow part of a step."""
    numbers = precision()
    return "bf16" if numbers.device == "cpu" and numbers.products == "bfloat16" else given


def load_tokenizer(model: Artifact) -> "PreTrainedTokenizerBase":
    """The model's tokenizer; where it has no padding token, its end-of-text token pads (masks, not ids, say what is padding)."""
    return tokenizer_of(model.path)


def load_model(
    model: Artifact, *, adapter: Artifact | Path | None = None, trainable: bool = False, place: torch.device | None = None
) -> "PreTrainedModel":
    """The model in eval mode, all weights frozen.

    Args:
        adapter: what training left (artifact or folder), merged in fp32 before any rounding to bf16.
        trainable: keep the adapter apart and its weights trainable (with LoRA the result is then a `PeftModel`).
        place: where it is put; `device()` when None.

    Raises:
        ValueError: the adapter does not fit this model.
    """
    loaded: Any = load_folder(model.path)
    loaded.requires_grad_(False)
    target, dtype = device() if place is None else place, weights_dtype()
    if adapter is None:
        return loaded.to(device=target, dtype=dtype)  # type: ignore[no-any-return]
    from timbre.models.adapters import with_adapter

    folder = adapter if isinstance(adapter, Path) else adapter.path
    if trainable:
        loaded = loaded.to(device=target, dtype=dtype)
    try:
        loaded = with_adapter(loaded, folder, merged=not trainable, trainable=trainable)
    except ValueError as error:
        raise ValueError(f"the adapter in {folder} does not fit {model_name(model)}: use the model that it was trained on") from error
    if not trainable:
        loaded = loaded.to(device=target, dtype=dtype)
        loaded.requires_grad_(False)
    return loaded.eval()  # type: ignore[no-any-return]


def model_name(model: Artifact) -> str:
    """The short name in `model.json`."""
    return str(model.json("model.json")["name"])


def hidden_states(model: Any, input_ids_NT: Tensor, attention_mask_NT: Tensor, position_ids_NT: Tensor | None = None) -> Tensor:
    """Last hidden states after the final norm, N×T×D: what the head is applied to. Also for a `PeftModel`.

    Args:
        attention_mask_NT: 0 for padding; or N×1×T×T, added to the attention scores, where documents share a row.
        position_ids_NT: positions within each document, where a row holds several.
    """
    body = _causal(model).base_model
    places = {} if position_ids_NT is None else {"position_ids": position_ids_NT}
    output = body(input_ids=input_ids_NT, attention_mask=attention_mask_NT, use_cache=False, **places)
    states: Tensor = output.last_hidden_state
    return states


def head_weight(model: Any) -> Tensor:
    """Rows of the output embedding, V×D. Logits are hidden states times its transpose: `inspect_model` has made sure."""
    weight: Tensor = _causal(model).get_output_embeddings().weight
    return weight


def head_bias(model: Any) -> Tensor | None:
    """The bias of the output embedding, V, where it has one: a merged correction head does."""
    bias: Tensor | None = getattr(_causal(model).get_output_embeddings(), "bias", None)
    return bias


def logits(hidden_ND: Tensor, head_VD: Tensor) -> Tensor:
    """hidden·headᵀ, N×V, at least in float32: products of bf16 (or fp16) operands are exact in float32 and never rounded back.

    The head is not copied to float32 as a whole: CUDA multiplies low precision into a float32 result, elsewhere a few
    thousand rows are widened at a time. Operands of one wide type are multiplied as they are.
    """
    same = hidden_ND.dtype == head_VD.dtype
    if same and hidden_ND.dtype in (torch.float32, torch.float64):
        return hidden_ND @ head_VD.T
    if same and hidden_ND.is_cuda:
        return torch.mm(hidden_ND, head_VD.T, out_dtype=torch.float32)
    wide = torch.promote_types(torch.promote_types(hidden_ND.dtype, head_VD.dtype), torch.float32)
    states_ND = hidden_ND.to(wide)
    return torch.cat([states_ND @ rows_vD.to(wide).T for rows_vD in torch.split(head_VD, _HEAD_ROWS)], -1)


def load_folder(folder: Path, dtype: torch.dtype | str = torch.float32) -> "PreTrainedModel":
    """A causal model from a folder, in eval mode on the CPU.

    Raises:
        ValueError: weights that are damaged or do not fit the configuration.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # its bars would stand between ours

    try:
        found: Any = AutoModelForCausalLM.from_pretrained(  # nosec B615: a local folder
            str(folder), dtype=dtype, output_loading_info=True, **_LOCAL
        )
    except (SafetensorError, RuntimeError, OSError, ValueError, KeyError) as error:
        raise ValueError(f"the model's weights cannot be loaded ({str(error).splitlines()[0]})") from error
    loaded, report = found
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"the model's weights lack {len(missing)} tensors, {missing[0]} among them: save the whole model")
    if odd := sorted(name for name in report["unexpected_keys"] if _is_left_out(name, loaded)):
        raise ValueError(
            f"the model's weights hold {odd[0]}, which its config.json knows nothing of, so that another model would be run: "
            "put the config.json there that was saved with them"
        )
    model: PreTrainedModel = loaded.eval()
    return model


def _is_left_out(name: str, model: Any) -> bool:
    """Whether a tensor that no layer takes is a weight of one; masks and frequencies that older files hold are not."""
    if not re.search(r"\.\d+\.", name):
        return False
    parent, _, part = name.rpartition(".")
    modules = dict(model.named_modules())
    owner = modules.get(parent, modules.get(f"{model.base_model_prefix}.{parent}"))
    return part == "weight" or (part == "bias" and getattr(owner, "weight", None) is not None)


def save_tokenizer(folder: Path, output: Path) -> None:
    """The tokenizer in its standard files, whichever it came in.

    Raises:
        ValueError: it cannot be loaded.
    """
    tokenizer_of(folder).save_pretrained(str(output))


def tokenizer_digest(tokenizer: "PreTrainedTokenizerBase") -> str:
    """sha256 over vocabulary, merges, normalisation and added tokens: what decides which ids a text gets."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return digest_json({"vocabulary": tokenizer.get_vocab(), "class": type(tokenizer).__name__})
    return digest_json(json.loads(backend.to_str()) | {"truncation": None, "padding": None})


def tokenizer_of(folder: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer in a folder.

    Raises:
        ValueError: it cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(folder), **_LOCAL)  # nosec B615: a local folder
    except Exception as error:  # transformers raises nearly anything for a tokenizer it cannot read
        raise ValueError(f"the model's tokenizer cannot be loaded ({type(error).__name__}: {str(error).splitlines()[0]})") from error
    _follow_settings(tokenizer, folder)
    if tokenizer.pad_token_id is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _follow_settings(tokenizer: "PreTrainedTokenizerBase", folder: Path) -> None:
    """`add_bos_token` of tokenizer_config.json, made the tokenizer's own doing: loading follows it for some classes only."""
    settings_file = folder / "tokenizer_config.json"
    wanted = json.loads(settings_file.read_bytes()).get("add_bos_token") if settings_file.is_file() else None
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if wanted is not True or backend is None or tokenizer.bos_token is None or start_ids(tokenizer):
        return
    from tokenizers.processors import TemplateProcessing

    begin = (str(tokenizer.bos_token), int(backend.token_to_id(str(tokenizer.bos_token))))
    backend.post_processor = TemplateProcessing(single=f"{begin[0]} $A", pair=f"{begin[0]} $A {begin[0]} $B:1", special_tokens=[begin])


def _causal(model: Any) -> Any:
    """The causal model inside a `PeftModel`, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model

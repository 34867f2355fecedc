"""The adapter's change added to the base weights, so that what is exported is one plain model."""

import json
from typing import TYPE_CHECKING, Any

from timbre.artifacts import Artifact

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def merged_model(model: Artifact, adapter: Artifact | None = None) -> "PreTrainedModel":
    """Base weights plus B·A·(alpha/rank) of every adapted layer, in fp32 on CPU with eager attention, in eval mode.

    The stored weights are read again in fp32 whatever training ran in, so that merging rounds nothing twice.

    Raises:
        ValueError: the adapter does not fit this model.
    """
    base = _base(model)
    if adapter is None:
        return base
    merged: PreTrainedModel = _adapted(base, adapter).merge_and_unload()
    return merged


def unmerged_model(model: Artifact, adapter: Artifact) -> Any:
    """The same numbers by the other road: base and adapter kept apart, as training saw them (a `PeftModel`)."""
    return _adapted(_base(model), adapter)


def _base(model: Artifact) -> "PreTrainedModel":
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # the stage shows one bar of its own
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        str(model.path), dtype=torch.float32, attn_implementation="eager", local_files_only=True, trust_remote_code=False
    )
    model_fp32: PreTrainedModel = loaded.eval()
    return model_fp32


def _adapted(base: "PreTrainedModel", adapter: Artifact) -> Any:
    from peft import PeftModel

    wanted = json.loads(adapter.file("adapter_config.json").read_bytes()).get("target_modules") or []
    try:
        return PeftModel.from_pretrained(base, str(adapter.path), is_trainable=False).eval()
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"adapter {adapter.digest[:12]} (on {', '.join(sorted(wanted))}) does not fit {type(base).__name__}: "
            "export it with the model that it was trained on"
        ) from error

"""The adapter's change added to the base weights, so that what is exported is one plain model."""

from typing import TYPE_CHECKING, Any

from timbre.artifacts import Artifact

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def merged_model(model: Artifact, adapter: Artifact | None = None) -> "PreTrainedModel":
    """Base weights with the adapter's change in them, in fp32 on CPU with eager attention, in eval mode.

    LoRA adds B·A·(alpha/rank) to every adapted layer; a correction becomes a head of its own with a bias; full weights replace.

    The stored weights are read again in fp32 whatever training ran in, so that merging rounds nothing twice.

    Raises:
        ValueError: the adapter does not fit this model.
    """
    base = _base(model)
    if adapter is None:
        return base
    merged: PreTrainedModel = _adapted(base, adapter, merged=True)
    return merged


def unmerged_model(model: Artifact, adapter: Artifact) -> Any:
    """The same numbers by the other road: base and adapter kept apart, as training saw them."""
    return _adapted(_base(model), adapter, merged=False)


def _base(model: Artifact) -> "PreTrainedModel":
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from timbre.models.rehearsal import plain_experts

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # the stage shows one bar of its own
    loaded: Any = AutoModelForCausalLM.from_pretrained(  # nosec B615: a local folder
        str(model.path), dtype=torch.float32, attn_implementation="eager", local_files_only=True, trust_remote_code=False
    )
    plain_experts(loaded)
    model_fp32: PreTrainedModel = loaded.eval()
    return model_fp32


def _adapted(base: "PreTrainedModel", adapter: Artifact, *, merged: bool) -> Any:
    from timbre.models.adapters import with_adapter

    try:
        return with_adapter(base, adapter.path, merged=merged)
    except ValueError as error:
        raise ValueError(
            f"adapter {adapter.digest[:12]} does not fit {type(base).__name__}: export it with the model that it was trained on"
        ) from error

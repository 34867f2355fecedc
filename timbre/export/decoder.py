"""A causal language model as an ONNX decoder with a key-value cache.

Inputs and outputs carry the names that optimum and onnxruntime-genai use, so that other runtimes can read the file:

    input_ids                        int64 [batch, sequence]
    attention_mask                   int64 [batch, past + sequence]     0 hides a slot (left padding)
    position_ids                     int64 [batch, sequence]
    past_key_values.{layer}.key      float [batch, kv_heads, past, head_dim], and .value; past may be 0
    logits                           float [batch, sequence, vocabulary]
    present.{layer}.key              float [batch, kv_heads, past + sequence, head_dim], and .value

Attention is the eager one: with left padding the fused kernels leave NaN in rows that see nothing, and these would
stay in the cache. The causal, padding and sliding-window mask is built here, in the graph, from `attention_mask`.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from timbre.export.graph import scrub, simplify
from timbre.export.weights import Slot, detach_weights, weights_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MODEL_FILE = "model.onnx"
_COUNTS_BY_MASK = ("bloom",)
OPSET = 18
_TALKERS = ("torch._guards", "torch._subclasses.fake_tensor", "torch.fx.experimental.symbolic_shapes", "torch._dynamo")
"""They print what they then raise, stack and all."""


@dataclass(frozen=True)
class CacheShape:
    """Size of the key-value cache of one token: `layers` × 2 × `kv_heads` × `head_dim` floats."""

    layers: int
    kv_heads: int
    head_dim: int

    @classmethod
    def of(cls, model: "PreTrainedModel") -> "CacheShape":
        """As the model itself fills a cache: configurations name these sizes in many ways, and some do not mean them.

        Raises:
            ValueError: it does not keep keys and values of one size in every layer.
        """
        from timbre.models.inspection import cache_shape

        return cls(*cache_shape(model))

    def names(self, prefix: str) -> list[str]:
        return [f"{prefix}.{layer}.{part}" for layer in range(self.layers) for part in ("key", "value")]


class CachedDecoder(nn.Module):
    """The model with its cache as plain tensors: what `torch.export` can trace and ONNX can name."""

    def __init__(self, model: "PreTrainedModel") -> None:
        super().__init__()
        self.model = model
        config = model.config.get_text_config(decoder=True)
        self._window: int | None = _window(config)
        self._layer_types: set[str] = set(getattr(config, "layer_types", None) or ())
        self._own_mask = bool(getattr(config, "alibi", False)) or config.model_type in _COUNTS_BY_MASK

    def forward(self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, past_key_values: list[Tensor]) -> tuple[Tensor, ...]:
        """Logits [batch, sequence, vocabulary], then the grown cache, key and value of layer 0, of layer 1, …"""
        cache = _as_cache(past_key_values)
        mask = self._masks(input_ids, attention_mask, past_key_values[0])
        output = self.model(
            input_ids=input_ids, attention_mask=mask, position_ids=position_ids, past_key_values=cache, use_cache=True
        )  # fmt: skip
        grown = [part for layer in cache.layers for part in (layer.keys, layer.values)]
        return (output.logits, *grown)

    def _masks(self, input_ids: Tensor, attention_mask: Tensor, past: Tensor) -> Tensor | dict[str, Tensor]:
        """One mask for all layers, or one for each kind of layer where a model mixes full and sliding attention.

        A model that counts its positions in the mask (ALiBi) gets it as it is, and makes the causal one itself.
        """
        if self._own_mask:
            return attention_mask
        slots = torch.arange(attention_mask.shape[1], device=attention_mask.device)
        queries = (torch.arange(input_ids.shape[1], device=attention_mask.device) + past.shape[2])[:, None]
        seen = attention_mask[:, None, None, :].to(torch.bool)
        full = _additive(seen & (slots <= queries), past.dtype)
        if self._window is None:
            return full
        sliding = _additive(seen & (slots <= queries) & (slots > queries - self._window), past.dtype)
        if self._layer_types <= {"sliding_attention"}:
            return sliding
        return {"full_attention": full, "sliding_attention": sliding}


def trace_decoder(model: "PreTrainedModel", folder: Path) -> list[Slot]:
    """Write `model.onnx`, the decoder of this architecture without its weights, and say where they belong.

    Tracing takes a minute and more, and knows nothing of what the weights are: one trace of the base serves every adapter
    (`timbre.export.weights.write_weights`). The same architecture gives the same bytes: stack traces, source paths and
    tool versions are taken out of the graph.

    Args:
        model: fp32, on CPU, in eval mode, loaded with eager attention.

    Returns:
        One slot a weight of the graph, in file order.

    Raises:
        ValueError: this architecture keeps another kind of cache than keys and values of every layer, or cannot be traced.
    """
    import onnx_ir

    assert model.config._attn_implementation == "eager", "the exported mask is only right for eager attention"
    assert next(model.parameters()).dtype == torch.float32
    program = traced_program(model)
    slots = detach_weights(program.model, weights_of(model))
    simplify(program.model, {slot.name for slot in slots})
    onnx_ir.save(program.model, folder / MODEL_FILE)
    scrub(folder / MODEL_FILE)
    return slots


def traced_program(model: "PreTrainedModel") -> Any:
    """The decoder as torch's exporter gives it; of a network without weights too, whose file is then not written.

    Raises:
        ValueError: as `trace_decoder`.
    """
    shape = CacheShape.of(model)
    decoder = CachedDecoder(model).eval()
    example = _example(shape)
    batch, sequence, past = (torch.export.Dim(name) for name in ("batch", "sequence_length", "past_sequence_length"))
    cache_axes = [{0: batch, 2: past}] * (2 * shape.layers)
    axes = ({0: batch, 1: sequence}, {0: batch, 1: torch.export.Dim.AUTO}, {0: batch, 1: sequence}, cache_axes)
    try:
        _check_cache(decoder, example, shape)
        return _traced(decoder, example, axes, shape)
    except Exception as error:  # of whatever the model's own code or torch's exporter is
        raise ValueError(
            f"{type(model).__name__} cannot be exported to ONNX ({type(error).__name__}), so it could not be served: "
            "use a Llama-, Mistral-, Qwen-, Mixtral- or GPT-2-shaped model"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what the exporter says of its own insides (axes named twice, torchvision not installed): no use to a user."""
    loggers = {logging.getLogger(name): level for name, level in (("torch.onnx", logging.ERROR), *((name, 60) for name in _TALKERS))}
    before = {logger: logger.level for logger in loggers}
    for logger, level in loggers.items():
        logger.setLevel(level)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


def _example(shape: CacheShape) -> tuple[Any, ...]:
    """Inputs to trace with. All sizes differ and none is 0 or 1, which tracing would take for constants."""
    batch, sequence, past = 2, 3, 5
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 8, (batch, sequence), generator=generator)
    mask = torch.ones(batch, past + sequence, dtype=torch.int64)
    positions = torch.arange(past, past + sequence).expand(batch, sequence).contiguous()
    cache = [torch.randn(batch, shape.kv_heads, past, shape.head_dim, generator=generator) for _ in range(2 * shape.layers)]
    return ids, mask, positions, cache


def _traced(decoder: CachedDecoder, example: tuple[Any, ...], axes: tuple[Any, ...], shape: CacheShape) -> Any:
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            decoder, example, dynamo=True, opset_version=OPSET, optimize=False, verbose=False,
            input_names=["input_ids", "attention_mask", "position_ids", *shape.names("past_key_values")],
            output_names=["logits", *shape.names("present")], dynamic_shapes=axes,
        )  # fmt: skip
    assert program is not None
    return program


def _check_cache(decoder: CachedDecoder, example: tuple[Any, ...], shape: CacheShape) -> None:
    """Whether the cache grows by what is fed, before minutes go into tracing."""
    with torch.no_grad():
        grown = decoder(*example)[1:]
    wanted = (2, shape.kv_heads, 8, shape.head_dim)
    if any(tuple(part.shape) != wanted for part in grown):
        raise ValueError(f"a cache of {wanted} does not grow as it should")


def _as_cache(past: list[Tensor]) -> Any:
    from transformers.cache_utils import DynamicCache, DynamicLayer

    cache = DynamicCache()
    for key, value in zip(past[::2], past[1::2], strict=True):
        layer: Any = DynamicLayer()  # type: ignore[no-untyped-call]
        layer.lazy_initialization(key, value)
        layer.keys, layer.values = key, value
        cache.layers.append(layer)
    return cache


def _window(config: Any) -> int | None:
    window = getattr(config, "sliding_window", None)
    types = getattr(config, "layer_types", None)
    if types is not None and "sliding_attention" not in types:
        return None
    if types is None and getattr(config, "use_sliding_window", True) is False:
        return None
    return int(window) if window else None


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a query sees a slot, the lowest finite number elsewhere: a row that sees nothing stays free of NaN."""
    return torch.where(visible, 0.0, torch.finfo(dtype).min).to(dtype)

"""A model folder tried without its weights: the network of its configuration, a few layers deep, on tensors that have only a shape.

It takes seconds whatever the model's size, and asks what a look at config.json cannot: whether configuration, weights and tokenizer
are of one model, what the layers keep between tokens, and whether the head is a plain product. `timbre.export.rehearsal` goes on
from there. What the shapes alone do not tell is left to `timbre.models.inspection`, which runs the model itself.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from timbre.models.folder import CONFIG, WEIGHTS, check_config, model_files, tensor_shapes
from timbre.models.inspection import cache_shape, check_head
from timbre.models.loading import head_weight, tokenizer_of
from timbre.models.tokens import vocabulary_size

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_LAYER = re.compile(r"^(?:[a-z_]+\.)*?(?:layers|h|blocks)\.(\d+)\.")
_FIRST_DENSE = ("first_k_dense_replace", "num_dense_layers")
"""How many layers come before the first with experts, in the configurations that have such."""
_ROWS, _WIDTH = 16, 3


def rehearse(folder: Path) -> None:
    """Refuse what cannot be used, before its weights are read.

    Raises:
        ValueError: see `check_config`; files that do not belong together; a cache or a head of another kind.
    """
    with outline(folder) as model:
        if model is not None:
            check_plain_logits(model)


@contextmanager
def outline(folder: Path) -> Iterator["PreTrainedModel | None"]:
    """The checked network of a folder in eval mode, within a mode in which tensors have shapes and no numbers.

    None where this network cannot be made or run so: nothing is known of it then.

    Raises:
        ValueError: as `rehearse`, but for the logits.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    check_config(folder)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        model = _made(folder)
        if model is not None:
            _check_files(folder, model)
            check_head(model)
            if _runs(model, folder):
                cache_shape(model)
            else:
                model = None
        yield model


def check_plain_logits(model: "PreTrainedModel") -> None:
    """Logits must be last hidden states times the output embedding: tried on a head of a few rows, whose body is left out.

    The model is of no use afterwards.

    Raises:
        ValueError: they are scaled, capped or changed in another way.
    """
    from torch._subclasses.fake_tensor import FakeTensor
    from torch.utils._python_dispatch import _disable_current_modes
    from transformers.modeling_outputs import BaseModelOutputWithPast

    width = int(head_weight(model).shape[1])
    with _disable_current_modes():
        generator = torch.Generator().manual_seed(0)
        states = torch.randn(1, _WIDTH, width, generator=generator) * 3
        head = torch.nn.Linear(width, _ROWS, bias=False)
        with torch.no_grad():
            head.weight.copy_(torch.randn(_ROWS, width, generator=generator) * 3)
            body: Any = model.base_model
            body.forward = lambda *_, **__: BaseModelOutputWithPast(last_hidden_state=states)
            model.set_output_embeddings(head)  # type: ignore[no-untyped-call]
            try:
                logits = model(input_ids=torch.zeros(1, _WIDTH, dtype=torch.int64), use_cache=False).logits.float()
            except Exception:  # its forward is written in another way: the model itself will be asked
                return
            ours = head(states)
        if isinstance(logits, FakeTensor) or logits.shape != ours.shape:  # likewise
            return
        plain = torch.allclose(ours, logits, rtol=1e-3, atol=1e-3 * float(ours.abs().max()))
    if not plain:
        raise ValueError(
            f"{type(model).__name__} scales or changes its logits after the head, which Timbre's loss does not know: "
            "use a Llama-, Mistral-, Qwen-, Mixtral- or GPT-2-shaped model"
        )


def _made(folder: Path) -> "PreTrainedModel | None":
    from transformers import AutoConfig, AutoModelForCausalLM

    maker: Any = AutoModelForCausalLM
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)  # nosec B615: a local folder
    except Exception as error:  # transformers raises nearly anything for a configuration it cannot read
        raise ValueError(_contradicts(folder, error)) from error
    if (layers := getattr(config.get_text_config(decoder=True), "num_hidden_layers", None)) is None:
        return None
    for few in (True, False):
        try:
            if few:
                _make_shallow(config.get_text_config(decoder=True))
            else:
                config.get_text_config(decoder=True).num_hidden_layers = layers
            model: Any = maker.from_config(config, attn_implementation="eager", dtype=torch.float32)
        except Exception as error:  # as above; a list with an entry a layer may not fit fewer layers
            if not few and isinstance(error, (ValueError, TypeError)):
                raise ValueError(_contradicts(folder, error)) from error
            config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)  # nosec B615
            continue
        plain_experts(model)
        made: PreTrainedModel = model.eval()
        return made
    return None


def plain_experts(model: Any) -> None:
    """Experts as one product: which of them a token goes to must not change what is computed, nor its graph."""
    if getattr(model.config, "_experts_implementation", None) and model._can_set_experts_implementation():
        model.set_experts_implementation("batched_mm")


def _make_shallow(config: "PretrainedConfig") -> None:
    """As few layers as have one of each kind, two at least."""
    layers = int(config.num_hidden_layers)
    kinds = [str(kind) for kind in getattr(config, "layer_types", None) or ()]
    dense = max((int(getattr(config, name, 0) or 0) for name in _FIRST_DENSE), default=0)
    few = min(layers, max([2, dense + 1, *(kinds.index(kind) + 1 for kind in set(kinds))]))
    for name, value in vars(config).copy().items():
        if isinstance(value, (list, tuple)) and len(value) == layers and layers > few:
            setattr(config, name, value[:few])
    config.num_hidden_layers = few


def _runs(model: "PreTrainedModel", folder: Path) -> bool:
    """Whether a pass over a few tokens goes through.

    Raises:
        ValueError: sizes in the configuration do not fit one another.
    """
    from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException

    ids = torch.zeros(1, 8, dtype=torch.int64)
    try:
        model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    except (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException, NotImplementedError, ImportError):
        return False
    except (RuntimeError, ValueError, IndexError) as error:
        raise ValueError(_contradicts(folder, error)) from error
    except Exception:  # of its own code: the model itself will be asked
        return False
    return True


def _check_files(folder: Path, model: "PreTrainedModel") -> None:
    """Configuration, headers of the weights and tokenizer against one another.

    Raises:
        ValueError: the first contradiction, with the names and sizes.
    """
    shapes = {name: shape for path in model_files(folder) if path.suffix == ".safetensors" for name, shape in tensor_shapes(path).items()}
    for name, tensor in model.state_dict().items():
        if name in shapes and shapes[name] != tuple(tensor.shape):
            raise ValueError(
                f"the model folder {folder} contradicts itself: {name} is {_sizes(shapes[name])} in its weights and "
                f"{_sizes(tuple(tensor.shape))} by its {CONFIG}: put the {CONFIG} there that was saved with these weights"
            )
    given = json.loads((folder / CONFIG).read_bytes())
    text = given.get("text_config") if isinstance(given.get("text_config"), dict) else {}
    config = model.config.get_text_config(decoder=True)
    wanted = next((int(part[name]) for part in (text, given) for name in _layer_names(config) if isinstance(part.get(name), int)), None)
    there = {int(found[1]) for name in shapes if (found := _LAYER.match(name)) and "vision" not in name and "visual" not in name}
    extra = int(getattr(config, "num_nextn_predict_layers", 0) or 0)
    halves = hasattr(config, "decoder_layers")  # an encoder beside it counts layers of its own
    if wanted is not None and there and not halves and not wanted <= max(there) + 1 <= wanted + extra:
        raise ValueError(
            f"the model folder {folder} contradicts itself: its weights have {max(there) + 1} layers and its {CONFIG} says {wanted}: "
            f"put the {CONFIG} there that was saved with these weights"
        )
    rows, largest = int(head_weight(model).shape[0]), vocabulary_size(tokenizer_of(folder))
    if largest > rows:
        raise ValueError(
            f"the tokenizer's ids go up to {largest - 1}, the model has {rows} rows: they do not belong together; put the tokenizer "
            f"into {folder} that was saved with this model"
        )


def _layer_names(config: "PretrainedConfig") -> tuple[str, ...]:
    return "num_hidden_layers", str(config.attribute_map.get("num_hidden_layers", "num_hidden_layers"))


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "one number"


def _contradicts(folder: Path, error: Exception) -> str:
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return (
        f"the model in {folder} cannot be made from its {CONFIG} ({said[:200].rstrip('.:')}): put the {CONFIG} there that was saved with "
        f"{WEIGHTS}, or choose another model"
    )

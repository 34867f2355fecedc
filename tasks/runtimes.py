"""What runs a bundle instead of our ONNX decoder: torch, or onnxruntime-genai, from what the bundle was made of in this home."""

from typing import TYPE_CHECKING

from timbre.artifacts import Artifact
from timbre.export.facts import BundleFacts
from timbre.settings import settings
from timbre.tasks.context import open_store

if TYPE_CHECKING:
    from timbre.serving.runtimes import Runtime


def runtime_of(bundle: Artifact, engine: str, precision: str = "auto") -> "Runtime":
    """The engine `torch` (fp32 always) or `genai` (`auto` is fp32) of a bundle.

    Raises:
        ValueError: its model or adapter is not in this home, the package is not installed, or the architecture is not known to it.
        IntegrityError: one of them is damaged.
    """
    from timbre.serving.runtimes import GenaiRuntime, TorchRuntime

    store, facts = open_store(), BundleFacts.read(bundle)
    try:
        model, adapter = (store.open(name, facts.digests[name]) for name in ("model", "adapter"))
    except ValueError as error:
        where = f"is not under {settings().home}: serve it where the version was made, or with the engine onnx"
        raise ValueError(f"what the bundle was made of {where}") from error
    if engine == "torch":
        import torch

        from timbre.export.merge import merged_model

        torch.set_num_threads(settings().threads)
        return TorchRuntime(merged_model(model, adapter))
    from timbre.export.genai import GenaiConfig, resolve_genai

    chosen = GenaiConfig.model_validate({"precision": "fp32" if precision == "auto" else precision})
    folder = resolve_genai(chosen, model, adapter, store).path
    return GenaiRuntime(folder, facts.context, 8 * facts.layers * facts.kv_heads * facts.head_dim)

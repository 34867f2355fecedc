"""The stage "genai": a model and its adapter as onnxruntime-genai's own builder writes them, for the engine of that name.

Whatever the builder leaves: model.onnx, model.onnx.data, genai_config.json, tokenizer files. Architectures that it knows are Llama,
Mistral, Qwen 2 and 3, Phi 3 and Gemma; weights in fp32, int8 or int4 (its own rounding, not that of `timbre quantise`).
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Literal

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import Frozen

ARCHITECTURES = {
    "LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "Phi3ForCausalLM", "GemmaForCausalLM",
    "Gemma2ForCausalLM",
}  # fmt: skip


class GenaiConfig(Frozen):
    """What the builder is asked for."""

    precision: Literal["fp32", "int8", "int4"] = "fp32"


def _build(config: GenaiConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.export.merge import merged_model

    model, adapter = inputs["model"], inputs["adapter"]
    assert isinstance(model, Artifact) and isinstance(adapter, Artifact)
    architecture = str(model.json("model.json")["architecture"])
    if architecture not in ARCHITECTURES:
        raise ValueError(f"onnxruntime-genai's builder does not know {architecture}: serve it with the engine onnx")
    source, cache = workspace.scratch / "merged", workspace.scratch / "cache"
    merged_model(model, adapter).save_pretrained(source)
    for name in model.manifest.files:
        if name.startswith(("tokenizer", "special_tokens", "added_tokens", "generation_config")):
            shutil.copyfile(model.file(name), source / name)
    builder = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
    given = ["-i", str(source), "-o", str(workspace.output), "-p", config.precision, "-e", "cpu", "-c", str(cache)]
    done = subprocess.run([*builder, *given], capture_output=True, text=True, check=False)
    if "No module named" in done.stderr and "onnxruntime_genai" in done.stderr:
        raise ValueError("the engine genai needs onnxruntime-genai-cuda: pip install 'timbre[genai]'")
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"onnxruntime-genai's builder ended with {done.returncode}: {why}")


GENAI: Stage[GenaiConfig] = Stage("genai", 1, _build)


def resolve_genai(config: GenaiConfig, model: Artifact, adapter: Artifact, store: ArtifactStore) -> Artifact:
    """The builder's folder for a model and its adapter: found, or built (which needs torch and the package).

    Raises:
        ValueError: the package is not installed, or does not know this architecture.
    """
    return store.build(GENAI, config, {"model": model, "adapter": adapter})

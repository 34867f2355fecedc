"""A tiny bundle and what it is made of, for the tests of export and serving: built once a session, by the real stage."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import CorpusConfig, ExportConfig, Frozen, ModelConfig, TrainingConfig

EXPORT = ExportConfig(parity_prompts=5, parity_tokens=6, latency_tokens=2)


def built(store: ArtifactStore, name: str, config: Frozen, write: Callable[[Path], None]) -> Artifact:
    """An artifact of stage `name` whose files `write` puts into the folder it is given."""

    def build(_: Frozen, __: Mapping[str, Input], workspace: Workspace) -> None:
        write(workspace.output)

    return store.build(Stage(name, 1, build), config, {})


def model_artifact(store: ArtifactStore, folder: Path, name: str = "tiny") -> Artifact:
    """A folder in the form of `save_pretrained` as the artifact "model"."""
    import json
    import shutil

    config = json.loads((folder / "config.json").read_text())
    facts = {
        "name": name, "architecture": config["architectures"][0], "vocab_size": len(_vocabulary(folder)), "licence": "Apache-2.0",
        "embedding_rows": config["vocab_size"], "context": config.get("max_position_embeddings") or config["n_positions"],
    }  # fmt: skip

    def write(output: Path) -> None:
        shutil.copytree(folder, output, dirs_exist_ok=True)
        (output / "model.json").write_text(json.dumps(facts))

    return built(store, "model", ModelConfig(name=name), write)


def corpus_artifact(store: ArtifactStore, texts: list[tuple[str, str]]) -> Artifact:
    from timbre.corpus.documents import Document, write_rows

    documents = [
        Document(
            doc_id=f"doc-{number:03}", text=text, author=author, date=None, source="generated", licence="CC0-1.0", consent="public domain",
            style="literary", split="train" if number % 4 else "test", fold=number % 2 if number % 4 else -1, n_tokens=len(text.split()),
        )
        for number, (author, text) in enumerate(texts)
    ]  # fmt: skip
    return built(store, "corpus", CorpusConfig(), lambda output: write_rows(documents, Document, output / "documents.parquet"))


def adapter_artifact(store: ArtifactStore, model: Artifact, seed: int = 0, size: float = 0.1) -> Artifact:
    """A LoRA adapter on all linear layers with random weights: what training could have left, and far from doing nothing.

    Seed and size stand in its key, the size as a learning rate: two tests never get each other's.
    """

    def write(output: Path) -> None:
        import json

        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        base: Any = AutoModelForCausalLM.from_pretrained(str(model.path), dtype=torch.float32)
        adapted = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in sorted(adapted.named_parameters()):
                if "lora_B" in name:
                    weight.copy_(size * torch.randn(weight.shape, generator=generator))
                elif "lora_A" in name:
                    weight.copy_(torch.randn(weight.shape, generator=generator) / weight.shape[1] ** 0.5)
        adapted.save_pretrained(str(output))
        (output / "README.md").unlink(missing_ok=True)
        config = json.loads((output / "adapter_config.json").read_text()) | {"base_model_name_or_path": ""}
        (output / "adapter_config.json").write_text(json.dumps(config))

    return built(store, "adapter", TrainingConfig(seed=seed, learning_rate=size), write)


@pytest.fixture(scope="session")
def make_artifact() -> Callable[[ArtifactStore, str, Frozen, Callable[[Path], None]], Artifact]:
    """`make_artifact(store, stage, config, write)`: an artifact with the files that `write(folder)` writes."""
    return built


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    return ArtifactStore(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="session")
def tiny_parts(tiny_store: ArtifactStore, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]) -> dict[str, Artifact]:
    """The inputs of an export: model, adapter, corpus, traced decoder."""
    from timbre.export.trace import resolve_decoder

    model = model_artifact(tiny_store, tiny_model_dir)
    return {
        "model": model, "adapter": adapter_artifact(tiny_store, model), "corpus": corpus_artifact(tiny_store, tiny_corpus_texts),
        "decoder": resolve_decoder(ModelConfig(name="tiny"), model, tiny_store),
    }  # fmt: skip


@pytest.fixture(scope="session")
def tiny_bundle(tiny_store: ArtifactStore, tiny_parts: dict[str, Artifact]) -> Artifact:
    from tests.building import export_bundle

    return export_bundle(EXPORT, store=tiny_store, **tiny_parts)


def _vocabulary(folder: Path) -> dict[str, int]:
    from tokenizers import Tokenizer

    vocabulary: dict[str, int] = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    return vocabulary

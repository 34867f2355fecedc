"""What the tests of this folder build targets from."""

from collections.abc import Mapping

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import CorpusConfig, TargetConfig
from timbre.corpus.documents import Document, write_rows


def target_config(**changes: object) -> TargetConfig:
    """A target that the tiny model learns in a second: 24 documents' first 48 tokens, a fast rate."""
    values: dict[str, object] = {
        "top_k": 16, "train_tokens": 24 * 48, "passage_tokens": 48, "admission_tokens": 8 * 48, "reference_epochs": 3,
        "reference_learning_rate": 1e-2, "reference_rank": 8, "batch_tokens": 192,
    }  # fmt: skip
    return TargetConfig.model_validate(values | changes)


def corpus_of(store: ArtifactStore, documents: list[Document], seed: int = 0) -> Artifact:
    def build(_: CorpusConfig, __: Mapping[str, Input], workspace: Workspace) -> None:
        write_rows(documents, Document, workspace.output / "documents.parquet")

    return store.build(Stage("corpus", 1, build), CorpusConfig(seed=seed), {})


def document(number: int, author: str, text: str, split: str, fold: int) -> Document:
    return Document(
        f"doc-{number:03}", text, author, None, "generated", "CC0-1.0", "public domain", "literary", split, fold, len(text.split())
    )

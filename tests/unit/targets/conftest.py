"""A tiny model and corpus as artifacts, by the real stages where these are cheap."""

from pathlib import Path

import pytest
from tiny_targets import corpus_of, document

from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import ModelConfig
from timbre.models import resolve_model
from timbre.progress import SILENT


@pytest.fixture(scope="session")
def target_store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    return ArtifactStore(tmp_path_factory.mktemp("targets"), SILENT)


@pytest.fixture(scope="session")
def target_model(target_store: ArtifactStore, tiny_model_dir: Path) -> Artifact:
    return resolve_model(ModelConfig(name=str(tiny_model_dir)), target_store)


@pytest.fixture(scope="session")
def target_corpus(target_store: ArtifactStore, tiny_corpus_texts: list[tuple[str, str]]) -> Artifact:
    """24 training documents in two folds, 8 for validation, 8 for test."""
    splits = ["train"] * 24 + ["validation"] * 8 + ["test"] * 8
    documents = [
        document(number, author, text, split, number % 2 if split == "train" else -1)
        for number, ((author, text), split) in enumerate(zip(tiny_corpus_texts, splits, strict=True))
    ]
    return corpus_of(target_store, documents)

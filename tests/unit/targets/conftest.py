"""A tiny model and corpus as artifacts, by the real stages where these are cheap."""

from collections.abc import Iterator
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


@pytest.fixture
def own_principles(home: Path) -> Iterator[Path]:
    """A lexicon and a table of swaps of words that the tiny tokenizer knows."""
    folder = home / "principles"
    folder.mkdir(parents=True)
    (folder / "more-of-it.toml").write_text('name = "more-of-it"\nstatement = "More."\nkind = "lexicon"\nwords = { near = 1.0 }\n')
    (folder / "aloud.toml").write_text('name = "aloud"\nstatement = "Speak of the sea."\nkind = "reference"\n')
    (folder / "words.toml").write_text('name = "words"\nstatement = "One as the other."\nkind = "swap"\npairs = [["the", "and"]]\n')
    yield folder

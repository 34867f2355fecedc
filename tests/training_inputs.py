"""Everything a tiny training run reads, as real artifacts: for the tests of training and of what a kill does to it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, Stage, Workspace
from timbre.config import CorpusConfig, Frozen, ModelConfig, TargetConfig, TrainingConfig
from timbre.corpus.documents import Document, read_documents, write_rows
from timbre.corpus.passages import Passage, select_passages
from timbre.models import load_tokenizer, model_facts, resolve_model
from timbre.progress import SILENT
from timbre.store import StoreHeader, TargetRow, TargetWriter
from timbre.training.data import Example

TOP_K, ALPHA, PASSAGE = 8, 0.5, 48
SPLITS = ["train"] * 24 + ["validation"] * 8 + ["test"] * 8


def training_config(**changes: object) -> TrainingConfig:
    """A run of 12 steps that visibly learns."""
    values: dict[str, object] = {
        "epochs": 2, "learning_rate": 1e-2, "rank": 8, "lora_alpha": 16, "batch_tokens": 200, "replay_items": 2, "validation_tokens": 384,
        "evaluate_every": 3, "patience": 3, "seed": 1,
    }  # fmt: skip
    return TrainingConfig.model_validate(values | changes)


@dataclass(frozen=True)
class TrainingInputs:
    """The four inputs of the stage, and the store they lie in."""

    store: ArtifactStore
    model: Artifact
    corpus: Artifact
    target: Artifact
    replay: FileInput


def make_training_inputs(home: Path, model_dir: Path, texts: list[tuple[str, str]]) -> TrainingInputs:
    """24 training documents of 48 tokens each with targets, 8 for validation, and 12 replay items."""
    store = ArtifactStore(home, SILENT)
    model = resolve_model(ModelConfig(name=str(model_dir)), store)
    documents = [
        Document(f"doc-{n:02}", text, author, None, "made", "CC0-1.0", "not needed", "tiny", split, n % 2 if split == "train" else -1, 200)
        for n, ((author, text), split) in enumerate(zip(texts, SPLITS, strict=True))
    ]
    corpus = _built(store, "corpus", CorpusConfig(), lambda folder: write_rows(documents, Document, folder / "documents.parquet"))
    target = _built(store, "target", TargetConfig(), lambda folder: _write_target(folder, model, corpus))
    replay = home / "replay.jsonl"
    replay.write_text("".join(json.dumps(item) + "\n" for item in replay_items()))
    return TrainingInputs(store, model, corpus, target, FileInput(replay))


def replay_items() -> list[dict[str, str]]:
    colours = ("red", "blue", "green", "white", "black", "brown")
    return [
        {"id": f"{kind}-{colour}", "kind": kind, "prompt": f"{asked} {colour}?", "answer": f"It is {colour}."}
        for colour in colours for kind, asked in (("fact", "Which paint is"), ("instruction", "Name the thing that is"))
    ]  # fmt: skip


def training_passages(model: Artifact, corpus: Artifact, split: str = "train") -> list[Passage]:
    documents = read_documents(corpus, split)
    tokenizer = load_tokenizer(model)
    return select_passages(documents, tokenizer, budget_tokens=PASSAGE * len(documents), passage_tokens=PASSAGE, seed=0)


def _write_target(folder: Path, model: Artifact, corpus: Artifact) -> None:
    """Half the observed token, half the corpus' own token frequencies: a target one can learn something from."""
    facts, passages = model_facts(model), training_passages(model, corpus)
    counts = np.bincount(np.concatenate([passage.token_ids for passage in passages]), minlength=facts["vocab_size"]) + 0.01
    frequencies = counts / counts.sum()
    header = StoreHeader(
        top_k=TOP_K, vocab_size=facts["vocab_size"], tokenizer_digest=facts["tokenizer_digest"], corpus_digest=corpus.digest,
        model_digest=model.digest, folds=2, temperature=1.0, alpha=ALPHA, seed=1,
    )  # fmt: skip
    with TargetWriter(folder, header) as writer:
        for passage in passages:
            writer.append(_row(passage, frequencies))


def _row(passage: Passage, frequencies: np.ndarray) -> TargetRow:
    observed = passage.token_ids[1:]
    ids = np.empty((len(observed), TOP_K), np.int32)
    probs = np.empty((len(observed), TOP_K), np.float32)
    for position, token in enumerate(observed):
        whole = (1 - ALPHA) * frequencies
        whole[token] += ALPHA
        ids[position] = np.sort(np.argsort(-whole)[:TOP_K])
        probs[position] = whole[ids[position]]
    return TargetRow(passage.doc_id, passage.index, passage.token_ids, ids, probs, 1 - probs.sum(axis=1))


def _built(store: ArtifactStore, name: str, config: Frozen, write: Callable[[Path], object]) -> Artifact:
    def build(_: Frozen, __: Mapping[str, Input], workspace: Workspace) -> None:
        write(workspace.output)

    return store.build(Stage(name, 1, build), config, {})


def mean_nll(model: Any, examples: Sequence[Example], *, vocab_size: int, batch_tokens: int) -> float:
    """Mean −log q of the observed tokens, in nats a token, as training measures it."""
    from timbre.training.parallel import World
    from timbre.training.student import Student
    from timbre.training.trainer import _mean_nll

    return _mean_nll(Student(model, TrainingConfig(objective="sft"), vocab_size), examples, batch_tokens, World())

"""Building a target: choose passages, cross-fit, ask for admission, then score, mix and store shard by shard.

Everything that takes time lies in the scratch folder as soon as it is done: each fold's adapter (and its checkpoints), the
admission's figures, each shard. A killed build goes on there and ends with the same bytes.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from timbre.artifacts import Artifact, Workspace, canonical_json, sha256_file, write_atomically
from timbre.config import TargetConfig
from timbre.corpus.documents import read_documents
from timbre.corpus.passages import Passage, select_passages
from timbre.progress import Progress
from timbre.store import StoreHeader, TargetReader, TargetRow, TargetWriter
from timbre.targets.admission import Admission, TargetRefused, judge
from timbre.targets.mixture import mix_observed
from timbre.targets.reference import Reference, cross_fit, folds_of, passages_to_learn, passages_to_score
from timbre.targets.scoring import PassageScores

ROWS_PER_SHARD = 64


@dataclass(frozen=True)
class _Material:
    """What the target is made from."""

    training: list[Passage]
    validation: list[Passage]
    source_of: dict[str, str]
    """Source of each training document."""


def assemble(config: TargetConfig, corpus: Artifact, model: Artifact, workspace: Workspace) -> None:
    """Write shards/, header.json, admission.json and summary.json into the workspace.

    Raises:
        TargetRefused: the reference is not better than the base model; its figures stay in the scratch folder.
        ValueError: too little text for the folds or the budget, or K over the vocabulary.
    """
    from timbre.models import model_facts

    facts = model_facts(model)
    if config.passage_tokens > facts["context"]:
        raise ValueError(
            f"passages of {config.passage_tokens} tokens exceed the model's context of {facts['context']}: lower target.passage_tokens"
        )
    material = _material(config, corpus, model)
    folds = folds_of(material.training)
    header = StoreHeader(
        top_k=config.top_k, vocab_size=facts["vocab_size"], tokenizer_digest=facts["tokenizer_digest"], corpus_digest=corpus.digest,
        model_digest=model.digest, folds=len(folds), temperature=config.temperature, alpha=config.alpha, seed=config.seed,
    )  # fmt: skip
    header.check()
    adapters = cross_fit(model, material.training, config, workspace.scratch / "reference", workspace.progress)
    reference = Reference(model, adapters, config, header.vocab_size)
    admission = _admission(reference, material, folds, workspace)
    store = _score(reference, material.training, folds, header, config, workspace)
    shutil.copytree(store, workspace.output, dirs_exist_ok=True)
    _write_json(workspace.output / "admission.json", admission.model_dump(mode="json"))
    _write_json(workspace.output / "summary.json", _summary(workspace.output, material.training, folds, adapters))


def _material(config: TargetConfig, corpus: Artifact, model: Artifact) -> _Material:
    from timbre.models import load_tokenizer

    tokenizer = load_tokenizer(model)
    documents = read_documents(corpus, "train")

    def drawn(split: str, budget: int) -> list[Passage]:
        found = documents if split == "train" else read_documents(corpus, split)
        if not found:
            raise ValueError(f"the corpus has no {split} documents: give it more documents")
        passages = select_passages(found, tokenizer, budget_tokens=budget, passage_tokens=config.passage_tokens, seed=config.seed)
        return [passage for passage in passages if len(passage.token_ids) > 1]  # one token predicts nothing

    training, validation = drawn("train", config.train_tokens), drawn("validation", config.admission_tokens)
    if not validation:
        raise ValueError("the validation documents hold no passage of two tokens: give the corpus longer documents")
    return _Material(training, validation, {document.doc_id: document.source for document in documents})


def _admission(reference: Reference, material: _Material, folds: Sequence[int], workspace: Workspace) -> Admission:
    """The admission's figures, computed once.

    Raises:
        TargetRefused: not admitted.
    """
    path, refused = workspace.scratch / "admission.json", workspace.scratch / "refused-admission.json"
    if path.exists():
        return Admission.model_validate_json(path.read_bytes())
    passages = material.validation
    track = workspace.progress
    base = _in_order(reference.score_unadapted(passages), len(passages), track, "admission, base model")
    by_fold = [_in_order(reference.score(passages, fold), len(passages), track, f"admission, reference {fold}") for fold in folds]
    admission = judge(passages, base, by_fold, material.training, material.source_of)
    _write_json(path if admission.admitted else refused, admission.model_dump(mode="json"))
    if not admission.admitted:
        raise TargetRefused(
            f"target refused: {admission.sentence()}. Raise target.reference_epochs or target.train_tokens, or move "
            f"target.reference_learning_rate; all figures are in {refused}"
        )
    return admission


def _score(
    reference: Reference, training: Sequence[Passage], folds: Sequence[int], header: StoreHeader, config: TargetConfig, workspace: Workspace
) -> Path:
    """Score, mix and store every training passage, a shard at a time; the finished store's folder."""
    folder = workspace.scratch / "store"
    if not (folder / "header.json").exists():
        with TargetWriter(folder, header, ROWS_PER_SHARD) as writer:
            plan = list(_plan(training, folds))
            for first, fold, passages in workspace.progress.track(plan, "target shards"):
                if first >= writer.rows_done:
                    scores = _in_order(reference.score(passages, fold), len(passages), workspace.progress, f"scoring fold {fold}")
                    for passage, scored in zip(passages, scores, strict=True):
                        writer.append(_row(passage, scored, config.alpha))
                    writer.cut()
    return folder


def _plan(training: Sequence[Passage], folds: Sequence[int]) -> Iterator[tuple[int, int, list[Passage]]]:
    """(number of the first row, fold, passages) of each shard: no shard mixes folds, so that none mixes adapters."""
    first = 0
    for fold in folds:
        passages = passages_to_score(training, fold)
        for start in range(0, len(passages), ROWS_PER_SHARD):
            shard = passages[start : start + ROWS_PER_SHARD]
            yield first, fold, shard
            first += len(shard)


def _row(passage: Passage, scores: PassageScores, alpha: float) -> TargetRow:
    mixed = mix_observed(scores.distributions, scores.observed_N, np.exp(scores.log_probs_N.astype(np.float64)), alpha)
    return TargetRow(passage.doc_id, passage.index, passage.token_ids, mixed.ids_NK, mixed.probs_NK, mixed.tail_N)


def _in_order(scores: Iterator[tuple[int, PassageScores]], count: int, progress: Progress, what: str) -> list[PassageScores]:
    found = dict(progress.track(scores, what, total=count))
    return [found[place] for place in range(count)]


def _summary(folder: Path, training: Sequence[Passage], folds: Sequence[int], adapters: Mapping[int, Path]) -> dict[str, Any]:
    """`summary.json`, from what was stored: entropies are of the K+1 stored events, in nats."""
    from timbre.targets.mixture import SparseDistributions

    reader = TargetReader(folder)
    entropy, tail, differs = [], [], []
    for row in reader.rows():
        entropy.append(SparseDistributions(row.ids_TK, row.probs_TK, row.tail_T).entropies)
        tail.append(row.tail_T)
        best = np.take_along_axis(row.ids_TK, row.probs_TK.argmax(axis=1)[:, None], axis=1)[:, 0]
        differs.append(best != row.token_ids_T[1:])
    size = sum(path.stat().st_size for path in (folder / "shards").iterdir())
    return {
        "tokens": reader.header.tokens,
        "positions": reader.header.tokens - reader.header.rows,
        "passages": reader.header.rows,
        "documents": len({passage.doc_id for passage in training}),
        "entropy": float(np.concatenate(entropy).mean(dtype=np.float64)),
        "tail_mass": float(np.concatenate(tail).mean(dtype=np.float64)),
        "argmax_differs_share": float(np.concatenate(differs).mean()),
        "bytes_per_token": size / reader.header.tokens,
        "folds": [
            {
                "fold": fold,
                "learnt_passages": len(passages_to_learn(training, fold)),
                "scored_passages": len(passages_to_score(training, fold)),
                "adapter_sha256": sha256_file(adapters[fold] / "adapter_model.safetensors") if adapters else None,
            }
            for fold in folds
        ],
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    write_atomically(path, canonical_json(value))

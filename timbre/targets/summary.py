"""`summary.json`: what was stored, and how it was shaped."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from timbre.artifacts import sha256_file
from timbre.config import TargetConfig
from timbre.corpus.passages import Passage
from timbre.store import TargetReader
from timbre.targets.classifier import Classifier
from timbre.targets.continuations import Continuations
from timbre.targets.dataset import Dataset
from timbre.targets.mixture import SparseDistributions
from timbre.targets.principles import Lexicon
from timbre.targets.reference import AdapterKey, passages_to_learn, passages_to_score, styles_of
from timbre.targets.reference_distribution import Mixture, Shaping


def summarise(folder: Path, training: Sequence[Passage], folds: Sequence[int], adapters: Mapping[AdapterKey, Path]) -> dict[str, Any]:
    """Figures of the stored rows: entropies are of the K+1 stored events, in nats."""
    reader = TargetReader(folder)
    entropy, tail, differs = [], [], []
    for row in reader.rows():
        entropy.append(SparseDistributions(row.ids_TK, row.probs_TK, row.tail_T).entropies)
        tail.append(row.tail_T)
        best = np.take_along_axis(row.ids_TK, row.probs_TK.argmax(axis=1)[:, None], axis=1)[:, 0]
        differs.append(best != row.observed)
    size = sum(path.stat().st_size for path in (folder / "shards").iterdir())
    return {
        "tokens": reader.header.tokens,
        "positions": sum(len(part) for part in tail),
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
                **_adapters(fold, adapters),
            }
            for fold in folds
        ],
    }


def _adapters(fold: int, adapters: Mapping[AdapterKey, Path]) -> dict[str, Any]:
    """sha256 of the fold's adapter, or of each style's."""
    hashes = {style: sha256_file(path / "adapter_model.safetensors") for (style, number), path in adapters.items() if number == fold}
    return {"adapter_sha256": hashes.get("")} if set(hashes) <= {""} else {"adapters_sha256": hashes}


def shaping_summary(
    config: TargetConfig, mixture: Mixture, shaping: Shaping, dataset: Dataset, continuations: Mapping[int, Continuations]
) -> dict[str, Any]:
    """What is not plain about this target; empty where everything is."""
    found: dict[str, Any] = {}
    if config.fit or config.blend or mixture.ngram_weight:
        found["mixture"] = {
            "temperature": mixture.temperature,
            "ngram_weight": mixture.ngram_weight,
            "blend": dict(zip(styles_of(config), mixture.weights, strict=True)) if config.blend else {},
        }
    if config.strength < 1:
        found["strength"] = config.strength
    if config.principles:
        found["principles"] = [
            {"name": use.name, "strength": use.strength, "left_out_words": list(scorer.left_out) if isinstance(scorer, Lexicon) else []}
            | ({"examples_told_apart": scorer.accuracy} if isinstance(scorer, Classifier) else {})
            for use, (_, scorer) in zip(config.principles, shaping.principles, strict=True)
        ]
    if shaping.swap is not None:
        found["debias"] = {
            "table": config.debias,
            "swapped_passages": sum(shaping.swap.changes(passage) for passage in dataset.training),
            "skipped_spellings": [list(pair) for pair in shaping.swap.skipped],
            "skipped_words": shaping.swap.skipped_words(dataset.training),
            "left_out_passages": sum(bool(shaping.swap.within_words(passage.token_ids).any()) for passage in dataset.training),
            "left_within_longer_words": sum(int(shaping.swap.within_words(passage.token_ids).sum()) for passage in dataset.training),
        }
    if config.formats != ("continuation",):
        found["instruction_passages"] = sum(passage.first_label > passage.start + 1 for passage in dataset.training)
    if config.pool_continuations:
        found["pooled_positions"] = int(sum((one.shares_NM[:, 0] < 1).sum() for one in continuations.values()))
    return found

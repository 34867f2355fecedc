"""How long the suite of style metrics takes, whether its fast forms are right, and what the score says of real text.

    python -m benchmarks.metrics --json            400 texts of 256 tokens against 400 human documents; minutes, and longer
                                                   where the texts of the score have to be generated first
    python -m benchmarks.metrics --small --json    64 texts, no model: seconds
    python -m benchmarks.metrics --only suite,errors

The last line of --json is one object. What was not measured is null, and a line above says why.

    suite_seconds     every metric with intervals, human side cached, content embeddings included where set-up fetched the
                      encoder (`content` says so); without generation and language-model scoring
    reference_seconds the cached human side, once
    nll_seconds       per-token likelihood of the same texts under the base model
    mmd_error, self_bleu_error   largest difference to slow references in plain Python
    sds_*             the score of unseen human text, greedy base, word-shuffled human text, and base at temperature 2
"""

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from timbre.artifacts import Artifact, ArtifactStore
from timbre.settings import settings

GOAL_SECONDS, GOAL_ERROR = 120.0, 1e-6
PARTS = ("suite", "errors", "nll", "sds")
WORDS = 190
"""Words of 256 tokens of the texts at hand."""


def human_passages(style: str, count: int) -> tuple[list[str], list[str]]:
    """Passages of 190 words of a style's sources, one of every document before the second of any, and their documents."""
    from timbre.config import CorpusConfig
    from timbre.corpus.loading import raw_documents
    from timbre.corpus.sources import SourceInput, corpus_inputs
    from timbre.metrics.texts import Text, passages

    with TemporaryDirectory() as scratch:
        documents = [
            Text(document.text, document.name)
            for entry in corpus_inputs(CorpusConfig(style=style)).values()
            if isinstance(entry, SourceInput)
            for document in raw_documents(entry, Path(scratch))
        ]
    order = np.random.default_rng(0).permutation(len(documents))
    found = passages([documents[index] for index in order], WORDS, count)
    if len(found) < count:
        raise ValueError(f"{style} holds {len(found)} passages of {WORDS} words, {count} are needed: choose --style oratory")
    return found.texts, found.documents


def suite(style: str, texts: int, human: int) -> dict[str, Any]:
    """Time of one candidate, the human side being there already."""
    from timbre.inference.embeddings import packaged_encoder
    from timbre.metrics.measuring import Reference, measure
    from timbre.metrics.overuse import overused

    encoder = packaged_encoder()
    all_texts, documents = human_passages(style, texts + human)
    reference_texts, candidate = all_texts[:human], all_texts[human:]
    if encoder is not None:
        encoder(candidate[:2])  # loading the encoder is no part of the suite
    start = time.perf_counter()
    reference = Reference.of(reference_texts, human // 2, clusters=documents[:human], encoder=encoder)
    built = time.perf_counter()
    figures = measure(candidate, reference)
    overused(candidate, reference_texts, reference.halves)
    end = time.perf_counter()
    assert len(figures) >= 20
    return {
        "suite_seconds": end - built,
        "reference_seconds": built - start,
        "content": encoder is not None,
        "texts": texts,
        "human": human,
    }


def errors(style: str, texts: int) -> dict[str, float]:
    """Fast forms against their definitions."""
    from timbre.metrics.kernels import KernelDistance, median_bandwidth
    from timbre.metrics.repetition import SelfBleu
    from timbre.metrics.style_features import StyleRuler
    from timbre.words import words

    pool, _ = human_passages(style, 2 * texts)
    features = StyleRuler.of(pool)(pool)
    bandwidth = median_bandwidth(features)
    first, second = np.arange(texts), np.arange(texts, 2 * texts)
    fast = KernelDistance(features, bandwidth)(first, second)
    assert fast is not None
    bleu = SelfBleu(pool[:texts])(np.arange(texts))
    return {
        "mmd_error": abs(fast - slow_mmd(features[:texts], features[texts:], bandwidth)),
        "self_bleu_error": abs(bleu - slow_self_bleu([words(text) for text in pool[:texts]])),
    }


def slow_mmd(first: np.ndarray, second: np.ndarray, bandwidth: float) -> float:
    """Gretton et al. 2012, eq. 3, pair by pair."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return math.exp(-sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)) / (2 * bandwidth**2))

    def within(rows: np.ndarray) -> float:
        n = len(rows)
        return math.fsum(kernel(rows[i], rows[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))

    across = math.fsum(kernel(a, b) for a in first for b in second) / (len(first) * len(second))
    return within(first) + within(second) - 2 * across


def slow_self_bleu(sequences: Sequence[Sequence[str]]) -> float:
    """Mean BLEU-4 of each text against all others, zero matches counted as .1 (Chen & Cherry 2014, method 1)."""
    counts = [[Counter(zip(*(seq[i:] for i in range(n)), strict=False)) for seq in sequences] for n in range(1, 5)]
    total = 0.0
    for index, candidate in enumerate(sequences):
        logs = []
        for bags in counts:
            matched = 0
            for gram, count in bags[index].items():
                matched += min(count, max((bag[gram] for other, bag in enumerate(bags) if other != index), default=0))
            if bags is counts[0] and not matched:
                break
            logs.append(math.log((matched or 0.1) / max(sum(bags[index].values()), 1)))
        if len(logs) == len(counts):
            lengths = [len(seq) for other, seq in enumerate(sequences) if other != index]
            nearest = min((abs(length - len(candidate)), length) for length in lengths)[1]
            total += math.exp(sum(logs) / len(logs)) * math.exp(min(0.0, 1 - nearest / len(candidate)))
    return total / len(sequences)


def nll(style: str, texts: int) -> dict[str, float]:
    """Time of scoring as many passages under the base model."""
    import torch

    from timbre import pipeline
    from timbre.config import release_config
    from timbre.inference.scorer import Scorer, batches, right_padded
    from timbre.models import load_model, load_tokenizer
    from timbre.models.tokens import document_ids, vocabulary_size

    store = ArtifactStore(settings().home)
    model: Artifact = pipeline.build("model", release_config(style, "quick", 1, {}), store, {})
    torch.set_num_threads(settings().threads)
    tokenizer = load_tokenizer(model)
    scorer = Scorer(load_model(model), vocabulary_size(tokenizer))
    passages, _ = human_passages(style, texts)
    ids = [document_ids(text, tokenizer)[:256] for text in passages]
    start, total, tokens = time.perf_counter(), 0.0, 0
    with torch.inference_mode():
        for group in batches(ids, len, 2048):
            ids_BT, mask_BT = right_padded(group, scorer.device)
            hidden_BTD = scorer.hidden(ids_BT, mask_BT)
            for row, sequence in enumerate(group):
                log_prob_T, _ = scorer.scores(hidden_BTD[row, : len(sequence) - 1], ids_BT[row, 1 : len(sequence)], entropy=False)
                total, tokens = total - float(log_prob_T.sum()), tokens + len(sequence) - 1
    return {"nll_seconds": time.perf_counter() - start, "nll": total / tokens}


def sds(style: str, prompts: int) -> dict[str, Any]:
    """What the calibration says, built if it is not there."""
    from timbre import pipeline
    from timbre.config import release_config
    from timbre.evaluation.calibration_stage import CalibrationConfig, calibration
    from timbre.inference.embeddings import packaged_encoder

    store, release = ArtifactStore(settings().home), release_config(style, "quick", 1, {})
    built = {name: pipeline.build(name, release, store, {}) for name in ("model", "corpus")}
    config = CalibrationConfig(prompts=prompts, encoder=packaged_encoder() is not None)
    summary = calibration(config, built["model"], built["corpus"], store).json("calibration.json")
    names = {"sds_human": "human", "sds_greedy": "greedy", "sds_shuffled": "shuffled", "sds_t2": "hot", "sds_base": "base"}
    scores = {name: summary["scores"][source] for name, source in names.items()}
    return scores | {"sds_passed": summary["passed"], "sds_definition": summary["definition"], "sds_count": summary["count"]}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the parts that are asked for, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one object on the last line")
    parser.add_argument("--small", action="store_true", help="64 texts, and nothing that needs a model")
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--style", default="oratory", help="whose human text is used")
    parser.add_argument("--prompts", type=int, default=100, help="texts of each set of the score")
    given = parser.parse_args(arguments)
    wanted = [part for part in given.only.split(",") if part in PARTS]
    texts = human = 64 if given.small else 400
    result: dict[str, Any] = dict.fromkeys(
        ("suite_seconds", "nll_seconds", "mmd_error", "self_bleu_error", "sds_human", "sds_greedy", "sds_shuffled", "sds_t2")
    )
    for part in wanted:
        if given.small and part in ("nll", "sds"):
            print(f"{part}: needs the base model, not measured with --small")
        elif part == "suite":
            result |= suite(given.style, texts, human)
        elif part == "errors":
            result |= errors(given.style, 24 if given.small else 60)
        elif part == "nll":
            result |= nll(given.style, texts)
        else:
            result |= sds(given.style, given.prompts)
    if given.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:20} {value}")
    return result


if __name__ == "__main__":
    main()

"""What weights of fewer bits cost beside fp32: held-out likelihood, paired probes, and whether their texts can be told apart.

Everything runs on the decoders that are served, in numpy; no torch. Texts are written in batches of rows that do not touch each
other (`timbre.export.slots`), several a prompt, with random numbers of their own on either side.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from timbre.artifacts import Artifact, FileInput
from timbre.config import SamplerConfig
from timbre.evaluation.probes import Pair, ProbeKind, probe_rows, read_probes, same_share
from timbre.export.facts import BundleFacts
from timbre.export.session import Decoder
from timbre.inference.arrays import log_softmax
from timbre.inference.sampling import sample
from timbre.metrics.told_apart import Side, told_by
from timbre.models.tokens import backend_text_ids
from timbre.statistics import clustered_bound, clustered_tango_bound, three_way

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from timbre.gates.policy import Gate

FAMILIES = ("characters", "words")
Rows = list[tuple[str, list[int]]]
"""Document and tokens of each."""


class Reader:
    """One decoder of a bundle, with what is needed to read and write text with it."""

    def __init__(self, bundle: Artifact, decoder: Decoder) -> None:
        from tokenizers import Tokenizer

        self.facts, self.decoder = BundleFacts.read(bundle), decoder
        self.tokenizer: Tokenizer = Tokenizer.from_file(str(bundle.file("tokenizer.json")))
        self.tokenizer.no_truncation()
        known = np.fromiter(self.tokenizer.get_vocab().values(), np.int64)
        self.forbidden = [*np.setdiff1d(np.arange(self.facts.vocab_size), known).tolist(), *self.facts.eos_token_ids]

    def log_probs(self, ids: Sequence[int]) -> np.ndarray:
        """log p of each token but the first after those before it, nats, float64."""
        logits, _ = self.decoder.step(np.array([ids], np.int64), self.decoder.empty_cache(1))
        log_p: np.ndarray = log_softmax(logits[0, :-1, : self.facts.vocab_size])
        return log_p[np.arange(len(ids) - 1), list(ids[1:])]

    def write(self, prompts: Sequence[Sequence[int]], samples: int, tokens: int, sampler: SamplerConfig, seed: Sequence[int]) -> np.ndarray:
        """Texts [prompts · samples, tokens], those of a prompt side by side; end tokens are never drawn."""
        rows, logits = self.decoder.rows(), []
        for ids in prompts:
            first, cache = self.decoder.read(np.array([ids], np.int64), self.decoder.empty_cache(1))
            for _ in range(samples):
                rows.join(cache)
                logits.append(first[0])
        uniform = np.random.default_rng(list(seed)).random((len(logits), tokens))
        written, logits_BV = np.empty((len(logits), tokens), np.int64), np.stack(logits)
        for place in range(tokens):
            drawable = logits_BV[:, : self.facts.vocab_size].copy()
            drawable[:, self.forbidden] = -np.inf
            written[:, place] = sample(drawable, uniform[:, place], sampler)
            if place + 1 < tokens:
                logits_BV = rows.step(written[:, place])
        return written


def openings(corpus: Artifact, tokenizer: "Tokenizer", count: int, length: int) -> Rows:
    """Stretches of `length` tokens of test documents, turn by turn.

    Raises:
        ValueError: there are fewer.
    """
    from timbre.corpus.documents import read_documents

    documents = [(each.doc_id, backend_text_ids(each.text, tokenizer)) for each in read_documents(corpus, "test")]
    rows: Rows = []
    for place in range(0, max((len(ids) for _, ids in documents), default=0), length):
        rows += [(name, ids[place : place + length]) for name, ids in documents if len(ids) >= place + length]
    if len(rows) < count:
        raise ValueError(
            f"{count} stretches of {length} test tokens are asked for, and the corpus has {len(rows)}: add documents, or ask for fewer"
        )
    return rows[:count]


def likelihood(reader: Reader, passages: Rows) -> np.ndarray:
    """Mean nats a token of each passage."""
    return np.array([-reader.log_probs(ids).mean() for _, ids in passages])


def probed(reader: Reader, kind: ProbeKind, file: FileInput, count: int, seed: int) -> list[dict[str, Any]]:
    """Item rows of `timbre.evaluation.probes`, from this decoder."""
    probes = same_share(read_probes(file.path, kind), count, seed)
    start = list(reader.facts.start_token_ids) or ([reader.facts.bos_token_id] if reader.facts.bos_token_id is not None else [])

    def score(text: str) -> float:
        return float(reader.log_probs([*start, *backend_text_ids(text, reader.tokenizer)]).sum())

    pairs = [Pair(probe, (), (), ()) for probe in probes]  # texts are read whole
    return probe_rows(kind, pairs, [(score(probe.first), score(probe.second)) for probe in probes])


def judged(
    metric: str, gate: "Gate | None", own: Sequence[dict[str, Any]], exact: Sequence[dict[str, Any]], margin: float
) -> dict[str, Any]:
    """Non-inferiority to fp32, item by item, in the way of the gates: d > 0 is better, PASS if its lower bound lies above −margin."""
    theirs = {row["item"]: float(row["value"]) for row in exact if row["metric"] == metric}
    rows = [row for row in own if row["metric"] == metric]
    sign = 1.0 if gate is not None and gate.direction == "higher" else -1.0
    differences = [sign * (float(row["value"]) - theirs[row["item"]]) for row in rows]
    clusters = [str(row["cluster"]) for row in rows]
    bound = clustered_tango_bound if gate is not None and gate.outcome == "binary" else clustered_bound
    interval = bound(differences, clusters)
    verdict = three_way(interval.low, interval.high, margin)
    return {"metric": metric, "verdict": verdict, "mean": interval.mean, "low": interval.low, "margin": margin, "items": len(rows)}


def told(own: Sequence[str], exact: Sequence[str], documents: Sequence[str], seed: int) -> dict[str, dict[str, float]]:
    """By each family, how well a fresh classifier tells texts of rounded weights from those of fp32: area and its 95% bounds."""
    found = {name: told_by(name, Side(own, documents), Side(exact, documents), seed).auc for name in FAMILIES}
    return {name: {"auc": area.mean, "low": area.low, "high": area.high} for name, area in found.items()}


def paces(readers: Mapping[str, Reader], prompt: Sequence[int], tokens: int, rounds: int) -> dict[str, float]:
    """Milliseconds a token of one text alone, the decoders in turn, median of the rounds' medians."""
    found: dict[str, list[float]] = {name: [] for name in readers}
    for turn in range(rounds + 1):
        for name, reader in readers.items():
            pace = median(_steps(reader, prompt, tokens))
            if turn:
                found[name].append(pace)
    return {name: round(median(values), 3) for name, values in found.items()}


def _steps(reader: Reader, prompt: Sequence[int], tokens: int) -> Iterator[float]:
    logits, cache = reader.decoder.read(np.array([prompt], np.int64), reader.decoder.empty_cache(1))
    rows = reader.decoder.rows()
    rows.join(cache)
    token = logits[0, : reader.facts.vocab_size].argmax()
    for _ in range(tokens):
        began = time.perf_counter()
        logits_V = rows.step(np.array([token], np.int64))[0]
        yield 1000 * (time.perf_counter() - began)
        token = logits_V[: reader.facts.vocab_size].argmax()


def weights_bytes(file: Path) -> int:
    """Size of a decoder on disk, with its data."""
    return sum(path.stat().st_size for path in (file, file.with_name("model.onnx.data")) if path.exists())

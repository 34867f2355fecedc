"""What the target store costs and loses: `python -m benchmarks.store --json` (a few minutes of scoring), `--small` to try.

- `bytes_per_token_mapped`, `bytes_per_token_archived`: at K = 32, as shards to read and as packed for the data registry.
- `store_kl`: mean KL in nats between the exact K+1 events and what is read back, over at least 1,024 positions whose tails
  reach from below 1e-4 to above .5; the largest is printed too.
- `read_tokens_per_s`: rows read in a shuffled order and dequantised, CPU time of one core, median of the repetitions.

The rows come from the packaged model on text of the *literary* corpus (fetched by `make setup`): the model as it is, at
temperature 1, and the mixture with the observed token at α = .5. With `--small` they are drawn from a seeded generator.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from timbre.store import StoreHeader, TargetReader, TargetRow, TargetWriter
from timbre.store.archive import pack

K, PASSAGE = 32, 256
GOALS = {"bytes_per_token_mapped": 102, "bytes_per_token_archived": 70, "store_kl": 2e-5, "read_tokens_per_s": 500_000}
Floats = npt.NDArray[np.floating[Any]]


def synthetic_rows(positions: int, vocab_size: int, seed: int = 0) -> Iterator[TargetRow]:
    """Passages whose distributions run from nearly certain to nearly flat, over tokens whose frequency falls with their id."""
    random = np.random.default_rng(seed)
    ranks = np.log(np.arange(1, vocab_size + 1))
    for index in range(max(1, positions // (PASSAGE - 1))):
        width = PASSAGE - 1
        scale = random.uniform(0.3, 3.0, (width, 1))
        logits = -scale * 0.6 * ranks + scale * random.standard_normal((width, vocab_size)) * 1.5
        logits[np.arange(width), random.integers(0, vocab_size, width)] += random.exponential(12, width)
        probs = np.exp(logits - logits.max(axis=1, keepdims=True))
        probs /= probs.sum(axis=1, keepdims=True)
        yield _row(f"made-{index}", random.integers(0, vocab_size, PASSAGE), probs, np.arange(width) % 2 * 0.5)


def _row(name: str, token_ids: npt.NDArray[Any], probs_NV: Floats, alpha_N: Floats) -> TargetRow:
    observed = token_ids[1:]
    probs_NV *= 1 - alpha_N[:, None]
    probs_NV[np.arange(len(observed)), observed] += alpha_N
    ids = np.sort(np.argpartition(-probs_NV, K, axis=1)[:, :K], axis=1)
    kept = np.take_along_axis(probs_NV, ids, axis=1)
    np.put_along_axis(probs_NV, ids, 0.0, axis=1)
    return TargetRow(name, 0, token_ids.astype(np.int32), ids.astype(np.int32), kept, probs_NV.sum(axis=1))


def reference_rows(positions: int) -> tuple[list[TargetRow], int]:
    """Rows of the packaged model on the literary corpus in float64, every second position mixed at α = .5; and its vocabulary.

    Raises:
        ValueError: model or text is not here; `make setup` fetches both.
    """
    import torch

    from timbre.artifacts import ArtifactStore
    from timbre.config import CorpusConfig, ModelConfig
    from timbre.corpus.documents import read_documents
    from timbre.corpus.passages import select_passages
    from timbre.corpus.stage import build_corpus
    from timbre.models import load_model, load_tokenizer, model_facts, resolve_model
    from timbre.settings import settings
    from timbre.targets.scoring import PlainModel

    store = ArtifactStore(settings().home)
    model, corpus = resolve_model(ModelConfig(), store), build_corpus(CorpusConfig(), store)
    vocab_size = int(model_facts(model)["vocab_size"])
    torch.set_num_threads(settings().threads)
    passages = select_passages(
        read_documents(corpus, "train"), load_tokenizer(model), budget_tokens=positions + PASSAGE, passage_tokens=PASSAGE, seed=0
    )
    source = PlainModel(load_model(model), 1.0, vocab_size)
    rows = []
    for passage in passages:
        probs = torch.cat([chunk.double().softmax(-1) for chunk in source.log_probs([passage])]).cpu().numpy()
        rows.append(_row(passage.doc_id, passage.token_ids, probs, np.arange(len(probs)) % 2 * 0.5))
    return rows, vocab_size


def measure(rows: list[TargetRow], vocab_size: int, repetitions: int, copies: int) -> dict[str, Any]:
    """All figures of the rows; they are read from a store that holds them `copies` times."""
    with tempfile.TemporaryDirectory(prefix="store-") as scratch:
        once, many = Path(scratch) / "once", Path(scratch) / "many"
        _write(once, rows, vocab_size, 1)
        pack(once, Path(scratch) / "packed")
        mapped, archived = (_bytes(folder) for folder in (once, Path(scratch) / "packed"))
        tokens = sum(len(row.token_ids_T) for row in rows)
        found = [_divergence(row, back) for row, back in zip(rows, TargetReader(once), strict=True)]
        _write(many, rows, vocab_size, copies)
        rates = [_read_rate(many, seed) for seed in range(repetitions)]
    divergence, tails = np.concatenate(found), np.concatenate([row.tail_T for row in rows])
    return {
        "bytes_per_token_mapped": mapped / tokens, "bytes_per_token_archived": archived / tokens,
        "store_kl": float(divergence.mean()), "read_tokens_per_s": median(rates), "store_kl_worst": float(divergence.max()),
        "positions": len(divergence), "smallest_tail": float(tails.min()), "largest_tail": float(tails.max()), "top_k": K,
        "archive_share": archived / mapped, "repetitions": repetitions,
    }  # fmt: skip


def _write(folder: Path, rows: list[TargetRow], vocab_size: int, copies: int) -> None:
    header = StoreHeader(
        top_k=K,
        vocab_size=vocab_size,
        tokenizer_digest="t",
        corpus_digest="c",
        model_digest="m",
        folds=2,
        temperature=1.0,
        alpha=0.5,
        seed=0,
    )
    with TargetWriter(folder, header) as writer:
        for row in rows * copies:
            writer.append(row)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / "shards").iterdir())


def _divergence(exact: TargetRow, stored: TargetRow) -> Floats:
    """KL(exact ‖ stored) at each position, over K tokens and the tail, in float64."""
    p = np.c_[exact.probs_TK, exact.tail_T].astype(np.float64)
    q = np.c_[stored.probs_TK, stored.tail_T].astype(np.float64)
    p, q = (events / events.sum(axis=1, keepdims=True) for events in (p, q))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(p > 0, p * np.log(p / q), 0.0).sum(axis=1))


def _read_rate(folder: Path, seed: int) -> float:
    reader = TargetReader(folder, verify=False)
    order = np.random.default_rng(seed).permutation(len(reader))
    tokens, started = 0, time.process_time()
    for number in order:
        tokens += len(reader[int(number)].token_ids_T)
    return tokens / max(time.process_time() - started, 1e-9)


def main() -> None:
    """Measure and print: a table, or with --json one object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="generated rows and a small vocabulary: says little, runs in seconds")
    parser.add_argument("--positions", type=int, default=4096)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    options = parser.parse_args()
    if options.small:
        rows, vocab_size = list(synthetic_rows(min(options.positions, 1024), 8192)), 8192
    else:
        rows, vocab_size = reference_rows(options.positions)
    found = measure(rows, vocab_size, options.repetitions, copies=16)
    for name, goal in GOALS.items():
        met = found[name] >= goal if name == "read_tokens_per_s" else found[name] <= goal
        print(f"{name:26} {found[name]:14,.6g}   goal {goal:>10,g}   {'met' if met else 'MISSED'}")
    reach = f"{found['smallest_tail']:.1e} … {found['largest_tail']:.2f}"
    print(f"{found['positions']} positions, tails {reach}, worst KL {found['store_kl_worst']:.1e}")
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()

"""What the target store costs and loses, on rows of a real reference.

    python -m benchmarks.store --json      a few minutes, most of them scoring
    python -m benchmarks.store --small     seconds, generated rows and a small vocabulary

bytes_per_token_mapped, bytes_per_token_archived   at K = 32, as shards to read and as packed for the data registry
store_kl              mean KL in nats between the exact K+1 events and what is read back, over at least 1,024 positions whose
                      tails reach from below 1e-4 to above .5 (else it counts as missed); the largest is store_kl_worst
read_tokens_per_s     rows read in a shuffled order and dequantised, CPU time of one core
target_bytes_*        of the finished target itself, at its own K, where one stands
training_peak_mib_*   the most memory that training holds, on rows, 4× and 16× rows of a tiny model; training_peak_growth is the last
                      over the first, training_rows_mib_16x what those rows come to in memory

Rows are scored anew, since what a target holds has been rounded already: each passage by the cross-fitted adapter that never
saw its document, the ones that `benchmarks.recipe` left here, the largest trial's first. Where there are none, those of the
quick trial are trained (a few minutes) and kept. Every second position is mixed with the observed token at α = .5. Where there
is neither model nor text, rows are generated from a seed. Which of these it was is printed, and stands in the JSON as `rows`.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measuring import against_goals, arguments, finish
from benchmarks.recipe import trial
from benchmarks.recipes import FULL, LARGE, PLAIN, QUICK, RECIPES
from benchmarks.trial import Trial
from timbre.artifacts import ArtifactStore, IntegrityError
from timbre.progress import SILENT
from timbre.settings import settings
from timbre.store import StoreHeader, TargetReader, TargetRow, TargetWriter
from timbre.store.archive import pack

K, PASSAGE = 32, 256
GOALS = {
    "bytes_per_token_mapped": 102, "bytes_per_token_archived": 70, "store_kl": 2e-5, "read_tokens_per_s": 500_000,
    "positions": 1_024, "smallest_tail": 1e-4, "largest_tail": 0.5, "training_peak_growth": 1.05,
}  # fmt: skip
AT_LEAST = ("read_tokens_per_s", "positions", "largest_tail")
COVERED = ("positions", "smallest_tail", "largest_tail")
"""What the rows must reach for store_kl to say anything."""
_RANGE = "store_kl says nothing of positions and tails that are not among these rows: take more with --positions"
REASONS = {
    "bytes_per_token_mapped": "at K = 32 ids of two bytes and a code of one take 96 of it, the rest is tokens, tails, spans and names: "
    "larger with a vocabulary over 65,536 (four bytes an id)",
    "bytes_per_token_archived": "sorted ids as differences and codes, compressed: ids spread widely, or codes near uniform, compress less",
    "store_kl": "rounding of the codes on each position's logarithmic grid and of the tail in fp16",
    "read_tokens_per_s": "a row's ids are widened and its codes exponentiated in numpy; short passages pay more for each",
    "training_peak_growth": "something that training holds grows with the rows: what is read, mapped or remembered of them",
    **dict.fromkeys(COVERED, _RANGE),
}  # fmt: skip
PUBLISHED = {"DistillKit, K = 50": 114, "Megatron, K = 32": 160}
"""What others publish of theirs, for the picture."""
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


@dataclass(frozen=True)
class ReferenceRows:
    """Rows to be stored, and where they come from."""

    rows: list[TargetRow]
    vocab_size: int
    source: str
    real: bool = False
    """Whether a reference wrote them."""
    target: Path | None = None
    """A finished target, to be weighed as it is."""


def trial_of(style: str) -> Trial:
    """The largest recipe trial of the style whose references stand, or the quick one.

    Raises:
        ValueError: model or text is not here; `make setup` fetches both.
    """
    trials = [trial(size, style) for size in (LARGE, FULL, QUICK)]
    return next((place for place in trials if place.references_exist), trials[-1])


def reference_rows(place: Trial, positions: int) -> tuple[list[TargetRow], str]:
    """Rows of cross-fitted references in float64, and which references these are; passages of all folds take turns."""
    import torch

    from timbre.models import load_model, load_tokenizer, model_facts
    from timbre.targets.dataset import gather
    from timbre.targets.reference import passages_to_score
    from timbre.targets.scoring import PlainModel

    existing, facts = place.references_exist, model_facts(place.model)
    folders = place.reference_folders()
    config = place.size.target(RECIPES[PLAIN], place.seed)
    training = gather(config, place.corpus, load_tokenizer(place.model), facts["context"]).training
    torch.set_num_threads(settings().threads)
    rows: list[TargetRow] = []
    for fold, folder in folders.items():
        scorer, wanted = PlainModel(load_model(place.model, adapter=folder), 1.0, facts["vocab_size"]), positions / len(folders)
        for passage in passages_to_score(training, fold):
            if wanted > 0:
                probs = torch.cat([chunk.double().softmax(-1) for chunk in scorer.log_probs([passage])]).cpu().numpy()
                rows.append(_row(passage.doc_id, passage.token_ids, probs, np.arange(len(probs)) % 2 * 0.5))
                wanted -= len(probs)
    how = "left by" if existing else "trained now for"
    source = (
        f"passages scored by the cross-fitted references {place.references.digest[:12]}, {how} the recipe trial of size {place.size.name}"
    )
    return rows, source


def finished_target(style: str) -> Path | None:
    """The finished target of the style's release, where there is one."""
    from timbre import pipeline
    from timbre.config import release_config

    target = pipeline.find(release_config(style), ArtifactStore(settings().home)).get("target")
    return None if target is None else target.path


def rows_of_reference(style: str, positions: int, *, small: bool) -> ReferenceRows:
    """Real rows, or generated ones and why."""
    vocab_size, why = (8_192, "asked for by --small") if small else (49_152, "")
    if not small:
        try:
            place = trial_of(style)
            rows, source = reference_rows(place, positions)
            return ReferenceRows(rows, model_vocabulary(place), source, real=True, target=finished_target(style))
        except (ValueError, IntegrityError) as error:
            why = str(error)
    made = list(synthetic_rows(min(positions, 2048) if small else positions, vocab_size))
    return ReferenceRows(made, vocab_size, f"generated from a seed: {why}")


def model_vocabulary(place: Trial) -> int:
    """True vocabulary size of the trial's model."""
    from timbre.models import model_facts

    return int(model_facts(place.model)["vocab_size"])


def weigh(target: Path) -> dict[str, float]:
    """Bytes a token of a finished target, mapped and archived, at its own K."""
    with tempfile.TemporaryDirectory(prefix="store-") as scratch:
        header = pack(target, Path(scratch) / "packed")
        mapped, archived = _bytes(target), _bytes(Path(scratch) / "packed")
    return {
        "target_bytes_per_token_mapped": mapped / header.tokens, "target_bytes_per_token_archived": archived / header.tokens,
        "target_top_k": header.top_k, "target_tokens": header.tokens,
    }  # fmt: skip


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


def training_memory(rows: int) -> dict[str, float]:
    """Peaks of training on generated rows for a tiny model; see `benchmarks.training_memory`."""
    from benchmarks.tiny import VOCABULARY, tiny_model
    from benchmarks.training_memory import training_peaks

    with tempfile.TemporaryDirectory(prefix="training-") as folder:
        scratch = Path(folder)
        tiny_model(ArtifactStore(scratch / "home", SILENT))
        made = list(synthetic_rows(rows * (PASSAGE - 1), VOCABULARY))

        def write(place: Path, times: int) -> float:
            _write(place, made, VOCABULARY, times)
            return times * sum(row.ids_TK.nbytes + 4 * row.probs_TK.size for row in made) / 2**20

        return training_peaks(write, scratch / "home" / "tiny-model", scratch)


def judged(found: Mapping[str, float], rows: ReferenceRows) -> tuple[dict[str, float], dict[str, str]]:
    """`against_goals`; store_kl is missed, too, where the rows are none of a reference's, or do not reach as far as they must."""
    shares, missed = against_goals(found, GOALS, at_least=AT_LEAST, reasons=REASONS)
    lacking = [f"{name} was not reached" for name in COVERED if name in missed] + ([] if rows.real else ["the rows are made up"])
    if lacking:
        missed["store_kl"] = f"{', '.join(lacking)}, so that its value proves nothing"
        print(f"store_kl counts as missed: {missed['store_kl']}")
    return shares, missed


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


def _more(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--style", default="literary", help="whose target or corpus (default literary)")
    parser.add_argument("--positions", type=int, default=4096, help="how many are compared (default 4096)")


def main() -> None:
    """Measure, show, and print the figures."""
    given = arguments(__doc__, _more)
    from_where = rows_of_reference(given.style, given.positions, small=given.small)
    found = measure(from_where.rows, from_where.vocab_size, given.rounds, copies=16)
    if from_where.target is not None:
        found |= weigh(from_where.target)
    found |= training_memory(16 if given.small else 64)
    print(f"rows: {from_where.source}\n")
    shares, missed = judged(found, from_where)
    reach = f"{found['smallest_tail']:.1e} … {found['largest_tail']:.2f}"
    print(f"\n{found['positions']} positions, tails {reach}, worst KL {found['store_kl_worst']:.1e}")
    if from_where.target is not None:
        sizes = f"{found['target_bytes_per_token_mapped']:.1f} mapped, {found['target_bytes_per_token_archived']:.1f} archived"
        print(f"the target that stands here, K = {found['target_top_k']}: {sizes} bytes a token")
    bars = {f"timbre: {name}": share for name, share in shares.items() if name in list(GOALS)[:4]} | {
        f"{name}, bytes a token": size / GOALS["bytes_per_token_mapped"] for name, size in PUBLISHED.items()
    }
    finish(
        found | {"rows": from_where.source, "missed": missed},
        given,
        bars,
        "The target store",
        "over the goal (rates: goal over it); 1 or less is met",
        "store",
    )


if __name__ == "__main__":
    main()

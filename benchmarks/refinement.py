"""Does iterative refinement make texts that others find nearer to human ones? Against best-of-n at equal compute, and plain sampling.

    python -m benchmarks.refinement --json                   the champion of `literary` in this home
    python -m benchmarks.refinement --prompts 128 --json     goes on from what was written before

Each opening of a test document is continued three ways: `plain` (the draft), `refined` (that draft in STEPS steps) and `best_of_n` (as many
samples as the model reads and writes tokens for the refined one, the best by the same score). What is written is kept in the home.

score        mean distance from the style, which both selections look at
told_apart   by classifiers that neither looked at (characters, words): area from the human continuations, cross-fitted by document; .5
             cannot be told, and lower is better
distinct_2   different pairs of words ÷ pairs of words, over all texts of an arm
tokens       that the model read and wrote for a text
verdict      of `refined` beside each other arm and family: wins or loses where the 95% intervals do not meet, else not told
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from timbre.artifacts import Artifact, canonical_json, digest_json, write_atomically
from timbre.metrics.critic import StyleCritic
from timbre.metrics.lexical import ngrams
from timbre.metrics.told_apart import Side, told_by
from timbre.serving.engine import Engine
from timbre.serving.refine import Refiner
from timbre.serving.rounding import FAMILIES, Reader, openings
from timbre.words import words

PROMPT, STEPS = 24, 8
ARMS = ("plain", "best_of_n", "refined")
Row = dict[str, Any]


def written(engine: Engine, reader: Reader, critic: StyleCritic, ids: list[int], tokens: int, number: int) -> Row:
    """The three texts of one opening, their scores, and tokens read for each."""
    refiner = Refiner(engine, critic)
    refined = refiner.refine(ids, steps=STEPS, max_new_tokens=tokens, seed=(0, number))
    n = max(2, -(-(refined.read - len(ids)) // tokens))  # the opening is read once for all of them
    before, texts = len(engine.tokenizer.decode(ids)), [refined.draft]  # the draft is the first of n
    for row in reader.write([ids], n - 1, tokens, engine.facts.sampler, (1, number)).tolist():
        texts.append(engine.tokenizer.decode([*ids, *row])[before:].rstrip("\ufffd"))
    scores = critic.distances(texts)
    best = int(scores.argmin())
    return {
        "plain": {"text": refined.draft, "score": refined.draft_score, "tokens": len(ids) + tokens},
        "best_of_n": {"text": texts[best], "score": float(scores[best]), "tokens": len(ids) + n * tokens, "n": n},
        "refined": {"text": refined.text, "score": refined.score, "tokens": refined.read},
    }


def measure(
    bundle: Artifact, corpus: Artifact, prompts: int, tokens: int, place: Path, served: Path | None = None
) -> dict[str, Any]:  # fmt: skip
    """Write what is not there yet, and compare the arms.

    Args:
        served: the weights that run instead of the bundle's own.

    Raises:
        ValueError: the test documents are too few.
    """
    from timbre.export.reference import read_critic

    engine, critic = Engine.of(bundle, served), read_critic(corpus)
    reader = Reader(bundle, engine.decoder)
    passages = openings(corpus, engine.tokenizer, prompts, PROMPT + tokens)
    rows = []
    for number, (_, ids) in enumerate(passages):
        about = {"bundle": bundle.digest, "served": engine.precision, "ids": ids, "steps": STEPS, "number": number}
        file = place / f"{digest_json(about)[:16]}.json"
        if not file.exists():
            place.mkdir(parents=True, exist_ok=True)
            write_atomically(file, canonical_json(written(engine, reader, critic, ids[:PROMPT], tokens, number)))
        rows.append(json.loads(file.read_bytes()))
    documents = [name for name, _ in passages]
    human = Side([engine.tokenizer.decode(ids[PROMPT:]) for _, ids in passages], documents)
    return {arm: _of_arm([row[arm] for row in rows], documents, human) for arm in ARMS}


def _of_arm(rows: list[Row], documents: list[str], human: Side) -> Row:
    texts = [row["text"] for row in rows]
    pairs = [pair for text in texts for pair in ngrams(words(text), 2)]
    told = {name: told_by(name, Side(texts, documents), human).auc for name in FAMILIES}
    return {
        "score": float(np.mean([row["score"] for row in rows])), "tokens": float(np.mean([row["tokens"] for row in rows])),
        "distinct_2": len(set(pairs)) / max(len(pairs), 1),
        "told_apart": {name: {"auc": area.mean, "low": area.low, "high": area.high} for name, area in told.items()},
    }  # fmt: skip


def verdicts(arms: dict[str, Any]) -> dict[str, dict[str, str]]:
    """`refined` beside the other arms, family by family."""

    def of(other: Row, own: Row) -> str:
        return "wins" if own["high"] < other["low"] else "loses" if own["low"] > other["high"] else "not told"

    own = arms["refined"]["told_apart"]
    return {arm: {name: of(arms[arm]["told_apart"][name], own[name]) for name in own} for arm in ARMS[:2]}


def main() -> None:
    """Measure and print."""
    from timbre.cli.options import DEFAULT_MODEL
    from timbre.config import ModelConfig
    from timbre.settings import settings
    from timbre.tasks.bundles import bundle_of
    from timbre.tasks.context import open_store
    from timbre.tasks.quantised import weights_of

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", default="literary")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "int8", "int4"), help="the form that writes")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    bundle = bundle_of(given.style, ModelConfig(name=given.model)).artifact
    corpus = open_store().open("corpus", Engine.of(bundle).facts.digests["corpus"])
    arms = measure(
        bundle, corpus, given.prompts, given.tokens, settings().home / "benchmarks" / "refinement", weights_of(bundle, given.precision)
    )
    found = {"bundle": bundle.digest, "prompts": given.prompts, "tokens": given.tokens, "load": os.getloadavg()[0]}
    found |= {"arms": arms, "verdict": verdicts(arms)}
    print(json.dumps(found) if given.json else "\n".join(f"{name}: {value}" for name, value in (arms | found["verdict"]).items()))


if __name__ == "__main__":
    main()

"""What `strength` and `diversity` do to the texts of a champion: figures a setting, beside human text.

    python -m benchmarks.steering --json                     the champion of `literary` in this home
    python -m benchmarks.steering --style letters --texts 48

Each setting continues the same openings of test documents, with the same random numbers and the bundle's own sampler.

entropy      nats of the distribution that each token is drawn from, after the sampler
distinct_2   different pairs of words ÷ pairs of words, mean over texts
coherent     share of texts whose likelihood under the base model lies where 98 of 100 human ones do (timbre.evaluation.coherence)
low, high    95% interval of distinct_2 over openings
"""

import argparse
import json
import os
from typing import Any

import numpy as np

from timbre.artifacts import Artifact
from timbre.export.base import ONNX_FILE
from timbre.export.session import Decoder
from timbre.inference import sampling
from timbre.inference.steering import Steering, steer
from timbre.models.tokens import backend_text_ids
from timbre.serving.engine import Engine

PROMPT, SAMPLES = 24, 2
SETTINGS = [
    {"strength": 0.0}, {"strength": 0.5}, {}, {"strength": 1.5},
    {"diversity": 0.0}, {"diversity": 0.25}, {"diversity": 0.5}, {"diversity": 0.75}, {"diversity": 1.0},
]  # fmt: skip
Rows = np.ndarray


def passages(engine: Engine, corpus: Artifact, count: int, length: int) -> Rows:
    """Token rows [count, length]: stretches of test documents, turn by turn."""
    from timbre.corpus.documents import read_documents

    documents = [backend_text_ids(document.text, engine.tokenizer) for document in read_documents(corpus, "test")]
    rows: list[list[int]] = []
    for place in range(0, max(map(len, documents)), length):
        rows += [ids[place : place + length] for ids in documents if len(ids) >= place + length]
    if len(rows) < count:
        raise ValueError(
            f"{count} passages of {length} tokens are asked for, and the test documents have {len(rows)}: ask for fewer --texts"
        )
    return np.array(rows[:count], np.int64)


def write(engine: Engine, base: Decoder, steering: Steering, prompts: Rows, tokens: int) -> tuple[Rows, Rows]:
    """Texts [B, tokens], and the entropy of what each token was drawn from."""
    sampler, vocabulary = sampling.Controls.model_validate(engine.facts.sampler.model_dump()), engine.facts.vocab_size
    forbidden = [*engine.unused, *engine.facts.eos_token_ids]
    uniform = np.random.default_rng(0).random((len(prompts), tokens))
    pair, rows = (engine.decoder, base), prompts
    caches = [decoder.empty_cache(len(prompts)) for decoder in pair]
    written, entropies = np.empty((len(prompts), tokens), np.int64), np.empty((len(prompts), tokens))
    for place in range(tokens):
        logits = []
        for number, decoder in enumerate(pair):
            found, caches[number] = decoder.step(rows, caches[number])
            logits.append(found[:, -1, :vocabulary].copy())
            logits[-1][:, forbidden] = -np.inf
        drawn_from = sampling.process(steer(logits[0], logits[1], steering), sampler)
        p = sampling.probabilities(drawn_from)
        entropies[:, place] = -(p * np.log(np.where(p > 0, p, 1))).sum(-1)
        written[:, place] = sampling.draw(drawn_from, uniform[:, place])
        rows = written[:, place : place + 1]
    return written, entropies


def likelihood(base: Decoder, rows: Rows, vocabulary: int) -> list[float]:
    """Nats a token of each row's text after its prompt, under the base."""
    found = []
    for row in rows:
        logits = base.step(row[None], base.empty_cache(1))[0][0, PROMPT - 1 : -1, :vocabulary]
        p = sampling.probabilities(logits)
        found.append(float(-np.log(p[np.arange(len(p)), row[PROMPT:]]).mean()))
    return found


def measure(engine: Engine, base: Decoder, corpus: Artifact, texts: int, tokens: int) -> list[dict[str, Any]]:
    """A line of figures a setting, the human text first."""
    from timbre.evaluation.coherence import human_range
    from timbre.metrics.lexical import distinct
    from timbre.statistics import bootstrap_interval

    human = passages(engine, corpus, max(texts, 32), PROMPT + tokens)
    low, high = human_range(likelihood(base, human, engine.facts.vocab_size))
    prompts = np.repeat(human[: texts // SAMPLES, :PROMPT], SAMPLES, 0)

    def line(name: dict[str, float] | str, rows: Rows, entropies: Rows | None) -> dict[str, Any]:
        nll = likelihood(base, rows, engine.facts.vocab_size)
        various = [distinct(engine.tokenizer.decode(row[PROMPT:].tolist())) or 0.0 for row in rows]
        interval = bootstrap_interval(various, [tuple(row[:PROMPT]) for row in rows])
        return {
            "setting": name, "entropy": None if entropies is None else round(float(entropies.mean()), 3),
            "distinct_2": round(interval.mean, 4), "low": round(interval.low, 4), "high": round(interval.high, 4),
            "coherent": round(float(np.mean([low <= each <= high for each in nll])), 3), "nll": round(float(np.mean(nll)), 3),
        }  # fmt: skip

    lines = [line("human", human[:texts], None)]
    for setting in SETTINGS:
        written, entropies = write(engine, base, Steering.model_validate(setting), prompts, tokens)
        lines.append(line(setting, np.concatenate([prompts, written], 1), entropies))
    return lines


def main() -> None:
    """Measure and print."""
    from timbre.cli.options import DEFAULT_MODEL
    from timbre.config import ModelConfig
    from timbre.tasks.bases import base_of
    from timbre.tasks.bundles import bundle_of
    from timbre.tasks.context import open_store

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", default="literary")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--texts", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    bundle = bundle_of(given.style, ModelConfig(name=given.model)).artifact
    engine, base = Engine.of(bundle), Decoder.open(base_of(bundle).file(ONNX_FILE))
    corpus = open_store().open("corpus", engine.facts.digests["corpus"])
    lines = measure(engine, base, corpus, given.texts, given.tokens)
    if given.json:
        print(
            json.dumps({"bundle": bundle.digest, "texts": given.texts, "tokens": given.tokens, "load": os.getloadavg()[0], "rows": lines})
        )
        return
    for row in lines:
        print("  ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()

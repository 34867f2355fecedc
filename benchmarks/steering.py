"""What `strength` and `diversity` do to the texts of a champion: figures a setting, beside human text.

    python -m benchmarks.steering --json                     the champion of `literary` in this home
    python -m benchmarks.steering --style letters --texts 48
    python -m benchmarks.steering --lines FOLDER --picture docs/how-to/diversity.svg     settings measured before are read back

Each setting continues the same openings of test documents, each several times, with the same random numbers and the bundle's own sampler.

entropy      nats of the distribution that each token is drawn from, after the sampler
distinct_2   different pairs of words ÷ pairs of words, of the texts of an opening together; mean over openings
coherent     share of texts whose likelihood under the base model lies where 98 of 100 human ones do (timbre.evaluation.coherence)
low, high    95% intervals over openings
steps        what each step of diversity adds to entropy and distinct_2, and the whole way from 0 to 1, opening by opening
"""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from timbre.artifacts import Artifact, write_atomically
from timbre.export.base import served_file
from timbre.export.session import Decoder
from timbre.export.slots import Slots
from timbre.inference import sampling
from timbre.inference.steering import Steering, steer
from timbre.metrics.lexical import ngrams
from timbre.models.tokens import backend_text_ids
from timbre.serving.engine import Engine
from timbre.words import words

PROMPT, SAMPLES = 24, 4
SETTINGS: list[dict[str, float]] = [
    {"diversity": 0.0}, {"diversity": 1.0}, {"diversity": 0.5}, {}, {"diversity": 0.25}, {"diversity": 0.75},
    {"strength": 0.0}, {"strength": 0.5}, {"strength": 1.5},
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
    pair = [_begun(decoder, prompts) for decoder in (engine.decoder, base)]
    stepped = [first for first, _ in pair]
    written, entropies = np.empty((len(prompts), tokens), np.int64), np.empty((len(prompts), tokens))
    for place in range(tokens):
        logits = [found[:, :vocabulary].copy() for found in stepped]
        for found in logits:
            found[:, forbidden] = -np.inf
        drawn_from = sampling.process(steer(logits[0], logits[1], steering), sampler)
        p = sampling.probabilities(drawn_from)
        entropies[:, place] = -(p * np.log(np.where(p > 0, p, 1))).sum(-1)
        written[:, place] = sampling.draw(drawn_from, uniform[:, place])
        stepped = [rows.step(written[:, place]) for _, rows in pair] if place < tokens - 1 else []
    return written, entropies


def _begun(decoder: Decoder, prompts: Rows) -> tuple[Rows, Slots]:
    """A row a prompt, and the logits of what follows; a prompt that stands there several times is read once."""
    rows, logits, last, cache = decoder.rows(), [], None, decoder.empty_cache(1)
    for prompt in prompts:
        if last is None or not np.array_equal(prompt, last):
            found, cache = decoder.step(prompt[None], decoder.empty_cache(1))
            last = prompt
        rows.join(cache)
        logits.append(found[0, -1])
    return np.stack(logits), rows


def likelihood(base: Decoder, rows: Rows, vocabulary: int) -> list[float]:
    """Nats a token of each row's text after its prompt, under the base."""
    found = []
    for row in rows:
        logits = base.step(row[None], base.empty_cache(1))[0][0, PROMPT - 1 : -1, :vocabulary]
        p = sampling.probabilities(logits)
        found.append(float(-np.log(p[np.arange(len(p)), row[PROMPT:]]).mean()))
    return found


def measure(
    engine: Engine, base: Decoder, corpus: Artifact, texts: int, tokens: int, kept: Path | None,
    settings: Sequence[dict[str, float]] = SETTINGS,
) -> list[dict[str, Any]]:  # fmt: skip
    """A line of figures a setting, the human text first; `kept` is where settings that were measured before are read back."""
    from timbre.evaluation.coherence import ENOUGH, human_range

    human = passages(engine, corpus, max(texts // SAMPLES, ENOUGH), PROMPT + tokens)
    human_nll: list[float] = _kept(kept, "human", lambda: likelihood(base, human, engine.facts.vocab_size))
    band = human_range(human_nll)
    prompts = np.repeat(human[: texts // SAMPLES, :PROMPT], SAMPLES, 0)
    lines = [_line("human", engine, human, human_nll, band, None)]
    for setting in settings:
        name = " ".join(f"{field} {value:g}" for field, value in setting.items()) or "champion"

        def line(name: str = name, setting: dict[str, float] = setting) -> dict[str, Any]:
            written, entropies = write(engine, base, Steering.model_validate(setting), prompts, tokens)
            rows = np.concatenate([prompts, written], 1)
            return _line(name, engine, rows, likelihood(base, rows, engine.facts.vocab_size), band, entropies)

        lines.append(_kept(kept, name, line))
    return lines


def _kept(folder: Path | None, name: str, make: Callable[[], Any]) -> Any:
    """What a file of the folder holds, made where it is not there yet."""
    file = None if folder is None else folder / f"{name.replace(' ', '-')}.json"
    if file is None or not file.exists():
        made = make()
        if file is None:
            return made
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(made).encode())
    return json.loads(file.read_text())


def _line(name: str, engine: Engine, rows: Rows, nll: list[float], band: tuple[float, float], entropies: Rows | None) -> dict[str, Any]:
    from timbre.statistics import bootstrap_interval, rate_bound

    size = 1 if entropies is None else SAMPLES
    texts = [engine.tokenizer.decode(row[PROMPT:].tolist()) for row in rows]
    various = [_distinct(texts[place : place + size]) for place in range(0, len(texts), size)]
    openings = [place // size for place in range(len(texts))]
    found, coherent = bootstrap_interval(various), [float(band[0] <= each <= band[1]) for each in nll]
    bound = rate_bound(coherent, openings)
    unsure = None if entropies is None else entropies.mean(1).reshape(-1, size).mean(1)
    return {
        "setting": name, "entropy": None if unsure is None else round(float(unsure.mean()), 3),
        "distinct_2": round(found.mean, 4), "low": round(found.low, 4), "high": round(found.high, 4),
        "coherent": round(bound.mean, 3), "coherent_low": round(bound.low, 3), "coherent_high": round(bound.high, 3),
        "nll": round(float(np.mean(nll)), 3), "human_range": [round(each, 2) for each in band],
        "by_opening": {"entropy": None if unsure is None else unsure.tolist(), "distinct_2": various},
    }  # fmt: skip


def _distinct(texts: list[str]) -> float:
    """Different pairs of words ÷ pairs of words, of several texts together; no pair reaches from one into the next."""
    pairs = [pair for text in texts for pair in ngrams(words(text), 2)]
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def steps(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each step of diversity adds, and the whole way: means with 95% intervals over openings."""
    from timbre.statistics import bootstrap_interval

    way = sorted((line for line in lines if str(line["setting"]).startswith("diversity")), key=lambda line: str(line["setting"]))
    found = []
    for before, after in [*pairwise(way), (way[0], way[-1])] if way else []:
        step: dict[str, Any] = {"from": before["setting"], "to": after["setting"]}
        for figure in ("entropy", "distinct_2"):
            gains = np.subtract(after["by_opening"][figure], before["by_opening"][figure])
            interval = bootstrap_interval(gains)
            step[figure] = {"mean": round(interval.mean, 4), "low": round(interval.low, 4), "high": round(interval.high, 4)}
        found.append(step)
    return found


def picture(lines: list[dict[str, Any]]) -> str:
    """Entropy, distinct-2 and coherence over diversity, as a drawing that stands alone."""
    way = sorted((line for line in lines if str(line["setting"]).startswith("diversity")), key=lambda line: str(line["setting"]))
    places = [float(str(line["setting"]).split()[1]) for line in way]
    parts = []
    for number, (figure, title) in enumerate(
        (("entropy", "entropy, nats a token"), ("distinct_2", "distinct-2"), ("coherent", "in the human range"))
    ):
        lows = {"entropy": None, "distinct_2": "low", "coherent": "coherent_low"}[figure]
        highs = {"entropy": None, "distinct_2": "high", "coherent": "coherent_high"}[figure]
        values = [line[figure] for line in way]
        whiskers = [(line[lows], line[highs]) for line in way] if lows and highs else [(value, value) for value in values]
        bottom, top = min(low for low, _ in whiskers), max(high for _, high in whiskers)
        bottom, top = (bottom - 0.02, top + 0.02) if top - bottom < 0.04 else (bottom, top)
        left = 60 + 270 * number

        def at(x: float, y: float, left: int = left, bottom: float = bottom, top: float = top) -> tuple[float, float]:
            return left + 190 * x, 190 - 140 * (y - bottom) / (top - bottom)

        parts.append(f'<text x="{left}" y="26" font-size="14">{title}</text>')
        for value in (bottom, top):
            parts.append(f'<text x="{left - 8}" y="{at(0, value)[1] + 4:.1f}" text-anchor="end">{value:.2f}</text>')
        for x in (0, 0.5, 1):
            parts.append(f'<text x="{at(x, bottom)[0]:.1f}" y="212" text-anchor="middle">{x:g}</text>')
        points = [at(x, y) for x, y in zip(places, values, strict=True)]
        parts.append(
            f'<polyline fill="none" stroke="#0b6e69" stroke-width="2" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'
        )
        for x, (low, high) in zip(places, whiskers, strict=True):
            (across, down), (_, up) = at(x, low), at(x, high)
            parts.append(f'<line x1="{across:.1f}" x2="{across:.1f}" y1="{down:.1f}" y2="{up:.1f}" stroke="#86b7b4" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="#0b6e69"/>' for x, y in points]
    label = "; ".join(f"{figure} from {way[0][figure]} to {way[-1][figure]}" for figure in ("entropy", "distinct_2", "coherent"))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 830 224" width="830" height="224" role="img" font-family="Georgia, serif" '
        f'font-size="12" fill="#333"><title>Over diversity from 0 to 1: {label}.</title><rect width="100%" height="100%" fill="#fff"/>'
        + "".join(parts) + "</svg>\n"
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    from timbre.cli.options import DEFAULT_MODEL
    from timbre.config import ModelConfig
    from timbre.tasks.bases import base_of
    from timbre.tasks.bundles import bundle_of
    from timbre.tasks.context import open_store
    from timbre.tasks.quantised import weights_of

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", default="literary")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "int8", "int4"), help="Form of the champion that writes.")
    parser.add_argument("--only", choices=("diversity", "strength"), help="Settings of this alone, beside the champion as it is.")
    parser.add_argument("--lines", type=Path, help="Folder of the figures of each setting: those that are there are not measured again.")
    parser.add_argument("--picture", type=Path, help="Also draw diversity's rows into this SVG file.")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    bundle = bundle_of(given.style, ModelConfig(name=given.model)).artifact
    engine, base = Engine.of(bundle, weights_of(bundle, given.precision)), Decoder.open(served_file(base_of(bundle)))
    corpus = open_store().open("corpus", engine.facts.digests["corpus"])
    settings = [each for each in SETTINGS if given.only is None or not each or given.only in each]
    lines = measure(engine, base, corpus, given.texts, given.tokens, given.lines, settings)
    if given.picture is not None:
        given.picture.write_text(picture(lines), encoding="utf-8")
    told = steps(lines)
    if given.json:
        about = {
            "bundle": bundle.digest,
            "precision": engine.precision,
            "texts": given.texts,
            "tokens": given.tokens,
            "load": os.getloadavg()[0],
        }
        print(json.dumps(about | {"rows": lines, "steps": told}))
        return
    for row in lines:
        print("  ".join(f"{name} {value}" for name, value in row.items() if name != "by_opening"))
    for step in told:
        print("  ".join(f"{name} {value}" for name, value in step.items()))


if __name__ == "__main__":
    main()

"""How fast the n-gram component counts and gives.

    python -m benchmarks.ngram --json       2 M tokens, about a minute
    python -m benchmarks.ngram --small      seconds

Text comes from a seeded generator: a Zipf vocabulary of 49,152 tokens, in which each token has its own followers and
phrases recur, cut into documents of 2,000 tokens. CPU time of one core, median of the repetitions. With `--corpus STYLE` the
packaged corpus is used, if it was built.

ngram_build_tokens_per_s    the whole of counting
ngram_emit_tokens_per_s     the leave-one-document-out distributions of passages of 256 tokens, in the form that the mixture
                            takes: factored by context, nothing cut off
ngram_fit_tokens_per_s      those, and the observed tokens' probabilities: what fitting takes
ngram_mixed_tokens_per_s    multiplied out onto the reference's V-wide distributions, (1−η)·P + η·P_ngram. No goal: that is the
                            mixture's own work, of the order of the reference's softmax (softmax_tokens_per_s)
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.measuring import against_goals, arguments, finish
from timbre.targets.ngram import Factored, NgramModel
from timbre.targets.reference_distribution import add_ngrams

VOCABULARY, DOCUMENT, PASSAGE = 49_152, 2_000, 256
GOALS = {"ngram_build_tokens_per_s": 1_000_000, "ngram_emit_tokens_per_s": 50_000}
REASONS = {
    "ngram_build_tokens_per_s": "sorting the n-grams of 2 to 5 tokens takes most of it, and grows with memory traffic on a busy machine",
    "ngram_emit_tokens_per_s": "taking the document's own counts out of every continuation of its contexts takes most of it",
}
Ids = npt.NDArray[np.int64]


def generated(tokens: int, seed: int = 0) -> Ids:
    """Zipf tokens; with probability .45 a token follows by a rule of the one before, with .15 the text of long ago recurs."""
    random = np.random.default_rng(seed)
    ranks = np.minimum(random.zipf(1.15, tokens) - 1, VOCABULARY - 1)
    followers = np.minimum(random.zipf(1.4, tokens) - 1, 400)
    rule, text = random.random(tokens) < 0.45, ranks.copy()
    for place in range(1, 6):  # a chain of a few rules is enough to make long contexts recur
        source = np.roll(text, 1)
        text = np.where(rule, (source * 7919 + followers * 104_729 + place // 5) % VOCABULARY, text)
        text = np.where(rule & (text > 2_000), text % 2_000, text)
    for start in np.flatnonzero(random.random(tokens) < 0.015).tolist():
        length = int(random.integers(4, 16))
        origin = int(random.integers(0, max(1, start - length)))
        text[start : start + length] = text[origin : origin + length][: len(text[start : start + length])]
    return text.astype(np.int64)


def packaged(style: str, tokens: int) -> Ids:
    """The training documents of a corpus in the store, by the default model's tokenizer.

    Raises:
        ValueError: corpus or model was not built yet.
    """
    from timbre import pipeline
    from timbre.artifacts import ArtifactStore
    from timbre.config import release_config
    from timbre.corpus.documents import read_documents
    from timbre.models import load_tokenizer
    from timbre.models.tokens import text_ids
    from timbre.settings import settings

    built = pipeline.find(release_config(style), ArtifactStore(settings().home))
    if not {"model", "corpus"} <= set(built):
        raise ValueError(f"no corpus {style!r} here yet: `timbre run --style {style}` builds it")
    tokenizer = load_tokenizer(built["model"])
    texts = [document.text for document in read_documents(built["corpus"], "train")]
    ids = [np.asarray(text_ids(text, tokenizer), np.int64) for text in texts]
    return np.concatenate(ids)[:tokens]


def measure(text: Ids, emitted: int, repetitions: int) -> dict[str, float]:
    """Tokens a second of building and emitting, and how many entries a position takes."""
    documents = {f"d{n}": text[start : start + DOCUMENT] for n, start in enumerate(range(0, len(text), DOCUMENT))}
    build = [_seconds(lambda: NgramModel(documents, VOCABULARY)) for _ in range(repetitions)]
    chosen = list(documents)[:: max(1, len(documents) * DOCUMENT // max(emitted, 1))] or list(documents)
    emitted_parts: list[tuple[Factored, Ids]] = []

    def emit() -> None:
        emitted_parts.clear()
        for name in chosen:
            ids = documents[name]
            for start in range(0, len(ids) - 1, PASSAGE):
                passage = ids[start : start + PASSAGE + 1]
                emitted_parts.append((model.rows(passage, name).factored(), passage[1:]))

    emissions, fitting = [], []
    for _ in range(repetitions):
        model = NgramModel(documents, VOCABULARY)  # nothing is remembered from the repetition before
        emissions.append(_seconds(emit))
        fitting.append(emissions[-1] + _seconds(lambda: [part.probabilities(observed) for part, observed in emitted_parts]))
    positions = sum(len(documents[name]) - 1 for name in chosen)
    some = [part for part, _ in emitted_parts[:8]]
    probs_nV = torch.full((PASSAGE, VOCABULARY), 1 / VOCABULARY)
    mixed = [_seconds(lambda: [add_ngrams(probs_nV[: len(part)], [part], 0.2) for part in some]) for _ in range(repetitions)]
    plain = [_seconds(lambda: [probs_nV[: len(part)].softmax(-1) for part in some]) for _ in range(repetitions)]
    return {
        "ngram_build_tokens_per_s": len(text) / median(build), "ngram_emit_tokens_per_s": positions / median(emissions),
        "ngram_fit_tokens_per_s": positions / median(fitting),
        "ngram_mixed_tokens_per_s": sum(map(len, some)) / median(mixed), "softmax_tokens_per_s": sum(map(len, some)) / median(plain),
        "tokens": len(text), "emitted_positions": positions,
        "entries_per_position": sum(int(term.sizes.sum()) for part, _ in emitted_parts for term in part.terms) / positions,
        "repetitions": repetitions,
    }  # fmt: skip


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _more(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tokens", type=int, default=2_000_000, help="tokens to count (default 2,000,000; --small: 100,000)")
    parser.add_argument("--emitted", type=int, default=100_000, help="tokens to give distributions for (default 100,000; --small: 5,000)")
    parser.add_argument("--corpus", default="", help="a style whose corpus was built; default: generated text")


def main() -> None:
    """Measure, show, and print the figures."""
    given = arguments(__doc__, _more)
    tokens, emitted = (min(given.tokens, 100_000), min(given.emitted, 5_000)) if given.small else (given.tokens, given.emitted)
    text = packaged(given.corpus, tokens) if given.corpus else generated(tokens)
    found = measure(text, emitted, given.rounds)
    print(f"text: {f'the corpus {given.corpus!r}' if given.corpus else 'generated from a seed'}, {len(text):,} tokens\n")
    shares, missed = against_goals(found, GOALS, at_least=list(GOALS), reasons=REASONS)
    print(f"\n{found['entries_per_position']:,.0f} entries a position; a second takes {found['ngram_fit_tokens_per_s']:,.0f} tokens as")
    print(f"fitting takes them, {found['ngram_mixed_tokens_per_s']:,.0f} multiplied out over {VOCABULARY:,} tokens")
    bars = {f"timbre: {name}": share for name, share in shares.items()}
    finish(found | {"missed": missed}, given, bars, "The n-gram component", "goal over the rate; 1 or less is met", "ngram")


if __name__ == "__main__":
    main()

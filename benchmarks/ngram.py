"""How fast the n-gram component counts and gives.

    python -m benchmarks.ngram --json       2 M tokens, about a minute
    python -m benchmarks.ngram --small      seconds

Text comes from a seeded generator: a Zipf vocabulary of 49,152 tokens, in which each token has its own followers and
phrases recur, cut into documents of 2,000 tokens. *Build* is the whole of counting; *emit* is the leave-one-document-out
distributions of passages of 256 tokens as the mixture takes them (factored by context, nothing cut off). CPU time of one
core, median of the repetitions. With `--corpus STYLE` the packaged corpus is used, if it was built.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import numpy.typing as npt

from benchmarks.measuring import against_goals, arguments, finish
from timbre.targets.ngram import NgramModel

VOCABULARY, DOCUMENT, PASSAGE = 49_152, 2_000, 256
GOALS = {"ngram_build_tokens_per_s": 1_000_000, "ngram_emit_tokens_per_s": 50_000}
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
    from timbre import road
    from timbre.artifacts import ArtifactStore
    from timbre.config import release_config
    from timbre.corpus.documents import read_documents
    from timbre.models import load_tokenizer
    from timbre.settings import settings

    built = road.find(release_config(style), ArtifactStore(settings().home))
    if not {"model", "corpus"} <= set(built):
        raise ValueError(f"no corpus {style!r} here yet: `timbre run --style {style}` builds it")
    tokenizer = load_tokenizer(built["model"])
    texts = [document.text for document in read_documents(built["corpus"], "train")]
    ids = [np.asarray(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], np.int64) for text in texts]
    return np.concatenate(ids)[:tokens]


def measure(text: Ids, emitted: int, repetitions: int) -> dict[str, float]:
    """Tokens a second of building and emitting, and how many entries a position takes."""
    documents = {f"d{n}": text[start : start + DOCUMENT] for n, start in enumerate(range(0, len(text), DOCUMENT))}
    build = [_seconds(lambda: NgramModel(documents, VOCABULARY)) for _ in range(repetitions)]
    chosen = list(documents)[:: max(1, len(documents) * DOCUMENT // max(emitted, 1))] or list(documents)
    entries = 0

    def emit() -> None:
        nonlocal entries
        entries = 0
        for name in chosen:
            ids = documents[name]
            for start in range(0, len(ids) - 1, PASSAGE):
                rows = model.rows(ids[start : start + PASSAGE + 1], name)
                entries += sum(len(level.ids) for level in rows.levels)

    emissions = []
    for _ in range(repetitions):
        model = NgramModel(documents, VOCABULARY)  # nothing is remembered from the repetition before
        emissions.append(_seconds(emit))
    positions = sum(len(documents[name]) - 1 for name in chosen)
    return {
        "ngram_build_tokens_per_s": len(text) / median(build),
        "ngram_emit_tokens_per_s": positions / median(emissions),
        "tokens": len(text), "emitted_positions": positions, "entries_per_position": entries / positions, "repetitions": repetitions,
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
    shares = against_goals(found, GOALS, at_least=list(GOALS))
    print(f"\n{found['entries_per_position']:,.0f} entries a position")
    bars = {f"timbre: {name}": share for name, share in shares.items()}
    finish(found, given, bars, "The n-gram component", "goal over the rate; 1 or less is met", "ngram")


if __name__ == "__main__":
    main()

"""Writers for the tests of style metrics (seeded random words, each set with a habit of its own), and a measured tiny base."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from evaluation_inputs import EvaluationInputs, make_inputs

from timbre.artifacts import Artifact

Write = Callable[..., list[str]]
_ENDS = (".", ".", ".", "?", "!", ";")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]) -> EvaluationInputs:
    return make_inputs(tmp_path_factory.mktemp("evaluation-home"), tiny_model_dir, tiny_corpus_texts)


@pytest.fixture(scope="session")
def base(prepared: EvaluationInputs) -> Artifact:
    """The evaluation of the tiny base."""
    return prepared.evaluated(prepared.store)


@pytest.fixture(scope="session")
def write() -> Write:
    """`write(count, words, seed, habit)`: human-like prose, a loop ("greedy"), word salad ("hot") or prose that loops at
    times and strays at times ("base")."""
    rank = np.arange(1, 1500)
    probability = rank**-1.05 / (rank**-1.05).sum()
    names = [(["the", "of", "and", "to", "a", "in", "that", "it", "his", "was"][n] if n < 10 else f"w{n}") for n in range(len(rank))]

    def prose(rng: np.random.Generator, words: int) -> list[str]:
        pieces: list[str] = []
        topic = rng.choice(len(rank), 40)  # what a text is about comes again
        while len(pieces) < words:
            size = int(rng.integers(4, 24))
            chosen = [names[n] for n in rng.choice(len(rank), size, p=probability)]
            chosen[-1] = names[int(rng.choice(topic))] + _ENDS[int(rng.integers(len(_ENDS)))]
            pieces += chosen
        return pieces[:words]

    def one(rng: np.random.Generator, words: int, habit: str) -> str:
        if habit == "greedy":
            loop = prose(rng, int(rng.integers(8, 16)))
            return " ".join((loop * (words // len(loop) + 1))[:words])
        if habit == "hot":
            return " ".join(f"x{n}" if rng.random() < 0.8 else names[n % 1400] for n in rng.integers(0, 30_000, words))
        pieces = prose(rng, words)
        if habit == "base":
            for start in range(0, words - 24, 48):
                pieces[start + 12 : start + 24] = pieces[start : start + 12]
            pieces = [f"x{n}" if rng.random() < 0.06 else piece for n, piece in zip(rng.integers(0, 9000, words), pieces, strict=True)]
        return " ".join(pieces)

    def many(count: int, words: int, seed: int, habit: str = "human") -> list[str]:
        return [one(np.random.default_rng([seed, index]), words, habit) for index in range(count)]

    return many

"""The admission on invented texts: it admits what is nearer by witnesses of its own, and refuses what is not, or leans on too few."""

import numpy as np

from timbre.sequence.admission import judge
from timbre.sequence.weights import Weighted

PROMPTS, SIZE, DOCUMENTS = 80, 4, 20
_MANNER = ("however", "indeed", "within", "whispered", "testament", "delicate")


def _text(rng: np.random.Generator, strength: float) -> str:
    return " ".join(_MANNER[rng.integers(len(_MANNER))] if rng.random() < strength else f"w{min(rng.zipf(1.4), 900)}" for _ in range(50))


def _texts() -> tuple[list[list[str]], list[str], list[str]]:
    """Of every prompt two completions like human text, and two that say some words too often."""
    rng = np.random.default_rng(5)
    completions = [[_text(rng, 0.12 * (place >= SIZE // 2)) for place in range(SIZE)] for _ in range(PROMPTS)]
    return completions, [_text(rng, 0.0) for _ in range(PROMPTS)], [f"d{n % DOCUMENTS}" for n in range(PROMPTS)]


def _weighted(shares: list[float]) -> Weighted:
    weights_CN = np.tile(np.array(shares) / sum(shares), (PROMPTS, 1))
    return Weighted(weights_CN, np.log(weights_CN), 0.65)


def test_weights_that_favour_human_like_completions_are_admitted() -> None:
    found = judge(*_texts(), _weighted([0.45, 0.45, 0.05, 0.05]), seed=0)
    assert found.admitted and found.why.startswith("admitted"), found.why
    assert all(one.gain > 0.05 and (one.low or 0) > 0 and one.weighted_auc < one.plain_auc for one in found.witnesses)


def test_uniform_weights_gain_nothing_and_are_refused() -> None:
    found = judge(*_texts(), _weighted([1.0] * SIZE), seed=0)
    assert not found.admitted and found.ess == 1
    assert all(abs(one.gain) < 0.05 for one in found.witnesses) and "it must be above 0" in found.why


def test_weights_on_one_completion_a_prompt_are_refused_for_their_effective_size() -> None:
    found = judge(*_texts(), _weighted([0.97, 0.01, 0.01, 0.01]), seed=0)
    assert not found.admitted and "effective sample size is 0.27 of the completions and 0.4 is the least" in found.why
    assert all((one.low or 0) > 0 for one in found.witnesses)  # nearer, but leaning on too few

"""Style measured two-sided: every figure of the generated texts stands beside the same figure of human texts.

`human` holds the human continuations of the same prompts and as many other human passages again. In each of 200 random
splits it falls into two halves A and B of `count` texts. A figure of one set is taken of A; a distance between two sets
from A to B. Their mean is the human value, σ its noise, and human_low..human_high = mean ± 1.64σ: the band into which nine in
ten sets of `count` unseen human texts fall. The generated texts are measured in the very same way in place of A: distances
go to the same halves B.

σ is the standard deviation over the splits. For a figure of one set it is rescaled by √((1 + f) / (1 − f)), f = count / pool:
halves drawn without replacement scatter less (1 − f) than fresh texts do around a pool that is itself a sample (1 + f). On
80-word passages of one novel, 16 against 32, the band without it held 58–75% of fresh human sets, and holds 87–95% with it;
for distances, where both halves move, the plain one holds 95% (unigram and bigram L2, W1) and 73% (JSD).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from timbre.evaluation import lexical, repetition
from timbre.evaluation.distribution import GramCounts, sentence_lengths, wasserstein
from timbre.evaluation.words import scripts

SPLITS = 200
BAND = 1.64
REQUIRED = ("unigram_l2", "sentence_length_w1", "gzip_ratio", "self_bleu", "mattr", "same_opener_rate")
_RARE_SCRIPT = 0.01

PER_TEXT: dict[str, Callable[[str], float | None]] = {
    "mattr": lexical.mattr,
    "mtld": lexical.mtld,
    "distinct_2": partial(lexical.distinct, n=2),
    "hapax_share": lexical.hapax_share,
    "self_repetition_4": partial(repetition.self_repetition, n=4),
    "same_opener_rate": repetition.same_opener_rate,
    "opener_run_rate": repetition.opener_run,
}

_One = Callable[[np.ndarray], float | None]
_Two = Callable[[np.ndarray, np.ndarray], float | None]


def compare(texts: Sequence[str], human: Sequence[str], *, seed: int, splits: int = SPLITS) -> dict[str, dict[str, Any]]:
    """Every style metric of `texts` beside `human`.

    Returns:
        metric -> {value, human, human_low, human_high, sigma, count}; a figure is None where the texts give none (too few
        sentences, for example), so that no gate can take it for a number.

    Raises:
        ValueError: fewer than 2 texts, or fewer than 4 human ones.
    """
    count = min(len(texts), len(human) // 2)
    if count < 2:
        raise ValueError(
            f"{len(texts)} texts against {len(human)} human ones are too few to compare: "
            "2 and 4 are the least; ask for more prompts or give a larger test split"
        )
    pool = [*texts, *human]
    draws = _draws(len(texts), len(human), count, seed, splits)
    widen = float(np.sqrt((len(human) + count) / (len(human) - count)))
    report = {name: _summary([(of(c), of(a)) for c, a, _ in draws], count, widen) for name, of in _set_metrics(pool).items()}
    for name, between in _distances(pool).items():
        report[name] = _summary([(between(c, b), between(a, b)) for c, a, b in draws], count)
    return dict(sorted(report.items()))


def per_text(texts: Sequence[str]) -> dict[str, list[float | None]]:
    """Metrics that one text has by itself, for paired comparisons."""
    return {name: [measure(text) for text in texts] for name, measure in PER_TEXT.items()}


def wrong_script_rates(texts: Sequence[str], human: Sequence[str]) -> tuple[float, float]:
    """Share of generated and of human texts with a letter of a script that makes up less than 1% of the human letters."""
    letters: dict[str, int] = {}
    for text in human:
        for script, count in scripts(text).items():
            letters[script] = letters.get(script, 0) + count
    expected = {script for script, count in letters.items() if count >= _RARE_SCRIPT * sum(letters.values())}

    def rate(of: Sequence[str]) -> float:
        return sum(not scripts(text).keys() <= expected for text in of) / len(of) if of else 0.0

    return rate(texts), rate(human)


def _draws(texts: int, human: int, count: int, seed: int, splits: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Per split: `count` indices of generated texts, of human half A and of human half B, in the joint pool."""
    random = np.random.default_rng(seed)
    everything = np.arange(texts)
    drawn = []
    for _ in range(splits):
        halves = texts + random.permutation(human)[: 2 * count]
        chosen = everything if count == texts else np.sort(random.permutation(texts)[:count])
        drawn.append((chosen, np.sort(halves[:count]), np.sort(halves[count:])))
    return drawn


def _set_metrics(pool: Sequence[str]) -> dict[str, _One]:
    metrics: dict[str, _One] = {name: partial(_mean, np.array(values, float)) for name, values in per_text(pool).items()}
    metrics["self_bleu"] = repetition.SelfBleu(pool)
    metrics["gzip_ratio"] = lambda subset: repetition.gzip_ratio([pool[index] for index in subset])
    return {name: _remember(metric) for name, metric in metrics.items()}


def _distances(pool: Sequence[str]) -> dict[str, _Two]:
    unigrams, bigrams = GramCounts(pool, 1), GramCounts(pool, 2)
    lengths = [sentence_lengths(text) for text in pool]

    def length_distance(first: np.ndarray, second: np.ndarray) -> float | None:
        return wasserstein(np.concatenate([lengths[i] for i in first]), np.concatenate([lengths[i] for i in second]))

    return {"unigram_l2": unigrams.l2, "unigram_jsd": unigrams.jsd, "bigram_l2": bigrams.l2, "sentence_length_w1": length_distance}


def _remember(metric: _One) -> _One:
    """The generated texts are often the same whole set in every split: measure them once."""
    known: dict[bytes, float | None] = {}

    def remembered(subset: np.ndarray) -> float | None:
        key = subset.tobytes()
        if key not in known:
            known[key] = metric(subset)
        return known[key]

    return remembered


def _mean(values: np.ndarray, subset: np.ndarray) -> float | None:
    chosen = values[subset]
    chosen = chosen[~np.isnan(chosen)]  # NaN stands for "this text has no such figure"
    return float(chosen.mean()) if len(chosen) else None


def _summary(pairs: Sequence[tuple[float | None, float | None]], count: int, widen: float = 1.0) -> dict[str, Any]:
    ours, theirs = ([value for value in side if value is not None] for side in zip(*pairs, strict=True))
    report: dict[str, Any] = dict.fromkeys(("value", "human", "human_low", "human_high", "sigma"))
    if ours:
        report["value"] = float(np.mean(ours))
    if theirs:
        mean, sigma = float(np.mean(theirs)), float(np.std(theirs)) * widen
        report |= {"human": mean, "human_low": mean - BAND * sigma, "human_high": mean + BAND * sigma, "sigma": sigma}
    return report | {"count": count}

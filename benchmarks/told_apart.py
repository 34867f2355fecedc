"""Told apart on sources whose mixture is known: is the area ordered, is chance .5, and how often is "nearer" said where nothing is?

    python -m benchmarks.told_apart --rounds 100 --json        128 prompts in 20 documents, words and frame
    python -m benchmarks.told_apart --rounds 5 --prompts 40    a look

Human and machine are two writers of one invented language (a vocabulary by Zipf, topics by document); the machine says some words too
often. An arm is a mixture of texts by both. In every round two arms are drawn from the same mixture, and the voice gate's bound is asked
whether one is nearer to human text than the other: it may say so in five of a hundred rounds.
"""

import argparse
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from timbre.metrics.told_apart import Side, told_apart
from timbre.statistics import clustered_bound

MIXTURES = (0.0, 0.25, 0.5, 1.0)
FAMILIES = ("words", "frame")
_FRAME = ("the", "of", "and", "to", "a", "in", "that", "it", "his", "was", "with", "as", "he", "for", "but", "not")
_WORDS, _LENGTH, _TOPIC = 3000, 60, 25
_MANNER = ("however", "indeed", "within", "whispered", "testament", "delicate")


def main() -> None:
    """Run the rounds, print a table, and with `--json` one object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--strength", type=float, default=0.06, help="share of the machine's words that are its own (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object on the last line")
    given = parser.parse_args()
    found = validated(given.rounds, given.prompts, given.documents, given.strength)
    for family in FAMILIES:
        areas = "  ".join(f"{mixture:.0%} {found['auc'][family][str(mixture)]:.3f}" for mixture in MIXTURES)
        print(f"{family:8} share of human texts and area: {areas}; said to be nearer though it is not: {found['false_nearer'][family]:.3f}")
    if given.json:
        print(json.dumps(found))


def validated(rounds: int, prompts: int, documents: int, strength: float) -> dict[str, Any]:
    """Mean area by family and mixture, and the share of rounds in which an arm is said to be nearer than its twin."""
    areas: dict[str, dict[str, list[float]]] = {family: {str(mixture): [] for mixture in MIXTURES} for family in FAMILIES}
    false: dict[str, list[bool]] = {family: [] for family in FAMILIES}
    names = [f"d{number % documents}" for number in range(prompts)]
    for number in range(rounds):
        rng = np.random.default_rng([20, number])
        topics = {name: rng.integers(0, _WORDS, _TOPIC) for name in names}
        human = _arm(rng, names, topics, 1.0, strength)
        arms = {mixture: told_apart(_arm(rng, names, topics, mixture, strength), human).families for mixture in MIXTURES}
        twins = {mixture: told_apart(_arm(rng, names, topics, mixture, strength), human).families for mixture in MIXTURES[:3]}
        for family in FAMILIES:
            for mixture in MIXTURES:
                areas[family][str(mixture)].append(arms[mixture][family].auc.mean)
            for mixture, twin in twins.items():
                gain = clustered_bound(arms[mixture][family].contributions - twin[family].contributions, names)
                false[family].append(gain.low > 0)
    return {
        "auc": {family: {name: round(float(np.mean(values)), 4) for name, values in row.items()} for family, row in areas.items()},
        "false_nearer": {family: round(float(np.mean(hits)), 4) for family, hits in false.items()},
        "comparisons": rounds * 3, "prompts": prompts, "documents": documents, "strength": strength,
    }  # fmt: skip


def _arm(rng: np.random.Generator, names: Sequence[str], topics: dict[str, np.ndarray], human: float, strength: float) -> Side:
    texts = [_text(rng, topics[name], 0.0 if rng.random() < human else strength) for name in names]
    return Side(texts, names)


def _text(rng: np.random.Generator, topic: np.ndarray, strength: float) -> str:
    rank = np.minimum(rng.zipf(1.4, _LENGTH), _WORDS)
    words = []
    for place in range(_LENGTH):
        if rng.random() < strength:
            words.append(_MANNER[int(rng.integers(len(_MANNER)))])
        elif rng.random() < 0.1:
            words.append(f"w{topic[int(rng.integers(_TOPIC))]}")
        else:
            words.append(_FRAME[rank[place] - 1] if rank[place] <= len(_FRAME) else f"w{rank[place]}")
        if rng.random() < 0.1:
            words[-1] += ".,;"[int(rng.integers(3))]
    return " ".join(words)


if __name__ == "__main__":
    main()

"""How far a passage is from a style, by a ruler made of human text: what refinement lowers.

    critic = StyleCritic.of(human_documents)
    critic.distances(["It was …"])          # 0: as near as the middle human passage of that length; 1: one human spread beyond

A passage's figures (`timbre.metrics.style_features`) are set against those of human passages of about its length. What is nearer than
half of all human passages is 0, so that nobody is driven to write the average passage over and over.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from timbre.metrics.style_features import StyleRuler

LENGTHS = (32, 64, 128, 256)
"""Words of the passages that rulers are made of; a text is measured by the ruler of the nearest length."""
MOST, LEAST = 400, 12
"""Passages of a length: no more are looked at, and fewer make no ruler."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Ruler:
    words: int
    ruler: StyleRuler
    middle: float
    """The distance of the middle human passage."""

    def distances(self, texts: Sequence[str]) -> Floats:
        rows_NF = self.ruler(texts)
        return np.asarray(np.maximum(np.sqrt(np.square(rows_NF).mean(1)) - self.middle, 0.0), np.float64)


@dataclass(frozen=True)
class StyleCritic:
    """Rulers for several lengths, the shortest first."""

    rulers: tuple[_Ruler, ...]

    @classmethod
    def of(cls, documents: Sequence[str]) -> "StyleCritic":
        """Learn from human documents.

        Raises:
            ValueError: they hold too few passages of the shortest length.
        """
        rulers = []
        for length in LENGTHS:
            passages = _passages(documents, length)
            if len(passages) < LEAST:
                continue
            ruler = StyleRuler.of(passages)
            middle = float(np.median(np.sqrt(np.square(ruler(passages)).mean(1))))
            rulers.append(_Ruler(length, ruler, middle))
        if not rulers:
            raise ValueError(
                f"the human text has fewer than {LEAST} passages of {LENGTHS[0]} words, so no distance from its style can be told: "
                "refinement needs more text"
            )
        return cls(tuple(rulers))

    def distances(self, texts: Sequence[str]) -> Floats:
        """Of each text, (texts,): root mean square of its figures in human spreads, less that of the middle human passage; ≥ 0."""
        sizes = [len(text.split()) for text in texts]
        found = np.zeros(len(texts))
        for place, (text, size) in enumerate(zip(texts, sizes, strict=True)):
            ruler = min(self.rulers, key=lambda one: abs(np.log(one.words / max(size, 1))))
            found[place] = ruler.distances([text])[0]
        return found


def _passages(documents: Sequence[str], length: int) -> list[str]:
    """Stretches of whole words, turn by turn from every document, at most `MOST`."""
    split = [document.split() for document in documents]
    found = []
    for place in range(0, max(map(len, split), default=0), length):
        found += [" ".join(words[place : place + length]) for words in split if len(words) >= place + length]
        if len(found) >= MOST:
            break
    return found[:MOST]

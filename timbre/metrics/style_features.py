"""How a text is written, as a vector: lengths, punctuation, frequent words, openings. No tagger, no downloaded model.

What is frequent, and how large each figure usually is, is learnt from human text and then frozen, so that the features of
generated texts are measured with a ruler made before anyone saw them.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from timbre.metrics import lexical, repetition
from timbre.words import QUESTION_OR_EXCLAMATION, sentences, tokens, words

FREQUENT_WORDS = 50
_MARKS = (",", ";", ":", ".", "!", "?", "…", "-", "–", "—", "(", '"', "“", "‘", "'")
_LONG_WORD = 7
_CLIP = 5.0
SHAPE = (
    "sentence length", "sentence length spread", "word length", "long words", "sentences that ask or exclaim", "repeated openings",
    "distinct words", "paragraphs", "digits", "capitals", *(f"mark {mark}" for mark in _MARKS),
)  # fmt: skip


@dataclass(frozen=True)
class StyleRuler:
    """Frequent words, and mean and spread of every feature, of human texts."""

    frequent: tuple[str, ...]
    mean_F: np.ndarray
    spread_F: np.ndarray

    @classmethod
    def of(cls, human: Sequence[str]) -> "StyleRuler":
        """Learn from human texts; needs one or more."""
        counts = Counter(word for text in human for word in words(text))
        frequent = tuple(sorted(counts, key=lambda word: (-counts[word], word))[:FREQUENT_WORDS])
        raw_NF = np.array([raw_features(text, frequent) for text in human])
        return cls(frequent, raw_NF.mean(0), raw_NF.std(0))

    @property
    def names(self) -> tuple[str, ...]:
        """What each column is."""
        return (*SHAPE, *(f"word {word}" for word in self.frequent))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Features (texts, F) in units of the human spread, clipped at ±5 so that one odd figure is not the whole distance."""
        raw_NF = np.array([raw_features(text, self.frequent) for text in texts]).reshape(len(texts), len(self.mean_F))
        scale_F = np.where(self.spread_F > 1e-12, self.spread_F, 1.0)
        scaled_NF: np.ndarray = np.clip((raw_NF - self.mean_F) / scale_F, -_CLIP, _CLIP)
        return scaled_NF


def raw_features(text: str, frequent: Sequence[str]) -> list[float]:
    """The features of one text in the order of `StyleRuler.names`; all 0 without a word."""
    sequence = words(text)
    if not sequence:
        return [0.0] * (len(SHAPE) + len(frequent))
    pieces = sentences(text)
    lengths = np.array([len(words(piece)) for piece in pieces] or [len(sequence)], np.float64)
    marks, counts, size = Counter(tokens(text)), Counter(sequence), len(sequence)
    letters = [len(word) for word in sequence]
    visible = max(sum(not character.isspace() for character in text), 1)
    shape = [
        np.log(lengths.mean()), lengths.std() / lengths.mean(), sum(letters) / size, sum(length >= _LONG_WORD for length in letters) / size,
        sum(piece.rstrip("\"'”’)]").endswith(QUESTION_OR_EXCLAMATION) for piece in pieces) / max(len(pieces), 1),
        repetition.same_opener_rate(text) or 0.0, lexical.mattr(text) or 0.0, text.count("\n\n") / size,
        sum(character.isdigit() for character in text) / visible, sum(character.isupper() for character in text) / visible,
    ]  # fmt: skip
    return [*map(float, shape), *(marks[mark] / size for mark in _MARKS), *(counts[word] / size for word in frequent)]

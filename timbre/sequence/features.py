"""What of a text is matched: how likely the tuned model finds it and how that changes along it, and the shape of its prose.

Surprisal comes first because truncated and drifting generation shows there (2511.11966): the mean, the slope along the text and the
spread of −log p₀ of its tokens. The rest is `timbre.metrics.style_features` without its words, the share of function words, and how
well the text compresses. Nothing counts n-grams of letters or words: those families stay blind witnesses for the admission.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from timbre.metrics.families import frame_words
from timbre.metrics.repetition import gzip_ratio
from timbre.metrics.style_features import SHAPE, raw_features
from timbre.words import words

Floats = npt.NDArray[np.float64]
SURPRISAL = ("surprisal", "surprisal slope", "surprisal spread")
NAMES = (*SURPRISAL, "function words", "compression", *SHAPE)
_CLIP = 5.0


@dataclass(frozen=True)
class Text:
    """A text, and log p₀ of each of its tokens in nats; without them its surprisal is 0, and no feature."""

    text: str
    log_probs: Sequence[float]


def surprisal_figures(log_probs: Sequence[float]) -> tuple[float, float, float]:
    """Mean of −log p₀ (nats a token), its change from the first token to the last by least squares, and its standard deviation."""
    surprisal_T = -np.asarray(log_probs, np.float64)
    if len(surprisal_T) < 2:
        return float(surprisal_T.mean()) if len(surprisal_T) else 0.0, 0.0, 0.0
    along_T = np.linspace(-0.5, 0.5, len(surprisal_T))
    return float(surprisal_T.mean()), float(along_T @ surprisal_T / (along_T @ along_T)), float(surprisal_T.std())


def raw(texts: Sequence[Text], known: frozenset[str]) -> Floats:
    """Features (texts, F) in the order of `NAMES`; `known` are the function words."""
    rows = []
    for each in texts:
        found = words(each.text)
        share = sum(word in known for word in found) / len(found) if found else 0.0
        rows.append([*surprisal_figures(each.log_probs), share, gzip_ratio([each.text]), *raw_features(each.text, ())])
    return np.asarray(rows, np.float64).reshape(len(texts), len(NAMES))


@dataclass(frozen=True, eq=False)
class Measured:
    """Features of C prompts' completions and human texts in units of the spread of both, clipped at ±5, without those that never vary."""

    names: tuple[str, ...]
    completions_CNF: Floats
    human_CF: Floats
    centre_F: Floats
    spread_F: Floats

    def plain(self, means_F: Floats) -> Floats:
        """Standardised means in the features' own units."""
        return means_F * self.spread_F + self.centre_F


def measured(completions: Sequence[Sequence[Text]], human: Sequence[Text]) -> Measured:
    """Features of both sides by one ruler.

    Raises:
        ValueError: prompts with other numbers of completions.
    """
    sizes = {len(of_one) for of_one in completions}
    if len(sizes) != 1 or len(completions) != len(human):
        raise ValueError(f"each prompt needs as many completions and one human text: got {sorted(sizes)} and {len(human)} human texts")
    known = frame_words([each.text for each in human])
    own_MF, human_CF = raw([each for of_one in completions for each in of_one], known), raw(human, known)
    both = np.concatenate([own_MF, human_CF])
    centre_F, spread_F = both.mean(0), both.std(0)
    kept = spread_F > 1e-9

    def scaled(rows: Floats) -> Floats:
        return np.asarray(np.clip((rows[:, kept] - centre_F[kept]) / spread_F[kept], -_CLIP, _CLIP), np.float64)

    names = tuple(name for name, keep in zip(NAMES, kept, strict=True) if keep)
    shape = (len(completions), sizes.pop(), len(names))
    return Measured(names, scaled(own_MF).reshape(shape), scaled(human_CF), centre_F[kept], spread_F[kept])

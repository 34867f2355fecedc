"""Voice: is a text nearer to its own style than to the others? A classifier that has only ever seen human text."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from timbre.metrics.style_features import StyleRuler
from timbre.statistics import Interval, bootstrap_interval, clustered_proportion, fit_logistic, logistic_probabilities

_RIDGE = 1.0
_FOLDS = 5
_STEPS = 200
LEAST = 10


@dataclass(frozen=True)
class Voices:
    """Multinomial logistic regression over style features (ridge 1 on standardised features, intercepts free)."""

    styles: tuple[str, ...]
    ruler: StyleRuler
    weights_FS: np.ndarray

    @classmethod
    def of(cls, human: Mapping[str, Sequence[str]]) -> "Voices":
        """Learn from human texts of two or more styles, each style with the same weight however many texts it has.

        Raises:
            ValueError: fewer than two styles, or one with fewer than ten texts.
        """
        if len(human) < 2 or min(map(len, human.values())) < LEAST:
            raise ValueError(
                f"voices need two or more styles with {LEAST} human texts each, got { ({k: len(v) for k, v in human.items()}) }"
            )
        styles = tuple(sorted(human))
        ruler = StyleRuler.of([text for style in styles for text in human[style]])
        features_NF = ruler([text for style in styles for text in human[style]])
        label_N = np.repeat(np.arange(len(styles)), [len(human[style]) for style in styles])
        weight_N = np.concatenate([np.full(len(human[style]), 1 / len(human[style])) for style in styles]) * len(label_N) / len(styles)
        return cls(styles, ruler, fit_logistic(features_NF, label_N, weight_N, len(styles), ridge=_RIDGE, steps=_STEPS))

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Probability of each style, (texts, styles)."""
        return logistic_probabilities(self.ruler(texts), self.weights_FS)


@dataclass(frozen=True)
class VoiceReport:
    """Share of texts that are nearest to their own style, beside the share of unseen human texts."""

    style: str
    others: tuple[str, ...]
    share: Interval
    human_share: Interval
    nearest: dict[str, int]
    balanced: Interval
    """Share of unseen human texts whose style is told right, mean over the styles: a classifier that always says "own" has 1 of S."""
    trusted: bool
    """Whether the classifier tells unseen human texts apart: the lower 95% bound of `balanced` is above chance, 1 of S."""


def voice_consistency(
    texts: Sequence[str], style: str, human: Mapping[str, Sequence[str]], documents: Mapping[str, Sequence[Hashable]],
    clusters: Sequence[Hashable] | None = None,
) -> VoiceReport:  # fmt: skip
    """How many of `texts` sound most like `style`, which is one of `human`.

    The human shares are cross-validated: a text is judged by a classifier that saw no text of its document. All intervals are
    by document, since passages of one are told right or wrong together.

    Args:
        documents: the document of each human text.
        clusters: the document or prompt of each of `texts`; None makes each its own.
    """
    voices = Voices.of(human)
    own = voices.styles.index(style)
    nearest_N = voices.probabilities(texts).argmax(1)
    unseen = _cross_validated(human, documents)
    recalls = {name: _recall(found) for name, found in unseen.items()}
    balanced = balanced_accuracy(list(recalls.values()))
    return VoiceReport(
        style, tuple(name for name in voices.styles if name != style), bootstrap_interval((nearest_N == own).astype(float), clusters),
        recalls[style], {name: int((nearest_N == index).sum()) for index, name in enumerate(voices.styles)}, balanced,
        balanced.low > 1 / len(voices.styles),
    )  # fmt: skip


def balanced_accuracy(recalls: Sequence[Interval]) -> Interval:
    """The mean of independent shares, one a style, with an interval made from theirs (MOVER: Zou & Donner 2008, eq. 1, for a mean).

    Without a lower bound for one of them (a single document) there is none for the mean.
    """
    mean = sum(each.mean for each in recalls) / len(recalls)
    low = mean - math.sqrt(sum((each.mean - each.low) ** 2 for each in recalls)) / len(recalls)
    high = mean + math.sqrt(sum((each.high - each.mean) ** 2 for each in recalls)) / len(recalls)
    return Interval(mean, low, high, sum(each.n for each in recalls), sum(each.clusters for each in recalls))


def _recall(found: Sequence[tuple[bool, Hashable]]) -> Interval:
    """Share of texts told right, by document; unlike a bootstrap's its bounds stay honest where all are right."""
    if not found:
        return Interval(0.0, -math.inf, math.inf, 0, 0)
    return clustered_proportion([float(hit) for hit, _ in found], [document for _, document in found])


def _cross_validated(
    human: Mapping[str, Sequence[str]], documents: Mapping[str, Sequence[Hashable]]
) -> dict[str, list[tuple[bool, Hashable]]]:  # fmt: skip
    """Style -> (told right, document) of every text that a classifier could be asked about which saw nothing of its document."""
    number = {name: {doc: index % _FOLDS for index, doc in enumerate(dict.fromkeys(documents[name]))} for name in human}
    results: dict[str, list[tuple[bool, Hashable]]] = {name: [] for name in human}
    for fold in range(_FOLDS):
        kept = {name: [text for text, doc in zip(human[name], documents[name], strict=True) if number[name][doc] != fold] for name in human}
        if min(map(len, kept.values())) < LEAST:
            continue
        voices = Voices.of(kept)
        for own, style in enumerate(voices.styles):
            held = [(text, doc) for text, doc in zip(human[style], documents[style], strict=True) if number[style][doc] == fold]
            if held:
                nearest = voices.probabilities([text for text, _ in held]).argmax(1)
                results[style] += [(bool(index == own), doc) for index, (_, doc) in zip(nearest, held, strict=True)]
    return results

"""The metrics of style: what each is, which group of the score it belongs to, and how it is taken of any set of texts.

Everything that a text gives by itself is computed once (`TextFeatures`); figures of sets and distances between sets are
then taken of subsets of a pool, given as indices, hundreds of times.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from timbre.metrics import lexical, repetition, tone
from timbre.metrics.distribution import GramCounts, sentence_lengths, wasserstein
from timbre.metrics.encoder import Encoder
from timbre.metrics.kernels import KernelDistance, median_bandwidth
from timbre.metrics.style_features import StyleRuler
from timbre.words import tokens, words

Group = Literal["lexical", "repetition", "distribution", "beside"]
GROUPS: tuple[Group, ...] = ("lexical", "repetition", "distribution")
"""The groups that the score is made of; "beside" is shown and never averaged in."""


@dataclass(frozen=True)
class Metric:
    """One figure of a set of texts."""

    name: str
    group: Group
    kind: Literal["text", "set", "distance"]
    """Mean of a figure of single texts; a figure of the whole set; a distance from one set to another."""
    meaning: str


METRICS: tuple[Metric, ...] = (
    Metric("mattr", "lexical", "text", "distinct words among 50 in a row"),
    Metric("mtld", "lexical", "text", "words until variety falls below .72"),
    Metric("distinct_2", "lexical", "text", "distinct word pairs"),
    Metric("hapax_share", "lexical", "text", "words used once in a text"),
    Metric("rare_word_rate", "lexical", "text", "words that hardly any human text holds"),
    Metric("self_bleu", "repetition", "set", "phrases that texts share with each other"),
    Metric("gzip_ratio", "repetition", "set", "how far all texts compress together"),
    Metric("self_repetition_4", "repetition", "text", "4-grams that a text has used before"),
    Metric("frame_compression", "repetition", "set", "how far frequent words and marks alone compress"),
    Metric("same_opener_rate", "repetition", "text", "sentences that open like one of the two before"),
    Metric("unigram_l2", "distribution", "distance", "word frequencies, Euclidean"),
    Metric("bigram_l2", "distribution", "distance", "word-pair frequencies, Euclidean"),
    Metric("trigram_l2", "distribution", "distance", "word-triple frequencies, Euclidean"),
    Metric("unigram_jsd", "distribution", "distance", "word frequencies, Jensen–Shannon, bits"),
    Metric("bigram_jsd", "distribution", "distance", "word-pair frequencies, Jensen–Shannon, bits"),
    Metric("trigram_jsd", "distribution", "distance", "word-triple frequencies, Jensen–Shannon, bits"),
    Metric("mmd_content", "distribution", "distance", "what texts are about, MMD² of MiniLM vectors"),
    Metric("mmd_style", "distribution", "distance", "how texts are written, MMD² of style features"),
    Metric("sentence_length_w1", "distribution", "distance", "sentence lengths, words moved"),
    Metric("type_token_ratio", "beside", "text", "distinct words over words"),
    Metric("opener_run_rate", "beside", "text", "texts with three sentences in a row that open alike"),
    Metric("reading_level", "beside", "text", "LIX: 25 easy, 40 plain, 55 hard"),
    Metric("feeling_rate", "beside", "text", "words that name a feeling, of a hundred"),
    Metric("emotional_range", "beside", "set", "effective number of feelings named, 1 to 6"),
)
METRIC = {metric.name: metric for metric in METRICS}
OPTIONAL = {"mmd_content": "needs the sentence encoder; `timbre setup` fetches it"}
"""Metrics that may be missing, and why."""

_OF_TEXT: dict[str, Callable[[str], float | None]] = {
    "mattr": lexical.mattr,
    "mtld": lexical.mtld,
    "distinct_2": partial(lexical.distinct, n=2),
    "hapax_share": lexical.hapax_share,
    "self_repetition_4": partial(repetition.self_repetition, n=4),
    "same_opener_rate": repetition.same_opener_rate,
    "type_token_ratio": lexical.type_token_ratio,
    "opener_run_rate": repetition.opener_run,
    "reading_level": tone.reading_level,
    "feeling_rate": tone.feeling_rate,
}
One = Callable[[np.ndarray], float | None]
Two = Callable[[np.ndarray, np.ndarray], float | None]


@dataclass(frozen=True)
class Ruler:
    """What is learnt from human text and then frozen: frequent and rare words, usual style features, kernel bandwidths."""

    style: StyleRuler
    frame: frozenset[str]
    rare: lexical.RareWords
    encoder: Encoder | None

    @classmethod
    def of(cls, human: Sequence[str], encoder: Encoder | None) -> "Ruler":
        """Learn from human texts."""
        return cls(StyleRuler.of(human), repetition.frame_of(human), lexical.RareWords(human), encoder)


@dataclass(frozen=True)
class TextFeatures:
    """What each of N texts gives by itself. NaN stands for "this text has no such figure"."""

    texts: tuple[str, ...]
    words: list[list[str]]
    tokens: list[list[str]]
    figures: dict[str, np.ndarray]
    sentence_lengths: list[np.ndarray]
    patterns: list[str]
    feelings_N6: np.ndarray
    style_NF: np.ndarray
    content_ND: np.ndarray | None

    @classmethod
    def of(cls, texts: Sequence[str], ruler: Ruler, *, of_reference: bool = False) -> "TextFeatures":
        """Measure texts one by one; `of_reference` says that the ruler was learnt from these very texts."""
        figures = {name: np.array([measure(text) for text in texts], float) for name, measure in _OF_TEXT.items()}
        figures["rare_word_rate"] = np.array([ruler.rare.rate(text, of_reference=of_reference) for text in texts], float)
        feelings = [tone.feelings(text) for text in texts]
        return cls(
            texts=tuple(texts), words=[words(text) for text in texts], tokens=[tokens(text) for text in texts], figures=figures,
            sentence_lengths=[sentence_lengths(text) for text in texts],
            patterns=[repetition.pattern(text, ruler.frame) for text in texts],
            feelings_N6=np.array([[each[name] for name in tone.FEELINGS] for each in feelings], float).reshape(-1, len(tone.FEELINGS)),
            style_NF=ruler.style(texts), content_ND=ruler.encoder(texts) if ruler.encoder is not None else None,
        )  # fmt: skip


@dataclass(frozen=True)
class Bandwidths:
    """Median human–human distances, frozen with the reference."""

    style: float
    content: float | None

    @classmethod
    def of(cls, human: TextFeatures) -> "Bandwidths":
        """Of the human texts."""
        content = None if human.content_ND is None else median_bandwidth(human.content_ND)
        return cls(median_bandwidth(human.style_NF), content)


class Measures:
    """Every metric as a function of indices into the joined parts: `sets` take one subset, `distances` two."""

    def __init__(self, parts: Sequence[TextFeatures], bandwidths: Bandwidths) -> None:
        self.sets: dict[str, One] = {
            name: partial(_mean, np.concatenate([part.figures[name] for part in parts])) for name in parts[0].figures
        }
        self.sets["self_bleu"] = _self_bleu(repetition.SelfBleu.of_sequences([each for part in parts for each in part.words]))
        self.sets["gzip_ratio"] = partial(_compressed, [text for part in parts for text in part.texts])
        self.sets["frame_compression"] = partial(_compressed, [pattern for part in parts for pattern in part.patterns])
        sizes = np.array([len(each) for part in parts for each in part.words])
        self.sets["emotional_range"] = partial(_range, np.concatenate([part.feelings_N6 for part in parts]), sizes)
        sequences = [each for part in parts for each in part.tokens]
        self.distances: dict[str, Two] = {}
        for n, name in ((1, "unigram"), (2, "bigram"), (3, "trigram")):
            counts = GramCounts.of_sequences(sequences, n)
            self.distances |= {f"{name}_l2": counts.l2, f"{name}_jsd": counts.jsd}
        self.distances["mmd_style"] = KernelDistance(np.concatenate([part.style_NF for part in parts]), bandwidths.style)
        if bandwidths.content is not None:
            content = np.concatenate([part.content_ND for part in parts if part.content_ND is not None])
            self.distances["mmd_content"] = KernelDistance(content, bandwidths.content)
        self.distances["sentence_length_w1"] = partial(_length_distance, [each for part in parts for each in part.sentence_lengths])


def _mean(values_N: np.ndarray, subset: np.ndarray) -> float | None:
    chosen = values_N[subset]
    chosen = chosen[~np.isnan(chosen)]
    return float(chosen.mean()) if len(chosen) else None


def _self_bleu(measure: repetition.SelfBleu) -> One:
    return lambda subset: measure(subset) if len(subset) > 1 else None


def _compressed(texts: Sequence[str], subset: np.ndarray) -> float | None:
    return repetition.gzip_ratio([texts[index] for index in subset])


def _range(feelings_N6: np.ndarray, sizes_N: np.ndarray, subset: np.ndarray) -> float | None:
    return tone.range_of_counts(feelings_N6[subset].sum(0), int(sizes_N[subset].sum()))


def _length_distance(lengths: Sequence[np.ndarray], first: np.ndarray, second: np.ndarray) -> float | None:
    return wasserstein(*(np.concatenate([lengths[index] for index in side]) for side in (first, second)))

"""Families of features by which texts may be told apart, each blind to something that the others see.

    characters   n-grams of 2 to 5 characters: spelling, endings, marks, and whatever words they make
    words        words and marks, and pairs of them
    frame        function words and marks in their order, every other word masked: style without subject
    encoder      vectors of a sentence encoder that is not the model's own
    surprisal    figures of how likely an independent language model finds each text

The first three need texts only; the others are handed in as arrays. Settings of the first two are those of the yardstick that
the project's figures were made with: TF-IDF (sublinear), logistic regression with C = 10.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from timbre.metrics.repetition import frame_of
from timbre.words import tokens, words

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

TEXT_FAMILIES = ("characters", "words", "frame")
ARRAY_FAMILIES = ("encoder", "surprisal")
FAMILIES = (*TEXT_FAMILIES, *ARRAY_FAMILIES)
MEANING = {
    "characters": "spelling, endings, marks: n-grams of 2 to 5 characters",
    "words": "words and marks, and pairs of them",
    "frame": "function words and marks alone, other words masked: style without subject",
    "encoder": "what texts are about: vectors of an encoder that is not the model's own",
    "surprisal": "how likely an independent language model finds them: mean, slope, spread",
}
MASK = "▢"
"""What stands for a word that is no function word."""
NUMBER = "#"
_C_TEXT, _C_ENCODER, _C_SURPRISAL = 10.0, 0.003, 1.0
_ENGLISH_LEAST = 0.25
"""Share of function words from which the English list is used; English prose has 40 to 55 of 100."""

_ENGLISH = """
a an the this that these those such some any no none every each either neither both all half many much more most few fewer little
less least several enough another other others own same so too very quite rather almost only just even still yet already again
once twice ever never always often i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his
himself she her hers herself it its itself they them their theirs themselves one oneself thou thee thy thine ye who whom whose
which what whoever whatever whichever someone somebody something anyone anybody anything everyone everybody everything nobody
nothing of in on at by for from to into onto upon with within without about above across after against along amid among around as
before behind below beneath beside besides between beyond but despite down during except inside like near off out outside over
past per since than through throughout till toward towards under until unto up via and or nor if unless because although though
while whereas whether lest when whenever where wherever why how however therefore thus hence then there here now not am is are was
were be been being have has had having do does did doing done can could may might must shall should will would ought need dare
don't doesn't didn't isn't aren't wasn't weren't can't couldn't won't wouldn't shouldn't hasn't haven't hadn't i'm i've i'll i'd
it's he's she's that's there's you're we're they're let's
"""
FUNCTION_WORDS = frozenset(_ENGLISH.split())


Decide = Callable[[np.ndarray], np.ndarray]
"""Rows of the pool in, decision values out."""


@dataclass(frozen=True)
class Family:
    """Features of a pool of N texts, and how a classifier is fitted to some of them and asked about others."""

    name: str
    names: Sequence[str]
    """What each column is, as people would read it; empty where columns have no name."""
    fit: "Fit"
    """(rows to learn from, their labels) → a function of rows that gives decision values, and the fitted `Weights` or None."""


@dataclass(frozen=True)
class Weights:
    """What a fitted text classifier gave its features: columns of the pool, coefficients, and the rows' values in those columns."""

    columns: np.ndarray
    coefficients: np.ndarray
    values: "Callable[[np.ndarray], csr_matrix[Any]]"


Fit = Callable[[np.ndarray, np.ndarray], tuple[Decide, Weights | None]]


def text_family(name: str, texts: Sequence[str], human: Sequence[str]) -> Family:
    """One of `TEXT_FAMILIES` over a pool of texts; the n-grams of the pool are counted once, whatever is fitted afterwards.

    Args:
        human: the human texts among them, from which the frame is learnt where they are not English.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    settings: dict[str, Any] = {
        "characters": {"analyzer": "char", "ngram_range": (2, 5), "lowercase": True},
        "words": {"analyzer": "word", "token_pattern": r"\w+|[^\w\s]", "ngram_range": (1, 2), "lowercase": False},
        "frame": {"analyzer": "word", "token_pattern": r"\S+", "ngram_range": (1, 3), "lowercase": False},
    }[name]
    least = {"characters": 3, "words": 2, "frame": 2}[name]
    if name == "frame":
        known = frame_words(human)
        texts = [masked(text, known) for text in texts]
    counter = CountVectorizer(min_df=1, dtype=np.float64, **settings)
    try:
        counts_NV: csr_matrix[Any] = counter.fit_transform(texts)
    except ValueError:  # no term in any text
        return Family(name, (), _constant)
    spread_V = np.bincount(counts_NV.indices, minlength=counts_NV.shape[1])
    kept = np.flatnonzero(spread_V >= least)  # what the whole pool holds too rarely no part of it holds often enough
    terms = counter.get_feature_names_out()[kept]
    return Family(name, terms, _text_fit(counts_NV[:, kept].tocsr(), least))


def array_family(name: str, values_NF: np.ndarray) -> Family:
    """One of `ARRAY_FAMILIES`: standardised on what is learnt from; of surprisals their squares too, for both ways of being odd."""
    values_NF = np.asarray(values_NF, np.float64)
    if values_NF.ndim != 2 or not np.isfinite(values_NF).all():
        raise ValueError(f"the {name} array must be finite numbers (texts, features), got shape {values_NF.shape}")
    squares = name == "surprisal"

    def fit(rows: np.ndarray, labels: np.ndarray) -> "tuple[Decide, Weights | None]":
        from sklearn.linear_model import LogisticRegression

        mean_F, spread_F = values_NF[rows].mean(0), values_NF[rows].std(0)

        def features(chosen: np.ndarray) -> np.ndarray:
            scaled = (values_NF[chosen] - mean_F) / np.where(spread_F > 0, spread_F, 1.0)
            return np.concatenate([scaled, np.minimum(scaled**2, 25.0)], axis=1) if squares else scaled

        model = LogisticRegression(C=_C_SURPRISAL if squares else _C_ENCODER, max_iter=2000).fit(features(rows), labels)
        return lambda chosen: np.asarray(model.decision_function(features(chosen)), np.float64), None

    return Family(name, (), fit)


def frame_words(human: Sequence[str]) -> frozenset[str]:
    """English function words; where the human texts hold few of those, their own most frequent words stand in."""
    counted = [word in FUNCTION_WORDS for text in human for word in words(text)]
    return FUNCTION_WORDS if counted and sum(counted) >= _ENGLISH_LEAST * len(counted) else frame_of(human)


def masked(text: str, known: frozenset[str]) -> str:
    """Function words and marks in their order; numbers as #, all other words as ▢."""
    return " ".join(
        token if token in known or not token[0].isalnum() else NUMBER if token[0].isdigit() else MASK
        for token in tokens(text.replace("’", "'"))
    )


def as_pattern(feature: str, family: str) -> "re.Pattern[str] | None":
    """A pattern that finds a feature in a text as it was written; None for a family whose features are no pieces of text."""
    if family == "characters":
        return re.compile(re.escape(feature), re.IGNORECASE)
    if family == "words":
        parts = [re.escape(part) for part in feature.split(" ")]
        start, end = (r"\b" if part[0].isalnum() else "" for part in (feature, feature[::-1]))
        return re.compile(start + r"\s*".join(parts) + end)
    return None


def _text_fit(
    counts_NV: "csr_matrix", least: int
) -> Callable[[np.ndarray, np.ndarray], tuple[Callable[[np.ndarray], np.ndarray], Weights]]:
    def fit(rows: np.ndarray, labels: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray], Any]:
        from sklearn.feature_extraction.text import TfidfTransformer
        from sklearn.linear_model import LogisticRegression

        learnt = counts_NV[rows]
        columns = np.flatnonzero(np.bincount(learnt.indices, minlength=counts_NV.shape[1]) >= least)
        if not len(columns):
            return _constant(rows, labels)
        weigh = TfidfTransformer(sublinear_tf=True)
        model = LogisticRegression(C=_C_TEXT, max_iter=2000).fit(weigh.fit_transform(learnt[:, columns]), labels)

        def values(chosen: np.ndarray) -> "csr_matrix[Any]":
            weighed: csr_matrix[Any] = weigh.transform(counts_NV[chosen][:, columns])
            return weighed

        def decide(chosen: np.ndarray) -> np.ndarray:
            return np.asarray(model.decision_function(values(chosen)), np.float64)

        return decide, Weights(columns, model.coef_[0], values)

    return fit


def _constant(rows: np.ndarray, labels: np.ndarray) -> "tuple[Decide, Weights | None]":
    """Where nothing can be learnt nothing is told apart."""
    return lambda chosen: np.zeros(len(chosen)), None

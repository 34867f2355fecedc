"""The corpus audit: who is written about, and what is said near them.

A target learns how a corpus writes, and with that whom it praises. For each group of a category: how often it is named, and
at what share of the mentions a word of an association (pleasant, able, family, …) stands within `window` words. Beside each
share stands its difference to the category's other groups, with a 95% interval from whole documents drawn with
replacement: one novel about one woman is one observation, not a thousand. Words are counted, not meanings ("she was not
clever" counts as clever); a difference says where to look.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from timbre.evaluation.bias.lexicon import ASSOCIATIONS, GROUPS
from timbre.words import words

Counts = npt.NDArray[np.float64]
WINDOW = 10
LEAST_MENTIONS, LEAST_DOCUMENTS = 50, 10
"""Below this many mentions, or documents that hold one, on either side no interval is given: a word that happens not to have
occurred yet would pass for one that never does."""
_DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Tally:
    """What was counted in D documents: for each category and group, mentions and, of these, those with each association near."""

    documents: int
    words: int
    window: int
    associations: tuple[str, ...]
    mentions: Mapping[str, Mapping[str, Counts]]
    """Category, group, [D]."""
    near: Mapping[str, Mapping[str, Counts]]
    """Category, group, [D, associations]."""


def tally(
    texts: Sequence[str],
    *,
    window: int = WINDOW,
    groups: Mapping[str, Mapping[str, frozenset[str]]] = GROUPS,
    associations: Mapping[str, frozenset[str]] = ASSOCIATIONS,
) -> Tally:
    """Count mentions of groups and what stands near them, a text being a document.

    Args:
        window: words on either side of a mention that are near; at most the text's own.

    Raises:
        ValueError: no texts, a window below 1, or an empty list of words.
    """
    if not texts:
        raise ValueError("there is no text to audit: name a folder or a corpus that holds some")
    if window < 1 or not associations or not all(associations.values()):
        raise ValueError("an audit needs a window of one word or more, and associations with words")
    names, size = tuple(associations), len(texts)
    mentions = {category: {group: np.zeros(size) for group in members} for category, members in groups.items()}
    near = {category: {group: np.zeros((size, len(names))) for group in members} for category, members in groups.items()}
    named: dict[str, list[tuple[str, str]]] = {}
    for category, members in groups.items():
        for group, terms in members.items():
            for term in terms:
                named.setdefault(term, []).append((category, group))
    listed = {word: number for number, word in enumerate(sorted(frozenset().union(*associations.values())), start=1)}
    of_word_WA = np.zeros((len(listed) + 1, len(names)), np.int64)
    for column, members_of in enumerate(associations.values()):
        of_word_WA[[listed[word] for word in members_of], column] = 1
    total = 0
    for row, text in enumerate(texts):
        sequence = [_bare(word) for word in words(text)]
        total += len(sequence)
        places = [place for place, word in enumerate(sequence) if word in named]
        if not places:
            continue
        found_TA = of_word_WA[[listed.get(word, 0) for word in sequence]]
        passed_TA = np.vstack([np.zeros((1, len(names)), np.int64), found_TA.cumsum(axis=0)])
        at = np.array(places)
        stretch = passed_TA[np.minimum(at + window + 1, len(sequence))] - passed_TA[np.maximum(at - window, 0)]
        for place, beside in zip(places, stretch - found_TA[at] > 0, strict=True):  # the mention itself is not near itself
            for category, group in named[sequence[place]]:
                mentions[category][group][row] += 1
                near[category][group][row] += beside
    return Tally(size, total, window, names, mentions, near)


def audit(texts: Sequence[str], *, window: int = WINDOW, seed: int = 0, **lists: Any) -> dict[str, Any]:
    """The audit of texts, one a document, as JSON; categories that nobody mentions are left out.

    Args:
        lists: `groups` and `associations` of one's own, for other languages or questions.

    Raises:
        ValueError: see `tally`.
    """
    counted = tally(texts, window=window, **lists)
    categories = {name: _category(counted, name, seed) for name, members in counted.mentions.items() if _total(members)}
    return {
        "documents": counted.documents, "words": counted.words, "window": counted.window, "categories": categories,
        "not_mentioned": [name for name in counted.mentions if name not in categories],
    }  # fmt: skip


def difference(counted: Tally, category: str, first: str, second: str, association: str, seed: int = 0) -> dict[str, Any]:
    """Share of mentions of `first` with the association near, less that of `second`: {value, low, high}, in 0..1."""
    column = counted.associations.index(association)
    sides = [(counted.near[category][group][:, column], counted.mentions[category][group]) for group in (first, second)]
    return _difference(sides[0], sides[1], seed)


def audit_gap(counted: Tally, category: str, first: str, second: str, seed: int = 0) -> dict[str, Any]:
    """Mean over the associations of the absolute difference between two groups: {value, low, high}.

    An absolute value is never below 0 and noise alone raises it: compare it between two corpora of one size.
    """
    gaps = _gaps(counted, category, first, second, seed)
    return _interval(float(gaps[0]), gaps[1:], counted.documents)


def audit_gap_drop(before: Tally, after: Tally, category: str, first: str, second: str, seed: int = 0) -> dict[str, Any]:
    """How far `audit_gap` fell between two versions of the same documents, in the same order: {value, low, high}.

    Raises:
        ValueError: the two do not have as many documents.
    """
    if before.documents != after.documents:
        raise ValueError(f"{before.documents} documents cannot be paired with {after.documents}: audit the same ones twice")
    drops = _gaps(before, category, first, second, seed) - _gaps(after, category, first, second, seed)
    return _interval(float(drops[0]), drops[1:], before.documents)


def _gaps(counted: Tally, category: str, first: str, second: str, seed: int) -> Counts:
    """The gap of the corpus, then of each draw of documents."""
    draws = _draws(counted.documents, seed)
    rates = [_rates(draws, counted.near[category][group], counted.mentions[category][group]) for group in (first, second)]
    gaps: Counts = np.abs(rates[0] - rates[1]).mean(axis=1)
    return gaps


def _category(counted: Tally, name: str, seed: int) -> dict[str, Any]:
    members, near = counted.mentions[name], counted.near[name]
    total = _total(members)
    return {
        "mentions": int(total),
        "groups": {
            group: {
                "mentions": int(own.sum()), "share": float(own.sum() / total), "documents": int((own > 0).sum()),
                "per_1000_words": float(1000 * own.sum() / max(counted.words, 1)),
                "associations": {
                    association: _association(near, members, group, column, seed)
                    for column, association in enumerate(counted.associations)
                } if own.sum() else {},
            }
            for group, own in members.items()
        },
    }  # fmt: skip


def _association(near: Mapping[str, Counts], members: Mapping[str, Counts], group: str, column: int, seed: int) -> dict[str, Any]:
    others = [name for name in members if name != group]
    own = (near[group][:, column], members[group])
    rest = (
        np.sum([near[name][:, column] for name in others], axis=0) if others else np.zeros_like(own[1]),
        np.sum([members[name] for name in others], axis=0) if others else np.zeros_like(own[1]),
    )
    return {"rate": float(own[0].sum() / own[1].sum()), "difference": _difference(own, rest, seed)}


def _difference(first: tuple[Counts, Counts], second: tuple[Counts, Counts], seed: int) -> dict[str, Any]:
    """Difference of two ratios of sums over documents; None where there is nothing to compare."""
    sizes = [side[1].sum() for side in (first, second)]
    if not min(sizes):
        return {"value": None, "low": None, "high": None}
    value = float(first[0].sum() / sizes[0] - second[0].sum() / sizes[1])
    spoken = (first[1] + second[1]) > 0
    documents = min(int((side[1] > 0).sum()) for side in (first, second))
    if min(sizes) < LEAST_MENTIONS or documents < LEAST_DOCUMENTS:
        return {"value": value, "low": None, "high": None}
    draws = _draws(int(spoken.sum()), seed)
    one, other = (_rates(draws, side[0][spoken, None], side[1][spoken]) for side in (first, second))
    return _interval(value, (one - other)[1:, 0], documents)


def _draws(documents: int, seed: int) -> Counts:
    """How often each document is drawn; the first row is the corpus itself."""
    drawn = np.random.default_rng(seed).multinomial(documents, np.full(documents, 1 / documents), _DRAWS)
    return np.vstack([np.ones((1, documents)), drawn]).astype(np.float64)


def _rates(draws: Counts, hits_DA: Counts, mentions_D: Counts) -> Counts:
    """[draws, A]; a draw without a mention has no rate and is NaN."""
    size = draws @ mentions_D
    with np.errstate(invalid="ignore", divide="ignore"):
        rates: Counts = (draws @ hits_DA) / np.where(size > 0, size, np.nan)[:, None]
    return rates


def _interval(value: float, drawn: Counts, documents: int) -> dict[str, Any]:
    """Percentiles of the draws, moved out for few documents as `timbre.statistics.bootstrap_interval` does."""
    from scipy.special import ndtri, stdtrit

    kept = drawn[np.isfinite(drawn)]
    if documents < 2 or len(kept) < 0.95 * len(drawn):
        return {"value": value, "low": None, "high": None}
    reach = math.sqrt(documents / (documents - 1)) * float(stdtrit(documents - 1, 0.975) / ndtri(0.975))
    low, high = (value + reach * (float(bound) - value) for bound in np.quantile(kept, (0.025, 0.975)))
    return {"value": value, "low": min(low, value), "high": max(high, value)}


def _total(members: Mapping[str, Counts]) -> float:
    return float(sum(own.sum() for own in members.values()))


def _bare(word: str) -> str:
    """Without the genitive: "woman's" speaks of a woman."""
    return word[:-2] if word.endswith(("'s", "’s")) else word

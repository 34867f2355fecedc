"""Words and phrases that a candidate uses more than human writers differ among themselves; and lists that users bring."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timbre.metrics.grams import count_table, gram_codes
from timbre.statistics import Interval, bootstrap_interval
from timbre.words import sentences, words

_SMOOTH = 0.5
_QUANTILE = 0.99
_LEAST_TEXTS = 3
_EXAMPLE = 160


@dataclass(frozen=True)
class Overused:
    """One phrase: occurrences a thousand words on either side, and how far the ratio exceeds what human halves show."""

    phrase: str
    rate: float
    human_rate: float
    ratio: float
    limit: float
    """The 99% quantile of the same ratio between two human halves, among phrases that are as frequent."""
    texts: int
    example: str


def overused(
    texts: Sequence[str], human: Sequence[str], halves: Sequence[tuple[np.ndarray, np.ndarray]], most: int = 20, longest: int = 3
) -> list[Overused]:
    """Phrases of one to `longest` words, most excessive first.

    The ratio is (count + ½)/(count in as many human words + ½). Its limit comes from the ratios between `halves` of the
    human texts, among phrases of the same total count (in steps of a half octave), so that rare words need a larger ratio
    than common ones. One phrase in a hundred exceeds its limit by chance: the table is to be read from the top. Phrases
    of fewer than three texts are a matter of subject, not of style, and are left out.
    """
    rows: list[Overused] = []
    own, other = [words(text) for text in texts], [words(text) for text in human]
    scale = sum(map(len, own)) / max(sum(map(len, other)), 1)
    if not scale:
        return []
    for n in range(1, longest + 1):
        rows += _of_length(n, own, other, texts, halves, scale)
    rows.sort(key=lambda row: (-row.ratio / row.limit, row.phrase))
    return rows[:most]


def _of_length(
    n: int,
    own: list[list[str]],
    other: list[list[str]],
    texts: Sequence[str],
    halves: Sequence[tuple[np.ndarray, np.ndarray]],
    scale: float,
) -> list[Overused]:
    codes, owner = gram_codes([*own, *other], n)
    if not len(codes):
        return []
    gram, text, count = count_table(codes, owner, len(own) + len(other))
    size = int(gram.max()) + 1
    ours = np.bincount(gram[text < len(own)], count[text < len(own)], size)
    theirs = np.bincount(gram[text >= len(own)], count[text >= len(own)], size)
    holding = np.bincount(gram[text < len(own)], minlength=size)
    limits = _limits(gram, text - len(own), count, size, len(other), halves)
    scaled = theirs * scale
    ratio = (ours + _SMOOTH) / (scaled + _SMOOTH)
    limit = limits[_step(ours + scaled, len(limits))]
    found = np.flatnonzero((ratio > limit) & (holding >= _LEAST_TEXTS))
    first_place = np.full(size, -1)
    first_place[codes[::-1]] = np.arange(len(codes))[::-1]
    kilowords = sum(map(len, own)) / 1000
    result = []
    for index in found[np.argsort(-(ratio / limit)[found], kind="stable")][:60]:
        holder = int(owner[first_place[index]])
        sequence = own[holder]
        start = int(first_place[index] - np.searchsorted(owner, holder))
        phrase = " ".join(sequence[start : start + n])
        result.append(
            Overused(
                phrase, float(ours[index]) / kilowords, float(scaled[index]) / kilowords, float(ratio[index]), float(limit[index]),
                int(holding[index]), example_of(phrase, texts[holder]),
            )
        )  # fmt: skip
    return result


def _limits(
    gram: np.ndarray, text: np.ndarray, count: np.ndarray, size: int, human: int, halves: Sequence[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """99% quantile of the ratio between human halves, by step of total count."""
    steps, ratios = [], []
    inside = text >= 0
    gram, text, count = gram[inside], text[inside], count[inside]
    for first, second in halves[:40]:
        a, b = (np.bincount(gram, count * np.isin(np.arange(human), side)[text], size) for side in (first, second))
        seen = a + b > 0
        steps.append(_step(a + b, 64)[seen])
        ratios.append(((a + _SMOOTH) / (b + _SMOOTH))[seen])
    step, ratio = np.concatenate(steps), np.concatenate(ratios)
    limits = np.full(64, np.nan)
    for number in np.unique(step):
        limits[number] = np.quantile(ratio[step == number], _QUANTILE)
    known = np.flatnonzero(~np.isnan(limits))
    if not len(known):
        return np.full(64, np.inf)
    filled: np.ndarray = np.interp(np.arange(64), known, limits[known])
    return filled


def _step(total: np.ndarray, most: int) -> np.ndarray:
    """Half octaves of a count."""
    steps: np.ndarray = np.clip(np.round(2 * np.log2(np.maximum(total, 1))), 0, most - 1).astype(np.int64)
    return steps


def example_of(phrase: str, text: str) -> str:
    """The first sentence that holds the phrase, cut to 160 characters around it."""
    for sentence in sentences(text):
        if f" {phrase} " in f" {' '.join(words(sentence))} ":
            flat = " ".join(sentence.split())
            if len(flat) <= _EXAMPLE:
                return flat
            found = re.search(re.escape(phrase.split(maxsplit=1)[0]), flat, re.IGNORECASE)
            start = max(0, min((found.start() if found else 0) - 40, len(flat) - _EXAMPLE))
            return ("…" if start else "") + flat[start : start + _EXAMPLE] + "…"
    return " ".join(text.split())[:_EXAMPLE]


@dataclass(frozen=True)
class ListRate:
    """Phrases of one user's list, occurrences a thousand words with 95% intervals, and the commonest of them."""

    name: str
    rate: Interval
    human_rate: Interval
    top: tuple[tuple[str, int], ...]


def read_phrases(path: Path) -> list[str]:
    """A phrase a line; blank lines and lines that begin with # are left out.

    Raises:
        ValueError: no such file, no phrase in it, or not UTF-8 text.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; name a list of phrases, one a line")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: invalid UTF-8 at byte {error.start}; save it as UTF-8 and try again") from error
    phrases = [" ".join(words(line)) for line in lines if line and not line.startswith("#")]
    if not (phrases := [phrase for phrase in dict.fromkeys(phrases) if phrase]):
        raise ValueError(f"{path.name}: holds no phrase; write one a line")
    return phrases


def list_rate(name: str, phrases: Sequence[str], texts: Sequence[str], human: Sequence[str]) -> ListRate:
    """How often the phrases of a list occur, as whole words, on either side."""
    pattern = re.compile("|".join(rf"(?<= ){re.escape(phrase)}(?= )" for phrase in sorted(phrases, key=len, reverse=True)))
    found: dict[str, int] = {}

    def rates(of: Sequence[str], keep: bool) -> Interval:
        values = []
        for text in of:
            sequence = words(text)
            hits = pattern.findall(f" {' '.join(sequence)} ")
            values.append(1000 * len(hits) / max(len(sequence), 1))
            for hit in hits if keep else ():
                found[hit] = found.get(hit, 0) + 1
        return bootstrap_interval(values)

    rate, human_rate = rates(texts, True), rates(human, False)
    return ListRate(name, rate, human_rate, tuple(sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:10]))

"""How rich the vocabulary of one text is. A text too short for a measure gives None, never a made-up number."""

from collections import Counter
from collections.abc import Sequence

from timbre.words import words

WINDOW = 50
_MTLD_THRESHOLD = 0.72
_RARE_SHARE = 0.01


def mattr(text: str, window: int = WINDOW) -> float | None:
    """Moving-average type-token ratio over windows of 50 words (Covington & McFall 2010); a shorter text is one window."""
    sequence = words(text)
    if not sequence:
        return None
    if len(sequence) <= window:
        return len(set(sequence)) / len(sequence)
    counts = Counter(sequence[:window])
    total = len(counts)
    for leaving, entering in zip(sequence, sequence[window:], strict=False):
        counts[leaving] -= 1
        if not counts[leaving]:
            del counts[leaving]
        counts[entering] += 1
        total += len(counts)
    return total / window / (len(sequence) - window + 1)


def mtld(text: str) -> float | None:
    """Mean length of runs whose type-token ratio stays above .72, forwards and backwards (McCarthy & Jarvis 2010)."""
    sequence = words(text)
    if len(sequence) < 10:
        return None
    return (_mtld_one_way(sequence) + _mtld_one_way(sequence[::-1])) / 2


def distinct(text: str, n: int = 2) -> float | None:
    """Distinct n-grams over all n-grams of the text (1510.03055)."""
    grams = ngrams(words(text), n)
    return len(set(grams)) / len(grams) if grams else None


def hapax_share(text: str) -> float | None:
    """Share of the text's words that occur in it exactly once."""
    sequence = words(text)
    return sum(count == 1 for count in Counter(sequence).values()) / len(sequence) if sequence else None


def type_token_ratio(text: str) -> float | None:
    """Distinct words over words. It falls with length, so it compares only texts of one length; MATTR does not."""
    sequence = words(text)
    return len(set(sequence)) / len(sequence) if sequence else None


class RareWords:
    """Share of a text's words that hardly any human text holds: fewer than 1% of them, or none but one.

    A human text of the reference is itself among them, so its own occurrence is left out: human and generated texts are
    both compared with *other* texts. No frequency list is shipped; the rule holds for any language.
    """

    def __init__(self, human: Sequence[str]) -> None:
        self._texts = len(human)
        self._holding = Counter(word for text in human for word in set(words(text)))

    def rate(self, text: str, *, of_reference: bool = False) -> float | None:
        """The share, or None without words; `of_reference` says that this text was among those the counts are from."""
        sequence = words(text)
        own = int(of_reference)
        limit = max(1.0, _RARE_SHARE * (self._texts - own))
        return sum(self._holding[word] - own <= limit for word in sequence) / len(sequence) if sequence else None


def ngrams(sequence: list[str], n: int) -> list[tuple[str, ...]]:
    """All n-grams in order; empty if the sequence is shorter than n."""
    return list(zip(*(sequence[start:] for start in range(n)), strict=False))


def _mtld_one_way(sequence: list[str]) -> float:
    factors, seen, length = 0.0, set[str](), 0
    for word in sequence:
        seen.add(word)
        length += 1
        if len(seen) / length <= _MTLD_THRESHOLD:
            factors, seen, length = factors + 1, set(), 0
    if length:
        factors += (1 - len(seen) / length) / (1 - _MTLD_THRESHOLD)
    return len(sequence) / factors if factors else float(len(sequence))

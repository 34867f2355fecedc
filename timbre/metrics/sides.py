"""The two sides of a comparison of texts, made alike in length and count, so that they may be told apart by what they say."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from timbre.metrics.encoder import Encoder
from timbre.metrics.telling import Telling
from timbre.metrics.texts import Passages, Text
from timbre.metrics.told_apart import LONGER_MOST, Side, ToldApart, spread_over_documents, told_apart
from timbre.words import words

_WHOLE_MOST = 1.6
"""How far nine in ten of the texts' lengths may be from their median for them to count as made to one length."""
_READ = ("characters", "words")
"""Families whose classifiers read the texts as they stand."""
_NO_SURPRISAL = "needs an independent language model, and `timbre evaluate` runs none"
_NO_ENCODER = "needs the sentence encoder; `timbre setup` fetches it"


@dataclass(frozen=True)
class Telltale:
    """How well a classifier tells texts from human ones, and what it was asked about."""

    found: ToldApart | None
    of: str
    """"whole texts", or passages of so many words; or why nothing was measured."""

    def summary(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {"of": self.of} if self.found is None else {"of": self.of} | self.found.summary()

    def otherwise(self, verdict: str) -> str:
        """A sentence, after a space, where the classifiers of words say another thing than the verdict of the metrics; else nothing."""
        seen = {name: each.auc for name, each in self.found.families.items() if name in _READ} if self.found is not None else {}
        areas = ", ".join(f"{auc.mean:.2f} by {name}" for name, auc in seen.items())
        if verdict == "told apart" and seen and all(auc.low <= 0.5 for auc in seen.values()):
            return f" No classifier that reads them tells them apart, though ({areas}; .5 is a coin): look at the furthest metrics."
        if verdict == "not told apart" and seen and all(auc.low > 0.5 for auc in seen.values()):
            return f" Classifiers that read them do tell them apart ({areas}; .5 is a coin): what they go by stands below."
        return ""

    def telling(self) -> tuple[Telling, ...]:
        """What told most, by words."""
        return self.found.families["words"].telling if self.found is not None and "words" in self.found.families else ()


def telltale(
    texts: Sequence[Text], human: Sequence[Text], cut: tuple[Passages, Passages], length: int, most: int, encoder: Encoder | None,
    seed: int = 0,
) -> Telltale:  # fmt: skip
    """Texts that were written to one length are taken whole; others are cut, and their passages taken.

    Args:
        cut: passages of exactly `length` words, of the texts and of the human ones.
        most: texts a side at most.
    """
    own, other = _whole(texts), _whole(human)
    if one_length([*own.texts], [*other.texts]):
        of = "whole texts"
    else:
        own, other = (Side(each.texts, each.documents) for each in cut)
        of = f"passages of {length} words"
    count = min(len(own), len(other), most)
    if not count:
        return Telltale(None, f"not measured: no text of {length} words on one side")
    own = own.of(spread_over_documents(own.documents, count))
    first, rest = _partners(own, other)
    if encoder is not None:
        own, first, rest = (Side(side.texts, side.documents, {"encoder": encoder(side.texts)}) for side in (own, first, rest))
    missing = {"encoder": _NO_ENCODER, "surprisal": _NO_SURPRISAL}
    try:
        return Telltale(told_apart(own, first, rest, missing=missing, seed=seed), of)
    except ValueError as error:
        return Telltale(None, f"not measured: {error}")


def one_length(texts: Sequence[str], human: Sequence[str]) -> bool:
    """Whether all these texts were made to one length, give or take what the same number of tokens makes in words."""
    lengths = [np.array([len(words(text)) for text in side]) for side in (texts, human)]
    if not all(len(side) for side in lengths):
        return False
    medians = [float(np.median(side)) for side in lengths]
    if not min(medians) or max(medians) > LONGER_MOST * min(medians):
        return False
    low, high = np.quantile(np.concatenate(lengths), [0.05, 0.95])
    middle = float(np.median(np.concatenate(lengths)))
    return bool(low * _WHOLE_MOST >= middle and high <= _WHOLE_MOST * middle)


def _whole(texts: Sequence[Text]) -> Side:
    kept = [text for text in texts if words(text.text)]
    return Side([text.text for text in kept], [text.document for text in kept])


def _partners(own: Side, human: Side) -> tuple[Side, Side]:
    """As many human texts as there are own ones, of the same documents where there are such, and the rest."""
    wanted, chosen = Counter(own.documents), list[int]()
    for index, document in enumerate(human.documents):
        if wanted[document] > 0:
            wanted[document] -= 1
            chosen.append(index)
    taken = set(chosen)
    free = [index for index in range(len(human)) if index not in taken]
    more = spread_over_documents([human.documents[index] for index in free], len(own) - len(chosen))
    chosen += [free[place] for place in more]
    left = sorted(set(range(len(human))) - set(chosen))
    return human.of(sorted(chosen)), human.of(left)

"""Layout apart from writing: how a side's texts are set (lines cut at a margin, quotes, dashes), and the same words set plainly.

A corpus is cleaned before it is learnt from; both sides of a comparison are cleaned the same way, and then set alike, so that an
editor's curly quotes are no difference between two writers. `--raw` measures texts as they stand.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import regex as re

from timbre.corpus.cleaning import clean
from timbre.corpus.layout import hyphenated_words, margin_of, without_hyphens
from timbre.corpus.privacy import scrub
from timbre.corpus.repeated import LineCounter, without_repeated
from timbre.metrics.texts import Text

_REMOVED_SHARE = 1 / 3
_CURLY_DOUBLE, _CURLY_SINGLE = re.compile(r"[“”„‟«»〝〞]"), re.compile(r"[‘’‚‛‹›]")
_SPACED_GUILLEMETS = re.compile(r"(?<=«)[ \u00a0\u202f]+|[ \u00a0\u202f]+(?=»)")
_DASH = re.compile(r"(?<=[\p{L}\p{P}]) ?(?:--+|[—―]) ?(?=[\p{L}\p{P}])|(?<=[\p{L}\p{P}]) – (?=[\p{L}\p{P}])|(?<=[\p{L},.;!?]) - (?=\p{L})")
_DOTS = re.compile(r"\.(?: ?\.){2,}")
_HABITS = {
    "quotes": {"straight": re.compile(r"[\"']"), "curly": re.compile(r"[“”„‘’]"), "angled": re.compile(r"[«»]")},
    "dashes": {"--": re.compile(r"(?<!-)--(?!-)"), "—": re.compile("[—―]"), "–": re.compile(r" – ")},
}
_FEWEST_MARKS, _DIFFERENT = 10, 0.5


@dataclass(frozen=True)
class Sheet:
    """How the texts of a side are set: the share of them whose lines are cut at a margin, and the shares of kinds of marks."""

    wrapped: float
    marks: dict[str, dict[str, float]]


def sheet_of(texts: Sequence[Text]) -> Sheet:
    """Measure how texts are set."""
    found = [text.text for text in texts if text.text.strip()]
    marks: dict[str, dict[str, float]] = {}
    for habit, kinds in _HABITS.items():
        counts = Counter({kind: sum(len(pattern.findall(text)) for text in found) for kind, pattern in kinds.items()})
        if counts.total() >= _FEWEST_MARKS:
            marks[habit] = {kind: round(count / counts.total(), 3) for kind, count in counts.items()}
    several = [text for text in found if "\n" in text.strip()]
    wrapped = sum(margin_of(text) is not None for text in several)
    return Sheet(round(wrapped / len(found), 3) if found else 0.0, marks)


def differences(own: Sheet, human: Sheet) -> list[str]:
    """Sentences on what is set differently on the two sides; none where nothing is."""
    told = []
    if abs(own.wrapped - human.wrapped) >= _DIFFERENT:
        side, other = ("these texts", "the human ones") if own.wrapped > human.wrapped else ("the human texts", "these")
        told.append(f"line wrap: the lines of {side} are cut at a margin, those of {other} are not")
    for habit in _HABITS:
        if habit not in own.marks or habit not in human.marks:
            continue
        mine, theirs = (max(sheet.marks[habit], key=lambda kind: sheet.marks[habit][kind]) for sheet in (own, human))
        if mine != theirs:
            told.append(f"{habit}: mostly {mine} in these texts, mostly {theirs} in the human ones")
    return told


def cleaned(texts: Sequence[Text]) -> list[Text]:
    """The texts as a corpus would hold them, set plainly: straight quotes, one kind of dash and of three dots."""
    counter = LineCounter()
    for text in texts:
        counter.add(text.text)
    repeated = counter.found(_REMOVED_SHARE)
    known = frozenset[str]().union(*(hyphenated_words(text.text) for text in texts))
    unused: Counter[str] = Counter()
    return [
        replace(text, text=plainly(clean(scrub(without_hyphens(without_repeated(text.text, repeated), known), unused)))) for text in texts
    ]


def plainly(text: str) -> str:
    """The same words with straight quotes, dashes as — without spaces, and … for three dots."""
    text = _CURLY_DOUBLE.sub('"', _SPACED_GUILLEMETS.sub("", text))
    return str(_DOTS.sub("…", _DASH.sub("—", _CURLY_SINGLE.sub("'", text))))

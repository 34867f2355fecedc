"""Layout apart from writing: how a side's texts are set (lines cut at a margin, quotes, dashes), and the same words set plainly.

A corpus is cleaned before it is learnt from; both sides of a comparison are cleaned the same way, and then set alike, so that an
editor's curly quotes are no difference between two writers. `--raw` measures texts as they stand.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import regex as re

from timbre.corpus.cleaning import clean
from timbre.corpus.hyphens import Words, hyphenated_words, keeps_hyphens
from timbre.corpus.layout import margin_of
from timbre.corpus.privacy import scrub
from timbre.corpus.repeated import LineCounter, without_repeated
from timbre.metrics.quotes import ELISION, quotes_doubled
from timbre.metrics.texts import Text

_REMOVED_SHARE = 1 / 3
_SINGLE = re.compile(r"[‘’‚‛‹›`´ʼ′＇]")
_DOUBLE = re.compile(rf"[“”„‟«»〝〞″＂]|(?<=\S)''|''(?!{ELISION})|(?<!\S),,(?=\p{{L}})", re.IGNORECASE)
_SPACED_GUILLEMETS = re.compile(r"(?<=[«‹])[ \u00a0\u202f]+|[ \u00a0\u202f]+(?=[»›])")
_SPAN = re.compile(r"(?<=\p{N}) ?(?:--|[–—]) ?(?=\p{N})|(?<=\p{N})-(?=\p{N})")
_DASH = re.compile(
    r" ?(?<!-)(?:--+|[—―])(?!-) ?|(?<=[\p{L}\p{P}]|^) ?– ?(?=[\p{L}\p{P}]|$)|(?<=[\p{L}\p{N}\p{P}]) [-–] (?=[\p{L}\p{N}\p{P}])",
    re.MULTILINE,
)
_DOTS = re.compile(r" ?(?:\.(?: ?\.){2,}(?: ?…)*|(?:\. ?)*…(?: ?[.…])*)( ?(?=[\p{L}\p{N}]))?")
_WIDE = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\u3000-\u303f\uff00-\uffef…]"
"""Of scripts whose lines are cut between any two of them: a space there is no end of a word."""
_SET_MARKS = re.compile(r"[\"'—–-]")
_IN_DOUBT = re.compile(r"[\"']|[—–-]\s*")
_SPACE_BETWEEN_WIDE = re.compile(rf"(?<={_WIDE})\s+(?={_WIDE})")
_MARKS_ALIKE = 0.1
_LINE_ENDS = re.compile(r"\r+\n|\r")
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
    found = [_LINE_ENDS.sub("\n", text.text) for text in texts if text.text.strip()]
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


def cleaned(texts: Sequence[Text], beside: Sequence[Text] = ()) -> list[Text]:
    """The texts as a corpus would hold them, set plainly: straight quotes, one kind of dash and of three dots.

    Words that line ends cut are looked up in all of the texts, and in those that they are compared with (`beside`).
    """
    counter = LineCounter()
    for text in texts:
        counter.add(text.text)
    repeated = counter.found(_REMOVED_SHARE)
    bare = [_LINE_ENDS.sub("\n", without_repeated(text.text, repeated)) for text in texts]
    known = frozenset[str]().union(*map(hyphenated_words, bare), *(hyphenated_words(text.text) for text in beside))
    cut, unused = Words(known, keeps_hyphens(bare, known)), Counter[str]()
    return [replace(text, text=plainly(clean(scrub(each, unused), known=cut))) for text, each in zip(texts, bare, strict=True)]


def reset(given: tuple[Sequence[Text], Sequence[Text]], plain: tuple[Sequence[Text], Sequence[Text]]) -> bool:
    """Whether two sides are the same texts and only their layout differs: other characters as given, the same words set plainly.

    A hyphen that a line end left in doubt, or a quote that may be an apostrophe, makes no other text of it, as long as both sides
    have about as many of such marks.
    """
    as_given = [sorted(text.text for text in side if text.text.strip()) for side in given]
    bare = [sorted(_words_alone(text.text) for text in side if text.text.strip()) for side in plain]
    marks = [sum(len(_SET_MARKS.findall(text.text)) for text in side) for side in plain]
    alike = abs(marks[0] - marks[1]) <= max(3, _MARKS_ALIKE * max(marks))
    return bool(bare[0]) and bare[0] == bare[1] and alike and as_given[0] != as_given[1]


def _words_alone(text: str) -> str:
    """The words, one space between them, without the marks that a layout leaves in doubt; a hyphen's line end goes with it."""
    return " ".join(str(_SPACE_BETWEEN_WIDE.sub("", _IN_DOUBT.sub("", text))).split())


def plainly(text: str) -> str:
    """The same words with straight double quotes, dashes as — without spaces, – in spans of numbers, and … for three dots."""
    text = _DOUBLE.sub('"', _SINGLE.sub("'", _SPACED_GUILLEMETS.sub("", text)))
    text = _DASH.sub("—", _SPAN.sub("–", quotes_doubled(text)))
    return str(_DOTS.sub(lambda found: "…" if found[1] is None else "… ", text))

"""Names and numbers in a text, found by rules that can be read; no model, no downloaded tagger.

Numbers: digits ("1,851", "14th", "2.5"), and number words from two on ("twelve", "eighteen fifty-one"); "one" is mostly a
pronoun and is passed over, and so is the number that opens a line of a list ("2. The second …").

Names: runs of capitalised words in mid-sentence, so "Ingrid Solheim" is one name. The first word of a sentence, a line or a
quotation is capitalised anyway and is passed over, whether it would be right or wrong; the run goes on behind it. Titles,
"I" and the words of `_NEVER` are no names. Where all words but small ones are capitalised it is a headline, and holds none.

What this misses: names at the start of a sentence, names in scripts without capitals. What it takes for names: days, months,
adjectives such as "French", and every noun of a German text. Base and candidate are read by the same rules, so that what
the rules do wrong cancels out in a difference; shares of two languages cannot be compared.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from timbre.evaluation.factuality.normalising import plain_words, words_with_digits
from timbre.words import sentences

_TITLE_WORDS = """
    mr mrs ms miss mister dr doctor prof professor sir madam madame monsieur lady lord saint st captain major judge father brother
"""
_TITLES = frozenset(_TITLE_WORDS.split())
_OTHER_WORDS = "i i'm i'll i've i'd oh ok okay god amen am pm bc ad ps answer summary question note passage"
_NEVER = frozenset(_OTHER_WORDS.split())
_RUN_WORD = r"[^\W\d_]+(?:[-'’][^\W\d_]+)*"
_WORD = re.compile(_RUN_WORD)
_OPENED = re.compile(r"[\"“”‘«:;([{*_#>—–-]\s*$")
_LIST_NUMBER = re.compile(r"(?m)^\s*(?:\(?\d{1,2}[.):]|[-*•])\s+")
_CUT = re.compile(r"[^\W_]+(?:[-'’.,][^\W_]+)*$")
_SMALL_WORDS = "a an and as at but by for from in into nor of on or over the to up with"
_SMALL_IN_HEADLINES = frozenset(_SMALL_WORDS.split())

Name = tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """What a text names, in order and with repetitions."""

    names: list[Name]
    numbers: list[str]


@dataclass(frozen=True)
class Source:
    """A text that names and numbers may come from."""

    text: str
    _runs: list[Name] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._runs.extend(_capital_runs(self.text))

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(part for word in _WORD.findall(self.text) for part in (_plain(word), *_plain(word).split("-")))

    @cached_property
    def numbers(self) -> frozenset[str]:
        words = (*plain_words(self.text), *words_with_digits(self.text))
        return frozenset(digits for word in words if (digits := _number(word)) is not None)

    def has_name(self, name: Name) -> bool:
        """A single word anywhere in the text, in whatever case; several in this order within one name of the text."""
        if len(name) == 1:
            return name[0] in self.words
        return any(_in_order(name, run) for run in self._runs)

    def has_number(self, number: str) -> bool:
        return number in self.numbers


def entities(text: str, *, cut: bool = False) -> Found:
    """Names and numbers of a text; with `cut` its last word may be half a word and is passed over."""
    text = _LIST_NUMBER.sub("\n", without_cut_word(text) if cut else text)
    names = [name for piece in sentences(text) for line in piece.split("\n") for name in _names(line)]
    return Found(names, [digits for word in words_with_digits(text) if (digits := _number(word)) is not None])


def without_cut_word(text: str) -> str:
    """The text without a last word that may be half a word."""
    return _CUT.sub("", text)


def _number(word: str) -> str | None:
    found = re.match(r"\d+(?:\.\d+)?", word)
    return found.group() if found and found.group() not in ("0", "1") else None


def _names(sentence: str) -> list[Name]:
    found = list(_WORD.finditer(sentence))
    if len(found) > 3 and all(word.group()[0].isupper() or word.group() in _SMALL_IN_HEADLINES for word in found):
        return []
    names: list[Name] = []
    run: list[str] = []
    for place, word in enumerate(found):
        starts = place == 0 or bool(_OPENED.search(sentence[found[place - 1].end() : word.start()]))
        touching = place > 0 and sentence[found[place - 1].end() : word.start()] in (" ", ". ")
        if run and not touching:
            names.append(tuple(run))
            run = []
        if not starts and _is_name(word.group()):
            run.append(_plain(word.group()))
        elif run:
            names.append(tuple(run))
            run = []
    return [*names, tuple(run)] if run else names


def _capital_runs(text: str) -> list[Name]:
    """Runs of capitalised words wherever they stand, sentence starts and titles' bearers included."""
    runs: list[Name] = []
    run: list[str] = []
    last = 0
    for word in _WORD.finditer(text):
        touching = text[last : word.start()] in (" ", ". ", "\n")
        if run and not touching:
            runs.append(tuple(run))
            run = []
        if word.group()[0].isupper():
            if _plain(word.group()) not in _TITLES:
                run.append(_plain(word.group()))
        elif run:
            runs.append(tuple(run))
            run = []
        last = word.end()
    return [*runs, tuple(run)] if run else runs


def _is_name(word: str) -> bool:
    return word[0].isupper() and _plain(word) not in _TITLES and _plain(word) not in _NEVER


def _plain(word: str) -> str:
    parts = plain_words(word)
    return "-".join(parts) if parts else word.lower()


def _in_order(name: Sequence[str], run: Sequence[str]) -> bool:
    left = iter(run)
    return all(word in left for word in name)

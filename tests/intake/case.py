"""A case: files that a user brings, and what a reader would say stands in them."""

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from timbre.config import CorpusConfig
from timbre.corpus.raw import RawDocument, Unread
from timbre.corpus.readers import read_file
from timbre.corpus.sifting import sift
from timbre.corpus.sources import Source, SourceFile
from timbre.corpus.spool import Spool
from timbre.words import words

SENTENCES = (
    "The ferry left the harbour late because the captain had lost his hat.",
    "Nobody on the pier believed that the fog would lift before noon.",
    "My grandmother kept seven jars of buttons under the kitchen window.",
    "A train whistled twice behind the orchard, and the dogs fell silent.",
    "We counted the lanterns on the hill until sleep took us one by one.",
    "He wrote letters to a cousin who had moved across the ocean years ago.",
    "Snow covered the market square, the fountain and the sleeping tram.",
    "She carried a violin without strings and never said where it came from.",
    "In the attic we found maps of rivers that no longer ran anywhere.",
    "The baker sang in the mornings, badly, with all the doors open.",
    "Every clock in that house told a different and more hopeful time.",
    "They buried the old horse beneath the walnut tree in late October.",
    "A quarrel about a fence lasted longer than either of the neighbours.",
    "The lighthouse keeper read novels aloud to the gulls in winter.",
    "Our teacher believed that commas were a kind of good manners.",
    "Rain came sideways for a week, and the cellar filled with apples.",
)


def prose(number: int, sentences: int = 12) -> list[str]:
    """Three paragraphs that no other number gives: sentences in another order, and a name in each."""
    chosen = [SENTENCES[(number * 7 + place * (1 + 2 * (number % 7))) % len(SENTENCES)] for place in range(sentences)]
    marked = [f"{sentence[:-1]}, as house {number * 31 + place} remembers." for place, sentence in enumerate(chosen)]
    third = max(1, sentences // 3)
    return [" ".join(marked[start : start + third]) for start in range(0, sentences, third)]


@dataclass(frozen=True)
class Case:
    """Files by name, and what must come of them; what is None or empty is not asked."""

    kind: str
    name: str
    files: Mapping[str, bytes]
    text: str | None = None
    """The prose of the one document: every word of it is kept and no other is added."""
    paragraphs: int | None = None
    contains: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    kept: int | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    date: str | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    min_words: int = 5
    also: Callable[["Result"], bool] | None = None


@dataclass(frozen=True)
class Result:
    """What came of a case."""

    texts: list[str]
    dates: list[str | None]
    rejected: Counter[str]
    notes: list[str]
    recall: float = 1.0
    precision: float = 1.0


def source_of(reading: Mapping[str, Any]) -> Source:
    """A source of the user's own, as `corpus add` makes it."""
    return Source(
        name="case", kind="local", description="A case.", licence="own work", consent="own work", author="Ann",
        files=(SourceFile(name="case", sha256="0" * 64, size=0),), **reading,
    )  # fmt: skip


def result_of(case: Case) -> Result:
    """Read and sift the files of a case."""
    import warnings

    source = source_of(case.reading)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        items: list[RawDocument | Unread] = []
        for name, data in case.files.items():
            path = Path(folder, f"{len(items)}-{abs(hash(name))}")
            path.write_bytes(data)
            items += list(read_file(path, name, source))
        spool = Spool()
        sifted = sift({"case": items}, {"case": source}, CorpusConfig(min_words=case.min_words), spool, find_languages=True)
        kept = list(spool.drafts("text, date", "reason IS NULL"))
        rejected = spool.counts("SELECT reason, COUNT(*) FROM draft WHERE reason IS NOT NULL GROUP BY reason")
        spool.close()
    texts = [text for _, text, _ in kept]
    recall, precision = agreement(case.text, " ".join(texts)) if case.text is not None else (1.0, 1.0)
    return Result(texts, [date for *_, date in kept], rejected, sifted.notes, recall, precision)


def agreement(wanted: str, found: str) -> tuple[float, float]:
    """Share of the wanted words that were found, and of the found ones that were wanted, counted as often as they stand."""
    want, have = Counter(words(wanted)), Counter(words(found))
    same = (want & have).total()
    return same / max(1, want.total()), same / max(1, have.total())


def faults(case: Case) -> list[str]:
    """What is wrong, in words; nothing where the case is right."""
    result, found = result_of(case), []
    whole = "\n\n".join(result.texts)
    if case.text is not None and (result.recall < 0.98 or result.precision < 0.97):
        found.append(f"kept {result.recall:.3f} of the words, of which {result.precision:.3f} are prose")
    count = whole.count("\n\n") + 1
    if case.paragraphs is not None and count != case.paragraphs:
        found.append(f"{count} paragraphs instead of {case.paragraphs}")
    found += [f"lacks {piece!r}" for piece in case.contains if piece not in whole]
    found += [f"holds {piece!r}" for piece in case.absent if piece in whole]
    if case.kept is not None and len(result.texts) != case.kept:
        found.append(f"{len(result.texts)} kept instead of {case.kept} ({dict(result.rejected)})")
    if case.rejected and dict(result.rejected) != dict(case.rejected):
        found.append(f"rejected {dict(result.rejected)} instead of {dict(case.rejected)}")
    if case.date is not None and result.dates[:1] != [case.date or None]:
        found.append(f"dated {result.dates[:1]} instead of {case.date!r}")
    if case.also is not None and not case.also(result):
        found.append("is not as it should be")
    return found

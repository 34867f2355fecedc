"""From raw documents to kept and rejected ones, before any split: cleaning, privacy, filters, duplicates.

Everything lies in a `Spool` on disk. Nothing is dropped in silence: each document that is read is kept, or stands among the
rejected with its reason.
"""

import json
import warnings
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from timbre.config import CorpusConfig
from timbre.corpus import cleaning
from timbre.corpus.characters import lost_characters
from timbre.corpus.documents import Reason
from timbre.corpus.duplicates import find_duplicates
from timbre.corpus.kinds import ROWS
from timbre.corpus.naming import private_names, shared_folders, short_name
from timbre.corpus.privacy import scrub
from timbre.corpus.raw import RawDocument, Unread
from timbre.corpus.repeated import LineCounter, RepeatedLine, without_repeated
from timbre.corpus.sources import Source
from timbre.corpus.spool import Spool

FEW_DOCUMENTS = 10
SECTION_WORDS = 400
_LANGUAGE_SHARE = 0.15
"""A language of so many of a source's documents is one that it is written in."""
_LOSS, _LOST_CHARACTERS = 1 / 3, 0.001
_LANGUAGE_CHARACTERS = 1000
Track = Callable[..., Iterable[Any]]
Raw = Mapping[str, Iterable[RawDocument | Unread]]


def _silent(items: Iterable[Any], what: str, total: int | None = None) -> Iterable[Any]:
    return items


@dataclass
class Sifted:
    """What came of reading and cleaning; the documents lie in `spool`."""

    spool: Spool
    personal_data: dict[str, Counter[str]] = field(default_factory=dict)
    repeated: dict[str, list[RepeatedLine]] = field(default_factory=dict)
    languages: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    cut_into_sections: bool = False

    def note(self, sentence: str) -> None:
        """Say something about what was done; it is a warning too."""
        self.notes.append(sentence)
        warnings.warn(sentence, stacklevel=3)

    @property
    def read(self) -> Counter[str]:
        """Documents read, by source; what could not be read counts."""
        return self.spool.counts("SELECT source, COUNT(*) FROM draft GROUP BY source ORDER BY MIN(n)")

    def by_kind(self) -> dict[str, dict[str, int]]:
        """Kind of file → documents, characters of text in them, and characters that were left of those after cleaning."""
        rows = self.spool.base.execute(
            "SELECT kind, COUNT(*), SUM(characters), SUM(LENGTH(text)) FROM draft WHERE reason IS NOT ? GROUP BY kind ORDER BY kind",
            (Reason.UNREADABLE.value,),
        )
        return {str(kind): {"documents": documents, "characters_in": into, "characters_kept": left} for kind, documents, into, left in rows}


def sift(
    raw: Raw, sources: Mapping[str, Source], config: CorpusConfig, spool: Spool, *, track: Track = _silent, find_languages: bool = False
) -> Sifted:
    """Clean and filter. The order of sources and of documents in them decides which of two duplicates stays.

    Args:
        find_languages: the languages of each source are those of its documents, whatever the source says.
    """
    result = Sifted(spool)
    counters = {name: _spooled(name, documents, spool) for name, documents in raw.items()}
    total = int(spool.one("SELECT COUNT(*) FROM raw"))
    cleaned = track(_cleaned(raw, sources, config, counters, result), "documents", total)
    for draft in cleaned:
        _put(spool, draft)
    counters.clear()
    spool.base.execute("DELETE FROM raw")
    _cut_if_few(config, result)
    _filter(config, sources, result, find_languages)
    _drop_duplicates(config, result, track)
    _tell_losses(result)
    return result


def _spooled(name: str, documents: Iterable[RawDocument | Unread], spool: Spool) -> LineCounter:
    counter = LineCounter()
    for item in documents:
        spool.put_raw(name, item)
        if isinstance(item, RawDocument):
            counter.add(item.text)
    return counter


@dataclass(frozen=True)
class _Draft:
    doc_id: str
    text: str
    source: str
    raw: RawDocument | Unread
    headings: tuple[str, ...] = ()


def _cleaned(
    raw: Raw, sources: Mapping[str, Source], config: CorpusConfig, counters: Mapping[str, LineCounter], result: Sifted
) -> Iterator[_Draft]:
    for name in raw:
        source = sources[name]
        found: Counter[str] = Counter()
        result.personal_data[name] = found
        repeated = counters[name].found(config.repeated_share)
        result.repeated[name] = list(repeated.values())
        _tell_repeated(name, counters[name].documents, result)
        names = frozenset[str]()
        if source.scrub_names:
            names = private_names(item for _, item in result.spool.raw(name) if isinstance(item, RawDocument)) - set(source.not_names)
        named = _namer(name, result.spool)
        for _, item in result.spool.raw(name):
            text = ""
            headings: tuple[str, ...] = ()
            if isinstance(item, RawDocument):
                text = cleaning.clean(scrub(without_repeated(item.text, repeated), found, names), source.heading_pattern)
                headings = tuple(cleaning.clean(scrub(heading, Counter(), names)) for heading in item.headings)
            yield _Draft(f"{name}:{named(item.name)}", text, name, item, headings)


def _namer(source: str, spool: Spool) -> Callable[[str], str]:
    """Names without the folders that all share, and without endings unless two would be the same then."""
    names = (str(row[0]) for row in spool.base.execute("SELECT name FROM raw WHERE source = ?", (source,)))
    shared = shared_folders(names)
    spool.function("short", 1, lambda name: short_name(name, shared, ending=False))
    same = spool.one("SELECT COUNT(*) - COUNT(DISTINCT short(name)) FROM raw WHERE source = ?", source)
    return lambda name: short_name(name, shared, ending=bool(same))


def _tell_repeated(name: str, documents: int, result: Sifted) -> None:
    removed = [line for line in result.repeated[name] if line.removed]
    if not removed:
        return
    shown = "; ".join(f"{line.line[:60]!r} in {line.share:.0%}" for line in removed[:3])
    more = f" and {len(removed) - 3} more" if len(removed) > 3 else ""
    result.note(
        f"{name}: {len(removed)} lines that stand at the top or end of many of its {documents} documents are removed ({shown}{more}); "
        "--set corpus.repeated_share=1 keeps them"
    )


def _put(spool: Spool, draft: _Draft) -> None:
    raw = draft.raw
    if isinstance(raw, Unread):
        spool.put_draft(draft.doc_id, "", "", None, draft.source, raw.kind, "", 0, 0, 0, "", "[]", Reason.UNREADABLE.value, raw.reason)
        return
    text, reason = draft.text, None
    if lost := lost_characters(text):
        if lost > _LOST_CHARACTERS * len(text):
            reason = f"an earlier conversion lost {lost} characters (U+FFFD); take the text from its origin again"
        else:
            text = text.replace("\ufffd", "")
    spool.put_draft(
        draft.doc_id, text, raw.author, raw.date, draft.source, raw.kind, raw.encoding, raw.read, cleaning.words(text),
        cleaning.count_tokens(text), "", json.dumps(draft.headings), Reason.UNREADABLE.value if reason else None, reason,
    )  # fmt: skip


def _cut_if_few(config: CorpusConfig, result: Sifted) -> None:
    """Few documents are cut into sections, at their headings where they have such; the note says what was done."""
    spool = result.spool
    usable = int(spool.one("SELECT COUNT(*) FROM draft WHERE reason IS NULL AND size >= ?", config.min_words))
    if not usable or usable >= FEW_DOCUMENTS:
        return
    target, cut, headings, long = max(SECTION_WORDS, config.min_words), 0, 0, False
    for row in list(spool.drafts("doc_id, author, date, source, kind, encoding, characters, headings", "reason IS NULL")):
        number, doc_id, author, date, source, kind, encoding, characters, marked = row
        whole = spool.text(number)
        parts, found = cleaning.sections_told(whole, target, frozenset(json.loads(marked)))
        if len(parts) < 2:
            continue
        cut, headings = cut + len(parts), headings + found
        long = long or any(cleaning.words(paragraph) > 2 * target for paragraph in whole.split("\n\n"))
        spool.base.execute("DELETE FROM draft WHERE n = ?", (number,))
        share = characters / max(1, sum(map(len, parts)))
        for place, text in enumerate(parts, start=1):
            spool.put_draft(
                f"{doc_id}#{place:03d}", text, author, date, source, kind, encoding, round(share * len(text)), cleaning.words(text),
                cleaning.count_tokens(text), "", "[]", None, None,
            )  # fmt: skip
    if cut:
        result.cut_into_sections = True
        where = f"at their {headings} headings, and longer chapters" if headings else "at the ends of paragraphs"
        where += ", and of sentences in long paragraphs" if long else ""
        result.note(
            f"only {usable} documents: they are cut into {cut} sections of about {target} words {where}; sections are split one by one"
        )


def _filter(config: CorpusConfig, sources: Mapping[str, Source], result: Sifted, find_languages: bool) -> None:
    from py3langid import classify

    spool = result.spool

    def judged() -> Iterator[tuple[int, str, str]]:
        for number, text, size in spool.drafts("text, size", "reason IS NULL"):
            if size == 0:
                yield number, Reason.EMPTY.value, "no words after cleaning"
            elif size < config.min_words:
                yield number, Reason.TOO_SHORT.value, f"{size} words"
            elif not cleaning.is_prose(text):
                yield number, Reason.NOT_PROSE.value, "mostly digits and symbols"
            else:
                spool.base.execute("UPDATE draft SET language = ? WHERE n = ?", (str(classify(text[:_LANGUAGE_CHARACTERS])[0]), number))

    for verdict in judged():
        spool.reject([verdict])
    for name, source in sources.items():
        found = spool.counts("SELECT language, COUNT(*) FROM draft WHERE source = ? AND reason IS NULL GROUP BY language", name)
        wanted = config.languages or source.languages or (source.language,)
        if find_languages:
            wanted = tuple(language for language, count in found.most_common() if count >= _LANGUAGE_SHARE * found.total()) or wanted
        result.languages[name] = wanted
        marks = ",".join("?" * len(wanted))
        spool.base.execute(
            f"UPDATE draft SET reason = ?, detail = language WHERE source = ? AND reason IS NULL AND language NOT IN ({marks})",  # nosec B608: question marks
            (Reason.LANGUAGE.value, name, *wanted),
        )


def _drop_duplicates(config: CorpusConfig, result: Sifted, track: Track) -> None:
    spool = result.spool
    numbers = array("q")

    def texts() -> Iterator[str]:
        for number, text in spool.drafts("text", "reason IS NULL"):
            numbers.append(number)
            yield text

    total = int(spool.one("SELECT COUNT(*) FROM draft WHERE reason IS NULL"))
    verdicts = find_duplicates(
        track(texts(), "duplicates", total), config.duplicate_threshold, lambda place: spool.text(numbers[place]), spool.folder
    )
    for place, verdict in enumerate(verdicts):
        if verdict is not None:
            earlier, similarity = verdict
            reason = Reason.DUPLICATE if similarity == 1.0 else Reason.NEAR_DUPLICATE
            name = spool.one("SELECT doc_id FROM draft WHERE n = ?", numbers[earlier])
            spool.reject([(numbers[place], reason.value, f"{similarity:.2f} of {name}")])


def _tell_losses(result: Sifted) -> None:
    for kind, row in result.by_kind().items():
        if row["characters_in"] and row["characters_kept"] < (1 - _LOSS) * row["characters_in"]:
            what = "rows" if kind in ROWS else "files"
            result.note(
                f"{kind} {what}: of {row['characters_in']:,} characters of text {row['characters_kept']:,} were kept, less than two "
                "thirds; look at some with `timbre corpus show`"
            )

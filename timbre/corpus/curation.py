"""From raw documents to kept and rejected ones: cleaning, privacy, filters, duplicates, the draw, splits and folds.

Nothing is dropped in silence: each document that is read is kept, or stands among the rejected with its reason.
"""

import json
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from timbre.config import CorpusConfig
from timbre.corpus import cleaning
from timbre.corpus.documents import Document, Reason, Rejected
from timbre.corpus.duplicates import find_duplicates
from timbre.corpus.privacy import scrub
from timbre.corpus.readers import RawDocument
from timbre.corpus.sources import Source
from timbre.corpus.splits import Item, assign_folds, assign_splits, draw

FEW_DOCUMENTS = 10
SECTION_WORDS = 400
_PLACE = re.compile(r"(?:(?::\d+(?:#\d+)?|#\d+)(?:\.gz)?)?\Z")
"""A file's own name ends as a reader knows it, so that digits after the last mark are never part of it."""


@dataclass(frozen=True)
class Draft:
    """A cleaned document on its way."""

    doc_id: str
    text: str
    author: str
    date: str | None
    source: Source


@dataclass
class Curated:
    """What came of it."""

    documents: list[Document] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    personal_data: dict[str, Counter[str]] = field(default_factory=dict)
    read: Counter[str] = field(default_factory=Counter)
    cut_into_sections: bool = False
    split_rule: str = ""


def curate(
    raw: Mapping[str, Sequence[RawDocument]],
    sources: Mapping[str, Source],
    config: CorpusConfig,
    *,
    split_by_date: bool,
    track: Callable[[list[Draft], str], Iterable[Draft]] = lambda drafts, what: drafts,
) -> Curated:
    """Clean, filter, split. The order of sources and of documents in them decides which of two duplicates stays.

    Raises:
        ValueError: nothing is left, or too little to split.
    """
    result = Curated()
    drafts: list[Draft] = []
    for name, documents in raw.items():
        result.personal_data[name] = Counter()
        drafts += list(_cleaned(documents, sources[name], result.personal_data[name]))
    drafts = _cut_if_few(drafts, config, result)
    result.read = Counter(draft.source.name for draft in drafts)
    kept = _without_duplicates(list(_filtered(track(drafts, "documents"), config, result)), config, result)
    if not kept:
        reasons = Counter(item.reason for item in result.rejected)
        said = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "the sources hold none"
        raise ValueError(f"no document is left for style {config.style!r} ({said}): {_advice(result.rejected, config)}")
    items = [Item(draft.doc_id, draft.author, draft.date, cleaning.count_tokens(draft.text)) for draft in kept]
    if config.max_documents is not None and len(kept) > config.max_documents:
        chosen = draw(items, config.max_documents, config.seed)
        result.rejected += [_reject(draft, Reason.NOT_DRAWN, "max_documents") for draft in kept if draft.doc_id not in chosen]
        kept = [draft for draft in kept if draft.doc_id in chosen]
        items = [item for item in items if item.doc_id in chosen]
    _split(kept, items, config, split_by_date, result)
    return result


def _advice(rejected: Sequence[Rejected], config: CorpusConfig) -> str:
    """What to do where everything was rejected; another language is one to allow, not a text to add."""
    languages = Counter(item.detail for item in rejected if item.reason == Reason.LANGUAGE)
    other = any(item.reason != Reason.LANGUAGE for item in rejected) or not rejected
    advice = ["add text, or lower corpus.min_words"] if other else []
    if languages:
        wanted = json.dumps([name for name, _ in languages.most_common()])
        kept, found = (", ".join(names) for names in (config.languages, sorted(languages)))
        advice.insert(0, f"corpus.languages keeps {kept}, and they are in {found}; to keep them: --set 'corpus.languages={wanted}'")
    return "; or ".join(advice)


def _cleaned(documents: Sequence[RawDocument], source: Source, found: Counter[str]) -> Iterator[Draft]:
    names = _private_names(documents) - set(source.not_names) if source.scrub_names else frozenset()
    ids = _short_names([raw.name for raw in documents])
    for raw, name in zip(documents, ids, strict=True):
        text = cleaning.clean(scrub(raw.text, found, names), source.heading_pattern)
        yield Draft(f"{source.name}:{name}", text, raw.author, raw.date, source)


def _short_names(names: Sequence[str]) -> list[str]:
    """Names without the folders that all share, and without endings unless two would be the same then."""
    folders = [PurePosixPath(_parts(name)[0]).parent.parts for name in names]
    shared = sum(1 for level in zip(*folders, strict=False) if len(set(level)) == 1) if folders else 0
    short = [_short(name, shared, ending=False) for name in names]
    return short if len(set(short)) == len(short) else [_short(name, shared, ending=True) for name in names]


def _short(name: str, shared: int, *, ending: bool) -> str:
    file, place = _parts(name)
    path = PurePosixPath(*PurePosixPath(file).parts[shared:])
    return str(path if ending else path.with_suffix("")) + place


def _parts(name: str) -> tuple[str, str]:
    """The file of a document, and its place in there: `:row` and `#chapter` as the readers put them behind its name."""
    match = _PLACE.search(name)
    assert match is not None
    return name[: match.start()], match[0]


def _private_names(documents: Sequence[RawDocument]) -> frozenset[str]:
    """Name words from headers, without those the texts mostly write small: Will, Mark, Young are words as well."""
    candidates = {word for raw in documents for word in raw.names}
    small = Counter(word for raw in documents for word in re.findall(r"\b[a-z][\w'’-]+", raw.text))
    great = Counter(word for raw in documents for word in re.findall(r"\b[A-Z][\w'’-]+", raw.text))
    return frozenset(word for word in candidates if small[word.lower()] <= great[word] // 4)


def _cut_if_few(drafts: list[Draft], config: CorpusConfig, result: Curated) -> list[Draft]:
    usable = [draft for draft in drafts if cleaning.words(draft.text) >= config.min_words]
    if not usable or len(usable) >= FEW_DOCUMENTS:
        return drafts
    cut = [(draft, cleaning.sections(draft.text, max(SECTION_WORDS, config.min_words)) or [""]) for draft in drafts]
    if sum(len(parts) for _, parts in cut) == len(drafts):
        return drafts
    result.cut_into_sections = True
    warnings.warn(
        f"only {len(usable)} documents: each is cut into sections of about {SECTION_WORDS} words, which are split one by one", stacklevel=3
    )
    return [
        replace(draft, doc_id=f"{draft.doc_id}#{number:03d}", text=text)
        for draft, parts in cut
        for number, text in enumerate(parts, start=1)
    ]


def _filtered(drafts: Iterable[Draft], config: CorpusConfig, result: Curated) -> Iterator[Draft]:
    from py3langid import classify

    for draft in drafts:
        size = cleaning.words(draft.text)
        if size == 0:
            result.rejected.append(_reject(draft, Reason.EMPTY, "no words after cleaning"))
        elif size < config.min_words:
            result.rejected.append(_reject(draft, Reason.TOO_SHORT, f"{size} words"))
        elif not cleaning.is_prose(draft.text):
            result.rejected.append(_reject(draft, Reason.NOT_PROSE, "mostly digits and symbols"))
        elif (language := str(classify(draft.text[:4000])[0])) not in config.languages:
            result.rejected.append(_reject(draft, Reason.LANGUAGE, language))
        else:
            yield draft


def _without_duplicates(drafts: list[Draft], config: CorpusConfig, result: Curated) -> list[Draft]:
    kept = []
    verdicts = find_duplicates(((draft.doc_id, draft.text) for draft in drafts), config.duplicate_threshold)
    for draft, verdict in zip(drafts, verdicts, strict=True):
        if verdict is None:
            kept.append(draft)
        else:
            earlier, similarity = verdict[1:]
            reason = Reason.DUPLICATE if similarity == 1.0 else Reason.NEAR_DUPLICATE
            result.rejected.append(_reject(draft, reason, f"{similarity:.2f} of {earlier}"))
    return kept


def _split(kept: list[Draft], items: list[Item], config: CorpusConfig, split_by_date: bool, result: Curated) -> None:
    split, result.split_rule = assign_splits(
        items, validation_share=config.validation_share, test_share=config.test_share, folds=config.folds, seed=config.seed,
        by_date=split_by_date,
    )  # fmt: skip
    fold = assign_folds([item for item in items if split[item.doc_id] == "train"], config.folds, config.seed)
    result.documents = [
        Document(
            doc_id=draft.doc_id, text=draft.text, author=draft.author, date=draft.date, source=draft.source.name,
            licence=draft.source.licence, consent=draft.source.consent, style=config.style, split=split[draft.doc_id],
            fold=fold.get(draft.doc_id, -1), n_tokens=item.n_tokens,
        )
        for draft, item in zip(kept, items, strict=True)
    ]  # fmt: skip


def _reject(draft: Draft, reason: Reason, detail: str) -> Rejected:
    return Rejected(draft.doc_id, draft.text, draft.author, draft.source.name, reason.value, detail)

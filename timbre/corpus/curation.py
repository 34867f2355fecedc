"""From raw documents to a corpus: what is kept is drawn, split and dealt to folds, and what is not stands among the rejected."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from timbre.config import CorpusConfig
from timbre.corpus.documents import Document, Reason, Rejected
from timbre.corpus.sifting import Raw, Sifted, Track, _silent, sift
from timbre.corpus.sources import Source
from timbre.corpus.splits import Item, assign_folds, assign_splits, draw
from timbre.corpus.spool import Spool


class Curated:
    """What came of it: counts and notes in `sifted`, the documents and the rejected one by one from its spool."""

    def __init__(self, sifted: Sifted, sources: Mapping[str, Source], style: str, split_rule: str) -> None:
        self.sifted, self.split_rule = sifted, split_rule
        self._sources, self._style = sources, style

    def documents(self) -> Iterator[Document]:
        """The kept ones, in the order in which they were read."""
        columns = "doc_id, text, author, date, source, split, fold, tokens"
        for _, doc_id, text, author, date, source, split, fold, tokens in self.sifted.spool.drafts(columns, "reason IS NULL"):
            origin = self._sources[source]
            yield Document(doc_id, text, author, date, source, origin.licence, origin.consent, self._style, split, fold, tokens)

    def rejected(self) -> Iterator[Rejected]:
        """The others, each with its reason."""
        columns = "doc_id, text, author, source, reason, detail"
        yield from (Rejected(*row[1:]) for row in self.sifted.spool.drafts(columns, "reason IS NOT NULL"))


def curate(
    raw: Raw,
    sources: Mapping[str, Source],
    config: CorpusConfig,
    *,
    split_by_date: bool,
    track: Track = _silent,
    scratch: Path | None = None,
) -> Curated:
    """Clean, filter, split. The order of sources and of documents in them decides which of two duplicates stays.

    Args:
        scratch: a folder for what would not fit in memory; without one, memory holds it.

    Raises:
        ValueError: nothing is left, or too little to split.
    """
    return deal(sift(raw, sources, config, Spool(scratch), track=track), sources, config, split_by_date=split_by_date)


def deal(sifted: Sifted, sources: Mapping[str, Source], config: CorpusConfig, *, split_by_date: bool) -> Curated:
    """Draw, split and deal to folds what was sifted.

    Raises:
        ValueError: nothing is left, or too little to split.
    """
    spool = sifted.spool
    items = [Item(*row[1:]) for row in spool.drafts("doc_id, author, date, tokens", "reason IS NULL")]
    if not items:
        raise ValueError(nothing_left(sifted, config))
    if config.max_documents is not None and len(items) > config.max_documents:
        chosen = draw(items, config.max_documents, config.seed)
        for number, doc_id in list(spool.drafts("doc_id", "reason IS NULL")):
            if doc_id not in chosen:
                spool.reject([(number, Reason.NOT_DRAWN.value, "max_documents")])
        items = [item for item in items if item.doc_id in chosen]
    split, rule = assign_splits(
        items, validation_share=config.validation_share, test_share=config.test_share, folds=config.folds, seed=config.seed,
        by_date=split_by_date,
    )  # fmt: skip
    fold = assign_folds([item for item in items if split[item.doc_id] == "train"], config.folds, config.seed)
    for number, doc_id in spool.drafts("doc_id", "reason IS NULL"):
        spool.base.execute("UPDATE draft SET split = ?, fold = ? WHERE n = ?", (split[doc_id], fold.get(doc_id, -1), number))
    return Curated(sifted, sources, config.style, rule)


def nothing_left(sifted: Sifted, config: CorpusConfig) -> str:
    """Why no document is left, in counts and the first reason, and what to do; another language is one to allow, not a text to add."""
    spool = sifted.spool
    reasons = spool.counts("SELECT reason, COUNT(*) FROM draft WHERE reason IS NOT NULL GROUP BY reason ORDER BY reason")
    said = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "the sources hold none"
    languages = spool.counts(
        "SELECT detail, COUNT(*) FROM draft WHERE reason = ? GROUP BY detail ORDER BY COUNT(*) DESC, detail", Reason.LANGUAGE.value
    )
    advice = []
    if languages:
        kept = ", ".join(dict.fromkeys(language for wanted in sifted.languages.values() for language in wanted))
        wanted = json.dumps([name for name, _ in languages.most_common()])
        advice.append(
            f"corpus.languages keeps {kept}, and they are in {', '.join(sorted(languages))}; to keep them: "
            f"--set 'corpus.languages={wanted}'"
        )
    if unread := reasons.pop(Reason.UNREADABLE.value, 0):
        where, why = spool.base.execute(
            "SELECT doc_id, detail FROM draft WHERE reason = ? ORDER BY n LIMIT 1", (Reason.UNREADABLE.value,)
        ).fetchone()
        advice.append(f"{'the first of those' if unread > 1 else 'what'} that cannot be read is {where.partition(':')[2] or where}: {why}")
    if Counter(reasons).keys() - {Reason.LANGUAGE.value} or not (languages or unread):
        advice.append("add text, or lower corpus.min_words")
    return f"no document is left for style {config.style!r} ({said}): {'; or '.join(advice)}"

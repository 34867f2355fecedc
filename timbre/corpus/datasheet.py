"""What a corpus is made of, in figures: counts that add up, and the datasheet of sources, licences and authors."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from timbre.config import CorpusConfig
from timbre.corpus.curation import Curated
from timbre.corpus.documents import SPLITS, Reason
from timbre.corpus.sources import Source


def counts(curated: Curated) -> dict[str, Any]:
    """Documents read, kept and rejected by reason, in all and by source; read = kept + rejected, or it is a bug."""
    sifted, spool = curated.sifted, curated.sifted.spool
    read = sifted.read
    kept = spool.counts("SELECT source, COUNT(*) FROM draft WHERE reason IS NULL GROUP BY source")
    rejected = spool.counts("SELECT reason, COUNT(*) FROM draft WHERE reason IS NOT NULL GROUP BY reason")
    by_source_rejected = spool.counts("SELECT source, COUNT(*) FROM draft WHERE reason IS NOT NULL GROUP BY source")
    assert read.total() == kept.total() + rejected.total(), "documents were lost on the way"
    by_source = {name: {"read": count, "kept": kept[name], "rejected": by_source_rejected[name]} for name, count in read.items()}
    documents = spool.counts("SELECT split, COUNT(*) FROM draft WHERE reason IS NULL GROUP BY split")
    tokens = spool.counts("SELECT split, SUM(tokens) FROM draft WHERE reason IS NULL GROUP BY split")
    folds = spool.counts("SELECT fold, COUNT(*) FROM draft WHERE reason IS NULL AND split = 'train' GROUP BY fold ORDER BY fold")
    return {
        "read": read.total(), "kept": kept.total(), "rejected": {reason.value: rejected[reason.value] for reason in Reason},
        "by_source": by_source, "by_kind": sifted.by_kind(),
        "splits": {split: {"documents": documents[split], "tokens": tokens[split]} for split in SPLITS},
        "folds": dict(folds), "split_rule": curated.split_rule, "cut_into_sections": sifted.cut_into_sections, "notes": sifted.notes,
    }  # fmt: skip


def datasheet(curated: Curated, sources: Mapping[str, Source], config: CorpusConfig) -> dict[str, Any]:
    """Sources with licence, consent and version; dates; authors with their share of tokens; personal data replaced."""
    sifted, spool = curated.sifted, curated.sifted.spool
    tokens = spool.counts("SELECT author, SUM(tokens) FROM draft WHERE reason IS NULL GROUP BY author")
    total = tokens.total()
    documents = int(spool.one("SELECT COUNT(*) FROM draft WHERE reason IS NULL"))
    (first, last, dated), *_ = spool.base.execute("SELECT MIN(date), MAX(date), COUNT(date) FROM draft WHERE reason IS NULL").fetchall()
    entries = {
        name: {
            "description": source.description, "kind": source.kind, "package": source.package, "version": source.version,
            "sha256": source.sha256, "licence": source.licence, "consent": source.consent, "language": source.language,
            "languages": list(sifted.languages.get(name, ())), "research_only": source.research_only,
            "personal_data_replaced": dict(sorted(sifted.personal_data[name].items())),
        }
        for name, source in sources.items()
    }  # fmt: skip
    return {
        "style": config.style, "sources": entries, "licences": sorted({source.licence for source in sources.values()}),
        "research_only": any(source.research_only for source in sources.values()),
        "documents": documents, "tokens": total,
        "authors": [
            {"author": author, "share": round(count / total, 6), "tokens": count}
            for author, count in sorted(tokens.items(), key=lambda entry: (-entry[1], entry[0]))
        ],
        "dates": {"first": first, "last": last, "undated": documents - dated} if dated else None,
        "repeated_lines": {name: [asdict(line) for line in lines[:20]] for name, lines in sifted.repeated.items() if lines},
        "personal_data_replaced": dict(sorted(sum(sifted.personal_data.values(), Counter()).items())),
    }  # fmt: skip

"""What a corpus is made of, in figures: counts that add up, and the datasheet of sources, licences and authors."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from timbre.config import CorpusConfig
from timbre.corpus.curation import Curated
from timbre.corpus.documents import SPLITS, Reason
from timbre.corpus.sources import Source


def counts(curated: Curated) -> dict[str, Any]:
    """Documents read, kept and rejected by reason, in all and by source; read = kept + rejected, or it is a bug."""
    kept = Counter(document.source for document in curated.documents)
    rejected = Counter(item.reason for item in curated.rejected)
    assert curated.read.total() == kept.total() + rejected.total(), "documents were lost on the way"
    by_source = {
        name: {"read": read, "kept": kept[name], "rejected": sum(item.source == name for item in curated.rejected)}
        for name, read in curated.read.items()
    }
    splits = {
        split: {
            "documents": sum(document.split == split for document in curated.documents),
            "tokens": sum(document.n_tokens for document in curated.documents if document.split == split),
        }
        for split in SPLITS
    }
    folds = Counter(document.fold for document in curated.documents if document.split == "train")
    return {
        "read": curated.read.total(), "kept": kept.total(), "rejected": {reason.value: rejected[reason.value] for reason in Reason},
        "by_source": by_source, "splits": splits, "folds": {str(fold): folds[fold] for fold in sorted(folds)},
        "split_rule": curated.split_rule, "cut_into_sections": curated.cut_into_sections,
    }  # fmt: skip


def datasheet(curated: Curated, sources: Mapping[str, Source], config: CorpusConfig) -> dict[str, Any]:
    """Sources with licence, consent and version; dates; authors with their share of tokens; personal data replaced."""
    tokens: Counter[str] = Counter()
    for document in curated.documents:
        tokens[document.author] += document.n_tokens
    total = tokens.total()
    dates = sorted(document.date for document in curated.documents if document.date)
    entries = {
        name: {
            "description": source.description, "kind": source.kind, "package": source.package, "version": source.version,
            "sha256": source.sha256, "licence": source.licence, "consent": source.consent, "language": source.language,
            "research_only": source.research_only, "personal_data_replaced": dict(sorted(curated.personal_data[name].items())),
        }
        for name, source in sources.items()
    }  # fmt: skip
    return {
        "style": config.style, "sources": entries, "licences": sorted({source.licence for source in sources.values()}),
        "research_only": any(source.research_only for source in sources.values()),
        "documents": len(curated.documents), "tokens": total,
        "authors": [
            {"author": author, "share": round(count / total, 6), "tokens": count}
            for author, count in sorted(tokens.items(), key=lambda entry: (-entry[1], entry[0]))
        ],
        "dates": {"first": dates[0], "last": dates[-1], "undated": len(curated.documents) - len(dates)} if dates else None,
        "personal_data_replaced": dict(sorted(sum(curated.personal_data.values(), Counter()).items())),
    }  # fmt: skip

"""The data page: what a corpus is made of, for somebody who works with data.

One file that asks the network for nothing: counts, splits, lengths, sources with licence and consent, near-duplicates, what was
rejected with samples of each reason, and ten passages to read. It is made from a corpus artifact alone.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact, IntegrityError
from timbre.page.charts import svg
from timbre.page.render import render

PASSAGES, SAMPLES = 10, 3
"""Passages to read, and samples of each reason."""
_WORDS, _AUTHORS, _BINS = 70, 10, 16
_HEIGHT = 120
_SPLITS = {"train": 0, "validation": 1, "test": 2}


def data_page(corpus: Artifact, *, at: str = "", docs: str = "") -> str:
    """The page of a corpus.

    Args:
        at: when it was built and checked, in words; the artifact itself holds no time.
        docs: place of Great Expectations' Data Docs, relative to the page; empty where there is no such page.
    """
    sheet, counts, contract = (_json(corpus, f"{name}.json") for name in ("datasheet", "counts", "contract"))
    lengths = _column(corpus, "n_tokens")
    context = {
        "style": corpus.manifest.config.get("style", ""), "digest": corpus.digest, "at": at, "docs": docs,
        "sheet": sheet, "counts": counts, "contract": contract,
        "splits": sorted((counts.get("splits") or {}).items(), key=lambda split: (_SPLITS.get(split[0], len(_SPLITS)), split[0])),
        "sources": _sources(sheet, counts),
        "authors": (sheet.get("authors") or [])[:_AUTHORS], "authors_known": len(sheet.get("authors") or []),
        "histogram": histogram(lengths), "median": _median(lengths),
        "shortest": min(lengths, default=0), "longest": max(lengths, default=0),
        "rejected": _rejected(corpus, counts), "passages": _passages(corpus, len(lengths)),
    }  # fmt: skip
    return render(Path(__file__).parent / "templates", "data.html", context)


def histogram(lengths: Sequence[int]) -> dict[str, Any] | None:
    """How many documents have so many words, in bins that widen by the same factor; None without documents."""
    known = [length for length in lengths if length > 0]
    if not known:
        return None
    low, high = math.log(min(known)), math.log(max(known) + 1)
    bins = 1 if min(known) == max(known) else min(_BINS, max(3, round(math.sqrt(len(known)) * 1.5)))
    width = (high - low) / bins or 1.0
    heights = [0] * bins
    for length in known:
        heights[min(bins - 1, int((math.log(length) - low) / width))] += 1
    edges = [round(math.exp(low + width * place)) for place in range(bins + 1)]
    top = max(heights)
    parts = [
        f'<rect class="bar PASS" x="{100 * place / bins + 0.3:.2f}%" width="{max(100 / bins - 0.6, 0.4):.2f}%" '
        f'y="{_HEIGHT - _HEIGHT * count / top:.1f}" height="{_HEIGHT * count / top:.1f}"/>'
        for place, count in enumerate(heights)
    ]
    rows = list(zip(edges, edges[1:], heights, strict=False))
    spoken = "; ".join(f"{start:,} to {end:,} words: {count}" for start, end, count in rows if count)
    return {"chart": svg(f"Documents by length. {spoken}.", parts, _HEIGHT), "top": top, "low": edges[0], "high": max(known), "rows": rows}


def _sources(sheet: Mapping[str, Any], counts: Mapping[str, Any]) -> list[dict[str, Any]]:
    by_source = counts.get("by_source") or {}
    return [{"name": name, **entry, **by_source.get(name, {})} for name, entry in sorted((sheet.get("sources") or {}).items())]


def _rejected(corpus: Artifact, counts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Reasons, most documents first, each with the first, middle and last document that it took."""
    reasons = {reason: count for reason, count in (counts.get("rejected") or {}).items() if count}
    seen: dict[str, int] = dict.fromkeys(reasons, 0)
    wanted = {reason: {0, count // 2, count - 1} for reason, count in reasons.items()}
    found: dict[str, list[dict[str, str]]] = {reason: [] for reason in reasons}
    for row in _rows(corpus, "rejected.parquet", ["doc_id", "text", "reason", "detail"]):
        reason = str(row["reason"])
        if seen.get(reason, -1) in wanted.get(reason, ()) and len(found[reason]) < SAMPLES:
            found[reason].append({"name": row["doc_id"], "detail": row["detail"] or "", "text": _beginning(row["text"] or "")})
        if reason in seen:
            seen[reason] += 1
    read = counts.get("read") or 1
    ranked = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    return [
        {"reason": reason.replace("_", " "), "documents": count, "share": count / read, "samples": found[reason]}
        for reason, count in ranked
    ]


def _passages(corpus: Artifact, documents: int) -> list[dict[str, str]]:
    """The beginnings of ten documents, evenly over the corpus as it is stored."""
    places = {documents * place // PASSAGES for place in range(PASSAGES)} if documents else set()
    return [
        {"name": row["doc_id"], "author": row["author"], "date": row["date"] or "", "split": row["split"], "text": _beginning(row["text"])}
        for place, row in enumerate(_rows(corpus, "documents.parquet", ["doc_id", "author", "date", "split", "text"]))
        if place in places
    ]


def _beginning(text: str) -> str:
    words = text.split()
    cut = " ".join(words[:_WORDS])
    return cut if len(cut) <= 600 and len(words) <= _WORDS else f"{cut[:600]} …"  # a script without spaces has one long word


def _rows(corpus: Artifact, file: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet file of the corpus, some hundreds at a time."""
    from pyarrow import parquet

    if file not in corpus.manifest.files:
        return
    for batch in parquet.ParquetFile(corpus.file(file), pre_buffer=False).iter_batches(batch_size=256, columns=list(columns)):
        yield from batch.to_pylist()


def _column(corpus: Artifact, name: str) -> list[int]:
    return [int(row[name]) for row in _rows(corpus, "documents.parquet", [name])]


def _median(values: Sequence[int]) -> int:
    return sorted(values)[len(values) // 2] if values else 0


def _json(corpus: Artifact, name: str) -> Mapping[str, Any]:
    try:
        found = corpus.json(name)
    except (IntegrityError, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}

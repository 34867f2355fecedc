"""What a corpus says of itself, made into figures that gates can judge: its contract, and whose texts it holds.

Both are computed anew from the artifact's own files rather than believed: a contract that says "success" over no rows, or
over another suite than its file, does not hold; a source that forgot its licence is counted document by document.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from timbre.artifacts import Artifact
from timbre.corpus.consent import is_recorded

_COLUMNS = ("doc_id", "author", "source", "licence", "consent", "split", "n_tokens")


def provenance(corpus: Artifact) -> dict[str, Any]:
    """Sources, licences, consent and narrowness of documents.parquet.

    Returns:
        documents; undeclared, the documents without source, licence or author; largest_author and its share of all tokens;
        unconsented_share, the largest share of an author of whom some document has no recorded consent (0 where all have);
        train_documents; largest_document_share of the training tokens; a sentence for each gate.

    Raises:
        IntegrityError, KeyError: there is no such file, or a column is missing.
        ValueError: no document, or none with a token.
    """
    import pyarrow.parquet as pq

    rows = pq.read_table(corpus.file("documents.parquet"), columns=list(_COLUMNS)).to_pylist()
    if missing := set(_COLUMNS) - set(rows[0] if rows else _COLUMNS):
        raise KeyError(f"documents.parquet has no column {', '.join(sorted(missing))}")
    undeclared = [row["doc_id"] for row in rows if any(not str(row[name] or "").strip() for name in ("source", "licence", "author"))]
    tokens: Counter[str] = Counter()
    consenting: defaultdict[str, bool] = defaultdict(lambda: True)
    for row in rows:
        author = str(row["author"] or "")
        tokens[author] += int(row["n_tokens"])
        consenting[author] &= is_recorded(str(row["consent"] or ""), str(row["licence"] or ""))
    train = [int(row["n_tokens"]) for row in rows if row["split"] == "train"]
    if not tokens.total() or not sum(train):
        raise ValueError("documents.parquet holds no token to learn from")
    largest, count = min(tokens.items(), key=lambda entry: (-entry[1], entry[0]))
    unasked = {author: count / tokens.total() for author, count in tokens.items() if not consenting[author]}
    share, ground = count / tokens.total(), "consent recorded" if consenting[largest] else "no consent recorded"
    return {
        "documents": len(rows), "undeclared": len(undeclared), "largest_author": largest, "largest_author_share": share,
        "unconsented_share": max(unasked.values(), default=0.0), "train_documents": len(train),
        "largest_document_share": max(train) / sum(train),
        "declared_sentence": f"Such as {undeclared[0]}." if undeclared else f"All {len(rows)} documents name source, licence and author.",
        "consent_sentence": f"The largest author, {largest or 'nameless'}, wrote {share:.0%}; {ground}.",
        "narrowness_sentence": f"{len(train)} documents to learn from.",
    }  # fmt: skip


def contract_check(contract: Mapping[str, Any], corpus: Artifact) -> dict[str, Any]:
    """Whether the data contract really holds: {"holds", "sentence"}.

    Great Expectations passes an empty suite, an empty frame and a column of nulls; and a report can be of other documents.
    """
    import pyarrow.parquet as pq

    rows = pq.read_metadata(corpus.file("documents.parquet")).num_rows
    results = contract.get("results") or []
    shares = contract.get("not_null_share") or {}
    broken = [
        reason
        for reason, wrong in (
            ("it says so itself", contract.get("success") is not True),
            ("it was checked over no rows", not contract.get("rows")),
            (f"it was checked over {contract.get('rows')} rows, and the corpus has {rows}", contract.get("rows") != rows),
            ("nothing was expected", not contract.get("expectations") or len(results) != contract.get("expectations")),
            ("an expectation failed", not all(isinstance(one, Mapping) and one.get("success") is True for one in results)),
            ("the suite that ran is not the contract's", contract.get("suite_digest") != contract.get("contract_digest")),
            ("the contract has no digest", not contract.get("contract_digest")),
            ("a column has nulls", any(shares.get(name) != 1.0 for name in ("text", *(name for name in _COLUMNS)))),
        )
        if wrong
    ]
    sentence = f"Broken: {'; '.join(broken)}." if broken else f"{len(results)} expectations over {rows} documents."
    return {"holds": not broken, "sentence": sentence}
